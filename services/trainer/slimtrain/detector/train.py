"""Trains a Darknet detector from a picture pack, for a given time.

    cfg, weights -widen-> Darknet -AdamW, cosine in elapsed time-> weight average -> out/export/

    python -m slimtrain.detector.train --pack F --init-cfg F --init-weights F --out DIR

Runs on CUDA or CPU (bf16 autocast, channels_last). A kill at any moment costs at most the time
since the last checkpoint; the same command then goes on. `out/export/` holds the average of the
weights in parts of at most 15 MB, the cfg and the log; `python -m slimtrain.detector.train
--assemble DIR --weights-out F --cfg-out F` makes a Darknet file of it.
"""

from __future__ import annotations

import argparse
import csv
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from tqdm import tqdm

from slimnets.darknet.detector import Darknet, format_cfg, save_darknet_weights
from slimtrain.data.pictures import PackedPictures, load_packed
from slimtrain.detector.data import Augmentation, DetectorSampler
from slimtrain.detector.evaluate import PreparedPictures, evaluate_prepared, prepare_pictures
from slimtrain.detector.export import assemble_export, export_average
from slimtrain.detector.loss import DetectorLoss, detector_loss
from slimtrain.detector.start import build_model
from slimtrain.figures.mean_average_precision import average_precision_50
from slimtrain.loop.checkpoint import WeightAverage, load_checkpoint, save_checkpoint
from slimtrain.loop.throughput import throughput

__all__ = ["DetectorRun", "assemble_export", "main", "train_detector"]

logger = logging.getLogger(__name__)

LAST_PART = 0.15
"""The last part of the run shows nearly whole pictures: few mosaics."""
LAST_MOSAIC_SHARE = 0.1
FINAL_LEARNING_RATE = 0.02
"""Of the peak, at the end of the cosine."""
CLIP_NORM = 10.0
CHECKPOINT_SECONDS = 60.0
LOG_STEPS = 50
WATCHED = ("all_map50", "coco_map50", "coco_person", "street_person", "street_car")
LOG_FIELDS = ("step", "seconds", "learning_rate", "loss", "box", "objectness", "classes", *WATCHED)


@dataclass(frozen=True)
class DetectorRun:
    """What a run is; kept beside its results."""

    pack: Path
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
    compile: bool = True
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    seed: int = 0


def train_detector(run: DetectorRun) -> dict[str, float | None]:
    """Trains until the time is over and exports; gives the last validation figures."""
    started = time.monotonic()
    device = torch.device(run.device)
    torch.manual_seed(run.seed)
    torch.backends.cudnn.benchmark = True
    pictures = load_packed(run.pack)
    model = _on_device(
        build_model(run.init_cfg, run.init_weights, run.widen, run.widen_noise, run.scale_x_y),
        device,
    )
    average = WeightAverage(model, run.average_decay)
    optimizer = _build_optimizer(model, run)
    sampler = DetectorSampler(
        pictures.select(lambda index: not pictures.is_validation[index]),
        run.image_size,
        device,
        Augmentation(),
        run.seed,
    )
    watcher = _Watcher(pictures, model, run, device)
    run.out.mkdir(parents=True, exist_ok=True)
    (run.out / "detector.cfg").write_text(format_cfg(model.sections))

    checkpoint_path = run.out / "checkpoint.pt"
    step, seconds_before, best = 0, 0.0, -1.0
    resumed = load_checkpoint(checkpoint_path, device)
    if resumed is not None:
        model.load_state_dict(resumed["model"])
        average.load_state_dict(resumed["average"])
        optimizer.load_state_dict(resumed["optimizer"])
        step, seconds_before, best = resumed["step"], resumed["seconds"], resumed["best"]
        logger.info("resumed at step %d, %.0f seconds into the run", step, seconds_before)

    forward: nn.Module = model
    if run.compile and device.type == "cuda":
        forward = _try_compile(model, sampler, run)
    deadline = started + run.seconds - seconds_before
    # Loading and compiling take part of the time: the schedule fills what is left.
    schedule_start = time.monotonic() - seconds_before
    schedule_seconds = max(1e-3, deadline - schedule_start)
    last_checkpoint = last_watch = began = time.monotonic()
    first = step
    figures: dict[str, float | None] = {}
    sums = torch.zeros(4, device=device)
    summed = 0

    def checkpoint() -> None:
        state: dict[str, Any] = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": time.monotonic() - schedule_start,
            "best": best,
        }
        save_checkpoint(checkpoint_path, state)

    def watch() -> None:
        nonlocal figures, best
        figures = watcher.figures(average)
        score = sum(figures[name] or 0.0 for name in ("all_map50", "street_person", "street_car"))
        if score > best:
            best = score
            save_checkpoint(run.out / "best.pt", {"state": average.state, "step": step})

    with _log_rows(run.out / "log.csv", resume_step=step) as log, _progress(run.seconds) as bar:
        model.train()
        while True:
            elapsed = time.monotonic() - schedule_start
            fraction = min(1.0, elapsed / schedule_seconds)
            if run.max_steps is not None:
                fraction = max(fraction, step / run.max_steps)
            if fraction >= 1.0:
                break
            rate = _learning_rate(run, step, fraction)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _step(forward, model, optimizer, sampler, step, fraction, run)
            average.update(model)
            sums += torch.stack([loss.total.detach(), loss.box, loss.objectness, loss.classes])
            summed += 1
            step += 1
            now = time.monotonic()
            if now - last_watch >= run.evaluate_seconds:
                watch()
                last_watch = time.monotonic()
            if step % LOG_STEPS == 0 or step == run.max_steps:
                means = (sums / summed).tolist()
                sums.zero_()
                summed = 0
                seconds = now - schedule_start
                log.writerow(_log_row(step, seconds, rate, means, figures))
                bar.n = min(round(seconds), round(run.seconds))
                bar.set_postfix(step=step, loss=f"{means[0]:.4f}", **_short(figures))
            if now - last_checkpoint >= CHECKPOINT_SECONDS:
                checkpoint()
                last_checkpoint = time.monotonic()
        watch()
        log.writerow(_log_row(step, time.monotonic() - schedule_start, 0.0, None, figures))
    x = torch.zeros(1, 3, run.image_size, run.image_size, device=device)
    said = throughput(model.eval(), (x,), run.batch_size, step - first, time.monotonic() - began)
    if said is not None:
        tqdm.write(said)
    checkpoint()
    export_average(run.out, average.state, model.sections)
    logger.info("trained %d steps of %d pictures: %s", step, run.batch_size, figures)
    return figures


