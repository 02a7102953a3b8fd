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


# Percent fewer bytes than JPEG at equal detections, and the middle 95 % of 200 draws, by the
# fingerprint of the codec, as its containers have it. The demo has no truth to find out itself.
# Source: BD-rates of mAP50 over the frequent classes at level 0, the detector's, of `slimwire
# evaluate` on 71 validation pictures: studies/results/bd-rate-slim-n.csv and bd-rate-slim-h.csv.
_SAVED_AGAINST_JPEG = {"06bfd055e1066399": (44, 23, 59), "951a43af343db57a": (44, 6, 70)}


def jpeg_line(fingerprint: str) -> str | None:
    """What was measured for a model against JPEG, in words; None for one that was not."""
    if fingerprint not in _SAVED_AGAINST_JPEG:
        return None
    percent, low, high = _SAVED_AGAINST_JPEG[fingerprint]
    return (
        f"level 0 needs {percent} % fewer bytes for equal detections ({low} to {high} %; "
        "measured beforehand, on 71 pictures)"
    )


def summary_json(
    totals: Totals,
    viewed: ViewedFrame | None,
    *,
    rate: float,
    page: str,
    uplink_kbit: float | None,
    link: str | None = None,
) -> dict[str, object]:
    """The totals; `null` where nothing was measured.

    Bytes are of the containers of the frames that were sent. Latencies are from capture to the
    detections' return. `frames_skipped` were captured and not sent, `frames_late` were sent and not
    detected by the deadline.
    """
    latencies = totals.latencies_seconds
    return {
        "page": page,
        "frames_per_second": rate,
        "frames_captured": totals.frames_captured,
        "frames_sent": totals.frames_sent,
        "frames_acked": totals.frames_persisted,
        "frames_detected": totals.frames_detected,
        "frames_skipped": totals.frames_captured - totals.frames_sent,
        "frames_late": totals.late,
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
        "uplink_kbit_per_second": uplink_kbit,
        "link": link,
    }


def summary_table(
    totals: Totals, viewed: ViewedFrame | None, deadline_seconds: float, against_jpeg: str | None
) -> Table:
    """The same for people."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=False, title="Summary", title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("pictures", pictures_line(totals, deadline_seconds))
    table.add_row("bytes", sent_line(totals))
    table.add_row("delay", delay_line(totals.latencies_seconds))
    table.add_row("found", labels_line(totals.labels))
    if against_jpeg is not None:
        table.add_row("JPEG", against_jpeg)
    if viewed is not None:
        table.add_row("one picture on demand", _view_line(viewed))
    return table


def pictures_line(totals: Totals, deadline_seconds: float) -> str:
    """How many went to the cloud and came back as boxes, and what did not."""
    line = f"{totals.frames_sent} sent, {totals.frames_detected} answered, "
    line += f"{totals.frames_late or 'none'} after more than {deadline_seconds:g} s"
    for count, what in ((totals.frames_lost, "lost"), (totals.frames_nacked, "refused")):
        line += f", {count} {what}" if count else ""
    return line


def sent_line(totals: Totals) -> str:
    """Bytes that were sent."""
    if not totals.frames_sent:
        return "none sent yet"
    mean = totals.sent_bytes / totals.frames_sent
    return f"{mean / 1000:.1f} kB a picture, {totals.sent_bytes / 1e6:.2f} MB so far"


def delay_line(latencies_seconds: Sequence[float]) -> str:
    """Capture to detection."""
    median, most = (percentile(latencies_seconds, percent) for percent in (50, 95))
    if median is None or most is None:
        return "not known yet"
    return f"{median:.2f} s from the camera to the boxes; 95 of 100 within {most:.2f} s"


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
    first = f"the {viewed.base_bytes / 1000:.1f} kB for the boxes give it at {viewed.before_db:.1f}"
    if viewed.enhancement_bytes:
        return (
            f"{first} dB; {viewed.enhancement_bytes / 1000:.1f} kB more, which the camera sent "
            f"when asked, at {viewed.after_db:.1f} dB (more is closer to the camera's)"
        )
    return f"{first} dB ({viewed.detail})"


def _finite(value: float) -> float | None:
    """JSON knows no infinity, which is the PSNR of equal pictures."""
    return value if math.isfinite(value) else None
