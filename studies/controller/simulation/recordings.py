"""Recorded links of a folder, and which of them a policy may be tuned on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from slimlinks.errors import TraceError
from slimlinks.trace import Trace, read_trace

_SUFFIXES = frozenset({"", ".txt", ".trace", ".up", ".down", ".log"})


def find_traces(folder: Path) -> tuple[Trace, ...]:
    """Read every trace in a folder and in the folders in it, by family, then name.

    Files with other endings than traces have are passed over.

    Raises:
        TraceError: one of them is no trace, or there is none.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in _SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        raise TraceError(f"there is no trace in {folder}; give a folder of recorded links")
    traces = [read_trace(path) for path in paths]
    return tuple(sorted(traces, key=lambda trace: (trace.family, trace.name)))


def is_for_tuning(name: str) -> bool:
    """Whether a trace may be looked at while a policy is made; the others only judge it.

    Args:
        name: Of the file, without its folder.
    """
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16) % 2 == 0
