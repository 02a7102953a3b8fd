"""Multiply-accumulates of a module, counted while it runs."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def count_macs(module: Callable[..., object], *inputs: Any) -> int:
    """Multiply-accumulates of one call `module(*inputs)`, of a module or of one of its methods.

    Counted, where torch computes them: convolutions (those of every group that really runs), matrix
    products, and GDN's channel mixing, which is a convolution of 1 x 1. Not counted, as is usual:
    biases, activations, divisions, reshapes.
    """
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    operations: int = counter.get_total_flops()
    return operations // 2  # torch counts the product and the sum
