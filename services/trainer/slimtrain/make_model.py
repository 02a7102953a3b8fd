"""A Darknet detector and unlabelled pictures -> a model that serves it: `slimwire make-model`.

    cfg, weights, names -import-> detector -+
    pictures ------------- train codec -export, tabulate-> codec -evaluate, calibrate-> profile.json

Each step leaves something behind, and is skipped when that is there: called again with the same
settings it goes on where it was stopped.
"""

import hashlib
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcodec.model.manifest import ModelReference, this_device
from slimtrain.artifact_folder import LICENCE_UNKNOWN
from slimtrain.calibration.calibrate import calibrate
from slimtrain.codec.artifact import export_codec
from slimtrain.data.split import is_validation
from slimtrain.detector.artifact import import_detector
from slimtrain.evaluation.baseline import BASELINES
from slimtrain.evaluation.evaluate import CodecUnderTest, evaluate
from slimtrain.evaluation.pictures import choose_pictures
from slimtrain.evaluation.rows import write_evaluated_profile
from slimtrain.recipe.schema import CodecRecipe, load_recipe, train_codec_of
from slimtrain.reporting.report import format_headline, write_report
from slimtrain.tabulate.tabulate import TabulateSettings, tabulate

logger = logging.getLogger(__name__)

VERSION = 1
MAX_EDGE = 480  # pixels, of pictures in memory: enough for crops of 128
PRIOR_STEPS = 1500  # of the context prior's fit, and never more than the codec's
TIMED_SIZES = ((360, 640), (720, 1280))  # height, width, pixels: of the profile's seconds


class OtherDetectorError(ValueError):
    """There is a detector of this name that came from other weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What a model is made of, and how long that may take."""

    # cfg, weights, names: Darknet's files of the detector
    cfg: Path
    weights: Path
    names: Path
    images: Sequence[Path]  # folders of pictures, labelled or not
    models: Path = Path("models")  # directory of models that gets detector and codec
    name: str | None = None  # of the detector; the codec is `slim-NAME`. None: the cfg's name
    recipe: str = "own-detector"  # of the codec: a file, or the name of one that came along
    run: Path | None = None  # folder of the training and the report; None: `runs/slim-NAME`
    split: int | None = None  # layer after which the detector is cut; None: `choose_split` decides
    # steps, batch, seed: instead of the recipe's; `seconds`: stop training after this long
    steps: int | None = None
    seconds: float | None = None
    batch: int | None = None
    threads: int | None = None  # of torch and of the graphs; None: their choice
    device: str | None = None  # cpu or cuda; None: cuda where there is one
    seed: int | None = None
    evaluated_pictures: int = 64  # of those for validation, at most
    licence: str = LICENCE_UNKNOWN  # who may use the weights for what
    command: str = ""  # that asked for it, for the record

    @property
    def detector(self) -> Path:
        """The folder that the detector gets."""
        return self.models / (self.name or self.cfg.stem) / str(VERSION)

    @property
    def codec(self) -> Path:
        """The folder that the codec gets."""
        return self.models / f"slim-{self.detector.parent.name}" / str(VERSION)

    @property
    def run_folder(self) -> Path:
        return self.run or Path("runs") / self.codec.parent.name


def make_model(settings: ModelSettings, say: Callable[[str], None] = logger.info) -> Path:
    """Import the detector, train a codec for it, measure it: the codec's folder, ready to serve.

    No labels are needed: the detector is the teacher, and agreement with it is what is measured.

    Args:
        say: is told of each step.

    Raises:
        OtherDetectorError: a detector of this name is there that came from other weights.
        NetError, NamesError: the detector's files cannot be used.
        RecipeError, ModelError, PictureError, LoopError: as training raises them.
        EvaluationError: no picture is for validation.
    """
    detector, codec = settings.detector, settings.codec
    recipe = load_recipe(settings.recipe, CodecRecipe)
    if detector.exists():
        _check_same_weights(settings)
        say(f"{detector}: there already")
    else:
        files = settings.cfg, settings.weights, settings.names
        import_detector(*files, detector, settings.split, settings.licence)
    if codec.exists():
        say(f"{codec}: there already")
    else:
        _train(settings, recipe, say)
    profile = load_codec_artifact(codec).profile
    if profile is not None and profile.calibration is not None:
        say(f"{codec / 'profile.json'}: there already")
    else:
        _measure(settings, say)
    return codec


def _train(settings: ModelSettings, recipe: CodecRecipe, say: Callable[[str], None]) -> None:
    begin = recipe.start_from
    if begin is not None and not Path(begin).exists():
        # it is among the models that came along, not among the new ones
        begin = str(find_model("codec", begin))
    checkpoint = train_codec_of(
        recipe,
        settings.images,
        settings.run_folder,
        MAX_EDGE,
        detector=settings.detector.parent.name,
        models=settings.models,
        start_from=begin,
        say=say,
        steps=settings.steps,
        seconds=settings.seconds,
        batch=settings.batch,
        threads=settings.threads,
        device=settings.device,
        seed=settings.seed,
    )
    teacher = ModelReference(name=settings.detector.parent.name, version=VERSION)
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch, settings.codec.parent.name, str(VERSION))
        trained = export_codec(checkpoint, settings.images, exported, teacher, settings.licence)
        say(f"codec after {trained.steps} steps; a context prior for it is fitted next")
        of_prior = TabulateSettings(
            images=settings.images,
            to=settings.codec,
            run=settings.run_folder / "prior",
            max_edge=MAX_EDGE,
            steps=min(PRIOR_STEPS, trained.steps),
            threads=settings.threads,
            command=settings.command,
        )
        tabulate(load_codec_artifact(exported), of_prior, lambda *_: ())  # there are no videos
    say(f"{settings.codec}: written")


def _measure(settings: ModelSettings, say: Callable[[str], None]) -> None:
    out = settings.run_folder / "report"
    artifact = load_codec_artifact(settings.codec)
    detector = load_detector_artifact(settings.detector)
    pictures = choose_pictures(
        settings.images, keep=is_validation, limit=settings.evaluated_pictures
    )
    codecs, baselines = [CodecUnderTest(artifact, detector)], [BASELINES["jpeg"]]
    evaluation = evaluate(codecs, detector, pictures, out, baselines=baselines)
    write_evaluated_profile(evaluation.rows, artifact.label, settings.codec, settings.command)
    page = write_report(evaluation, out, settings.command)
    say(f"{format_headline(evaluation)}\n\nThe report is {page}")
    calibrate(
        load_codec_artifact(settings.codec),
        OpenVinoRuntime(settings.threads),
        TIMED_SIZES,
        this_device(settings.threads),
        settings.command,
    )


def _check_same_weights(settings: ModelSettings) -> None:
    found = load_detector_artifact(settings.detector).manifest.training.get("weights_sha256")
    if found != hashlib.sha256(settings.weights.read_bytes()).hexdigest():
        raise OtherDetectorError(
            f"{settings.detector} is of other weights than {settings.weights}; give another --name"
        )
