"""Frames that wait for the link, and records of those that could not: one SQLite file per camera.

    put ─► frames ─ next_frame ─► (sent as backfill) ─ PERSISTED ─► forget
             │ too many bytes, too old: the oldest first
             └─► gaps ─ next_gap ─► (sent) ─ GapAck ─► forget_gap

A frame keeps the epoch and the sequence that it was captured under, whichever start of the edge
sends it. What is given up becomes a gap in the same transaction: nothing goes missing in between.

WAL without a sync per commit: what was put outlives `kill -9` of the edge; a loss of power may take
the last seconds, but not the file. Blocking, and used by one thread at a time. What SQLite raises
(`sqlite3.Error`: disk full, I/O error, damaged file) is for the caller to deal with.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from slimedge.gap import Gap, GapReason
from slimedge.memory.ledger import LedgerFrame

MAX_GAPS = 64  # of one reason; beyond it the newest spans what comes

_PAGE_BYTES = 1024  # 1.05 to 1.12 bytes on disk per byte of 8 and 3 kB containers; 1.35 with 4096
_ROW_BYTES = 2 * _PAGE_BYTES  # what a row may take beyond its container: index, slack
_WAL_BYTES = 4 * 2**20  # the log is cut back to this

_SCHEMA = """
CREATE TABLE IF NOT EXISTS frames (place INTEGER PRIMARY KEY AUTOINCREMENT,
    epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, kept_at REAL NOT NULL,
    capture_time_unix REAL NOT NULL, capture_time_mono REAL NOT NULL, crc32c INTEGER NOT NULL,
    traceparent TEXT NOT NULL, container BLOB NOT NULL, UNIQUE (epoch, sequence));
