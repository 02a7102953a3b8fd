"""Running exported graphs: one small protocol, OpenVINO behind it by default.

A graph's results may differ in the last bits between runtimes, precisions and shapes. That does no
harm: symbols are what the encoder's own run rounded to, and no float chooses an entropy table. The
one graph that chooses tables, a hyperprior's h_s, is made of integers and loaded to run exactly.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from slimcodec.errors import ModelError

if TYPE_CHECKING:
    import openvino as ov

MAX_FIXED_SIZES = 8  # sizes that a graph is compiled for one by one

Precision = Literal["auto", "f32", "bf16"]

_Sizes = tuple[tuple[str, tuple[int, ...]], ...]


class Graph(Protocol):
    """A loaded graph. Calls are safe from many threads."""

    def __call__(self, **inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Run on named inputs and return the named outputs, which the caller owns."""
        ...


class Runtime(Protocol):
    """Loads graphs. Calls are safe from many threads, and cheap for a graph that is loaded."""

    def load(self, path: Path, exact: bool = False) -> Graph:
        """Return the graph of an ONNX file, or raise a ModelError.

        Args:
            path: The file; it never changes.
            exact: For a graph of integers below 2**24, whose results must be exact.
        """
        ...


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
    """

    def __init__(self, num_threads: int | None = None, precision: Precision = "auto") -> None:
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
        self._graphs: dict[tuple[Path, bool], Graph] = {}
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
                except RuntimeError as exc:
                    raise ModelError(f"{path}: cannot be loaded as a graph: {exc}") from exc
                self._graphs[path, exact] = _OpenVinoGraph(self._core, model, config, path)
            return self._graphs[path, exact]


class _OpenVinoGraph:
    """A graph, compiled for each of the first sizes it meets and once for all others.

    Compiled for one size, the narrow g_a takes half to a quarter of the time it takes when compiled
    for any size (640 x 480 pixels, bf16, 2 busy cores: 3.8 against 5.8 ms median), and compiling
    takes about 0.1 s. A camera has one size; a folder of pictures must not compile for each.
    """

    def __init__(
        self, core: ov.Core, model: ov.Model, config: dict[str, object], path: Path
    ) -> None:
        self._core = core
        self._model = model
        self._config = config
        self._path = path
        # As the file has them: compiling fuses nodes, and then an output answers to several names.
        self._outputs = [port.get_any_name() for port in model.outputs]
        self._compiled: dict[_Sizes | None, _RequestPool] = {}  # None: for any size
        self._lock = threading.Lock()

    def __call__(self, **inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        try:
            return self._pool(inputs).infer(inputs)
        except RuntimeError as exc:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise ModelError(f"{self._path}: cannot run on {shapes}: {exc}") from exc

    def _pool(self, inputs: dict[str, NDArray[np.float32]]) -> _RequestPool:
        sizes: _Sizes | None = tuple(sorted((name, a.shape) for name, a in inputs.items()))
        with self._lock:  # so that nothing is compiled twice
            if sizes not in self._compiled and len(self._compiled) >= MAX_FIXED_SIZES:
                sizes = None
            if sizes not in self._compiled:
                model = self._model
                if sizes is not None:
                    model = model.clone()
                    model.reshape({name: list(shape) for name, shape in sizes})
                compiled = self._core.compile_model(model, "CPU", self._config)
                self._compiled[sizes] = _RequestPool(compiled, self._outputs)
            return self._compiled[sizes]


class _RequestPool:
    """A compiled graph and its idle infer requests: a call borrows one, so none is shared."""

    def __init__(self, compiled: ov.CompiledModel, outputs: list[str]) -> None:
        self._compiled = compiled
        self._outputs = outputs  # names, in the graph's order
        self._idle: deque[ov.InferRequest] = deque()  # its ends are safe from many threads

    def infer(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        results = request.infer(inputs)  # copies; a request that failed is not used again
        self._idle.append(request)
        return dict(zip(self._outputs, results.values(), strict=True))
