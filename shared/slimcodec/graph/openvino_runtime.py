"""Running exported graphs with OpenVINO, on this machine's CPU."""

from __future__ import annotations

import ctypes
import functools
import importlib
import math
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from slimcodec.errors import ModelError
from slimcodec.graph.runtime import Graph

if TYPE_CHECKING:
    import openvino as ov

MAX_FIXED_SIZES = 4  # sizes that a graph is compiled for one by one; each holds up to 60 MB of code
KEPT_BYTES = 1 << 30  # of a graph's tensors, kept from call to call
# Tensors share memory: a graph held a tenth to a third of all of them (640 x 480 to 2048 x 2048).
_SHARED_TENSORS = 4

Precision = Literal["auto", "f32", "bf16"]

_Sizes = tuple[tuple[str, tuple[int, ...]], ...]


def load_openvino() -> ModuleType:
    """Import `openvino` when it is needed (0.3 s), and without its telemetry.

    The import reports itself to OpenVINO's maker: a process of its own connects to an analytics
    host, and an identifier is written to the home directory. Without the package
    `openvino_telemetry`, which is marked as not importable here, it goes without.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not importable
    return importlib.import_module("openvino")


@functools.cache
def _shared_core() -> ov.Core:
    """The one Core of this process, which lives as long as it.

    A Core gives its thread another stack for signal handlers and takes it back when it goes; after
    two Cores that went in the order of their coming, the thread's next signal ended the process
    with SIGSEGV (OpenVINO 2026.4.1, on Linux).
    """
    return load_openvino().Core()


class OpenVinoRuntime:
    """Runs graphs on this machine's CPU.

    Args:
        num_threads: Threads for one call; None leaves it to OpenVINO.
        precision: "auto" is bf16 where the CPU has it and float32 elsewhere.
        kept_bytes: what a graph may keep for its next call. Before and after a call that needs
            more, every graph that is idle gives its memory back.
    """

    def __init__(
        self,
        num_threads: int | None = None,
        precision: Precision = "auto",
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._core = _shared_core()
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in capabilities:
            raise ModelError("precision bf16 asked for; this CPU has none; use auto or f32")
        self.precision: Literal["f32", "bf16"] = (
            "bf16" if precision != "f32" and "BF16" in capabilities else "f32"
        )
        self._config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self.precision,
            # OpenVINO would pin the threads of every process to the same first processors: two
            # workers of one thread then share one, and were as fast as one alone (with two
            # processors, now 1.9 times). Source: openvinotoolkit/openvino, issue 32444.
            "ENABLE_CPU_PINNING": False,
        }
        if num_threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = num_threads
        self.kept_bytes = kept_bytes
        self._graphs: dict[tuple[Path, bool], _OpenVinoGraph] = {}
        self._lock = threading.Lock()

    def load(self, path: Path, exact: bool = False) -> Graph:
        """Read an ONNX file once; it is compiled when the first inputs tell their sizes.

        Args:
            path: The file.
            exact: In float32 whatever the precision of the others.

        Raises:
            ModelError: the file is missing or holds no graph that OpenVINO can read.
        """
        config = self._config | ({"INFERENCE_PRECISION_HINT": "f32"} if exact else {})
        with self._lock:
            if (path, exact) not in self._graphs:
                try:
                    model = self._core.read_model(path)
                    self._graphs[path, exact] = _OpenVinoGraph(self, model, config, path)
                except Exception as exc:  # damaged names are a UnicodeDecodeError
                    raise ModelError(f"{path}: cannot be loaded as a graph: {exc}") from exc
            return self._graphs[path, exact]

    def compile(self, model: ov.Model, config: dict[str, object]) -> ov.CompiledModel:
        """Compile a graph for the sizes that its inputs have."""
        return self._core.compile_model(model, "CPU", config)

    def give_back(self) -> None:
        """Return to the system what the graphs hold that do not run now."""
        with self._lock:
            graphs = list(self._graphs.values())
        for graph in graphs:
            graph.give_back()
        # else glibc keeps what was freed: 750 MB after 4 megapixels
        ctypes.CDLL(None).malloc_trim(0)


class _OpenVinoGraph:
    """A graph, compiled for each of the first small sizes it meets and once for all others.

    Compiled for one size, the narrow g_a takes half to a quarter of the time it takes when compiled
    for any size (640 x 480 pixels, bf16, 2 busy cores: 3.8 against 5.8 ms median), and compiling
    takes about 0.1 s. A camera has one size; a folder of pictures must not compile for each.
    """

    def __init__(
        self, runtime: OpenVinoRuntime, model: ov.Model, config: dict[str, object], path: Path
    ) -> None:
        self._runtime = runtime
        self._model = model
        self._config = config
        self._path = path
        # As the file has them: compiling fuses nodes, and then an output answers to several names.
        self._outputs = [port.get_any_name() for port in model.outputs]
        self._compiled: dict[_Sizes | None, _Compiled] = {}  # None: for any size
        self._held_per_byte = 0.0  # of its inputs; 0 = not known yet
        self._fixed_bytes = 0.0  # that the graphs of one size hold
        self._lock = threading.Lock()

    def __call__(self, **inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        try:
            compiled, is_large = self._compiled_for(inputs)
            if is_large:
                self._runtime.give_back()
            try:
                return compiled.infer(inputs)
            finally:
                if is_large:
                    self._runtime.give_back()
        except Exception as exc:  # a graph that says what cannot be, or a lack of memory
            shapes = {name: array.shape for name, array in inputs.items()}
            raise ModelError(f"{self._path}: cannot run on {shapes}: {exc}") from exc

    def give_back(self) -> None:
        """Release the memory of what does not run now."""
        for compiled in list(self._compiled.values()):
            compiled.give_back()

    def _compiled_for(self, inputs: dict[str, NDArray[np.float32]]) -> tuple[_Compiled, bool]:
        """What runs inputs of this size, and whether they need more than may be kept."""
        sizes = tuple(sorted((name, array.shape) for name, array in inputs.items()))
        input_bytes = sum(array.nbytes for array in inputs.values())
        with self._lock:  # so that nothing is compiled twice
            if not self._held_per_byte:
                all_bytes = _tensor_bytes(self._reshaped(sizes))
                self._held_per_byte = all_bytes / _SHARED_TENSORS / input_bytes
            held, room = self._held_per_byte * input_bytes, self._runtime.kept_bytes
            if sizes in self._compiled:
                return self._compiled[sizes], False
            if len(self._compiled) < MAX_FIXED_SIZES and self._fixed_bytes + held <= room:
                self._fixed_bytes += held
                self._compiled[sizes] = self._compile(self._reshaped(sizes))
                return self._compiled[sizes], False
            if None not in self._compiled:
                self._compiled[None] = self._compile(self._model)
            return self._compiled[None], held > room

    def _compile(self, model: ov.Model) -> _Compiled:
        return _Compiled(self._runtime.compile(model, self._config), self._outputs)

    def _reshaped(self, sizes: _Sizes) -> ov.Model:
        model = self._model.clone()
        model.reshape({name: list(shape) for name, shape in sizes})
        return model


class _Compiled:
    """A compiled graph. It has one stream, so its calls run one after another in any case."""

    def __init__(self, compiled: ov.CompiledModel, outputs: list[str]) -> None:
        self._compiled = compiled
        self._outputs = outputs  # names, in the graph's order
        self._request: ov.InferRequest | None = None
        self._lock = threading.Lock()

    def infer(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        with self._lock:
            request = self._request or self._compiled.create_infer_request()
            self._request = None  # one that fails is not used again
            results = request.infer(inputs)  # copies
            self._request = request
        return dict(zip(self._outputs, results.values(), strict=True))

    def give_back(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._request = None
                self._compiled.release_memory()
            finally:
                self._lock.release()


def _tensor_bytes(model: ov.Model) -> int:
    """What all tensors that follow from the inputs take together, in float32; sizes are known."""
    following: set[str] = set()
    total = 0
    for node in model.get_ordered_ops():
        sources = {value.get_node().get_friendly_name() for value in node.input_values()}
        if node.get_type_name() == "Parameter" or sources & following:
            following.add(node.get_friendly_name())
            total += sum(4 * math.prod(port.get_shape()) for port in node.outputs())
    return total
