"""What an edge was told against what the store of its cloud holds."""

import asyncio
import collections
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.store.records import FrameState, StoredFrame
from slimops.storage.redis_connection import redis_client

CAMERA = "camera"  # the edge's default
PAGE = 500
OUTCOMES = (FeedKind.FRAME_DETECTED, FeedKind.FRAME_BACKFILLED, FeedKind.FRAME_FAILED)

Name = tuple[int, int]  # epoch, sequence


@dataclass(frozen=True)
class Account:
    """Frames by what became of them."""

    encoded: set[Name]
    told: set[Name]  # PERSISTED, or later
    stored: set[Name]
    missing: set[Name]  # told, and not stored: must be empty
    untold: set[Name]  # encoded, and neither stored nor kept nor lost in words or in a gap
    kept: int  # in the spool still
    doubled: int  # frames with more than one outcome: must be none
    waiting: int  # stored without an outcome: must be none when all is quiet
    gaps: int
    referring: int  # stored frames that need another

    def counts(self) -> dict[str, int]:
        """For `rig.record`."""
        return {
            "encoded": len(self.encoded),
            "told PERSISTED": len(self.told),
            "stored": len(self.stored),
            "told and gone": len(self.missing),
            "untold": len(self.untold),
            "in the spool still": self.kept,
            "doubled": self.doubled,
            "without outcome": self.waiting,
            "gaps": self.gaps,
            "refer to another": self.referring,
        }


async def settle(url: str, seconds: float) -> None:
    """Return when nothing waits in the store's queue, or after so long."""
    give_up = time.monotonic() + seconds
    async with redis_client(url) as client:
        store = Store(client)
        while time.monotonic() < give_up:
            try:
                if not await store.work.outstanding():
                    return
            except RedisError:
                pass  # still reading its file
            await asyncio.sleep(0.2)


async def take_account(logs: Iterable[Path], spool: Path, url: str) -> Account:
    """Compare the events of an edge's starts (`child.edge`), and what is in its spool, with a
    store; the edge has stopped.
    """
    encoded: dict[Name, float] = {}  # when, microseconds
    told: set[Name] = set()
    lost: set[Name] = set()
    began = time.time() - time.monotonic()
    for path in logs:
        lines = list(_lines(path))
        epoch = next((line["epoch"] for line in lines if line["event"] == "Hello"), 0)
        for line in lines:
            match line["event"]:
                case "Encoded":
                    encoded[epoch, line["sequence"]] = 1e6 * (began + line["at"])
                case "Lost":
                    lost.add((epoch, line["sequence"]))
                case "Acked" if line["stage"] in ("persisted", "detected"):
                    told.add((epoch, line["sequence"]))
                case "Backfilled":
                    told.add((line["epoch"], line["sequence"]))
    async with redis_client(url) as client:
        frames, gaps = await _frames(client), await Store(client).gaps.list(CAMERA, limit=10_000)
        doubled = await _doubled(client)
    stored = {(f.frame_id.epoch, f.frame_id.sequence) for f in frames}
    in_gaps = {
        (epoch, sequence)
        for (epoch, sequence), at in encoded.items()
        for gap in gaps
        if (gap.epoch == epoch and gap.first_sequence <= sequence <= gap.last_sequence)
        or gap.begin_unix_us <= at <= gap.end_unix_us
    }
    kept = _kept(spool)
    return Account(
        set(encoded),
        told,
        stored,
        told - stored,
        set(encoded) - stored - lost - in_gaps - kept,
        len(kept),
        doubled,
        sum(frame.state is FrameState.QUEUED for frame in frames),
        len(gaps),
        sum(frame.reference_id is not None for frame in frames),
    )


def _kept(spool: Path) -> set[Name]:
    """What is in a spool, read from a copy: its disk may be full."""
    with tempfile.TemporaryDirectory() as scratch:
        for part in spool.parent.glob(f"{spool.name}*"):
            shutil.copy(part, scratch)
        with closing(sqlite3.connect(Path(scratch) / spool.name)) as database:
            return set(database.execute("SELECT epoch, sequence FROM kept"))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a start; the last may be half written."""
    for line in path.read_text().splitlines():
        if line.endswith("}"):
            yield json.loads(line)


async def _frames(client: Redis) -> list[StoredFrame]:
    frames: list[StoredFrame] = []
    cursor = None
    while True:
        page = await Store(client).index.page(limit=PAGE, cursor=cursor)
        frames += page.records
        if (cursor := page.next_cursor) is None:
            return frames


async def _doubled(client: Redis) -> int:
    outcomes: collections.Counter[object] = collections.Counter()
    after = "0-0"
    while events := await Store(client).feed.read(after, count=1000):
        after = events[-1].entry_id
        outcomes.update(event.frame_id for event in events if event.kind in OUTCOMES)
    return sum(count > 1 for count in outcomes.values())
