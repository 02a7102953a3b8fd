"""`slimwire train codec`: one step = one batch, a quality and levels for each picture, one summed
loss.

    pictures -crops-> x -CodecObjective-> losses; the rest is `slimtrain.loop.loop`
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from tqdm import tqdm

from slimcodec.pixels import psnr_db_of_error
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.darknet.detector import Darknet
from slimtrain.codec.loss import CodecLosses, CodecObjective, LossWeights
from slimtrain.codec.start import (
    FIT_STEPS,
    begin_stem,
    begin_with,
    fit_prior,
    freeze_levels,
    learning_shares,
    split_prior,
)
from slimtrain.data.crops import CropSampler, draw_seed
from slimtrain.loop.checkpoint import digest_of_images, digest_of_weights
from slimtrain.loop.log import Cell
from slimtrain.loop.loop import Loop, Task
from slimtrain.loop.processes import Processes
from slimtrain.loop.schedule import Count, Pixels, Rate, Schedule, Seed, Share

_WARM_UP = 300  # steps
_LAST_SHARE = 0.01  # of the learning rates, at the end
# Of the learning rate: a small step of all of gamma moves every norm at once.
_GDN_SHARE = 0.25
_PRIOR_SHARE = 5.0  # the densities must follow the latents, which shrink within some hundred steps
# Their kernels begin as a DCT with entries of about 0.15 and 0.008: whole steps would blur it.
_ANALYSIS_BLOCK_SHARE = 0.1
_SYNTHESIS_BLOCK_SHARE = 0.01
_CLIP = 1.0  # gradient norm
# Share of the steps in which D_machine's gradient comes to reach the latent: before the feature
# transform has learned anything it would only wear the latent down.
_MACHINE_RAMP = 0.1
_VALIDATION_BATCHES = 4
_START_PICTURES = 64  # on which a new codec's scales are set


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecSchedule:
    """How long and on what a codec is trained; a recipe may set these."""

    steps: Count = 20_000  # optimiser steps of the whole schedule (warm-up, cosine to a hundredth)
    # batch, crop: pictures per step over all processes; side of a crop, pixels
    batch: Count = 16
    crop: Pixels = 256
    learning_rate: Rate = 4e-4  # peak, Adam
    average: Share = 0.999  # decay of the weight average
    deep_from: Share = 0.6  # share of the steps after which D_machine looks behind the split point
    # so many of the narrowest levels stay as `start_from` has them, so that the wider ones can
    # learn for the view alone (`freeze_levels`)
    frozen_levels: Annotated[int, Field(ge=0)] = 0
    seed: Seed = 1


@dataclass(frozen=True, slots=True)
class CodecRun(CodecSchedule):
    """One training run."""

    out: Path  # folder of checkpoint.pt and log.csv; an existing checkpoint is resumed
    split_layer: int  # the detector's layer whose output the feature transform gives
    config: CodecConfig = CodecConfig()
    weights: LossWeights = LossWeights()
    # a codec's folder or a checkpoint, whose weights begin a new run wherever name and shape fit;
    # None: at random
    start_from: Path | None = None
    # stop after this much time of this process, with a checkpoint; None: run to the end
    seconds: float | None = None
    threads: int | None = None  # of torch on the CPU; None: torch's choice
    device: str | None = None  # None: cuda where there is one
    build: Callable[[CodecConfig], CodecNet] = CodecNet  # what makes the codec of a shape


def train_codec(
    run: CodecRun,
    detector: Darknet,
    training: Sequence[NDArray[np.uint8]],
    validation: Sequence[NDArray[np.uint8]],
) -> Path:
    """Train (or go on training) and return the checkpoint's path.

    Args:
        detector: the frozen teacher.
        training: pictures, (H, W, 3) uint8 RGB.
        validation: held-out pictures for validation.csv; may be empty.

    Raises:
        LoopError: `run.out` holds a run on another configuration, detector or pictures, or
            the batch does not divide among the processes.
        ValueError: the detector does not fit the configuration.
    """
    with Processes.join(run.device, run.threads) as processes:
        loop = Loop(
            run.out,
            Schedule(_WARM_UP, _LAST_SHARE, waits=True),
            run.average,
            steps=run.steps,
            seconds=run.seconds,
            clip=_CLIP,
            processes=processes,
        )
        loop.run(_CodecTask(run, processes, detector, training, validation))
    return loop.checkpoint


class _CodecTask(Task):
    """One step: one batch, a quality and levels for each picture, one summed loss."""

    name = "codec"
    trained: CodecNet

    def __init__(
        self,
        run: CodecRun,
        processes: Processes,
        detector: Darknet,
        training: Sequence[NDArray[np.uint8]],
        validation: Sequence[NDArray[np.uint8]],
    ) -> None:
        split = detector.split_point(run.split_layer)
        if split.channels != run.config.feature_channels:
            raise ValueError(
                f"layer {split.layer} of the detector has {split.channels} channels, the codec's "
                f"configuration says {run.config.feature_channels}; set feature_channels to the "
                "detector's"
            )
        device = processes.device
        self.run, self.device, self.detector = run, device, detector.to(device)
        self.batch, self.seed = processes.part_of(run.batch), processes.seed_of(run.seed)
        torch.manual_seed(run.seed)
        self.trained = run.build(run.config).to(device)
        self.objective = CodecObjective(self.trained, detector, split, run.weights).to(device)
        self.objective.to(memory_format=torch.channels_last)
        if run.frozen_levels:
            freeze_levels(self.trained, run.frozen_levels)
        self.optimizer = _build_optimizer(self.trained, run)
        self.crops = CropSampler(training, run.crop, device, self.seed)
        self.held_out: CropSampler | None = None
        if len(validation):
            self.held_out = CropSampler(validation, run.crop, device, run.seed)
        self.identity = {
            "configuration": json.dumps(asdict(run.config)),
            "detector": digest_of_weights(detector),
            "pictures": digest_of_images(training),
        }
        self.kept = {"config": asdict(run.config), "tasks": run.weights.tasks}

    def begin(self) -> None:
        """Scales, other weights and the prior, each where the run asks for it."""
        run, codec = self.run, self.trained
        codec.start_from(self.crops.batch(0, _START_PICTURES))
        new = list(codec.state_dict())
        if run.start_from is not None:
            new = begin_with(codec, run.start_from)
            tqdm.write(f"{run.start_from}: its weights, but for {', '.join(new) or 'none'}")
        if run.start_from is None or any(name.startswith("prior.") for name in new):
            fit_prior(codec, self.crops, min(FIT_STEPS, run.steps))
        begin_stem(codec, self.detector, self.crops, new)

    def losses(self, step: int, done: float) -> dict[str, Tensor]:
        """Of this process's part of the batch."""
        torch.manual_seed(draw_seed(self.seed, step, 1))  # not what the crops draw from
        x = self.crops.batch(step, self.batch).contiguous(memory_format=torch.channels_last)
        losses = _forward(self.objective, x, self.run, step)
        figures = {"bpp": losses.bpp, "machine": losses.machine, "psnr_db": losses.psnr_db}
        levels = range(self.run.config.num_levels)
        return {
            "loss": losses.total,
            **{f"{name}_{level}": f[level] for name, f in figures.items() for level in levels},
        }

    @torch.no_grad()
    def validate(self) -> list[dict[str, Cell]]:
        """Estimated rate, D_machine and PSNR of every (level, quality) on held-out crops."""
        if self.held_out is None:
            return []
        config, weights = self.run.config, self.run.weights
        rows: list[dict[str, Cell]] = []
        for quality, level in product(range(config.qualities), range(config.num_levels)):
            sums = torch.zeros(3)
            for i in range(_VALIDATION_BATCHES):
                torch.manual_seed(i)
                x = self.held_out.batch(i, min(self.run.batch, 16))
                at = torch.full((x.shape[0],), level, device=x.device)
                with torch.autocast(x.device.type, torch.bfloat16):
                    losses: CodecLosses = self.objective(
                        x,
                        at.new_full(at.shape, quality).float(),
                        at if weights.machine_levels[level] else None,
                        at if weights.view_levels[level] else None,
                        True,
                    )
                measured = [losses.bpp[level], losses.machine[level], losses.mse[level]]
                sums += torch.stack(measured).cpu() / _VALIDATION_BATCHES
            bpp, machine, mse = sums.tolist()
            rows.append(
                {
                    "level": level,
                    "quality": quality,
                    "bpp": bpp,
                    "machine": machine,
                    "psnr_db": psnr_db_of_error(mse, peak=1.0),
                }
            )
        return rows


