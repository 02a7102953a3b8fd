import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from slimcodec.errors import ModelError
from slimcodec.graph.openvino_runtime import MAX_FIXED_SIZES, OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact


def make_x(h: int, w: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((1, 3, h, w), dtype=np.float32)


def test_every_size_gives_the_same_numbers_however_many_came_before(codec: CodecArtifact) -> None:
    runtimes = [OpenVinoRuntime(num_threads=1, precision="f32") for _ in range(2)]
    sizes = [(32 * k, 32) for k in range(1, MAX_FIXED_SIZES + 4)]
    used, fresh = (runtime.load(codec.analysis_path(1)) for runtime in runtimes)

    in_order = {size: used(x=make_x(*size))["y"] for size in sizes}  # the last ones share a graph
    reversed_order = {size: fresh(x=make_x(*size))["y"] for size in reversed(sizes)}

    for h, w in sizes:
        assert in_order[h, w].shape == (1, 16, h // 16, w // 16)
        np.testing.assert_allclose(in_order[h, w], reversed_order[h, w], atol=1e-5)


def test_a_graph_is_loaded_once_whoever_asks(codec: CodecArtifact) -> None:
    runtime, path = OpenVinoRuntime(num_threads=1), codec.analysis_path(2)

    with ThreadPoolExecutor(8) as pool:
        graphs = list(pool.map(lambda _: runtime.load(path), range(16)))

    assert {id(graph) for graph in graphs} == {id(runtime.load(path))}
    assert runtime.load(path, exact=True) is not graphs[0]
    assert runtime.load(codec.analysis_path(0)) is not graphs[0]


def test_results_are_the_callers_own(codec: CodecArtifact, runtime: OpenVinoRuntime) -> None:
    graph = runtime.load(codec.analysis_path(0))

    first = graph(x=make_x(32, 32, seed=1))["y"]
    kept = first.copy()
    graph(x=make_x(32, 32, seed=2))

    assert np.array_equal(first, kept)
    first[:] = 0  # writable


def test_many_threads_agree(codec: CodecArtifact, runtime: OpenVinoRuntime) -> None:
    graph = runtime.load(codec.analysis_path(3))
    pictures = [make_x(32 * (1 + seed % 3), 64, seed) for seed in range(24)]
    expected = [OpenVinoRuntime(1).load(codec.analysis_path(3))(x=x)["y"] for x in pictures[:3]]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: graph(x=x)["y"], pictures))

    for x, y in zip(pictures, found, strict=True):
        assert np.array_equal(graph(x=x)["y"], y)
    for one, other in zip(expected, found[:3], strict=True):
        assert np.array_equal(one, other)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor is all there is")
def test_calls_run_on_any_processor(codec: CodecArtifact) -> None:
    graph, x = OpenVinoRuntime(1, "f32").load(codec.analysis_path(3)), make_x(256, 256)
    graph(x=x)
    allowed = set()

    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(threading.get_native_id).result()
        calls = pool.submit(lambda: [graph(x=x) for _ in range(100)])
        while not calls.done():
            allowed.add(frozenset(os.sched_getaffinity(thread)))

    assert allowed == {frozenset(os.sched_getaffinity(0))}


def test_precisions_agree_within_rounding(codec: CodecArtifact) -> None:
    x = make_x(64, 64)

    exact = OpenVinoRuntime(1, "f32").load(codec.analysis_path(3))(x=x)["y"]
    quick = OpenVinoRuntime(1, "auto").load(codec.analysis_path(3))(x=x)["y"]

    assert exact.dtype == quick.dtype == np.float32
    np.testing.assert_allclose(quick, exact, atol=0.05)


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": np.zeros((1, 4, 32, 32), np.float32)},
        {"x": np.zeros((32, 32), np.float32)},
        {"z": np.zeros((1, 3, 32, 32), np.float32)},
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    codec: CodecArtifact, inputs: dict[str, NDArray[np.float32]]
) -> None:
    graph = OpenVinoRuntime(1).load(codec.analysis_path(0))  # not yet compiled for any size

    with pytest.raises(ModelError, match=r"g_a_0\.onnx: cannot run"):
        graph(**inputs)
    assert graph(x=make_x(32, 32))["y"].shape == (1, 8, 2, 2)


@pytest.mark.parametrize("content", [None, b"", b"no graph"])
def test_file_that_is_no_graph_is_refused(
    runtime: OpenVinoRuntime, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ModelError, match=r"bad\.onnx: cannot be loaded"):
        runtime.load(path)


def test_outputs_keep_the_names_of_the_file(runtime: OpenVinoRuntime, tmp_path: Path) -> None:
    # Compiling drops the Identity and gives its name and the convolution's to one output.
    kernel = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "kernel")
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a_node_inside"]),
        helper.make_node("Identity", ["a_node_inside"], ["y"]),
    ]
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", channels, "H", "W"])]
        for name, channels in (("x", 3), ("y", 1))
    ]
    graph = helper.make_graph(nodes, "named", ports[0], ports[1], [kernel])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "n.onnx")

    outputs = [
        runtime.load(tmp_path / "n.onnx")(x=np.ones((1, 3, side, side), np.float32))
        for side in range(1, 9)
    ]

    assert all(set(output) == {"y"} for output in outputs)
