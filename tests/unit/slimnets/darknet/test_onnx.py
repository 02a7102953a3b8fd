"""Exported stems and tails against the torch detector, in two runtimes."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from numpy.typing import NDArray

from slimnets.export.darknet import export_stem, export_tail
from support.models.darknets import ALL_LAYERS_SPLIT, make_darknet, make_pictures

Run = Callable[[onnx.ModelProto, dict[str, NDArray[np.float32]]], list[NDArray[np.float32]]]


def run_onnxruntime(
    model: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[NDArray[np.float32]] = session.run(None, inputs)
    return outputs


def run_openvino(
    model: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.compile_model(
        openvino.Core().read_model(model.SerializeToString(), b""), "CPU", config
    )
    results = compiled(inputs)
    return [np.array(results[output.name]) for output in model.graph.output]


@pytest.mark.parametrize("run", [run_onnxruntime, run_openvino])
@pytest.mark.parametrize(("batch", "h", "w"), [(1, 64, 64), (3, 64, 96)])
@torch.no_grad()
def test_exported_graphs_agree_with_torch_at_any_size(run: Run, batch: int, h: int, w: int) -> None:
    detector = make_darknet()
    x = make_pictures(batch, h, w)

    (f,) = run(export_stem(detector, ALL_LAYERS_SPLIT), {"x": x.numpy()})
    heads = run(export_tail(detector, ALL_LAYERS_SPLIT), {"f": f})

    expected_f = detector.stem(x, ALL_LAYERS_SPLIT)
    assert np.abs(f - expected_f.numpy()).max() < 4e-3 * expected_f.abs().max()
    for head, expected in zip(heads, detector(x), strict=True):
        assert np.abs(head - expected.numpy()).max() < 4e-3 * expected.abs().max()


def test_weights_are_stored_as_float16_but_computed_in_float32() -> None:
    graph = export_tail(make_darknet(), ALL_LAYERS_SPLIT).graph

    kinds = {i.name: i.data_type for i in graph.initializer if i.name.endswith("conv_weight")}
    depthwise = kinds.pop("layer_8_conv_weight")
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT16}
    assert depthwise == onnx.TensorProto.FLOAT
    inputs_of_convolutions = {n.input[1] for n in graph.node if n.op_type == "Conv"}
    casts = {n.output[0] for n in graph.node if n.op_type == "Cast"}
    assert inputs_of_convolutions == casts | {"layer_8_conv_weight"}


@torch.no_grad()
def test_a_tail_of_int8_kernels_is_half_as_long_and_agrees() -> None:
    detector = make_darknet()
    f = detector.stem(make_pictures(), ALL_LAYERS_SPLIT)
    halves, bytes_ = (export_tail(detector, ALL_LAYERS_SPLIT, int8=int8) for int8 in (False, True))

    heads = run_openvino(bytes_, {"f": f.numpy()})

    kernels = [
        [len(i.raw_data) for i in model.graph.initializer if i.name.endswith("conv_weight")]
        for model in (halves, bytes_)
    ]
    assert sum(kernels[1]) <= sum(kernels[0]) / 2
    for head, expected in zip(heads, detector.tail(f, ALL_LAYERS_SPLIT), strict=True):
        assert np.abs(head - expected.numpy()).max() < 2e-2 * expected.abs().max()


def test_equal_weights_give_equal_bytes() -> None:
    first, second = (
        export_tail(make_darknet(), ALL_LAYERS_SPLIT).SerializeToString() for _ in range(2)
    )

    assert first == second
