"""Throughput is what was counted over what was measured."""

from __future__ import annotations

import torch
from torch import nn

from slimtrain.loop.throughput import (
    Ceiling,
    count_step,
    describe_throughput,
    measure_ceiling,
    throughput,
)


def test_a_step_is_six_operations_for_each_multiply_accumulate() -> None:
    conv = nn.Conv2d(3, 8, 5, padding=2, bias=False)

    assert count_step(conv, torch.zeros(2, 3, 16, 16)) == 6 * 2 * 16 * 16 * 8 * 3 * 5 * 5


def test_the_share_is_of_the_bf16_ceiling() -> None:
    line = describe_throughput(50, 10.0, int(2e9), Ceiling(bf16=40e9, float32=20e9))

    assert "5.00 steps/s, 10.0 GFLOP/s" in line
    assert "25 % of what a matrix product reaches here in bf16 (40 GFLOP/s; float32: 20)" in line


def test_a_ceiling_is_measured_for_both_types() -> None:
    ceiling = measure_ceiling(torch.device("cpu"), seconds=0.05)

    assert ceiling.bf16 > 1e8  # no machine that runs this is slower than 0.1 GFLOP/s
    assert ceiling.float32 > 1e8


def test_any_trained_module_is_described_by_its_arithmetic() -> None:
    conv = nn.Conv2d(3, 8, 5, padding=2, bias=False)

    line = throughput(conv, (torch.zeros(1, 3, 16, 16),), batch=1000, steps=40, seconds=20.0)

    assert line is not None
    assert line.startswith(f"2.00 steps/s, {2 * 6 * 1000 * 256 * 600 / 1e9:.1f} GFLOP/s")
    assert throughput(conv, (torch.zeros(1, 3, 16, 16),), 1000, steps=1, seconds=2.0) is None
