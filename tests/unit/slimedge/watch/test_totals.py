"""What came of a source, in one line."""

from slimcontrol.controller import WaitReason
from slimedge.event import (
    Acked,
    Captured,
    Damaged,
    Detected,
    LinkChanged,
    LinkState,
    LossReason,
    Lost,
    Nacked,
    Replaced,
    Sent,
    Skipped,
    Spooled,
    Stage,
)
from slimedge.watch.totals import Totals


def test_every_frame_and_why_it_was_lost_is_in_the_line() -> None:
    totals = Totals()

    for event in [
        *(Captured(frame, (4, 6)) for frame in range(1, 9)),
        Damaged("cut"),
        Replaced(1),
        Skipped(2, WaitReason.INFEASIBLE),
        Skipped(3, WaitReason.INFEASIBLE),
        *(Sent(sequence, 100, 0.0, resent=False) for sequence in (1, 2, 3, 4)),
        Sent(1, 100, 0.0, resent=True),
        Acked(1, Stage.RECEIVED, 0.1),
        Detected(1, (), 0.1, 0.0, 0.0),
        Nacked(2, "too_large", "", retryable=False),
        Nacked(3, "queue_full", "", retryable=True),
        Lost(3, LossReason.EXPIRED),
        Spooled(4, 100),
    ]:
        totals.notify(event)

    assert str(totals) == (
        "8 captured, 4 sent, 1 detected; not detected: 2 infeasible, 1 damaged, 1 replaced, "
        "1 refused: too_large, 1 expired, 1 kept for later"
    )
    assert totals.has_delivered


def test_a_source_of_which_nothing_arrived_was_not_delivered() -> None:
    captured = Captured(1, (4, 6))
    down = LinkChanged(LinkState.DOWN, "no route")

    delivered = {}
    for name, events in {
        "nothing to deliver": (),
        "lost": (captured, down, Replaced(1)),
        "kept": (captured, down, Spooled(1, 100)),
        "arrived": (captured, Acked(1, Stage.RECEIVED, 0.1)),
    }.items():
        totals = Totals()
        for event in events:
            totals.notify(event)
        delivered[name] = totals.has_delivered

    assert delivered == {"nothing to deliver": True, "lost": False, "kept": True, "arrived": True}
