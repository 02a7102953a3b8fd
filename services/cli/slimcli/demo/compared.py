"""Bytes against JPEG at equal detections: measured before, not by the demo.

The demo's own frames cannot tell: it has no truth for them. A JPEG file of some quality is another
picture with other detections, so its bytes say nothing by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Saving:
    """Fewer bytes than JPEG at equal mAP50, percent, with the middle 95 % of 200 draws."""

    percent: int
    low: int
    high: int


# Source: BD-rates of mAP50 over the frequent classes at level 0, the detector's, of `slimwire
# evaluate` on 71 validation pictures: studies/results/bd-rate-slim-n.csv and bd-rate-slim-h.csv,
# with slim-n/3 and slim-h/1, whose bytes these models write (docs/decisions/0025-weights-once.md).
MEASURED = {"slim-n/4": Saving(44, 23, 59), "slim-h/2": Saving(44, 6, 70)}


def jpeg_line(model: str) -> str | None:
    """What was measured for a model, in words; None for one that was not."""
    saving = MEASURED.get(model)
    if saving is None:
        return None
    return (
        f"level 0 needs {saving.percent} % fewer bytes for equal detections ({saving.low} to "
        f"{saving.high} %; measured beforehand, on 71 pictures)"
    )
