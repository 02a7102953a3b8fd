"""A hyperprior without training: z is how large a channel group's latents are, nearby.

h_a averages |v| over 4 x 4 places and half a group's channels; h_s gives both z of a group back to
the channels they came from, twice as large, as the index of a table: integers all the way.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import TOTAL_FREQUENCY

NUM_SCALES = 48
HYPER_PER_GROUP = 2  # channels of z
HYPER_STRIDE = 64  # pixels
_SIDE = 4  # latent places for one of z
_OPSET, _IR_VERSION = 17, 8


def analysis_graph(prefixes: tuple[int, ...]) -> onnx.ModelProto:
    """h_a of the level with these prefixes of latent channels: `v` -> `z`, not rounded."""
    spread = _spread(prefixes)  # (Mz, M)
    weight = spread / spread.sum(1, keepdims=True) / _SIDE**2
    kernel = np.broadcast_to(weight[:, :, None, None], (*weight.shape, _SIDE, _SIDE))
    nodes = [
        helper.make_node("Abs", ["v"], ["size"]),
        helper.make_node("Conv", ["size", "w"], ["z"], strides=[_SIDE] * 2),
    ]
    constants = {"w": numpy_helper.from_array(kernel.astype(np.float32), "w")}
    return _model("h_a", nodes, constants, ("v", spread.shape[1]), ("z", spread.shape[0]))


def synthesis_graph(prefixes: tuple[int, ...]) -> onnx.ModelProto:
    """h_s of that level: `z_hat` -> `scale_index`, 0 to NUM_SCALES - 1."""
    spread = 2 * _spread(prefixes)
    kernel = np.broadcast_to(spread[:, :, None, None], (*spread.shape, _SIDE, _SIDE))
    nodes = [
        helper.make_node("Clip", ["z_hat", "zero", "most"], ["held"]),
        helper.make_node("ConvTranspose", ["held", "w"], ["sums"], strides=[_SIDE] * 2),
        helper.make_node("Clip", ["sums", "zero", "most"], ["scale_index"]),
    ]
    constants = {
        "w": numpy_helper.from_array(kernel.astype(np.float32), "w"),
        "zero": numpy_helper.from_array(np.array(0, np.float32), "zero"),
        "most": numpy_helper.from_array(np.array(NUM_SCALES - 1, np.float32), "most"),
    }
    ports = ("z_hat", spread.shape[0]), ("scale_index", spread.shape[1])
    return _model("h_s", nodes, constants, *ports)


def scale_tables() -> SymbolTables:
    """One table for each index: about 1 / (1 + |symbol|)**2, wider and wider, in integers."""
    rows = []
    for index in range(NUM_SCALES):
        reach = 4 + 4 * index
        weights = [
            1 + 60000 // (1 + (8 * abs(s)) // (1 + index)) ** 2 for s in range(-reach, reach)
        ]
        share = (TOTAL_FREQUENCY - 2 * len(weights)) // 2
        frequencies = [1 + share * weight // sum(weights) for weight in weights] + [1]
        frequencies[reach] += TOTAL_FREQUENCY - sum(frequencies)
        rows.append(np.cumsum([0, *frequencies]))
    longest = max(row.size for row in rows)
    return SymbolTables(
        np.array([np.pad(row, (0, longest - row.size)) for row in rows], np.uint32),
        np.array([row.size for row in rows], np.int32),
        np.array([-4 - 4 * index for index in range(NUM_SCALES)], np.int32),
    )


def _spread(prefixes: tuple[int, ...]) -> NDArray[np.float64]:
    """(Mz, M) ones where a channel of z belongs to a channel of the latent."""
    spread = np.zeros((HYPER_PER_GROUP * len(prefixes), prefixes[-1]))
    for group, (start, stop) in enumerate(zip((0, *prefixes), prefixes, strict=False)):
        middle = (start + stop) // 2
        spread[HYPER_PER_GROUP * group, start:middle] = 1
        spread[HYPER_PER_GROUP * group + 1, middle:stop] = 1
    return spread


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, onnx.TensorProto],
    source: tuple[str, int],
    target: tuple[str, int],
) -> onnx.ModelProto:
    ports = [
        [helper.make_tensor_value_info(port, TensorProto.FLOAT, ["B", channels, "h", "w"])]
        for port, channels in (source, target)
    ]
    graph = helper.make_graph(nodes, name, ports[0], ports[1], list(constants.values()))
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return model
