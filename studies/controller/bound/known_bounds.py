"""Upper bounds that were computed before: seconds each, and they do not depend on any policy.

Kept in one JSON file under a digest of all that a study varies and that decides a bound: link,
camera, codec. Not in it, and the same in every study: no spread of the encode and cloud seconds,
the profile's utilities, what the cloud takes at most. Nor is the oracle's own version: remove the
file when that changes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from slimcodec.whole_file import write_whole
from studies.controller.errors import BoundsError
from studies.controller.simulation.world import DEFAULT_MAX_FRAME_BYTES, World, utility_of


class KnownBounds:
    """A file of bounds.

    Args:
        path: Of the file; None: nothing is kept beyond this process.
        may_grow: Whether a study is to compute those that are not known.

    Raises:
        BoundsError: the file holds something else.
    """

    def __init__(self, path: Path | None = None, *, may_grow: bool = True) -> None:
        self._path = path
        self.may_grow = may_grow
        self._bounds: dict[str, float] = {}
        if path is not None and path.exists():
            self._bounds = _read(path)

    def find(self, world: World) -> float | None:
        """Give the bound of a world, if it is known."""
        return self._bounds.get(_digest(world))

    def keep(self, world: World, bound: float) -> None:
        """Keep the bound of a world."""
        self._bounds[_digest(world)] = bound
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(self._bounds, indent=0) + "\n")


def _read(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise BoundsError(f"{path} cannot be read as bounds: {exc}; remove it") from exc
    if not (isinstance(found, dict) and all(isinstance(b, float) for b in found.values())):
        raise BoundsError(f"{path} holds no bounds by digest; remove it")
    return found


def _digest(world: World) -> str:
    content = world.content
    assert world.encode_spread == world.cloud_spread == 0, "a study's times have no spread"
    assert world.utility is utility_of, "a study takes the profile's utilities"
    assert world.max_frame_bytes == DEFAULT_MAX_FRAME_BYTES, "a study's cloud is as it comes"
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
    digest.update(content.sizes.tobytes() + content.inter_sizes.tobytes())
    return digest.hexdigest()[:32]
