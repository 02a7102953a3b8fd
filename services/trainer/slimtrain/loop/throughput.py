"""How much of the device a training run uses: its arithmetic against a measured ceiling.

The ceiling is what the same device makes of one large matrix product in bf16. The arithmetic is
that of one more step, forward and backward, of all that runs in it, counted where torch computes
convolutions and matrix products.
"""

from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

_SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices: large enough to be bound by sums
_SECONDS = 0.3  # of the measurement
_SHORTEST = 10.0  # seconds of a run whose throughput means something


def throughput(
    step: Callable[[], object], device: torch.device, steps: int, seconds: float
) -> str | None:
    """What a run that is over made of its device, in a line; None if it was too short to say.

    Args:
        step: runs one more, forward and backward.
        steps, seconds: of this process, without loading.
    """
    if seconds < _SHORTEST:
        return None
    # a compiled graph computes what the counter does not see
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        step()
    operations: int = counter.get_total_flops()
    done, ceiling = operations * steps / seconds, measure_ceiling(device)
    return (
        f"{steps / seconds:.2f} steps/s, {done / 1e9:.1f} GFLOP/s (counted: {operations / 1e9:.2f} "
        f"GFLOP a step), {done / ceiling:.0%} of what a matrix product reaches here in bf16 "
        f"({ceiling / 1e9:.0f} GFLOP/s)"
    )


def measure_ceiling(device: torch.device) -> float:
    """Operations per second of a matrix product, two for each multiply-accumulate."""
    side = _SIDES.get(device.type, _SIDES["cpu"])
    a, b = (torch.full((side, side), 0.5, dtype=torch.bfloat16, device=device) for _ in range(2))
    timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=torch.get_num_threads())
    return 2 * side**3 / timer.blocked_autorange(min_run_time=_SECONDS).median
