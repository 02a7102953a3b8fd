"""`slimwire train codec`: the loop. One step = one batch, a quality and levels for each picture,
one summed loss.

    pictures -crops-> x -CodecObjective-> losses -backward, clip, Adam-> weights -average-> shipped
                                            `-> log.csv      `-> checkpoint.pt (atomic, resumable)

A run is described by `CodecRun`; started again with the same folder it goes on where it was
killed, on the same crops and random draws. Under `torchrun` every process takes its share of the
batch and gradients are averaged (DDP).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from slimnets.codec.codec import Codec
from slimnets.codec.config import CodecConfig
from slimnets.darknet.detector import Darknet
from slimtrain.codec.freeze import freeze_levels
from slimtrain.codec.log import CodecLog
from slimtrain.codec.loss import CodecLosses, CodecObjective, LossWeights
from slimtrain.codec.start import FIT_STEPS, begin_stem, begin_with, fit_prior, split_prior
from slimtrain.codec.stem_start import learning_shares
from slimtrain.codec.throughput import codec_throughput
from slimtrain.data.crops import CropSampler
from slimtrain.loop.checkpoint import WeightAverage, load_checkpoint, save_checkpoint
from slimtrain.loop.processes import agree, join_processes, own_device

_LOG_EVERY = 50  # steps
_SAVE_EVERY_SECONDS = 60.0
_WARM_UP = 300  # steps
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


@dataclass(frozen=True, slots=True)
class CodecRun:
    """One training run.

    Args:
        out: folder of checkpoint.pt and log.csv; an existing checkpoint is resumed.
        split_layer: the detector's layer whose output the feature transform gives.
        steps: optimiser steps of the whole schedule (warm-up, cosine to a hundredth).
        seconds: stop after this much time of this process, with a checkpoint; None: run to the end.
        batch, crop: pictures per step over all processes; side of a crop, pixels (multiple of 32).
        learning_rate: peak, Adam.
        average: decay of the weight average.
        deep_from: share of the steps after which D_machine looks behind the split point.
        start_from: a codec's folder or a checkpoint, whose weights begin a new run wherever name
            and shape fit; None: at random.
        frozen_levels: so many of the narrowest levels stay as `start_from` has them, so that the
            wider ones can learn for the view alone (`slimtrain.codec.freeze`).
        threads: of torch on the CPU; None: torch's choice.
    """

    out: Path
    split_layer: int
    config: CodecConfig = CodecConfig()
    weights: LossWeights = LossWeights()
    steps: int = 20_000
    seconds: float | None = None
    batch: int = 16
    crop: int = 256
    learning_rate: float = 4e-4
    average: float = 0.999
    deep_from: float = 0.6
    start_from: Path | None = None
    frozen_levels: int = 0
    threads: int | None = None
    seed: int = 1
    device: str = "cpu"


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
    """
    rank, world = join_processes()
    if run.batch % world:
        raise ValueError(f"a batch of {run.batch} does not divide among {world} processes")
    device = own_device(run.device, world)
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    split = detector.split_point(run.split_layer)
    if split.channels != run.config.feature_channels:
        raise ValueError(
            f"layer {split.layer} of the detector has {split.channels} channels, the codec's "
            f"configuration says {run.config.feature_channels}; set feature_channels to the "
            "detector's"
        )
    torch.manual_seed(run.seed)
    codec = Codec(run.config)
    objective = CodecObjective(codec, detector.to(device), split, run.weights).to(device)
    objective = objective.to(memory_format=torch.channels_last)
    average = WeightAverage(codec, run.average)
    if run.frozen_levels:
        freeze_levels(codec, run.frozen_levels)
    optimizer = _build_optimizer(codec, run)
    path = run.out / "checkpoint.pt"
    crops = CropSampler(training, run.crop, device, run.seed)
    step = _resume(path, codec, average, optimizer, device)
    if step == 0:
        codec.start_from(crops.batch(0, _START_PICTURES))
        new = list(codec.state_dict())
        if run.start_from is not None:
            new = begin_with(codec, run.start_from)
            if rank == 0:
                tqdm.write(f"{run.start_from}: its weights, but for {', '.join(new) or 'none'}")
        if run.start_from is None or any(name.startswith("prior.") for name in new):
            fit_prior(codec, crops, min(FIT_STEPS, run.steps))
        begin_stem(codec, detector, crops, new)
        average.load_state_dict({"steps": 0, "state": codec.state_dict()})
    stepped: nn.Module = objective
    if world > 1:  # a process may draw no picture for some level, or a recipe train one task alone
        stepped = DistributedDataParallel(objective, find_unused_parameters=True)
    first, started = step, time.monotonic()
    saved = started
    log = CodecLog(run.out / "log.csv", run.config.num_levels) if rank == 0 else None
    progress = tqdm(total=run.steps, initial=step, unit="step", disable=rank != 0, mininterval=2.0)
    while step < run.steps:
        # draws depend on the step alone, so that a resumed run goes on exactly
        torch.manual_seed((run.seed << 40) + (rank << 32) + step)
        x = crops.batch(step, run.batch // world, rank).contiguous(
            memory_format=torch.channels_last
        )
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * run.learning_rate * _schedule(step, run.steps)
        losses = _forward(stepped, x, run, step)
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = nn.utils.clip_grad_norm_(codec.parameters(), _CLIP, foreach=True)
        optimizer.step()
        average.update(codec)
        step += 1
        progress.update()
        now = time.monotonic()
        stopping = run.seconds is not None and agree(now - started > run.seconds, world, device)
        if log is not None and (step % _LOG_EVERY == 0 or stopping):
            progress.set_postfix_str(log.write(step, losses, float(norm)))
        if rank == 0 and (now - saved > _SAVE_EVERY_SECONDS or stopping or step == run.steps):
            _save(path, step, run, codec, average, optimizer)
            saved = now
        if stopping:
            break
    progress.close()
    if log is not None:
        spent = time.monotonic() - started
        said = codec_throughput(
            codec, run.weights, run.batch // world, run.crop, step - first, spent
        )
        if said is not None:
            tqdm.write(said)
    if log is not None and validation:
        held_out = CropSampler(validation, run.crop, device, run.seed)
        codec.load_state_dict(average.state)
        log.write_validation(step, _validate(objective, held_out, run))
    if world > 1:
        distributed.destroy_process_group()
    return path


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