def _forward(objective: nn.Module, x: Tensor, run: CodecRun, step: int) -> CodecLosses:
    """Sandwich rule (Yu and Huang, ICCV 2019), spread over the pictures of a batch.

    Running three levels for every picture would run the decoders three times. Qualities are drawn
    evenly; the machine's levels are a third each narrowest, between and widest; half of the views
    are at the widest. Levels that a task does not train are never drawn for it.
    """
    B = x.shape[0]
    # every batch holds the whole range, from the coarsest quality to the finest
    strata = (torch.randperm(B) + torch.rand(B)) / B
    quality = strata * (run.config.qualities - 1)
    machine = _sandwich(B, _trained(run.weights.machine_levels), narrowest=1 / 3)
    view = _sandwich(B, _trained(run.weights.view_levels), narrowest=1 / 6)
    with torch.autocast(x.device.type, torch.bfloat16):
        drawn = (None if t is None else t.to(x.device) for t in (quality, machine, view))
        losses: CodecLosses = objective(
            x,
            *drawn,
            deep=step >= run.deep_from * run.steps,
            machine_gradient=min(1.0, step / (_MACHINE_RAMP * run.steps)),
        )
    return losses


def _trained(weights: Sequence[float]) -> list[int]:
    """The levels whose weight is not zero."""
    return [level for level, weight in enumerate(weights) if weight]


