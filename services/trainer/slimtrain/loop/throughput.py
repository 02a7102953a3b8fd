"""How much of the device a training run uses: its arithmetic against a measured ceiling.

The ceiling is what the same device makes of one large matrix product in bf16. The arithmetic of a
step is counted, not measured: the multiply-accumulates of a forward pass of the parts that are
trained, times two operations, times three passes (forward, and backward for inputs and weights).
The frozen detector works besides and is not counted.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.benchmark import Timer

from slimnets.count import count_macs

OPERATIONS_PER_MAC = 6  # a product and a sum, in three passes
_SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices: large enough to be bound by sums
_SECONDS = 0.3  # of the measurement
_SHORTEST = 10.0  # seconds of a run whose throughput means something


def throughput(
    trained: Callable[..., object], picture: Sequence[Any], batch: int, steps: int, seconds: float
) -> str | None:
    """What a run that is over made of its device, in a line; None if it was too short to say.

    Args:
        trained: what is trained, on the device that it was trained on.
        picture: its inputs for one picture, tensors on that device.
        batch: pictures of a step of this process.
        steps, seconds: of this process, without loading.
    """
    if seconds < _SHORTEST:
        return None
    operations = batch * OPERATIONS_PER_MAC * count_macs(trained, *picture)  # a step
    done, ceiling = operations * steps / seconds, measure_ceiling(picture[0].device)
    return (
        f"{steps / seconds:.2f} steps/s, {done / 1e9:.1f} GFLOP/s in the trained parts (counted: "
        f"{operations / 1e9:.2f} GFLOP a step), {done / ceiling:.0%} of what a matrix product "
        f"reaches here in bf16 ({ceiling / 1e9:.0f} GFLOP/s)"
    )


def measure_ceiling(device: torch.device) -> float:
    """Operations per second of a matrix product, two for each multiply-accumulate."""
    side = _SIDES.get(device.type, _SIDES["cpu"])
    a, b = (torch.full((side, side), 0.5, dtype=torch.bfloat16, device=device) for _ in range(2))
    timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=torch.get_num_threads())
    return 2 * side**3 / timer.blocked_autorange(min_run_time=_SECONDS).median
