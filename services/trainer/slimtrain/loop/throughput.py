"""How much of the device a training run uses: its arithmetic against a measured ceiling.

The ceiling is what the same device makes of one large matrix product in bf16 and in float32. The
arithmetic of a step is counted, not measured: the multiply-accumulates of a forward pass of the
parts that are trained, times two operations, times three passes (forward, and backward for inputs
and weights). The frozen detector works besides and is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from slimnets.count import count_macs

OPERATIONS_PER_MAC = 6  # a product and a sum, in three passes
_SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices: large enough to be bound by sums
_SECONDS = 0.3  # of each measurement
_SHORTEST = 10.0  # seconds of a run whose throughput means something


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Operations per second of a matrix product, two for each multiply-accumulate."""

    bf16: float
    float32: float


def measure_ceiling(device: torch.device, seconds: float = _SECONDS) -> Ceiling:
    """Multiply matrices for about twice `seconds`, after a warm-up."""
    return Ceiling(
        _matrix_rate(device, torch.bfloat16, seconds), _matrix_rate(device, torch.float32, seconds)
    )


def count_step(trained: Callable[..., object], *inputs: Any) -> int:
    """Operations of one training step, from the multiply-accumulates of `trained(*inputs)`."""
    return OPERATIONS_PER_MAC * count_macs(trained, *inputs)


def throughput(
    trained: Callable[..., object], picture: Sequence[Any], batch: int, steps: int, seconds: float
) -> str | None:
    """What a run that is over made of its device; None if it was too short to say.

    Args:
        trained: what is trained, on the device that it was trained on.
        picture: its inputs for one picture, tensors on that device.
        batch: pictures of a step of this process.
        steps, seconds: of this process, without loading.
    """
    if seconds < _SHORTEST:
        return None
    operations = batch * count_step(trained, *picture)
    return describe_throughput(steps, seconds, operations, measure_ceiling(picture[0].device))


def describe_throughput(
    steps: int, seconds: float, operations_per_step: int, ceiling: Ceiling
) -> str:
    """One line for a person: steps a second, GFLOP/s and their share of the ceiling."""
    rate = steps / seconds
    done = rate * operations_per_step
    share = 100 * done / ceiling.bf16
    return (
        f"{rate:.2f} steps/s, {done / 1e9:.1f} GFLOP/s in the trained parts (counted: "
        f"{operations_per_step / 1e9:.2f} GFLOP a step), {share:.0f} % of what a matrix "
        f"product reaches here in bf16 ({ceiling.bf16 / 1e9:.0f} GFLOP/s; float32: "
        f"{ceiling.float32 / 1e9:.0f})"
    )


def _matrix_rate(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    side = _SIDES.get(device.type, _SIDES["cpu"])
    a, b = (torch.full((side, side), 0.5, dtype=dtype, device=device) for _ in range(2))
    a @ b
    _wait(device)
    products, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds or products == 0:
        a @ b
        products += 1
        _wait(device)
    return products * 2 * side**3 / spent


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
