"""What came of a source, counted: one line at its end."""

from collections import Counter

from slimedge.event import (
    Acked,
    Captured,
    Damaged,
    Detected,
    EdgeEvent,
    LinkChanged,
    LinkState,
    Lost,
    Nacked,
    Replaced,
    Sent,
    Skipped,
    Spooled,
    Stage,
)


class Totals:
    """An observer that counts frames; each reason of a loss by itself."""

    def __init__(self) -> None:
        self.link_detail = ""  # why the link was down when it last was
        self._counts: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    @property
    def has_delivered(self) -> bool:
        """Whether a frame arrived, or is kept for later; or none was captured."""
        return self._counts["arrived"] + self._counts["kept"] > 0 or not self._counts["captured"]

    def __str__(self) -> str:
        """`25 captured, 20 sent, 19 detected; not detected: 4 replaced, 1 expired, 1 refused: crc`;
        what is kept for later stands among them.
        """
        line = ", ".join(
            f"{self._counts[name]} {name}" for name in ("captured", "sent", "detected")
        )
        why = [f"{count} {reason}" for reason, count in self._lost.most_common()]
        if self._counts["kept"]:
            why.append(f"{self._counts['kept']} kept for later")
        return f"{line}; not detected: {', '.join(why)}" if why else line

    def notify(self, event: EdgeEvent) -> None:
        match event:
            case LinkChanged(state=LinkState.DOWN):
                self.link_detail = event.detail
            case Captured():
                self._counts["captured"] += 1
            case Sent(resent=False):
                self._counts["sent"] += 1
            case Acked(stage=Stage.RECEIVED | Stage.PERSISTED):
                self._counts["arrived"] += 1
            case Detected():
                self._counts["detected"] += 1
            case Spooled():
                self._counts["kept"] += 1
            case Damaged():
                self._lost["damaged"] += 1
            case Replaced():
                self._lost["replaced"] += 1
            case Skipped(reason=reason) | Lost(reason=reason):
                self._lost[reason.value] += 1
            case Nacked(reason=refusal, retryable=False):
                self._lost[f"refused: {refusal}"] += 1
