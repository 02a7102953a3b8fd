"""Throughput is what was counted over what was measured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimtrain.loop.loop import measure_ceiling, throughput


def test_a_ceiling_is_that_of_a_matrix_product() -> None:
    # no machine that runs this is slower than 0.1 GFLOP/s, or faster than 1 PFLOP/s
    assert 1e8 < measure_ceiling(torch.device("cpu")) < 1e15


def test_any_trained_module_is_described_by_its_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimtrain.loop.loop.measure_ceiling", lambda device: 40e6)
    conv = nn.Conv2d(3, 8, 5, padding=2, bias=False)
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)

    def step() -> None:
        conv(x).sum().backward()

    line = throughput(step, torch.device("cpu"), steps=40, seconds=20.0)

    assert line is not None
    done = 2 * 6 * 16 * 16 * 8 * 3 * 5 * 5  # six operations for each multiply-accumulate
    assert line.startswith(f"2.00 steps/s, {done / 1e9:.1f} GFLOP/s")
    assert f"{done / 40e6:.0%} of what a matrix product reaches here in bf16 (0 GFLOP/s)" in line


def test_a_short_run_says_nothing() -> None:
    assert throughput(lambda: None, torch.device("cpu"), 1, 2.0) is None
