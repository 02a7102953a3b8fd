"""`slimwire train detector`: a Darknet detector on labelled pictures.

    cfg, weights -build_model-> Darknet -AdamW, cosine in elapsed time-> average of weights
                   `-the start, kept, says what nobody labelled           `-> detector.weights

What a run's own is here; the rest is `slimtrain.loop.loop`. On CUDA its graph is compiled.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from slimnets.darknet.cfg import format_cfg
from slimnets.darknet.detector import Darknet
from slimnets.darknet.fold import freeze
from slimnets.darknet.weights import save_darknet_weights
from slimtrain.data.crops import draw_seed
from slimtrain.data.pictures import Labelling, Pictures
from slimtrain.detector.artifact import DarknetFiles, build_model
from slimtrain.detector.augment import Augmentation
from slimtrain.detector.data import DetectorBatch, DetectorSampler
from slimtrain.detector.evaluate import evaluate_prepared, prepare_pictures
from slimtrain.detector.loss import DetectorLoss, Teaching, detector_loss
from slimtrain.loop.checkpoint import digest_of_file, digest_of_pictures
from slimtrain.loop.log import Cell
from slimtrain.loop.loop import Loop, Task
from slimtrain.loop.processes import Processes
from slimtrain.loop.schedule import Count, Pixels, Rate, Schedule, Seed, Share

logger = logging.getLogger(__name__)

LAST_PART = 0.15  # the last part of the run shows nearly whole pictures: few mosaics
LAST_MOSAIC_SHARE = 0.1
FINAL_LEARNING_RATE = 0.02  # of the peak, at the end of the cosine
CLIP_NORM = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSchedule:
    """How long and on what a detector is trained; a recipe may set these."""

    # of the whole schedule, loading and earlier starts included
    seconds: Annotated[float, Field(ge=1)] = 3600.0
    max_steps: Count | None = None  # ends the schedule sooner; None: `seconds` alone decides
    # pixels a side, in validation and of the pictures that `batch_size` counts
    image_size: Pixels = 416
    # sides drawn in training, each with about as many pixels in a batch; none: `image_size`
    image_sizes: tuple[Pixels, ...] = ()
    batch_size: Count = 64
    learning_rate: Rate = 2e-3
    # factor of the learning rate in layers that begin at random
    fresh_rate: Annotated[float, Field(gt=0)] = 1.0
    weight_decay: Share = 0.02
    warmup_steps: Annotated[int, Field(ge=0)] = 300
    average_decay: Share = 0.9995
    # weight of what the teacher says of classes that nobody looked for; 0: where there is no box
    # there is nothing
    taught: Annotated[float, Field(ge=0)] = 0.0
    # first layers that stay as they are; there must be a cut behind them
    frozen_layers: Annotated[int, Field(ge=0)] = 0
    # batch norm as when serving; for small batches, and in float32: in bf16 such gradients were 45
    # % off
    frozen_norms: bool = False
    evaluate_seconds: Annotated[float, Field(gt=0)] = 60.0
    seed: Seed = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRun(DetectorSchedule):
    """What a run is."""

    # folder of checkpoint.pt, log.csv, validation.csv and the Darknet files of the result; a
    # checkpoint there is resumed
    out: Path
    cfg: Path  # Darknet's graph
    # what it begins with, as far as its layers are the graph's; None: at random
    start: DarknetFiles | None = None
    teacher: DarknetFiles | None = None  # None: the start
    # of the pictures' folders, by name
    labellings: Mapping[str, Labelling] = field(default_factory=dict)
    augmentation: Augmentation = Augmentation()
    threads: int | None = None  # of the processor; None: torch's choice
    compile: bool = True
    device: str | None = None  # None: cuda where there is one


def train_detector(run: DetectorRun, training: Pictures, validation: Pictures) -> Path:
    """Train (or go on training) until the time is over; the `.weights` file of the result, which
    has its `.cfg` beside it.

    Args:
        training: pictures without labels are left out.
        validation: likewise; measured every minute, for validation.csv.

    Raises:
        PictureError: no picture is labelled.
        LoopError: `run.out` holds a run on other pictures or from another beginning, or
            the batch does not divide among the processes.
        SplitError: a layer behind `frozen_layers` reads one of them.
    """
    started = time.monotonic()
    with Processes.join(run.device, run.threads) as processes:
        task = _DetectorTask(run, processes, training, validation)
        loop = Loop(
            run.out,
            Schedule(run.warmup_steps, FINAL_LEARNING_RATE),
            run.average_decay,
            steps=run.max_steps,
            # loading and compiling took part of the time: the schedule fills what is left
            schedule_seconds=run.seconds - processes.furthest(time.monotonic() - started),
            clip=CLIP_NORM,
            validate_every=run.evaluate_seconds,
            processes=processes,
        )
        loop.run(task)
    weights = run.out / "detector.weights"
    if processes.is_first:
        (run.out / "detector.cfg").write_text(format_cfg(task.trained.sections), encoding="utf-8")
        save_darknet_weights(task.trained, weights)
    return weights


class _DetectorTask(Task):
    """Augmented batches of labelled pictures, and the detector's own loss."""

    name = "model"
    trained: Darknet

    def __init__(
        self, run: DetectorRun, processes: Processes, training: Pictures, validation: Pictures
    ) -> None:
        device = processes.device
        torch.manual_seed(run.seed)
        torch.backends.cudnn.benchmark = True
        self.run, self.batch = run, processes.part_of(run.batch_size)
        model, taken = build_model(run.cfg, run.start)
        self.trained = model.to(device).to(memory_format=torch.channels_last)
        self.forward: nn.Module = _Forward(self.trained, run.frozen_layers, run.frozen_norms)
        self.optimizer = _build_optimizer(self.trained, taken, run)
        self.teacher: Darknet | None = None
        teacher = run.teacher or run.start
        if run.taught > 0 and teacher is not None:
            self.teacher = freeze(teacher.load()).to(device)
        self.sampler = DetectorSampler(
            training,
            run.image_size,
            device,
            run.augmentation,
            processes.seed_of(run.seed),
            run.labellings,
            self.trained.classes,
        )
        labelled = [picture for picture in validation if picture.boxes is not None]
        self.prepared = prepare_pictures(labelled, run.image_size)
        self.identity = {
            "graph": digest_of_file(run.cfg),
            "weights to begin with": digest_of_file(run.start.weights if run.start else None),
            "pictures": digest_of_pictures(training),
        }
        if run.compile and device.type == "cuda":
            self.forward = self._try_compile()

    def losses(self, step: int, done: float) -> dict[str, Tensor]:
        run = self.run
        sizes = run.image_sizes or (run.image_size,)
        # every process draws the same side, so that none waits for a larger one
        generator = torch.Generator().manual_seed(draw_seed(run.seed, step))
        side = sizes[int(torch.randint(len(sizes), (1,), generator=generator))]
        count = max(1, round(self.batch * (run.image_size / side) ** 2))
        share = LAST_MOSAIC_SHARE if done > 1 - LAST_PART else None
        loss = self._loss(self.sampler.batch(step, count, share, side))
        parts = {"box": loss.box, "objectness": loss.objectness, "classes": loss.classes}
        return {"loss": loss.total, **parts, "taught": loss.taught}

    def _loss(self, batch: DetectorBatch) -> DetectorLoss:
        x = batch.x.contiguous(memory_format=torch.channels_last)
        teaching = None
        if self.teacher is not None:
            with torch.no_grad():
                said = self.teacher(x.bfloat16())
            teaching = Teaching(said, self.teacher.head_specs, batch.is_absent, self.run.taught)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=not self.run.frozen_norms):
            raw = self.forward(x)
        return detector_loss(raw, batch.targets, self.trained.head_specs, teaching)

    def validate(self) -> list[dict[str, Cell]]:
        return evaluate_prepared(self.trained, self.prepared)

    def _try_compile(self) -> nn.Module:
        """The compiled model, or the model itself where the compiler is missing or fails."""
        started = time.monotonic()
        plain = self.forward
        statistics = {name: value.clone() for name, value in self.trained.state_dict().items()}
        try:
            self.forward = cast(nn.Module, torch.compile(plain))
            self._loss(self.sampler.batch(0, self.batch)).total.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            return self.forward
        except Exception as exc:
            # The compiler can fail in a hundred ways of its own; none of them is worth the run.
            logger.warning("training without torch.compile: %s", str(exc)[:500])
            return plain
        finally:
            self.trained.zero_grad(set_to_none=True)
            self.trained.load_state_dict(statistics)  # the trial moved the running statistics
            logger.info("compiled in %.0f seconds", time.monotonic() - started)


