"""`slimwire train tail`, the second stage: the encoder is frozen, feature transform and the
detector's tail learn to live with what arrives.

    pictures -augment-> x -FrozenEncoder(random level, quality)-> y_hat -TunedDecoder-> f_hat, heads
    f_hat, heads, boxes, teacher(x) -tail_losses-> backward, clip, Adam -> weights -average->
    checkpoint.pt -write_tail_artifact-> a new version of the codec, same fingerprint

Nothing at the edge changes: every container that was ever made still decodes, and an edge with the
old version talks to a cloud with the new one. Started again with the same folder a run goes on
where it stopped, on the same pictures and draws.

Source: Matsubara et al., "Supervised Compression for Resource-Constrained Edge Computing Systems"
(WACV 2022), section 4.2, https://arxiv.org/abs/2108.11898.
"""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from slimcodec.model.artifact import CodecArtifact, load_codec_artifact, load_detector_artifact
from slimnets.codec.config import LATENT_STRIDE
from slimnets.codec.stem_transform import StemFeatureTransform
from slimnets.darknet.detector import Darknet
from slimnets.darknet.fold import load_tail
from slimtrain.codec.artifact import load_codec_model
from slimtrain.codec.stem_start import FIT_STEPS, fit_picture, give_stem, learning_shares
from slimtrain.data.pictures import PackedPictures
from slimtrain.detector.artifact import load_detector_model
from slimtrain.detector.evaluate import PreparedPictures
from slimtrain.loop.checkpoint import WeightAverage, load_checkpoint, save_checkpoint
from slimtrain.loop.throughput import throughput
from slimtrain.tail.data import TailSampler
from slimtrain.tail.evaluate import TailFigures, evaluate_tail, prepare_validation
from slimtrain.tail.loss import TailLosses, TailLossWeights, Teacher, tail_losses
from slimtrain.tail.model import FrozenEncoder, TunedDecoder

logger = logging.getLogger(__name__)

_LOG_EVERY = 20  # steps
_SAVE_EVERY_SECONDS = 60.0
_WARM_UP = 50  # steps: Adam's second moments
_CLIP = 5.0  # gradient norm
_LAST_SHARE = 0.01  # of the learning rates, at the end
_VALIDATION_SIZE = 416  # pixels; as the detector's own figures are measured


class TailError(ValueError):
    """Models or settings that the second stage cannot be run with."""


@dataclass(frozen=True, slots=True)
class TailRun:
    """One run of the second stage.

    Args:
        out: folder of checkpoint.pt, log.csv and validation.csv; an existing checkpoint is resumed.
        codec: folder of a codec's artifact (tables and fingerprint are its identity).
        detector: folder of the detector that the codec was trained for.
        steps: of the whole schedule (short warm-up, cosine to a hundredth).
        seconds: stop after this much time of this process, with a checkpoint; None: run to the end.
        batch: pictures per step.
        image_size: side of the augmented pictures, pixels, a multiple of 32.
        learning_rate: peak, Adam, of the feature transform.
        tail_learning_rate: of the detector's tail; 0 leaves the tail as it is.
        feature_transform: "stem" gives the codec a new feature transform that ends in the
            detector's first layers (`slimnets.codec.stem_transform`); None: the codec's own goes
            on.
        average: decay of the weight average, which is what is shipped.
        threads: of torch on the CPU; None leaves it to torch.
    """

    out: Path
    codec: Path
    detector: Path
    weights: TailLossWeights = TailLossWeights()
    steps: int = 2_000
    seconds: float | None = None
    batch: int = 8
    image_size: int = 320
    learning_rate: float = 3e-4
    tail_learning_rate: float = 3e-5
    feature_transform: Literal["stem"] | None = None
    average: float = 0.995
    threads: int | None = None
    seed: int = 1
    device: str = "cpu"


