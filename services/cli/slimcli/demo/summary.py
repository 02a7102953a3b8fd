"""What the demo has shown, in totals: one JSON line for machines, a table for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from slimcli.demo.review import ViewedFrame
    from slimcli.demo.tally import Totals

JPEG_QUALITY = 75  # what the edge compares the same frames with


def summary_json(
    totals: Totals,
    viewed: ViewedFrame | None,
    uplink_kbit: float | None,
    link: str | None = None,
) -> dict[str, object]:
    """The totals; `null` where nothing was measured.

    Bytes are of the containers of the frames that were sent; `jpeg_bytes_total` is of the same
    frames as JPEG. Latencies are from capture to the detections' return. `frames_skipped` were
    captured and not sent, `frames_late` were sent and not detected by the deadline.
    """
    latencies = totals.latencies_seconds
    return {
        "frames_captured": totals.frames_captured,
        "frames_sent": totals.frames_sent,
        "frames_acked": totals.frames_persisted,
        "frames_detected": totals.frames_detected,
        "frames_skipped": totals.frames_captured - totals.frames_sent,
        "frames_late": totals.late,
        "in_deadline_accuracy": totals.in_deadline_accuracy,
        "switches": totals.switches,
        "bytes_total": totals.sent_bytes,
        "bpp_mean": totals.bpp_mean,
        "latency_p50_seconds": percentile(latencies, 50),
        "latency_p95_seconds": percentile(latencies, 95),
        "detections": dict(totals.labels.most_common()),
        "view_psnr_db": viewed
        and {"before": _finite(viewed.before_db), "after": _finite(viewed.after_db)},
        "view_bytes": viewed
        and {"base": viewed.base_bytes, "enhancement": viewed.enhancement_bytes},
        "jpeg_bytes_total": totals.jpeg_bytes,
        "uplink_kbit_per_second": uplink_kbit,
        "link": link,
    }


def summary_table(totals: Totals, viewed: ViewedFrame | None, problem: str) -> Table:
    """The same for people; `problem` says why no picture was looked at."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False, title="Summary", title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("frames", frames_line(totals))
    table.add_row("bytes", bytes_line(totals))
    latencies = totals.latencies_seconds
    if latencies:
        table.add_row(
            "capture to detection",
            f"{percentile(latencies, 50):.3f} s median, {percentile(latencies, 95):.3f} s p95",
        )
        table.add_row("in-deadline accuracy", accuracy_line(totals))
    table.add_row("detections", labels_line(totals.labels))
    table.add_row("one picture on demand", problem if viewed is None else _view_line(viewed))
    return table


def frames_line(totals: Totals) -> str:
    """Where the frames are, and why some are not."""
    counts = [
        (totals.frames_captured, "captured", True),
        (totals.frames_sent, "sent", True),
        (totals.frames_detected, "detected", True),
        (totals.frames_replaced, "replaced by newer ones", False),
        (totals.frames_skipped, "skipped", False),
        (totals.frames_lost, "lost", False),
        (totals.frames_nacked, "refused", False),
    ]
    return ", ".join(f"{count} {what}" for count, what, always in counts if count or always)


def accuracy_line(totals: Totals) -> str:
    """What the machine got in time, and what it did not."""
    accuracy = totals.in_deadline_accuracy
    shown = "-" if accuracy is None else f"{accuracy:.3f}"
    return f"{shown}; {totals.late} of {totals.frames_sent} late; {totals.switches} switches"


def bytes_line(totals: Totals) -> str:
    """Bytes that were sent, against the same frames as JPEG."""
    line = f"{totals.sent_bytes:,}"
    if totals.bpp_mean is not None:
        line += f" ({totals.bpp_mean:.3f} bits per pixel)"
    if totals.against_jpeg is not None:
        line += (
            f"; as JPEG quality {JPEG_QUALITY} {totals.jpeg_bytes:,} "
            f"({100 * totals.against_jpeg:+.0f} %)"
        )
    return line


def labels_line(labels: Counter[str], most: int = 6) -> str:
    """`4 person, 2 car`; or `nothing`."""
    named = [f"{count} {label}" for label, count in labels.most_common(most)]
    rest = len(labels) - len(named)
    if rest > 0:
        named.append(f"{rest} more classes")
    return ", ".join(named) or "nothing"


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Linear interpolation between the nearest values; None of no values."""
    return float(np.percentile(values, percent)) if len(values) else None


def _view_line(viewed: ViewedFrame) -> str:
    line = f"{viewed.before_db:.2f} dB from the {viewed.base_bytes:,} bytes that were sent"
    if viewed.enhancement_bytes:
        return line + (
            f"; {viewed.after_db:.2f} dB after {viewed.enhancement_bytes:,} more, "
            "which the camera sent when asked"
        )
    return f"{line} ({viewed.detail})"


def _finite(value: float) -> float | None:
    """JSON knows no infinity, which is the PSNR of equal pictures."""
    return value if math.isfinite(value) else None
