"""One simulation in figures.

    in-deadline accuracy = mean over all captured pictures of
                           (true utility if the result came by the deadline, else 0)

So a picture that was skipped counts as much as one that came late: nothing was seen in time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studies.controller.simulation.run import FrameOutcome, Run

_WINDOW_SECONDS = 2.0  # that recovery is judged over
_NEAR = 0.05  # of the settled accuracy: recovered


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy made of a world."""

    in_deadline_accuracy: float  # 0 to 1 where utilities are
    captured_frames: int
    sent_frames: int
    late_share: float  # of sent frames: the result came after the deadline, or never
    skipped_share: float  # of captured frames: not sent
    probe_share: float  # of sent frames
    latency_p50: float  # seconds, capture to result, of frames with a result; NaN without any
    latency_p95: float
    latency_p99: float
    sent_bytes: int  # of containers
    bytes_per_second: float  # over the whole time
    budget_error: float | None  # (bytes per second - budget) / budget; None without a budget
    switches_per_minute: float  # of (level, quality) from one sent frame to the next
    mean_utility: float  # of sent frames, in time or not; NaN without any


def summarise(run: Run) -> Outcome:
    """Give the figures of a run."""
    frames, deadline = run.frames, run.deadline_seconds
    sent = [frame for frame in frames if frame.sent_at is not None]
    in_time = [frame for frame in sent if frame.is_in_time(deadline)]
    latencies = [frame.latency_seconds for frame in sent if frame.latency_seconds is not None]
    p50, p95, p99 = (
        [float(x) for x in np.percentile(latencies, (50, 95, 99))] if latencies else [math.nan] * 3
    )
    sent_bytes = sum(frame.size_bytes for frame in sent)
    rate, budget = sent_bytes / run.seconds, run.budget_bytes_per_second
    switches = sum(
        a.point is None
        or b.point is None
        or (a.point.level, a.point.quality) != (b.point.level, b.point.quality)
        for a, b in zip(sent, sent[1:], strict=False)
    )
    return Outcome(
        in_deadline_accuracy=sum(frame.utility for frame in in_time) / len(frames),
        captured_frames=len(frames),
        sent_frames=len(sent),
        late_share=(len(sent) - len(in_time)) / max(1, len(sent)),
        skipped_share=(len(frames) - len(sent)) / len(frames),
        probe_share=sum(frame.probe for frame in sent) / max(1, len(sent)),
        latency_p50=p50,
        latency_p95=p95,
        latency_p99=p99,
        sent_bytes=sent_bytes,
        bytes_per_second=rate,
        budget_error=None if budget is None else (rate - budget) / budget,
        switches_per_minute=switches * 60 / run.seconds,
        mean_utility=sum(frame.utility for frame in sent) / len(sent) if sent else math.nan,
    )


def recovery_seconds(run: Run, step_at: float, until: float | None = None) -> float:
    """Time from a step of the link until accuracy is what it settles at.

    Args:
        run: Of a world whose link changes once, at `step_at`, seconds.
        until: Where the next step comes, seconds; None: the run's end.

    Returns:
        Seconds from the step to the beginning of the first 2 s over which the in-deadline accuracy
        is within 5 % of its mean over the last half of the time until `until`. Infinity if there is
        none, or no 2 s to look at.
    """
    end = run.seconds if until is None else until
    settled = _accuracy(run, step_at + (end - step_at) / 2, end)
    for frame in run.frames:
        start = frame.captured_at
        if start < step_at:
            continue
        if start + _WINDOW_SECONDS > end:
            break
        if abs(_accuracy(run, start, start + _WINDOW_SECONDS) - settled) <= _NEAR * settled:
            return start - step_at
    return math.inf


def _accuracy(run: Run, start: float, end: float) -> float:
    """In-deadline accuracy of the pictures captured from `start` to before `end`."""
    frames: Sequence[FrameOutcome] = [f for f in run.frames if start <= f.captured_at < end]
    if not frames:
        return math.nan
    return sum(f.utility for f in frames if f.is_in_time(run.deadline_seconds)) / len(frames)
