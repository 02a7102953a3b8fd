"""A recorded link: how many bytes per second it carried, when; and after its end again.

    rate, bytes/s   ┌──┐
                ┌───┘  │     ┌────       constant between two times, zero allowed
            ────┘      └─────┘
                0  t1  t2    t3   seconds

What has passed until t is the area under it, so the end of a transfer is found by one search in
the areas, exactly, with no steps of time. Files are told apart by their number of columns.

    two columns    `time_s mbps`: from that time on so many megabits (1e6 bits) per second
    one column     mahimahi: an integer of milliseconds = one opportunity to carry 1500 bytes

Times need not begin at 0: the first line is taken for it. The last rate of a file with two columns
holds as long as the middle one of the others. An opportunity's bytes are spread over the
millisecond before it; mahimahi carries them at once.

Source: mahimahi's mm-link(1), section "Trace format"; its last line is the length of the round.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import mul
from pathlib import Path
from statistics import median

from slimlinks.errors import TraceError

_OPPORTUNITY_BYTES = 1500  # of one line of a mahimahi file
_BYTES_PER_MEGABIT = 125_000.0
_MAX_FILE_BYTES = 64 * 2**20
_EXPECTED = (
    "a trace has two columns, `time_s mbps`, whose times rise, or one (mahimahi's): milliseconds "
    "without a fraction that do not fall"
)


@dataclass(frozen=True, slots=True)
class Trace:
    """Bytes per second over time, piecewise constant; repeats after `seconds`.

    Raises:
        TraceError: the times do not rise from 0, or a rate is no number of bytes per second.
    """

    name: str  # of the file
    family: str  # of its folder
    times: tuple[float, ...]  # where each piece begins, seconds; the first is 0
    bytes_per_second: tuple[float, ...]  # of each piece
    seconds: float  # where the last piece ends and the first begins again
    _passed: tuple[float, ...] = field(init=False, repr=False, compare=False)  # bytes at `times`
    _total: float = field(init=False, repr=False, compare=False)  # bytes of one round

    def __post_init__(self) -> None:
        edges = (*self.times, self.seconds)
        if len(self.times) != len(self.bytes_per_second) or not self.times or self.times[0] != 0:
            raise TraceError(f"trace {self.name}: as many rates as times are needed, from time 0")
        if not all(a < b for a, b in pairwise(edges)):
            raise TraceError(f"trace {self.name}: times must rise")
        if not all(0 <= rate < math.inf for rate in self.bytes_per_second):
            raise TraceError(f"trace {self.name}: rates must be 0 or more bytes per second")
        lengths = (end - start for start, end in pairwise(edges))
        areas = map(mul, self.bytes_per_second, lengths)
        passed = tuple(accumulate(areas, initial=0.0))
        object.__setattr__(self, "_passed", passed)
        object.__setattr__(self, "_total", passed[-1])

    @property
    def mean(self) -> float:
        """Bytes per second over one round."""
        return self._total / self.seconds

    def rate_at(self, t: float) -> float:
        """Bytes per second at a time, seconds."""
        return self.bytes_per_second[bisect_right(self.times, t % self.seconds) - 1]

    def bytes_between(self, start: float, end: float) -> float:
        """Bytes that can pass between two times, seconds."""
        return self._passed_until(end) - self._passed_until(start)

    def finish(self, start: float, size_bytes: float) -> float:
        """When the last of so many bytes has passed that may begin at `start`, seconds.

        Infinity if the link never carries anything.
        """
        if size_bytes <= 0:
            return start
        if self._total == 0 or start == math.inf:
            return math.inf
        laps, rest = divmod(self._passed_until(start) + size_bytes, self._total)
        if rest == 0:  # the earliest time: before whatever hole ends the round
            laps, rest = laps - 1, self._total
        piece = bisect_left(self._passed, rest) - 1
        into = (rest - self._passed[piece]) / self.bytes_per_second[piece]
        return max(start, laps * self.seconds + self.times[piece] + into)

    def _passed_until(self, t: float) -> float:
        laps, at = divmod(t, self.seconds)
        piece = bisect_right(self.times, at) - 1
        into = (at - self.times[piece]) * self.bytes_per_second[piece]
        return laps * self._total + self._passed[piece] + into


def constant_trace(bytes_per_second: float) -> Trace:
    """Give a link that never changes."""
    name = f"constant {bytes_per_second:g} B/s"
    return Trace(name, "constant", (0.0,), (float(bytes_per_second),), 1.0)


def read_trace(path: Path) -> Trace:
    """Read one recorded link; its family is the name of its folder.

    Raises:
        TraceError: it cannot be read, or holds something else; names the line.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise TraceError(f"{path} has more than {_MAX_FILE_BYTES} bytes: cut it")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise TraceError(f"{path} cannot be read as a trace: {exc}") from exc
    rows: list[tuple[float, ...]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _numbers_of(line)
        if row is None or (rows and not _follows(rows[-1], row)):
            raise TraceError(f"{path}, line {number}: `{line.strip()}`; {_EXPECTED}")
        rows.append(row)
    if not rows:
        raise TraceError(f"{path} is empty; {_EXPECTED}")
    times, rates, seconds = _rates_of(rows) if len(rows[0]) == 2 else _opportunities_of(rows)
    trace = Trace(path.name, path.parent.name, tuple(times), tuple(rates), seconds)
    if trace.mean == 0:
        raise TraceError(f"{path} carries nothing at all; leave it out")
    return trace


def _numbers_of(line: str) -> tuple[float, ...] | None:
    """Seconds and megabits per second, or whole milliseconds; None: it is neither."""
    match line.split():
        case [word] if word.isdigit() and len(word) < 10:
            return (float(word),)
        case [first, second]:
            with suppress(ValueError):
                time, mbps = float(first), float(second)
                if -1e9 < time < 1e9 and 0 <= mbps < 1e6:
                    return (time, mbps)
    return None


def _follows(before: tuple[float, ...], row: tuple[float, ...]) -> bool:
    """Opportunities may have the same millisecond, rates have a time each."""
    is_later = row[0] > before[0] if len(row) == 2 else row[0] >= before[0]
    return len(row) == len(before) and is_later


def _rates_of(rows: list[tuple[float, ...]]) -> tuple[list[float], list[float], float]:
    """When each rate begins, that in bytes per second, and when the last one ends."""
    times = [time - rows[0][0] for time, _ in rows]
    steps = [end - start for start, end in pairwise(times)]
    last = median(steps) if steps else 1.0
    return times, [mbps * _BYTES_PER_MEGABIT for _, mbps in rows], times[-1] + last


def _opportunities_of(rows: list[tuple[float, ...]]) -> tuple[list[float], list[float], float]:
    """The same of opportunities."""
    counts = Counter(max(1, int(millisecond)) for (millisecond,) in rows)
    times, rates = [], []
    after = 0  # milliseconds that have a rate so far
    for millisecond, count in counts.items():
        if millisecond - 1 > after:
            times.append(after / 1000)
            rates.append(0.0)
        times.append((millisecond - 1) / 1000)
        rates.append(count * _OPPORTUNITY_BYTES * 1000.0)
        after = millisecond
    return times, rates, after / 1000