def _on_device(model: Darknet, device: torch.device) -> Darknet:
    model = model.to(device)
    return model.to(memory_format=torch.channels_last)


def _build_optimizer(model: Darknet, run: DetectorRun) -> torch.optim.AdamW:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": run.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=run.learning_rate, fused=run.device.startswith("cuda"))


def _learning_rate(run: DetectorRun, step: int, fraction: float) -> float:
    warm = min(1.0, (step + 1) / max(1, run.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * fraction))
    return run.learning_rate * warm * (FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine)


def _step(
    forward: nn.Module,
    model: Darknet,
    optimizer: torch.optim.Optimizer,
    sampler: DetectorSampler,
    step: int,
    fraction: float,
    run: DetectorRun,
) -> DetectorLoss:
    share = LAST_MOSAIC_SHARE if fraction > 1 - LAST_PART else None
    batch = sampler.batch(step, run.batch_size, share)
    x = batch.x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16):
        raw = forward(x)
    loss = detector_loss(raw, batch.targets, model.head_specs)
    optimizer.zero_grad(set_to_none=True)
    loss.total.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimizer.step()
    return loss


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


class _Watcher:
    """Measures the averaged weights on the validation pictures of the pack."""

    def __init__(
        self, pictures: PackedPictures, model: Darknet, run: DetectorRun, device: torch.device
    ) -> None:
        chosen = pictures.select(
            lambda index: pictures.is_validation[index] and pictures.boxes[index] is not None
        )
        self._prepared: PreparedPictures = prepare_pictures(chosen, run.image_size)
        self._model = _on_device(Darknet(model.sections), device)

    def figures(self, average: WeightAverage) -> dict[str, float | None]:
        self._model.load_state_dict(average.state)
        return evaluate_prepared(self._model, self._prepared, average_precision_50)


@contextmanager
def _log_rows(path: Path, resume_step: int) -> Iterator[Any]:
    """A CSV writer that goes on after the rows up to `resume_step`."""
    kept: list[list[str]] = []
    if resume_step and path.exists():
        with path.open(newline="") as file:
            kept = [row for row in list(csv.reader(file))[1:] if int(row[0]) <= resume_step]
    with path.open("w", newline="", buffering=1) as file:
        writer = csv.writer(file)
        writer.writerow(LOG_FIELDS)
        writer.writerows(kept)
        yield writer


def _log_row(
    step: int,
    seconds: float,
    rate: float,
    means: Sequence[float] | None,
    figures: Mapping[str, float | None],
) -> list[str]:
    losses = [""] * 4 if means is None else [f"{mean:.5f}" for mean in means]
    numbers = [f"{seconds:.1f}", f"{rate:.3g}", *losses]
    watched = [figures.get(name) for name in WATCHED]
    return [str(step), *numbers, *("" if value is None else f"{value:.4f}" for value in watched)]


def _short(figures: Mapping[str, float | None]) -> dict[str, str]:
    return {name: f"{value:.3f}" for name, value in figures.items() if value is not None}


def _progress(seconds: float) -> Any:
    return tqdm(total=round(seconds), unit="s", desc="detector", mininterval=5.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, or assembles an export into Darknet files."""
    parser = argparse.ArgumentParser(description="Train a Darknet detector from a picture pack")
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--init-cfg", type=Path)
    parser.add_argument("--init-weights", type=Path)
    parser.add_argument("--seconds", type=float, default=420.0, help="all of the run, loading too")
    parser.add_argument("--widen", type=int, default=1)
    parser.add_argument("--widen-noise", type=float, default=0.1)
    parser.add_argument("--scale-x-y", type=float, default=2.0)
    parser.add_argument("--image-size", type=int, default=416)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--warmup-steps", type=int, default=300)
    parser.add_argument("--average-decay", type=float, default=0.9995)
    parser.add_argument("--evaluate-seconds", type=float, default=60.0)
    parser.add_argument("--max-steps", type=int, default=None)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--assemble", type=Path, help="an export folder, instead of training")
    parser.add_argument("--assemble-name", default="average", choices=("average", "best"))
    parser.add_argument("--weights-out", type=Path)
    parser.add_argument("--cfg-out", type=Path)
    values = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    assemble = values.pop("assemble")
    name, weights_out, cfg_out = (
        values.pop(key) for key in ("assemble_name", "weights_out", "cfg_out")
    )
    if assemble is not None:
        if weights_out is None or cfg_out is None:
            parser.error("--assemble needs --weights-out and --cfg-out")
        model = assemble_export(assemble, name)
        save_darknet_weights(model, weights_out)
        cfg_out.write_text(format_cfg(model.sections))
        return 0
    for required in ("pack", "out", "init_cfg"):
        if values[required] is None:
            parser.error(f"--{required.replace('_', '-')} is needed to train")
    train_detector(DetectorRun(**values))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