CREATE TABLE IF NOT EXISTS gaps (reason TEXT NOT NULL, from_unix REAL NOT NULL,
    to_unix REAL NOT NULL, frames INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL, epoch INTEGER NOT NULL,
    number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS alive (one INTEGER PRIMARY KEY, at_unix REAL NOT NULL);
"""  # the columns of `gaps` are the fields of `Gap`
_OLDEST = """SELECT place, epoch, sequence, kept_at, capture_time_unix, length(container)
    FROM frames ORDER BY place LIMIT 1"""
_NEXT = """SELECT place, epoch, sequence, capture_time_unix, capture_time_mono, crc32c,
    traceparent, container FROM frames WHERE place > ? ORDER BY place LIMIT 1"""


@dataclass(frozen=True, slots=True)
class SpooledFrame:
    """A frame as it lies in the spool."""

    place: int  # in the order of putting
    epoch: int
    frame: LedgerFrame


class Spool:
    """One camera's file, opened and locked; `close` it.

    Args:
        path: The file, made if it is not there. None: memory only.
        epoch: Of this start of the edge.
        max_bytes: What the frames may take in the file, with all that SQLite adds.
        max_age_seconds: Frames kept for longer are given up.

    Raises:
        sqlite3.Error: it cannot be opened or written, or another process has it.
    """

    def __init__(
        self,
        path: Path | None,
        epoch: int,
        *,
        max_bytes: int = 0,
        max_age_seconds: float = float("inf"),
    ) -> None:
        self.in_memory = path is None
        self._epoch = epoch
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        # Used by one thread at a time, but opened and closed by others.
        self._db = sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._db.executescript(
                f"PRAGMA page_size={_PAGE_BYTES}; PRAGMA auto_vacuum=INCREMENTAL;"
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                f"PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit={_WAL_BYTES};"
                f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;"
            )
            self.frames = self._number("SELECT count(*) FROM frames")
            row = self._db.execute("SELECT at_unix FROM alive").fetchone()
            self.alive_unix: float | None = row and row[0]  # an earlier start's last sign of life
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Write everything back and unlock the file."""
        self._db.close()

    # --- frames ---

    @property
    def used_bytes(self) -> int:
        """Bytes of the file that hold something."""
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * _PAGE_BYTES

    def put(self, frame: LedgerFrame, now_unix: float) -> list[Gap]:
        """Keep a frame of this start, once; a gap for each frame that was given up for it."""
        needed_bytes = _ROW_BYTES + frame.size_bytes
        with self._transaction():
            gaps = self._trim(now_unix, needed_bytes)
            if self.used_bytes + needed_bytes > self._max_bytes:
                gaps.append(gap_of(GapReason.SPOOL_FULL, self._epoch, frame))
            else:
                self._db.execute(
                    "INSERT OR IGNORE INTO frames VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        self._epoch,
                        frame.sequence,
                        now_unix,
                        frame.capture_time_unix,
                        frame.capture_time_mono,
                        frame.container_crc32c,
                        frame.traceparent,
                        frame.container,
                    ),
                )
            for gap in gaps:
                self._add_gap(gap)
        self.frames = self._number("SELECT count(*) FROM frames")
        return gaps

    def next_frame(self, after_place: int) -> SpooledFrame | None:
        """Give the frame that was put next after a place; 0 = from the start."""
        row = self._db.execute(_NEXT, (after_place,)).fetchone()
        if row is None:
            return None
        place, epoch, sequence, unix, mono, crc32c, traceparent, container = row
        frame = LedgerFrame(
            sequence=sequence,
            container=container,
            container_crc32c=crc32c,
            capture_time_unix=unix,
            # An earlier start's monotonic clock may be an earlier boot's.
            capture_time_mono=mono if epoch == self._epoch else 0.0,
            encoded_at=0.0,
            traceparent=traceparent,
        )
        return SpooledFrame(place, epoch, frame)

    def sequences(self, limit: int) -> list[int]:
        """Sequences of this start's frames, those that were put first."""
        rows = self._db.execute(
            "SELECT sequence FROM frames WHERE epoch = ? ORDER BY place LIMIT ?",
            (self._epoch, limit),
        )
        return [sequence for (sequence,) in rows]

    def forget(self, epoch: int, sequence: int) -> None:
        """The cloud has it: delete a frame, if it is here; an empty file gives its space back."""
        found = self._db.execute(
            "DELETE FROM frames WHERE epoch = ? AND sequence = ?", (epoch, sequence)
        ).rowcount
        self.frames -= found
        if found and not self.frames:
            self._db.executescript("PRAGMA incremental_vacuum")

    def shift_ages(self, seconds: float, now_unix: float) -> None:
        """The wall clock was set by so much, to `now_unix`: that ages nothing.

        An earlier start may have kept its frames by either clock; none is taken to be older than it
        was, or from the future.
        """
        self._db.execute("UPDATE frames SET kept_at = min(kept_at + ?, ?)", (seconds, now_unix))

    def mark_alive(self, now_unix: float) -> None:
        """Leave a sign of life for the next start."""
        self._db.execute("REPLACE INTO alive VALUES (1, ?)", (now_unix,))

    # --- gaps ---

    def add_gap(self, gap: Gap) -> Gap:
        """Record a gap; joined to the newest of its reason where it goes on from it."""
        with self._transaction():
            return self._add_gap(gap)

    def take_gaps(self, other: Spool) -> None:
        """Record what another spool has recorded, all of it or nothing."""
        with self._transaction():
            for gap in other._gaps("1 ORDER BY number"):
                self._add_gap(gap)

    def next_gap(self, after_number: int) -> Gap | None:
        """Give the gap with the lowest number above this one."""
        return next(iter(self._gaps("number > ? ORDER BY number LIMIT 1", after_number)), None)

    def forget_gap(self, sent: Gap) -> None:
        """The cloud has this record: delete it, unless it has grown since it was sent."""
        with self._transaction():
            if self._gaps("number = ?", sent.number) == [sent]:
                self._db.execute("DELETE FROM gaps WHERE number = ?", (sent.number,))

    # --- inside one transaction ---

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite ends it by itself when the disk is full
                self._db.execute("ROLLBACK")
            raise

    def _trim(self, now_unix: float, needed_bytes: int) -> list[Gap]:
        """Delete the oldest frames until so many bytes have room and none is too old."""
        gaps: list[Gap] = []
        while (row := self._db.execute(_OLDEST).fetchone()) is not None:
            place, epoch, sequence, kept_at, captured, size_bytes = row
            if now_unix - kept_at > self._max_age_seconds:
                reason = GapReason.EXPIRED
            elif self.used_bytes + needed_bytes > self._max_bytes:
                reason = GapReason.SPOOL_FULL
            else:
                break
            self._db.execute("DELETE FROM frames WHERE place = ?", (place,))
            gaps.append(Gap(reason, captured, captured, 1, size_bytes, sequence, sequence, epoch))
        return gaps

    def _add_gap(self, gap: Gap) -> Gap:
        same = self._gaps("reason = ? AND epoch = ? ORDER BY number", gap.reason.value, gap.epoch)
        if same and (same[-1].joins(gap) or len(same) >= MAX_GAPS):
            recorded = same[-1].join(gap)
        else:
            # By time, so that no later file or start gives a number again.
            last = self._number("SELECT coalesce(max(number), 0) FROM gaps")
            recorded = replace(gap, number=gap.number or max(last + 1, time.time_ns() // 1000))
        self._db.execute("REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(recorded))
        return recorded

    def _gaps(self, condition: str, *values: object) -> list[Gap]:
        rows = self._db.execute(f"SELECT * FROM gaps WHERE {condition}", values)
        return [Gap(GapReason(reason), *rest) for reason, *rest in rows]

    def _number(self, query: str) -> int:
        (value,) = self._db.execute(query).fetchone()
        return int(value)


def gap_of(reason: GapReason, epoch: int, frame: LedgerFrame) -> Gap:
    """The record of one frame that is given up."""
    captured, sequence = frame.capture_time_unix, frame.sequence
    return Gap(reason, captured, captured, 1, frame.size_bytes, sequence, sequence, epoch)