def train_tail(run: TailRun, training: PackedPictures, validation: PackedPictures) -> Path:
    """Tune (or go on tuning) and return the checkpoint's path.

    Args:
        training: labelled or not; unlabelled ones have no detection loss.
        validation: measured before and after, for validation.csv; may be empty.

    Raises:
        TailError: codec, detector and settings do not fit together.
        ModelError, NetError: an artifact is damaged.
    """
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    stage = _Stage(run)
    has_labels = any(boxes is not None for boxes in training.boxes)
    if run.weights.heads <= 0 and run.weights.features <= 0 and not has_labels:
        raise TailError("no labelled picture and no distillation; raise the weight of the heads")
    use_labels = run.weights.detection > 0
    sampler = TailSampler(training, run.image_size, stage.device, run.seed, use_labels)
    prepared = prepare_validation(validation, _VALIDATION_SIZE)
    step = stage.resume()
    log = _Log(run.out)

    def validate(step: int, points: Sequence[tuple[int, float] | None]) -> None:
        if len(prepared.x):
            log.write_validation(step, [stage.measure(prepared, point) for point in points])

    points = _watched_points(stage.artifact)
    if step == 0:
        stage.begin(sampler)
        validate(0, [None, *points])
    first, started = step, time.monotonic()
    saved = started
    with tqdm(total=run.steps, initial=step, unit="step", mininterval=2.0) as progress:
        while step < run.steps:
            losses, norm = stage.step(sampler, step)
            step += 1
            progress.update()
            now = time.monotonic()
            stopping = run.seconds is not None and now - started > run.seconds
            if step % _LOG_EVERY == 0 or step == run.steps or stopping:
                progress.set_postfix_str(log.write(step, losses, norm))
            if now - saved > _SAVE_EVERY_SECONDS or step == run.steps or stopping:
                stage.save(step)
                saved = now
            if stopping:
                break
    said = stage.throughput(step - first, time.monotonic() - started)
    if said is not None:
        tqdm.write(said)
    stage.decoder.load_state_dict(stage.average.state)
    validate(step, points)
    return stage.checkpoint


