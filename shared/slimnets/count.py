"""Multiply-accumulates of a module, counted by hooks while it runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from slimnets.causal import CausalGDN, DenseGDN
from slimnets.transform import InverseGDN


@torch.no_grad()
def count_macs(module: nn.Module, *inputs: Any) -> int:
    """Multiply-accumulates of one call `module(*inputs)`.

    Counted: convolutions (those of every group that really runs), linear layers, and GDN's channel
    mixing. Not
    counted, as is usual: biases, activations, divisions, reshapes.
    """
    total = 0

    def convolution(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        total += out.numel() * layer.weight[0].numel()

    def transposed(layer: nn.Module, inputs: Any, _: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.ConvTranspose2d)
        total += inputs[0].numel() * layer.weight[0].numel()

    def inverse_normalisation(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        total += out.numel() * out.shape[1]

    def linear(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Linear)
        total += out.numel() * layer.in_features

    def normalisation(layer: nn.Module, _: Any, out: Tensor) -> None:
        nonlocal total
        per_channel = out.numel() // out.shape[1]
        if isinstance(layer, DenseGDN):
            total += per_channel * layer.gamma.numel()
        else:
            assert isinstance(layer, CausalGDN)
            total += per_channel * sum(
                gamma.numel()
                for gamma, end in zip(layer.gamma, layer.prefix, strict=True)
                if end <= out.shape[1]
            )

    hooks = {
        nn.Conv2d: convolution,
        nn.ConvTranspose2d: transposed,
        InverseGDN: inverse_normalisation,
        nn.Linear: linear,
        CausalGDN: normalisation,
        DenseGDN: normalisation,
    }
    handles = [
        layer.register_forward_hook(hooks[type(layer)])
        for layer in module.modules()
        if type(layer) in hooks
    ]
    try:
        module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return total