@torch.no_grad()
def _validate(
    objective: CodecObjective, crops: CropSampler, run: CodecRun
) -> list[dict[str, float]]:
    """Estimated rate, D_machine and PSNR of every (level, quality) on held-out crops."""
    rows = []
    machine, view = run.weights.machine_levels, run.weights.view_levels
    for quality, level in product(range(run.config.qualities), range(run.config.num_levels)):
        sums = torch.zeros(3)
        for i in range(_VALIDATION_BATCHES):
            torch.manual_seed(i)
            x = crops.batch(i, min(run.batch, 16))
            at = torch.full((x.shape[0],), level, device=x.device)
            with torch.autocast(x.device.type, torch.bfloat16):
                losses = objective(
                    x,
                    at.new_full(at.shape, quality).float(),
                    at if machine[level] else None,
                    at if view[level] else None,
                    True,
                )
            measured = [losses.bpp[level], losses.machine[level], losses.mse[level]]
            sums += torch.stack(measured).cpu() / _VALIDATION_BATCHES
        bpp, machine_distance, mse = sums.tolist()
        rows.append(
            {
                "level": level,
                "quality": quality,
                "bpp": bpp,
                "machine": machine_distance,
                "psnr_db": -10 * math.log10(mse),
            }
        )
    return rows


def _build_optimizer(codec: Codec, run: CodecRun) -> torch.optim.Adam:
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
    by_share = [{"params": parameters, "share": share} for share, parameters in groups.items()]
    return torch.optim.Adam(by_share, lr=run.learning_rate, fused=run.device.startswith("cuda"))


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    return 0.01 + 0.99 * 0.5 * (
        1 + math.cos(math.pi * (step - _WARM_UP) / max(1, steps - _WARM_UP))
    )


def _resume(
    path: Path,
    codec: Codec,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> int:
    state = load_checkpoint(path, device)
    if state is None:
        codec.to(device)
        average.state = {name: value.to(device) for name, value in average.state.items()}
        return 0
    if CodecConfig.from_json(state["config"]) != codec.config:
        raise ValueError(
            f"{path} was trained with another configuration: {state['config']}; choose another "
            "folder"
        )
    codec.load_state_dict(state["codec"])
    codec.to(device)
    average.state = {name: value.to(device) for name, value in average.state.items()}
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(
    path: Path,
    step: int,
    run: CodecRun,
    codec: Codec,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
) -> None:
    save_checkpoint(
        path,
        {
            "step": step,
            "config": run.config.to_json(),
            "tasks": run.weights.tasks,
            "codec": codec.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
        },
    )
