"""Counts against counts by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.count import count_macs


def test_a_convolution_takes_its_kernel_for_every_output() -> None:
    conv = nn.Conv2d(3, 8, 5, stride=2, padding=2)

    assert count_macs(conv, torch.zeros(2, 3, 16, 32)) == 2 * 8 * 8 * 16 * 3 * 25


def test_a_transposed_convolution_takes_its_kernel_for_every_input() -> None:
    conv = nn.ConvTranspose2d(4, 6, 5, stride=2, padding=2, output_padding=1)

    assert count_macs(conv, torch.zeros(1, 4, 8, 8)) == 8 * 8 * 4 * 6 * 25


def test_a_slice_of_a_kernel_counts_as_what_it_is() -> None:
    class Sliced(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight[:2], padding=1).relu() + 1

    assert count_macs(Sliced(3, 8, 3), torch.zeros(1, 3, 10, 10)) == 100 * 2 * 3 * 9
