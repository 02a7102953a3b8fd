"""Ways of running one h_s that must agree to the last index: for the integers of
`studies.paper.hyperprior`, and for the same network left in floats.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimnets.codec.slimmable import CausalConv2d
from slimnets.export.onnx_file import GraphWriter, float_value, to_array
from studies.paper.hyperprior import (
    ACTIVATION_BITS,
    MAX_ACTIVATION,
    MAX_INPUT,
    NUM_SCALES,
    Hyperprior,
)
from studies.paper.hyperprior_graphs import export_h_s

LATENT_GROUPS = (32, 32, 64, 64)
HYPER_GROUPS = (8, 8, 16, 16)
WIDEST = len(LATENT_GROUPS) - 1
BATCH = 4
_INDEXES_PER_UNIT = 8.0  # of h_s's last layer
_Z_DEVIATION = 6.0


class IntegerScales(nn.Module):
    """The h_s that serves: z_hat (B, Mz, h/4, w/4) -> indexes (B, M, h, w), and its graph."""

    def __init__(self, hyperprior: Hyperprior) -> None:
        super().__init__()
        self.hyperprior = hyperprior

    def forward(self, z_hat: Tensor) -> Tensor:
        return self.hyperprior.scale_index(z_hat, WIDEST)

    def graph(self) -> onnx.ModelProto:
        return export_h_s(self.hyperprior, WIDEST)


class FloatScales(nn.Module):
    """The ordinary h_s: the same parameters, nothing rounded before the last step, which picks the
    nearest of the 64 scales.
    """

    def __init__(self, hyperprior: Hyperprior) -> None:
        super().__init__()
        layers = [layer for layer in hyperprior.h_s if isinstance(layer, CausalConv2d)]
        merged = [_dense(layer) for layer in layers]
        self.wide_convs, self.last = nn.ModuleList(merged[:-1]), merged[-1]
        self.top = MAX_ACTIVATION / 2**ACTIVATION_BITS

    def forward(self, z_hat: Tensor) -> Tensor:
        a = z_hat.clamp(-MAX_INPUT, MAX_INPUT)
        for conv in self.wide_convs:
            a = F.pixel_shuffle(conv(a).clamp(0, self.top), 2)
        index: Tensor = (self.last(a) * _INDEXES_PER_UNIT).round().clamp(0, NUM_SCALES - 1)
        return index

    def graph(self) -> onnx.ModelProto:
        graph = GraphWriter()
        a = _clip(graph, "z_hat", -MAX_INPUT, MAX_INPUT, "held")
        for i, conv in enumerate(self.wide_convs):
            a = _clip(graph, _conv(graph, conv, a, f"conv_{i}"), 0.0, self.top, f"held_{i}")
            a = graph.add("DepthToSpace", [a], f"wide_{i}", blocksize=2, mode="CRD")
        unit = graph.constant("unit", to_array(torch.tensor(_INDEXES_PER_UNIT)))
        scaled = graph.add("Mul", [_conv(graph, self.last, a, "last"), unit], "scaled")
        _clip(graph, graph.add("Round", [scaled], "rounded"), 0.0, NUM_SCALES - 1, "scale_index")
        return graph.model(
            "float_h_s",
            [float_value("z_hat", ["B", sum(HYPER_GROUPS), "h_z", "w_z"])],
            [float_value("scale_index", ["B", sum(LATENT_GROUPS), "h", "w"])],
        )


Scales = IntegerScales | FloatScales
Run = Callable[[Scales, Tensor], Tensor]


def make_hyperprior(seed: int) -> Hyperprior:
    """Random weights whose spread and tails are those of trained ones (a deviation of 1.2 times the
    initial one, a kurtosis of 3 to 5), and indexes that cover 0 to 63.
    """
    torch.manual_seed(seed)
    hyperprior = Hyperprior(LATENT_GROUPS, HYPER_GROUPS).eval()
    with torch.no_grad():
        for parameter in hyperprior.h_s.parameters():
            parameter.mul_(torch.exp(0.5 * torch.randn_like(parameter)))
    deviation = torch.logspace(-1, 2, sum(LATENT_GROUPS))[:, None, None]
    hyperprior.start_from(torch.randn(4, sum(LATENT_GROUPS), 16, 16) * deviation)
    return hyperprior


def draw_z_hat(seed: int, batch: int, side: int) -> Tensor:
    """Integers (batch, Mz, side, side), most within some tens."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(batch, sum(HYPER_GROUPS), side, side, generator=generator)
    return torch.round(_Z_DEVIATION * z)


