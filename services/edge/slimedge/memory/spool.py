"""Frames that wait for the link, and records of those that could not: one SQLite file per camera.

    put ─► frames ─ next_frame ─► (sent as backfill) ─ PERSISTED ─► forget
             │ too many bytes, too old: the oldest first
             └─► gaps ─ next_gap ─► (sent) ─ GapAck ─► forget_gap

A frame may need another that was put before it, and is given up with that one.

A frame keeps the epoch and the sequence that it was captured under, whichever start of the edge
sends it. What is given up becomes a gap in the same transaction: nothing goes missing in between.

Ages count the time that an edge has run: wall clocks are set, and nobody can tell a step from the
time that the machine was off. So neither makes a frame old.

A disk that takes nothing is still read: `go_read_only` keeps in memory what would be deleted from
the file, and records of gaps, until `settle` can write them. No frame can be put meanwhile.

WAL without a sync per commit: what was put outlives `kill -9` of the edge; a loss of power may take
the last seconds, but not the file. Blocking, and used by one thread at a time. What SQLite raises
(`sqlite3.Error`: disk full, I/O error, damaged file) is for the caller to deal with.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, astuple, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from slimedge.frame import FrameHeader
from slimedge.gap import Gap, GapReason

MAX_GAPS = 64  # of one reason; beyond it the newest spans what comes

_PAGE_BYTES = 1024  # 1.05 to 1.12 bytes on disk per byte of 8 and 3 kB containers; 1.35 with 4096
_ROW_BYTES = 2 * _PAGE_BYTES  # what a row may take beyond its container: index, slack
_WAL_BYTES = 4 * 2**20  # the log is cut back to this
_FREE_BYTES = 64 * 2**20  # of the disk that are left to others, or a twentieth of a smaller one

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (place INTEGER PRIMARY KEY AUTOINCREMENT,
    epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, kept_at REAL NOT NULL,
    header TEXT NOT NULL, container BLOB NOT NULL, UNIQUE (epoch, sequence));
CREATE TABLE IF NOT EXISTS gaps (reason TEXT NOT NULL, from_unix REAL NOT NULL,
    to_unix REAL NOT NULL, frames INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL, epoch INTEGER NOT NULL,
    number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS alive (one INTEGER PRIMARY KEY, at_unix REAL NOT NULL);
"""  # `header` is a `FrameHeader` as JSON; the columns of `gaps` are the fields of `Gap`;
# `alive`: 1 the wall clock at the last sign of life, 2 the spool's own clock then, of `kept_at`
# Names of the file, in memory: SQLite looks at TEMP first, and `main.` names the file's own.
_READ_ONLY = """
CREATE TEMP TABLE gone (place INTEGER PRIMARY KEY);
CREATE TEMP VIEW kept AS SELECT * FROM main.kept WHERE place NOT IN gone;
CREATE TEMP TRIGGER forget INSTEAD OF DELETE ON kept
    BEGIN INSERT INTO gone VALUES (old.place); END;
CREATE TEMP TABLE gaps AS SELECT * FROM main.gaps;
CREATE UNIQUE INDEX temp.gap_number ON gaps (number);
"""
_SETTLE = """
DELETE FROM main.kept WHERE place IN gone;
DELETE FROM main.gaps; INSERT INTO main.gaps SELECT * FROM temp.gaps;
DROP TRIGGER temp.forget; DROP VIEW temp.kept; DROP TABLE temp.gone; DROP TABLE temp.gaps;
"""
_OLDEST = """SELECT place, epoch, kept_at, header, length(container)
    FROM kept ORDER BY place LIMIT 1"""
_NEXT = """SELECT place, epoch, header, container FROM kept WHERE place > ?
    ORDER BY place LIMIT 1"""
_REFERENCES = """SELECT place, epoch, sequence, json_extract(header, '$.reference_sequence')
    FROM kept ORDER BY place"""
_GIVEN_UP = "SELECT header, length(container) FROM kept WHERE place = ?"
_PUT = """INSERT OR IGNORE INTO kept (place, epoch, sequence, kept_at, header, container)
    VALUES (?, ?, ?, ?, ?, ?)"""
# A file of version 0.1 has a column for each field, in another table. Some rows at a time move
# over, so that the file grows by these only.
_OLD_ROWS = """SELECT place, epoch, kept_at, sequence,
    CAST(round(1e6 * capture_time_unix) AS INTEGER) AS capture_time_unix_us,
    CAST(round(1e6 * capture_time_mono) AS INTEGER) AS capture_time_mono_us,
    crc32c AS container_crc32c, traceparent, container FROM frames ORDER BY place LIMIT 16"""
