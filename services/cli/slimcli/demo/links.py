"""The link of the demo, recorded or built in, and what a frame that passes it is worth."""

from __future__ import annotations

from pathlib import Path

from slimcli.exits import BadUsageError
from slimcodec.model.artifact import CodecArtifact
from slimcontrol.point import build_operating_points, restrict_points
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


def utilities_of(codec: CodecArtifact, quality: float | None) -> dict[tuple[int, float], float]:
    """What the model's profile says that a frame at (level, quality) is worth, 0 to 1.

    Args:
        codec: With its profile, or stated defaults where it has none.
        quality: The only one to be sent, if a person has chosen.
    """
    points = build_operating_points(codec.levels, codec.manifest.qualities, codec.profile)
    chosen = restrict_points(points, None, quality)
    return {(point.level, point.quality): point.utility for point in chosen}
