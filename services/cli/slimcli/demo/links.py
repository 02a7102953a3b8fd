"""The link of the demo, recorded or built in."""

from __future__ import annotations

from pathlib import Path

from slimcli.exits import BadUsageError
from slimlinks.errors import TraceError
from slimlinks.synthetic import synthetic_traces
from slimlinks.trace import Trace
from slimlinks.trace_file import read_trace


def open_trace(named: str) -> Trace:
    """Give the trace that `named` names: a file (`time_s mbps` or mahimahi), or a built-in one.

    Raises:
        BadUsageError: it is neither, or no trace.
    """
    built_in = synthetic_traces()
    path = Path(named)
    if not path.is_file() and named in built_in:
        return built_in[named]
    if not path.exists():
        raise BadUsageError(
            f"there is no file {named}, and no built-in link of that name; "
            f"built in are {', '.join(built_in)}"
        )
    try:
        return read_trace(path)
    except TraceError as exc:
        raise BadUsageError(str(exc)) from exc