_HEADER = TypeAdapter(FrameHeader)


@dataclass(frozen=True, slots=True)
class SpooledFrame:
    """A frame as it lies in the spool."""

    place: int  # in the order of putting
    epoch: int
    header: FrameHeader
    container: bytes


@dataclass(eq=False)
class Spool:
    """One camera's file, opened and locked; `close` it.

    Raises:
        sqlite3.Error: it cannot be opened or written, or another process has it.
    """

    path: Path | None  # the file, made if it is not there; None: memory only
    epoch: int  # of this start of the edge
    _: KW_ONLY
    max_bytes: int = 0  # what the frames may take in the file, with all that SQLite adds
    max_age_seconds: float = float("inf")  # frames kept for longer are given up
    mono: Callable[[], float] = time.monotonic  # seconds

    def __post_init__(self) -> None:
        # Used by one thread at a time, but opened and closed by others.
        self._db = sqlite3.connect(
            ":memory:" if self.path is None else self.path,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # Nothing is written into a file that is there: its disk may be full.
            self._db.executescript("PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY")
            if not self._number("PRAGMA page_count"):
                self._db.executescript(
                    f"PRAGMA page_size={_PAGE_BYTES}; PRAGMA auto_vacuum=INCREMENTAL"
                )
            self._db.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                f"PRAGMA journal_size_limit={_WAL_BYTES};"
                f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;"
            )
            self._take_over()
            self.is_read_only = False
            self._count()
            alive: dict[int, float] = dict(self._db.execute("SELECT one, at_unix FROM alive"))
            self.alive_unix = alive.get(1)  # an earlier start's last sign of life
            # A file of an older version has no clock of its own, and `kept_at` by the wall clock.
            self._clock_offset = alive.get(2, alive.get(1, time.time())) - self.mono()
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

    def put(self, header: FrameHeader, container: bytes) -> list[Gap]:
        """Keep a frame of this start, once; a gap for each frame that was given up for it."""
        needed_bytes = _ROW_BYTES + len(container)
        with self._transaction():
            gaps = self._trim(needed_bytes)
            growth = -len(gaps)
            if self.used_bytes + needed_bytes > self._room_bytes:
                gaps.append(gap_of(GapReason.SPOOL_FULL, self.epoch, header, len(container)))
            else:
                growth += self._insert(None, self.epoch, self._now(), header, container)
            for gap in gaps:
                self._add_gap(gap)
        self.frames += growth
        return gaps

    def next_frame(self, after_place: int) -> SpooledFrame | None:
        """Give the frame that was put next after a place; 0 = from the start."""
        row = self._db.execute(_NEXT, (after_place,)).fetchone()
        if row is None:
            return None
        place, epoch, text, container = row
        header = _read(text)
        if epoch != self.epoch:  # an earlier start's monotonic clock may be an earlier boot's
            header = replace(header, capture_time_mono_us=0)
        return SpooledFrame(place, epoch, header, container)

    def sequences(self, limit: int) -> list[int]:
        """Sequences of this start's frames, those that were put first."""
        rows = self._db.execute(
            "SELECT sequence FROM kept WHERE epoch = ? ORDER BY place LIMIT ?",
            (self.epoch, limit),
        )
        return [sequence for (sequence,) in rows]

    def forget(self, epoch: int, sequence: int) -> None:
        """The cloud has it: delete a frame, if it is here; an empty file gives its space back."""
        before, name = self.frames, (epoch, sequence)
        deleted = self._db.execute("DELETE FROM kept WHERE epoch = ? AND sequence = ?", name)
        if self.is_read_only:  # a view's trigger counts no rows
            self._count()
            return
        self.frames -= deleted.rowcount
        if before and not self.frames:
            self._db.executescript("PRAGMA incremental_vacuum")

    def lose_dependents(self) -> list[Gap]:
        """Give up the frames that need one which is not here; a gap for each."""
        gaps, whole = [], set[tuple[int, int]]()
        with self._transaction():
            for place, epoch, sequence, reference in self._db.execute(_REFERENCES).fetchall():
                if not reference or (epoch, reference) in whole:
                    whole.add((epoch, sequence))
                    continue
                text, size_bytes = self._db.execute(_GIVEN_UP, (place,)).fetchone()
                self._db.execute("DELETE FROM kept WHERE place = ?", (place,))
                gaps.append(gap_of(GapReason.STORE_LOST, epoch, _read(text), size_bytes))
                self._add_gap(gaps[-1])
        self._count()
        return gaps

    def mark_alive(self, now_unix: float) -> None:
        """Leave a sign of life for the next start; none on a disk that takes nothing."""
        if not self.is_read_only:
            self._db.execute(self._alive(now_unix))

    # --- a disk that takes nothing ---

    @property
    def takes_frames(self) -> bool:
        """Whether frames can be put."""
        return self.path is not None and not self.is_read_only

    def go_read_only(self) -> None:
        """Write nothing to the file from now on."""
        self._db.executescript(_READ_ONLY)
        self.is_read_only = True

    def settle(self, now_unix: float) -> None:
        """Write what is owed to the file, and a sign of life; where it cannot be, memory keeps it.

        Both in one step, so that a file which takes the one takes the other.
        """
        try:
            owed = _SETTLE if self.is_read_only else ""
            self._db.executescript(f"BEGIN IMMEDIATE; {owed} {self._alive(now_unix)}; COMMIT;")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.rollback()
            raise
        self.is_read_only = False

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

    def _take_over(self) -> None:
        """Move what a file of an older version holds into the table of this one."""
        if not self._number("SELECT count(*) FROM sqlite_master WHERE name = 'frames'"):
            return
        while rows := self._db.execute(_OLD_ROWS).fetchall():
            with self._transaction():
                for place, epoch, kept_at, sequence, unix, mono, crc32c, trace, container in rows:
                    header = FrameHeader(
                        sequence=sequence,
                        capture_time_unix_us=unix,
                        capture_time_mono_us=mono,
                        container_crc32c=crc32c,
                        traceparent=trace,
                    )
                    self._insert(place, epoch, kept_at, header, container)
                self._db.execute("DELETE FROM frames WHERE place <= ?", (place,))
        self._db.execute("DROP TABLE frames")

    # --- inside one transaction ---

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._db:  # which commits or rolls back
            self._db.execute("BEGIN IMMEDIATE")
            yield

    @property
    def _room_bytes(self) -> int:
        """What the frames may take now: of what is allowed, as much as the disk has."""
        if self.path is None:
            return self.max_bytes
        disk = shutil.disk_usage(self.path.parent)
        free = disk.free - min(_FREE_BYTES, disk.total // 20)
        return min(self.max_bytes, self._number("PRAGMA page_count") * _PAGE_BYTES + free)

    def _count(self) -> None:
        self.frames = self._number("SELECT count(*) FROM kept")

    def _alive(self, now_unix: float) -> str:
        return f"REPLACE INTO alive VALUES (1, {now_unix:f}), (2, {self._now():f})"

    def _now(self) -> float:
        """The spool's clock: seconds, counted while an edge runs."""
        return self._clock_offset + self.mono()

    def _trim(self, needed_bytes: int) -> list[Gap]:
        """Delete the oldest frames until so many bytes have room and none is too old, and those
        that need them.
        """
        gaps: list[Gap] = []
        gone: set[tuple[int, int]] = set()
        while (row := self._db.execute(_OLDEST).fetchone()) is not None:
            place, epoch, kept_at, text, size_bytes = row
            if self._now() - kept_at > self.max_age_seconds:
                reason = GapReason.EXPIRED
            elif self.used_bytes + needed_bytes > self._room_bytes:
                reason = GapReason.SPOOL_FULL
            elif not gone or (epoch, _read(text).reference_sequence) not in gone:
                break  # else it goes for the same reason as the one that it needs
            self._db.execute("DELETE FROM kept WHERE place = ?", (place,))
            gaps.append(gap_of(reason, epoch, _read(text), size_bytes))
            gone.add((epoch, gaps[-1].first_sequence))
        return gaps

    def _insert(
        self, place: int | None, epoch: int, kept_at: float, header: FrameHeader, container: bytes
    ) -> int:
        """Give how many were not here before, 0 or 1."""
        text = _HEADER.dump_json(header).decode()
        row = (place, epoch, header.sequence, kept_at, text, container)
        return self._db.execute(_PUT, row).rowcount

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


def gap_of(reason: GapReason, epoch: int, header: FrameHeader, size_bytes: int) -> Gap:
    """The record of one frame that is given up."""
    captured, sequence = header.capture_time_unix, header.sequence
    return Gap(reason, captured, captured, 1, size_bytes, sequence, sequence, epoch)


def _read(text: str) -> FrameHeader:
    try:
        return _HEADER.validate_json(text)
    except ValidationError as exc:
        raise sqlite3.DatabaseError("a frame's header is damaged") from exc