class _Stage:
    """What a step works on."""

    def __init__(self, run: TailRun) -> None:
        self.run = run
        self.device = torch.device(run.device)
        self.checkpoint = run.out / "checkpoint.pt"
        self.artifact = load_codec_artifact(run.codec)
        original, split = _matching_detector(run, self.artifact)
        codec = load_codec_model(run.codec)
        self.is_new = run.feature_transform is not None
        if self.is_new:
            codec = give_stem(codec, original, split)
        self.config = codec.config
        started_from = original
        if "tail.onnx" in self.artifact.manifest.files:
            started_from = load_tail(original, split, self.artifact.file("tail.onnx"))
        self.teacher = Teacher(original, split, self.device)
        self.encoder = FrozenEncoder(codec, self.device)
        self.decoder = TunedDecoder(codec, started_from, split)
        self.decoder.to(self.device).to(memory_format=torch.channels_last)
        self.average = WeightAverage(self.decoder, run.average)
        tuned = [
            (parameters, share * run.learning_rate)
            for share, parameters in learning_shares(self.decoder.feature_transform)
        ]
        if run.tail_learning_rate > 0:
            tuned.append((self.decoder.tail_parameters(), run.tail_learning_rate))
        else:
            self.decoder.tail.requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            [{"params": parameters, "peak": peak} for parameters, peak in tuned],
            lr=run.learning_rate,
            foreach=True,
        )
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]

    def begin(self, sampler: TailSampler) -> None:
        """Fit the picture of a new feature transform."""
        transform = self.decoder.feature_transform
        if not (self.is_new and isinstance(transform, StemFeatureTransform)):
            return

        def draw(step: int) -> tuple[Tensor, Tensor, Tensor]:
            x = sampler.batch(step, self.run.batch).x
            level, quality = self._draw(step, len(x))
            y_hat = self.encoder(x.contiguous(memory_format=torch.channels_last), level, quality)
            return x, y_hat, F.one_hot(level, self.config.num_levels).to(y_hat.dtype)

        fit_picture(transform, draw, min(FIT_STEPS, self.run.steps))
        self.average.load_state_dict({"steps": 0, "state": self.decoder.state_dict()})

    def step(self, sampler: TailSampler, step: int) -> tuple[TailLosses, float]:
        """One update; draws depend on the step alone, so that a resumed run goes on exactly."""
        run = self.run
        batch = sampler.batch(step, run.batch)
        x = batch.x.contiguous(memory_format=torch.channels_last)
        level, quality = self._draw(step, len(x))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * _schedule(step, run.steps)
        y_hat = self.encoder(x, level, quality)
        with torch.autocast(self.device.type, torch.bfloat16):
            f_hat, heads_hat = self.decoder(y_hat, level)
            losses = tail_losses(
                f_hat,
                heads_hat,
                x,
                batch.targets,
                self.teacher,
                self.decoder.tail.head_specs,
                run.weights,
            )
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = float(nn.utils.clip_grad_norm_(self.parameters, _CLIP, foreach=True))
        if math.isfinite(norm):
            self.optimizer.step()
        else:
            logger.warning("step %d: the gradient is not finite; left out", step)
        self.average.update(self.decoder)
        return losses, norm

    def measure(self, prepared: PreparedPictures, point: tuple[int, float] | None) -> TailFigures:
        """One operating point with the decoder's present weights."""
        return evaluate_tail(self.encoder, self.decoder, self.teacher, prepared, point)

    def throughput(self, steps: int, seconds: float) -> str | None:
        """What these steps made of the device, for a person."""
        side = self.run.image_size // LATENT_STRIDE
        y_hat = torch.zeros(1, self.config.latent_channels[-1], side, side, device=self.device)
        level = torch.zeros(1, dtype=torch.int64, device=self.device)
        return throughput(self.decoder, (y_hat, level), self.run.batch, steps, seconds)

    def resume(self) -> int:
        """Load the checkpoint, if there is one; the number of steps that are done."""
        state = load_checkpoint(self.checkpoint, self.device)
        if state is None:
            return 0
        if state["fingerprint"] != self.artifact.manifest.fingerprint:
            raise TailError(
                f"{self.checkpoint} belongs to codec {state['fingerprint']}, {self.run.codec} is "
                f"{self.artifact.manifest.fingerprint}; choose another folder"
            )
        self.decoder.load_state_dict(state["decoder"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    def save(self, step: int) -> None:
        """Write the checkpoint."""
        save_checkpoint(
            self.checkpoint,
            {
                "step": step,
                "fingerprint": self.artifact.manifest.fingerprint,
                "config": self.config.to_json(),
                "tail_is_tuned": self.run.tail_learning_rate > 0,
                "decoder": self.decoder.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
        )

    def _draw(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """(B,) levels and (B,) real qualities, all alike: the cloud meets every one of them."""
        generator = torch.Generator().manual_seed((self.run.seed << 40) + step)
        manifest = self.artifact.manifest
        level = torch.randint(len(manifest.levels), (size,), generator=generator)
        quality = torch.rand(size, generator=generator) * (manifest.qualities - 1)
        return level.to(self.device), quality.to(self.device)


def _matching_detector(run: TailRun, codec: CodecArtifact) -> tuple[Darknet, int]:
    """The detector and its split, which must be the codec's."""
    manifest = load_detector_artifact(run.detector).manifest
    wanted = codec.manifest.detector
    if wanted is None or (wanted.name, wanted.version) != (manifest.name, manifest.version):
        raise TailError(
            f"codec {codec.label} was trained for detector "
            f"{f'{wanted.name}/{wanted.version}' if wanted else 'none'}; found {manifest.label}"
        )
    model = load_detector_model(run.detector)
    if run.image_size % model.max_stride:
        raise TailError(
            f"image size {run.image_size}; expected a multiple of {model.max_stride} pixels, the "
            "detector's coarsest grid"
        )
    return model, manifest.split.layer


def _watched_points(artifact: CodecArtifact) -> list[tuple[int, float]]:
    """Some (level, quality) from the coarsest use to the finest."""
    K, finest = len(artifact.levels), artifact.manifest.qualities - 1
    wanted = ((0, finest // 3), (K // 3, finest // 2), (K - 1, finest // 2), (K - 1, finest))
    return list(dict.fromkeys((level, float(quality)) for level, quality in wanted))


def _schedule(step: int, steps: int) -> float:
    """Share of the peak: linear warm-up, then a cosine to the last share."""
    warm = min(1.0, (step + 1) / _WARM_UP)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * (_LAST_SHARE + (1 - _LAST_SHARE) * cosine)


class _Log:
    """log.csv, a row every few steps, and validation.csv, before and after."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._steps = folder / "log.csv"
        self._validation = folder / "validation.csv"

    def write(self, step: int, losses: TailLosses, norm: float) -> str:
        """Append one batch's losses; gives them for the progress bar."""
        names = ("total", "detection", "heads", "features")
        values = [float(getattr(losses, name).detach()) for name in names]
        _append(
            self._steps,
            ["step", *names, "gradient_norm"],
            [step, *(f"{value:.4f}" for value in values), f"{norm:.3f}"],
        )
        return " ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))

    def write_validation(self, step: int, rows: Sequence[TailFigures]) -> None:
        """Append operating points; the uncompressed detector's has neither level nor quality."""
        names = ["step", *(field.name for field in fields(TailFigures))]
        for row in rows:
            values = ["" if value is None else f"{value:.4g}" for value in astuple(row)]
            _append(self._validation, names, [step, *values])


def _append(path: Path, names: Sequence[str], row: Sequence[object]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(names)
        writer.writerow(row)
