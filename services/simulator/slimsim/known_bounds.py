"""Upper bounds that were computed before: seconds each, and they do not depend on any policy.

Kept in one JSON file under a digest of all that decides a bound: link, camera, codec. It does not
hold the oracle's own version: remove the file when that changes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from slimsim.world import World


class KnownBounds:
    """A file of bounds.

    Args:
        path: Of the file; None: nothing is kept beyond this process.
        may_grow: Whether a study is to compute those that are not known.
    """

    def __init__(self, path: Path | None = None, *, may_grow: bool = True) -> None:
        self._path = path
        self.may_grow = may_grow
        self._bounds: dict[str, float] = {}
        if path is not None and path.exists():
            self._bounds = json.loads(path.read_text(encoding="utf-8"))

    def find(self, world: World) -> float | None:
        """Give the bound of a world, if it is known."""
        return self._bounds.get(_digest(world))

    def keep(self, world: World, bound: float) -> None:
        """Keep the bound of a world."""
        self._bounds[_digest(world)] = bound
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._bounds, indent=0) + "\n", encoding="utf-8")


def _digest(world: World) -> str:
    content = world.content
    deciding = (
        world.trace,
        world.points,
        sorted(world.encode_seconds.items()),
        world.seconds,
        world.trace_offset_seconds,
        world.fps,
        world.max_fps,
        world.image_hw,
        world.deadline_seconds,
        world.expire_seconds,
        world.round_trip_seconds,
        world.cloud_seconds,
        world.cloud_delay_seconds,
        world.budget,
        world.overhead_bytes,
        (content.levels, content.qualities, content.image_hw),
    )
    digest = hashlib.sha256(repr(deciding).encode())
    digest.update(content.sizes.tobytes())
    return digest.hexdigest()[:32]
