"""Running exported graphs: one small protocol, OpenVINO behind it by default.

A graph's results may differ in the last bits between runtimes, precisions and shapes. That does no
harm: symbols are what the encoder's own run rounded to, and no float chooses an entropy table. The
one graph that chooses tables, a hyperprior's h_s, is made of integers and loaded to run exactly.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
