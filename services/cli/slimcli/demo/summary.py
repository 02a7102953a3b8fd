"""What was seen, in totals: one JSON line for machines, sentences for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from slimcli.demo.plan import Plan
    from slimcli.demo.review import ViewedFrame
    from slimcli.demo.tally import Totals

# Percent fewer bytes than JPEG at equal detections, by the fingerprint of the codec, as its
# containers have it. The demo has no truth to find out itself. Source: BD-rate of mAP50 over the
# frequent classes at level 0, the detector's, on 71 validation pictures: docs/develop/measured.md.
_SAVED_AGAINST_JPEG = {"b982f16d00dd5787": 68}


def jpeg_line(fingerprint: str) -> str | None:
    """What was measured for a model against JPEG, in words; None for one that was not."""
    if fingerprint not in _SAVED_AGAINST_JPEG:
        return None
    return (
        f"level 0 needs {_SAVED_AGAINST_JPEG[fingerprint]} % fewer bytes for equal detections "
        "(measured beforehand, on 71 pictures)"
    )


def summary_json(totals: Totals, viewed: ViewedFrame | None) -> dict[str, object]:
    """The totals; `null` where nothing was measured.

    Bytes are of the containers of the frames that were sent; those of the link of all IP packets
    to and from the edge. Latencies are from capture to the
    detections' return. `frames_skipped` were captured and not sent, `frames_late` were sent and not
    detected by the deadline.
    """
    latencies = totals.latencies_seconds
    return {
        "frames_captured": totals.frames_captured,
        "frames_sent": totals.frames_sent,
        "frames_acked": totals.frames_persisted,
        "frames_detected": totals.frames_detected,
        "frames_skipped": totals.frames_captured - totals.frames_sent,
        "frames_late": totals.late,
        "switches": totals.switches,
        "bytes_total": totals.sent_bytes,
        "link_sent_bytes": totals.link_sent_bytes,
        "link_received_bytes": totals.link_received_bytes,
        "bpp_mean": totals.bpp_mean,
        "latency_p50_seconds": percentile(latencies, 50) if latencies else None,
        "latency_p95_seconds": percentile(latencies, 95) if latencies else None,
        "detections": dict(totals.labels.most_common()),
        "view_psnr_db": viewed and {"before": viewed.before_db, "after": viewed.after_db},
        "view_bytes": viewed
        and {"base": viewed.base_bytes, "enhancement": viewed.enhancement_bytes},
    }


def summary_lines(totals: Totals, viewed: ViewedFrame | None, plan: Plan) -> dict[str, str]:
    """The same for people, by what it is about."""
    lines = count_lines(totals, plan, totals.latencies_seconds)
    lines["found"] = labels_line(totals.labels)
    if viewed is not None:
        base, more = viewed.base_bytes / 1000, viewed.enhancement_bytes / 1000
        came = (
            f"{more:.1f} kB more, which the camera sent when asked, at {viewed.after_db:.1f} dB"
            " (more is closer to the camera's)"
        )
        lines["on demand"] = (
            f"one picture: the {base:.1f} kB for the boxes give it at {viewed.before_db:.1f} dB; "
            f"{viewed.detail or came}"
        )
    return lines


def count_lines(totals: Totals, plan: Plan, latencies_seconds: Sequence[float]) -> dict[str, str]:
    """How many pictures went, in how many bytes, and how soon they came back as boxes.

    Args:
        latencies_seconds: Capture to detection, of the pictures that are told of.
    """
    pictures = (
        f"{totals.frames_sent} sent, {totals.frames_detected} answered, "
        f"{totals.frames_late or 'none'} after more than {plan.edge.deadline_seconds:g} s"
    )
    for count, what in ((totals.frames_lost, "lost"), (totals.frames_nacked, "refused")):
        pictures += f", {count} {what}" if count else ""
    sent, delay = "none sent yet", "not known yet"
    if totals.frames_sent:
        mean = totals.sent_bytes / totals.frames_sent
        sent = f"{mean / 1000:.1f} kB a picture, {totals.sent_bytes / 1e6:.2f} MB so far"
    if latencies_seconds:
        median, most = (percentile(latencies_seconds, percent) for percent in (50, 95))
        delay = f"{median:.2f} s from the camera to the boxes; 95 of 100 within {most:.2f} s"
    lines = {"pictures": pictures, "bytes": sent, "delay": delay}
    return lines | ({"JPEG": plan.against_jpeg} if plan.against_jpeg else {})


def labels_line(labels: Counter[str], most: int = 6) -> str:
    """`4 person, 2 car`; or `nothing`."""
    named = [f"{count} {label}" for label, count in labels.most_common(most)]
    rest = len(labels) - len(named)
    if rest > 0:
        named.append(f"{rest} more classes")
    return ", ".join(named) or "nothing"


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear interpolation between the nearest values, of which there is one at least."""
    return float(np.percentile(values, percent))
