"""Files of recorded links -> `Trace`; told apart by their number of columns.

    two columns    `time_s mbps`: from that time on so many megabits (1e6 bits) per second
    one column     mahimahi: an integer of milliseconds = one opportunity to carry 1500 bytes

Times need not begin at 0: the first line is taken for it. The last rate of a file with two columns
holds as long as the middle one of the others. An opportunity's bytes are spread over the
millisecond before it; mahimahi carries them at once.

Source: mahimahi's mm-link(1), section "Trace format"; its last line is the length of the round.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median

from slimlinks.errors import TraceError
from slimlinks.trace import Trace

OPPORTUNITY_BYTES = 1500  # of one line of a mahimahi file
_BYTES_PER_MEGABIT = 125_000.0
_MAX_FILE_BYTES = 64 * 2**20


def read_trace(path: Path) -> Trace:
    """Read one recorded link; its family is the name of its folder.

    Raises:
        TraceError: it cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise TraceError(f"{path} has more than {_MAX_FILE_BYTES} bytes: cut it")
        text = path.read_text(encoding="ascii")
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
        rate = counts[millisecond] * OPPORTUNITY_BYTES * 1000.0
        if not (rates and rates[-1] == rate):
            times.append((millisecond - 1) / 1000)
            rates.append(rate)
        after = millisecond
    return Trace(path.name, path.parent.name, tuple(times), tuple(rates), after / 1000)
