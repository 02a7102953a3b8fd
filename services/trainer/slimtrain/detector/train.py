"""`slimwire train detector`: a Darknet detector on labelled pictures.

    cfg, weights -widen-> Darknet -AdamW, cosine in elapsed time-> average of weights
                          `-> detector.cfg                          `-> detector.weights

What is a run's own is here; the rest is `slimtrain.loop.loop`. On CUDA its graph is compiled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from slimnets.darknet.cfg import format_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.weights import save_darknet_weights
from slimtrain.data.pictures import Pictures
from slimtrain.detector.data import Augmentation, DetectorSampler
from slimtrain.detector.evaluate import evaluate_prepared, prepare_pictures
from slimtrain.detector.loss import detector_loss
from slimtrain.detector.start import build_model
from slimtrain.loop.identity import digest_of_file, digest_of_pictures
from slimtrain.loop.log import Cell
from slimtrain.loop.loop import Loop
from slimtrain.loop.processes import refuse_processes
from slimtrain.loop.schedule import Schedule

logger = logging.getLogger(__name__)

LAST_PART = 0.15
"""The last part of the run shows nearly whole pictures: few mosaics."""
LAST_MOSAIC_SHARE = 0.1
FINAL_LEARNING_RATE = 0.02
"""Of the peak, at the end of the cosine."""
CLIP_NORM = 10.0


@dataclass(frozen=True)
class DetectorRun:
    """What a run is.

    Args:
        out: folder of checkpoint.pt, log.csv, validation.csv and the Darknet files of the result;
            a checkpoint there is resumed.
        init_cfg, init_weights: Darknet's, to begin with; None: weights at random.
        seconds: of the whole schedule, loading and earlier starts included.
        max_steps: ends the schedule sooner; None: `seconds` alone decides.
        folder_weights: of `Augmentation`.
    """

    out: Path
    init_cfg: Path
    init_weights: Path | None
    seconds: float
    widen: int = 1
    widen_noise: float = 0.1
    scale_x_y: float = 2.0
    image_size: int = 416
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 300
    average_decay: float = 0.9995
    evaluate_seconds: float = 60.0
    max_steps: int | None = None
    folder_weights: Mapping[str, float] = field(default_factory=dict)
    compile: bool = True
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    seed: int = 0


def train_detector(run: DetectorRun, training: Pictures, validation: Pictures) -> Path:
    """Train (or go on training) until the time is over; the `.weights` file of the result, which
    has its `.cfg` beside it.

    Args:
        training: pictures without labels are left out.
        validation: likewise; measured every minute, for validation.csv.

    Raises:
        PictureError: no picture is labelled.
        AnotherRunError: `run.out` holds a run on other pictures or from another beginning.
        ProcessesError: torchrun started several processes.
    """
    started = time.monotonic()
    refuse_processes("train detector")
    task = _DetectorTask(run, training, validation)
    loop = Loop(
        run.out,
        Schedule(run.warmup_steps, FINAL_LEARNING_RATE),
        run.average_decay,
        steps=run.max_steps,
        # loading and compiling took part of the time: the schedule fills what is left
        schedule_seconds=run.seconds - (time.monotonic() - started),
        clip=CLIP_NORM,
        validate_every=run.evaluate_seconds,
    )
    loop.run(task)
    weights = run.out / "detector.weights"
    (run.out / "detector.cfg").write_text(format_cfg(task.trained.sections), encoding="utf-8")
    save_darknet_weights(task.trained, weights)
    return weights


class _DetectorTask:
    """Augmented batches of labelled pictures, and the detector's own loss."""

    name = "model"

    def __init__(self, run: DetectorRun, training: Pictures, validation: Pictures) -> None:
        device = torch.device(run.device)
        torch.manual_seed(run.seed)
        torch.backends.cudnn.benchmark = True
        self.run = run
        self.trained = _on_device(
            build_model(run.init_cfg, run.init_weights, run.widen, run.widen_noise, run.scale_x_y),
            device,
        ).train()
        self.optimizer = _build_optimizer(self.trained, run)
        augmentation = Augmentation(folder_weights=run.folder_weights)
        self.sampler = DetectorSampler(training, run.image_size, device, augmentation, run.seed)
        labelled = validation.select(lambda index: validation.boxes[index] is not None)
        self.prepared = prepare_pictures(labelled, run.image_size)
        self.identity = {
            "graph": digest_of_file(run.init_cfg),
            "weights to begin with": digest_of_file(run.init_weights),
            "pictures": digest_of_pictures(training.images, training.boxes),
        }
        self.kept: dict[str, Any] = {}
        self.forward: nn.Module = self.trained
        if run.compile and device.type == "cuda":
            self.forward = _try_compile(self.trained, self.sampler, run)

    def begin(self) -> None:
        """The model was built with what it begins with."""

    def losses(self, step: int, done: float) -> dict[str, Tensor]:
        share = LAST_MOSAIC_SHARE if done > 1 - LAST_PART else None
        batch = self.sampler.batch(step, self.run.batch_size, share)
        x = batch.x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            raw = self.forward(x)
        loss = detector_loss(raw, batch.targets, self.trained.head_specs)
        parts = {"box": loss.box, "objectness": loss.objectness, "classes": loss.classes}
        return {"loss": loss.total, **parts}

    def validate(self) -> list[dict[str, Cell]]:
        return evaluate_prepared(self.trained, self.prepared)

    def one_picture(self) -> tuple[Darknet, tuple[Tensor], int]:
        side = self.run.image_size
        x = torch.zeros(1, 3, side, side, device=next(self.trained.parameters()).device)
        return self.trained.eval(), (x,), self.run.batch_size


def _on_device(model: Darknet, device: torch.device) -> Darknet:
    model = model.to(device)
    return model.to(memory_format=torch.channels_last)


def _build_optimizer(model: Darknet, run: DetectorRun) -> torch.optim.AdamW:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "peak": run.learning_rate, "weight_decay": run.weight_decay},
        {"params": plain, "peak": run.learning_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=run.learning_rate, fused=run.device.startswith("cuda"))


def _try_compile(model: Darknet, sampler: DetectorSampler, run: DetectorRun) -> nn.Module:
    """The compiled model, or the model itself where the compiler is missing or fails."""
    started = time.monotonic()
    statistics = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        compiled = cast(nn.Module, torch.compile(model, dynamic=False))
        model.train()
        batch = sampler.batch(0, run.batch_size)
        x = batch.x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            raw = compiled(x)
        loss = detector_loss(raw, batch.targets, model.head_specs)
        loss.total.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    except Exception as exc:
        # The compiler can fail in a hundred ways of its own; none of them is worth the run.
        logger.warning("training without torch.compile: %s", str(exc)[:500])
        compiled = model
    model.zero_grad(set_to_none=True)
    model.load_state_dict(statistics)  # the trial moved the running statistics
    logger.info("compiled in %.0f seconds", time.monotonic() - started)
    return compiled
