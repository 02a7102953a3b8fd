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
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import median

from slimlinks.errors import TraceError

_OPPORTUNITY_BYTES = 1500  # of one line of a mahimahi file
_BYTES_PER_MEGABIT = 125_000.0
_MAX_FILE_BYTES = 64 * 2**20


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
        if not all(a < b for a, b in zip(edges, edges[1:], strict=False)):
            raise TraceError(f"trace {self.name}: times must rise")
        if not all(0 <= rate < math.inf for rate in self.bytes_per_second):
            raise TraceError(f"trace {self.name}: rates must be 0 or more bytes per second")
        areas = (
            rate * (end - start)
            for start, end, rate in zip(edges, edges[1:], self.bytes_per_second, strict=False)
        )
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
        TraceError: it cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise TraceError(f"{path} has more than {_MAX_FILE_BYTES} bytes: cut it")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise TraceError(f"{path} cannot be read as a trace: {exc}") from exc
    rows = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    rows = [(number, words) for number, words in rows if words]
    if not rows:
        raise TraceError(f"{path} is empty; lines of `time_s mbps` or of milliseconds are needed")
    columns = len(rows[0][1])
    if columns not in (1, 2):
        raise TraceError(
            f"{path} has {columns} columns; a trace has two (`time_s mbps`) or one (mahimahi's "
            "milliseconds); take the others out"
        )
    for number, words in rows:
        if len(words) != columns:
            raise TraceError(
                f"{path}, line {number}: {len(words)} columns, the first line has {columns}; "
                "correct the line"
            )
    trace = _read_rates(path, rows) if columns == 2 else _read_opportunities(path, rows)
    if trace.mean == 0:
        raise TraceError(f"{path} carries nothing at all; leave it out")
    return trace


def _read_rates(path: Path, rows: list[tuple[int, list[str]]]) -> Trace:
    times: list[float] = []
    rates: list[float] = []
    for number, words in rows:
        try:
            time, mbps = float(words[0]), float(words[1])
        except ValueError:
            raise TraceError(
                f"{path}, line {number}: `{' '.join(words)}` is not `time_s mbps`; correct it"
            ) from None
        if times and not time > times[-1]:
            raise TraceError(
                f"{path}, line {number}: time {words[0]} s is not after the line before; sort the "
                "lines and keep one for each time"
            )
        if not 0 <= mbps < 1e6:
            raise TraceError(f"{path}, line {number}: {words[1]} is no rate in megabits per second")
        times.append(time)
        rates.append(mbps * _BYTES_PER_MEGABIT)
    if not -1e9 < times[0] <= times[-1] < 1e9:
        raise TraceError(f"{path}: times beyond 1e9 s; give seconds from the recording's beginning")
    steps = [b - a for a, b in zip(times, times[1:], strict=False)]
    last = median(steps) if steps else 1.0
    begin = times[0]
    starts = tuple(time - begin for time in times)
    return Trace(path.name, path.parent.name, starts, tuple(rates), starts[-1] + last)


def _read_opportunities(path: Path, rows: list[tuple[int, list[str]]]) -> Trace:
    counts: Counter[int] = Counter()
    latest = 0
    for number, (word,) in rows:
        if not (word.isdigit() and len(word) < 10):
            raise TraceError(
                f"{path}, line {number}: `{word}` is no integer of milliseconds; a file with one "
                "column is read as mahimahi's"
            )
        millisecond = int(word)
        if millisecond < latest:
            raise TraceError(f"{path}, line {number}: {word} ms is before the line before; sort it")
        latest = millisecond
        counts[max(1, millisecond)] += 1
    times: list[float] = []
    rates: list[float] = []
    after = 0  # milliseconds that have a rate so far
    for millisecond in sorted(counts):
        if millisecond - 1 > after:
            times.append(after / 1000)
            rates.append(0.0)
        rate = counts[millisecond] * _OPPORTUNITY_BYTES * 1000.0
        if not (rates and rates[-1] == rate):
            times.append((millisecond - 1) / 1000)
            rates.append(rate)
        after = millisecond
    return Trace(path.name, path.parent.name, tuple(times), tuple(rates), after / 1000)