def _sandwich(B: int, levels: Sequence[int], narrowest: float) -> Tensor | None:
    """(B,) of `levels`: this share at the first, a third anywhere between (of three or more), the
    rest at the last. None where there are none to draw.
    """
    if not levels:
        return None
    among = torch.tensor(levels)
    place = torch.full((B,), len(levels) - 1)
    kind = (torch.arange(B) + torch.rand(1)) / B  # stratified: every batch holds its share of each
    if len(levels) > 2:
        between = kind < narrowest + 1 / 3
        place[between] = torch.randint(1, len(levels) - 1, (int(between.sum()),))
    place[kind < narrowest] = 0
    return among[place]


def _build_optimizer(codec: CodecNet, run: CodecRun) -> torch.optim.Adam:
    densities, _ = split_prior(codec)
    shares = {id(parameter): _PRIOR_SHARE for parameter in densities}
    for prefix, share in (
        ("g_a.gdns.", _GDN_SHARE),
        ("g_a.block.", _ANALYSIS_BLOCK_SHARE),
        ("g_s.block.", _SYNTHESIS_BLOCK_SHARE),
    ):
        shares |= {id(p): share for name, p in codec.named_parameters() if name.startswith(prefix)}
    for share, parameters in learning_shares(codec.feature_transform):
        shares |= {id(p): share for p in parameters}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in codec.parameters():
        groups.setdefault(shares.get(id(parameter), 1.0), []).append(parameter)
    by_share = [
        {"params": parameters, "peak": share * run.learning_rate}
        for share, parameters in groups.items()
    ]
    return torch.optim.Adam(by_share, lr=run.learning_rate, fused=next(codec.parameters()).is_cuda)