def reference(scales: Scales, z_hat: Tensor) -> Tensor:
    """Torch in float32 on one thread, all pictures in one batch."""
    return _torch(scales, z_hat)


def _one_by_one(scales: Scales, z_hat: Tensor) -> Tensor:
    return torch.cat([_torch(scales, z) for z in _parts(z_hat, 1)])


def _two_threads(scales: Scales, z_hat: Tensor) -> Tensor:
    return _torch(scales, z_hat, threads=2)


def _channels_last(scales: Scales, z_hat: Tensor) -> Tensor:
    return _torch(scales, z_hat.contiguous(memory_format=torch.channels_last))


def _float64(scales: Scales, z_hat: Tensor) -> Tensor:
    wide: Scales = copy.deepcopy(scales).double()
    return _torch(wide, z_hat.double()).float()


def openvino_run(threads: int, batch: int, precision: str = "f32") -> Run:
    """OpenVINO on the exported graph."""

    def run(scales: Scales, z_hat: Tensor) -> Tensor:
        core = openvino.Core()
        settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
        model = core.read_model(scales.graph().SerializeToString())
        compiled = core.compile_model(model, "CPU", settings)
        parts = [compiled({"z_hat": z.numpy()})["scale_index"].copy() for z in _parts(z_hat, batch)]
        return torch.from_numpy(np.concatenate(parts))

    return run


def _onnxruntime(scales: Scales, z_hat: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(scales.graph().SerializeToString())
    return torch.from_numpy(session.run(["scale_index"], {"z_hat": z_hat.numpy()})[0])


RUNS: dict[str, Run] = {
    "torch, batch of 1": _one_by_one,
    "torch, 2 threads": _two_threads,
    "torch, channels_last": _channels_last,
    "torch, float64": _float64,
    f"OpenVINO f32, 1 thread, batch of {BATCH}": openvino_run(1, BATCH),
    f"OpenVINO f32, 2 threads, batch of {BATCH}": openvino_run(2, BATCH),
    "OpenVINO f32, 2 threads, batch of 1": openvino_run(2, 1),
    "ONNX Runtime f32": _onnxruntime,
}


def _torch(scales: Scales, z_hat: Tensor, threads: int = 1) -> Tensor:
    with _torch_threads(threads), torch.inference_mode():
        index: Tensor = scales(z_hat)
        return index.contiguous()


def _parts(z_hat: Tensor, batch: int) -> list[Tensor]:
    return [z_hat[i : i + batch] for i in range(0, len(z_hat), batch)]


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    yield
    torch.set_num_threads(before)


def _conv(graph: GraphWriter, conv: nn.Module, source: str, name: str) -> str:
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    weight = graph.constant(f"{name}_weight", to_array(conv.weight))
    bias = graph.constant(f"{name}_bias", to_array(conv.bias))
    side = conv.kernel_size[0]
    pads = [side // 2] * 4
    return graph.add("Conv", [source, weight, bias], name, kernel_shape=[side] * 2, pads=pads)


def _dense(layer: CausalConv2d) -> nn.Conv2d:
    """The widest level as one convolution, zero where a group may not read."""
    convs = [conv for _, conv in layer.filled(WIDEST)]
    width = layer.in_prefix[WIDEST]
    dense = nn.Conv2d(width, layer.out_prefix[WIDEST], 3, padding=1)
    kernels = [F.pad(conv.weight, (0, 0, 0, 0, 0, width - conv.in_channels)) for conv in convs]
    bias = torch.cat([conv.get_parameter("bias") for conv in convs])
    dense.load_state_dict({"weight": torch.cat(kernels), "bias": bias})
    return dense


def _clip(graph: GraphWriter, source: str, low: float, high: float, name: str) -> str:
    ends = [
        graph.constant(f"{name}_{end}", to_array(torch.tensor(float(value))))
        for end, value in (("low", low), ("high", high))
    ]
    return graph.add("Clip", [source, *ends], name)