class _Forward(nn.Module):
    """Raw head maps of the detector in training, its first layers and perhaps its norms frozen.

    The frozen layers run as a folded copy in bf16: 0.12 s for 8 pictures of 416 pixels on one core,
    0.20 s in float32, 0.40 s under autocast.
    """

    def __init__(self, model: Darknet, frozen_layers: int, frozen_norms: bool) -> None:
        super().__init__()
        self.model, self.split, self.frozen_norms = model, frozen_layers - 1, frozen_norms
        self.frozen: Darknet | None = None
        if frozen_layers:
            model.split_point(self.split)
            model.layers[:frozen_layers].requires_grad_(False)
            self.frozen = freeze(model)

    def forward(self, x: Tensor) -> list[Tensor]:
        self.model.train(not self.frozen_norms)
        if self.frozen is None:
            raw: list[Tensor] = self.model(x)
            return raw
        with torch.no_grad():
            f = self.frozen.stem(x.bfloat16(), self.split).float()
        return self.model.tail(f, self.split)


def _build_optimizer(model: Darknet, taken: int, run: DetectorRun) -> torch.optim.AdamW:
    def group(layers: nn.ModuleList, is_decayed: bool, rate: float) -> dict[str, Any]:
        parameters = [
            p for p in layers.parameters() if p.requires_grad and (p.ndim > 1) == is_decayed
        ]
        decay = run.weight_decay if is_decayed else 0.0
        return {"params": parameters, "peak": run.learning_rate * rate, "weight_decay": decay}

    parts = [(model.layers[:taken], 1.0), (model.layers[taken:], run.fresh_rate)]
    groups = [group(layers, decayed, rate) for layers, rate in parts for decayed in (True, False)]
    filled = [each for each in groups if each["params"]]
    return torch.optim.AdamW(filled, lr=run.learning_rate, fused=next(model.parameters()).is_cuda)
