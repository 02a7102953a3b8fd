"""`slimwire train tail`, the second stage: the encoder is frozen, feature transform and the
detector's tail learn to live with what arrives.

    pictures -augment-> x -FrozenEncoder(random level, quality)-> y_hat -TunedDecoder-> f_hat, heads
    f_hat, heads, boxes, teacher(x) -tail_losses-> losses
    checkpoint.pt -write_tail_artifact-> a new version of the codec, same fingerprint

Nothing at the edge changes: every container that was ever made still decodes, and an edge with the
old version talks to a cloud with the new one. What is the stage's own is here; the rest is
`slimtrain.loop.loop`.

Source: Matsubara et al., "Supervised Compression for Resource-Constrained Edge Computing Systems"
(WACV 2022), section 4.2, https://arxiv.org/abs/2108.11898.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimnets.codec.stem_transform import StemFeatureTransform
from slimnets.darknet.fold import load_tail
from slimtrain.codec.artifact import load_codec
from slimtrain.codec.loss import heads_lost, normalised_error
from slimtrain.codec.start import FIT_STEPS, fit_picture, give_stem, learning_shares
from slimtrain.data.crops import draw_seed
from slimtrain.data.pictures import Pictures
from slimtrain.detector.artifact import load_detector_model
from slimtrain.detector.evaluate import PreparedPictures, detect_boxes, prepare_pictures
from slimtrain.figures.mean_average_precision import (
    MIN_LABELS,
    ScoredBoxes,
    match_boxes,
    mean_ap,
)
from slimtrain.loop.checkpoint import digest_of_pictures
from slimtrain.loop.log import Cell
from slimtrain.loop.loop import Loop, Task
from slimtrain.loop.processes import Processes
from slimtrain.loop.schedule import Count, Pixels, Rate, Schedule, Seed, Share
from slimtrain.tail.model import (
    FrozenEncoder,
    TailLossWeights,
    TailSampler,
    Teacher,
    TunedDecoder,
    tail_losses,
    without_boxes,
)

_WARM_UP = 50  # steps: Adam's second moments
_CLIP = 5.0  # gradient norm
_LAST_SHARE = 0.01  # of the learning rates, at the end
_VALIDATION_SIZE = 416  # pixels; as the detector's own figures are measured


class TailError(ValueError):
    """Models or settings that the second stage cannot be run with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailSchedule:
    """How long and on what the second stage is trained; a recipe may set these."""

    steps: Count = 2_000  # of the whole schedule (short warm-up, cosine to a hundredth)
    batch: Count = 8  # pictures per step
    image_size: Pixels = 320  # side of the augmented pictures, pixels, a multiple of 32
    learning_rate: Rate = 3e-4  # peak, Adam, of the feature transform
    tail_learning_rate: Share = 3e-5  # of the detector's tail; 0 leaves the tail as it is
    average: Share = 0.995  # decay of the weight average, which is what is shipped
    seed: Seed = 1


@dataclass(frozen=True, slots=True)
class TailRun(TailSchedule):
    """One run of the second stage."""

    # folder of checkpoint.pt, log.csv and validation.csv; an existing checkpoint is resumed
    out: Path
    codec: Path  # folder of a codec's artifact (tables and fingerprint are its identity)
    # folder of the detector that the codec was trained for; with a new feature transform it may be
    # another, which the codec then belongs to
    detector: Path
    weights: TailLossWeights = TailLossWeights()
    # "stem" gives the codec a new feature transform that ends in the detector's first layers
    # (`slimnets.codec.stem_transform`); None: the codec's own goes on
    feature_transform: Literal["stem"] | None = None
    feature_width: int | None = None  # of a new one, channels at stride 16; None: the codec's
    # stop after this much time of this process, with a checkpoint; None: run to the end
    seconds: float | None = None
    threads: int | None = None  # of torch on the CPU; None leaves it to torch
    device: str | None = "cpu"  # None: cuda where there is one


def train_tail(run: TailRun, training: Pictures, validation: Pictures) -> Path:
    """Tune (or go on tuning) and return the checkpoint's path.

    Args:
        training: labelled or not; unlabelled ones have no detection loss.
        validation: measured before and after, for validation.csv; may be empty.

    Raises:
        TailError: codec, detector and settings do not fit together.
        LoopError: `run.out` holds a run on another codec or other pictures, or
            the batch does not divide among the processes.
        ModelError, NetError: an artifact is damaged.
    """
    with Processes.join(run.device, run.threads) as processes:
        loop = Loop(
            run.out,
            Schedule(_WARM_UP, _LAST_SHARE),
            run.average,
            steps=run.steps,
            seconds=run.seconds,
            clip=_CLIP,
            validate_first=True,
            processes=processes,
        )
        loop.run(_TailTask(run, processes, training, validation))
    return loop.checkpoint


class _TailTask(Task):
    """Latents as the cloud meets them, and what the tuned decoder makes of them."""

    name = "decoder"
    trained: TunedDecoder

    def __init__(
        self, run: TailRun, processes: Processes, training: Pictures, validation: Pictures
    ) -> None:
        self.run, self.device = run, processes.device
        self.batch, self.seed = processes.part_of(run.batch), processes.seed_of(run.seed)
        self.artifact = load_codec_artifact(run.codec)
        detector = load_detector_artifact(run.detector).manifest
        original, split = load_detector_model(run.detector), detector.split.layer
        is_own = self.artifact.manifest.detector == detector.reference
        _check(run, self.artifact, detector.label, is_own, original.max_stride)
        codec = load_codec(run.codec)
        self.is_new = run.feature_transform is not None
        if self.is_new:
            codec = give_stem(codec, original, split, run.feature_width)
        self.config = codec.config
        started_from = original
        if is_own and "tail.onnx" in self.artifact.manifest.files:
            started_from = load_tail(original, split, self.artifact.file("tail.onnx"))
        self.teacher = Teacher(original, split, self.device)
        self.encoder = FrozenEncoder(codec, self.device)
        self.trained = TunedDecoder(codec, started_from, split)
        self.trained.to(self.device).to(memory_format=torch.channels_last)
        self.optimizer = self._build_optimizer()
        has_labels = any(picture.boxes is not None for picture in training)
        if run.weights.heads <= 0 and run.weights.features <= 0 and not has_labels:
            raise TailError(
                "no labelled picture and no distillation; raise the weight of the heads"
            )
        use_labels = run.weights.detection > 0
        self.sampler = TailSampler(training, run.image_size, self.device, self.seed, use_labels)
        # without any label all pictures, as if nothing were in them
        labelled = [picture for picture in validation if picture.boxes is not None]
        self.prepared = prepare_pictures(labelled or without_boxes(validation), _VALIDATION_SIZE)
        fingerprint = self.artifact.manifest.fingerprint
        self.identity = {
            "codec": fingerprint,
            "feature transform": run.feature_transform or "the codec's own",
            **({} if is_own else {"detector": detector.label}),
            "pictures": digest_of_pictures(training),
        }
        self.kept = {
            "fingerprint": fingerprint,
            "config": asdict(self.config),
            "tail_is_tuned": run.tail_learning_rate > 0,
        }

    def begin(self) -> None:
        """Fit the picture of a new feature transform."""
        transform = self.trained.feature_transform
        if not (self.is_new and isinstance(transform, StemFeatureTransform)):
            return

        def draw(step: int) -> tuple[Tensor, Tensor, Tensor]:
            x = self.sampler.batch(step, self.batch).x
            level, quality = self._draw(step, len(x))
            y_hat = self.encoder(x.contiguous(memory_format=torch.channels_last), level, quality)
            return x, y_hat, F.one_hot(level, self.config.num_levels).to(y_hat.dtype)

        fit_picture(transform, draw, min(FIT_STEPS, self.run.steps))

    def losses(self, step: int, done: float) -> dict[str, Tensor]:
        batch = self.sampler.batch(step, self.batch)
        x = batch.x.contiguous(memory_format=torch.channels_last)
        level, quality = self._draw(step, len(x))
        y_hat = self.encoder(x, level, quality)
        with torch.autocast(self.device.type, torch.bfloat16):
            f_hat, heads_hat = self.trained(y_hat, level)
            return tail_losses(
                f_hat,
                heads_hat,
                x,
                batch.targets,
                self.teacher,
                self.trained.tail.head_specs,
                self.run.weights,
            )

    def validate(self) -> list[dict[str, Cell]]:
        """The uncompressed detector, which has neither level nor quality, then some points."""
        if not len(self.prepared.x):
            return []
        return [
            evaluate_tail(self.encoder, self.trained, self.teacher, self.prepared, point)
            for point in (None, *_watched_points(self.artifact))
        ]

    def _build_optimizer(self) -> torch.optim.Adam:
        run = self.run
        tuned = [
            (parameters, share * run.learning_rate)
            for share, parameters in learning_shares(self.trained.feature_transform)
        ]
        if run.tail_learning_rate > 0:
            tuned.append((self.trained.tail_parameters(), run.tail_learning_rate))
        else:
            self.trained.tail.requires_grad_(False)
        return torch.optim.Adam(
            [{"params": parameters, "peak": peak} for parameters, peak in tuned],
            lr=run.learning_rate,
            foreach=True,
        )

    def _draw(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """(B,) levels and (B,) real qualities, all alike: the cloud meets every one of them."""
        generator = torch.Generator().manual_seed(draw_seed(self.seed, step))
        manifest = self.artifact.manifest
        level = torch.randint(len(manifest.levels), (size,), generator=generator)
        quality = torch.rand(size, generator=generator) * (manifest.qualities - 1)
        return level.to(self.device), quality.to(self.device)


def _check(
    run: TailRun, codec: CodecArtifact, detector: str, is_own: bool, max_stride: int
) -> None:
    if codec.manifest.prior == "hyperprior":
        raise TailError(
            f"codec {codec.label} has a hyperprior, which a tuned cloud cannot be written for; "
            "`slimwire tabulate` gives it a context prior"
        )
    wanted = codec.manifest.detector
    if run.feature_transform is None and not is_own:
        raise TailError(
            f"codec {codec.label} was trained for detector "
            f"{f'{wanted.name}/{wanted.version}' if wanted else 'none'}; found {detector}: another "
            "needs a feature transform of its own (`--recipe stem`)"
        )
    if run.image_size % max_stride:
        raise TailError(
            f"image size {run.image_size}; expected a multiple of {max_stride} pixels, the "
            "detector's coarsest grid"
        )


def _watched_points(artifact: CodecArtifact) -> list[tuple[int, float]]:
    """Some (level, quality) from the coarsest use to the finest."""
    K, finest = len(artifact.levels), artifact.manifest.qualities - 1
    wanted = ((0, finest // 3), (K // 3, finest // 2), (K - 1, finest // 2), (K - 1, finest))
    return list(dict.fromkeys((level, float(quality)) for level, quality in wanted))


@torch.no_grad()
def evaluate_tail(
    encoder: FrozenEncoder,
    decoder: TunedDecoder,
    teacher: Teacher,
    prepared: PreparedPictures,
    point: tuple[int, float] | None,
    batch_size: int = 8,
) -> dict[str, Cell]:
    """Measure one (level, quality), or, for None, the teacher on the uncompressed pictures.

    Returns:
        A row: the shares of the teacher's features and heads that are lost, and mAP50 over the
        classes with enough labels (NaN without any).
    """
    specs = decoder.tail.head_specs
    device = next(decoder.parameters()).device
    found: list[ScoredBoxes] = []
    lost: list[Tensor] = []
    for start in range(0, len(prepared.x), batch_size):
        x = prepared.x[start : start + batch_size].to(device).float() / 255
        x = x.contiguous(memory_format=torch.channels_last)
        f = teacher.features(x)
        heads = teacher.heads(f)
        heads_hat = heads
        if point is not None:
            level = torch.full((len(x),), point[0], device=device)
            quality = torch.full((len(x),), float(point[1]), device=device)
            y_hat = encoder(x, level, quality)
            with torch.autocast(device.type, torch.bfloat16):
                f_hat, heads_hat = decoder(y_hat, level)
            lost.append(
                torch.stack([normalised_error(f_hat, f), heads_lost(heads_hat, heads, specs)])
            )
        contents_xyxy = prepared.contents_xyxy[start : start + batch_size]
        found += detect_boxes(heads_hat, specs, contents_xyxy)
    features, at_heads = torch.cat(lost, 1).mean(1).tolist() if lost else (0.0, 0.0)
    level_of, quality_of = point or (None, None)
    return {
        "level": level_of,
        "quality": quality_of,
        "features": features,
        "heads": at_heads,
        "map50": float(mean_ap(match_boxes(found, prepared.labels), MIN_LABELS)[0]),
    }
