"""A share of the cloud's detector is a pace, and frames of several cameras move apart."""

from __future__ import annotations

from dataclasses import replace

from slimcontrol.budget import DetectorShare
from slimcontrol.controller import Controller, Offer, Verdict, WaitReason
from slimcontrol.link import LinkView
from slimcontrol.profile import default_operating_points

PIXELS = 1000
IDLE = LinkView(0, 0.0, 0, 10**6, 10**6)


def make_controller(deadline_seconds: float | None = 1.0) -> Controller:
    points = default_operating_points((32, 64), 2)
    return Controller(
        points, {0: 1e-8, 1: 3e-8}, deadline_seconds=deadline_seconds, frame_seconds=0.1
    )


def offered(controller: Controller, now: float, link: LinkView = IDLE) -> str:
    """What becomes of a new frame."""
    decision = controller.decide(Offer(now, 0.0, PIXELS, link))
    return str(decision.reason or decision.verdict)


def test_without_a_share_every_frame_is_due() -> None:
    share = DetectorShare()
    share.sent(0.0, PIXELS)
    share.detected(5.0)

    assert share.is_due(0.0)
    assert share.frame_seconds(PIXELS) == 0.0


def test_frames_follow_each_other_at_the_pace_of_the_share() -> None:
    share = DetectorShare()
    share.pixels_per_second = 2 * PIXELS
    share.sent(0.0, PIXELS)

    sent = []
    for tick in range(1, 101):
        now = tick * 0.1  # the camera's pictures
        if share.is_due(now + 1e-9):
            share.sent(now, PIXELS)
            sent.append(now)

    assert 19 <= len(sent) <= 21
    assert min(b - a for a, b in zip(sent, sent[1:], strict=False)) >= 0.25


def test_a_frame_that_waited_longer_than_usual_puts_off_the_next_one() -> None:
    share = DetectorShare()
    share.pixels_per_second = PIXELS
    share.detected(0.2)
    share.sent(10.0, PIXELS)
    due = 10.5  # a first frame counts as one that made up for half a period

    share.detected(0.3)

    assert not share.is_due(due + 0.05)
    assert share.is_due(due + 0.11)


def test_one_frame_that_was_held_up_puts_off_no_more_than_what_is_usual() -> None:
    share = DetectorShare()
    share.pixels_per_second = PIXELS
    share.detected(0.1)
    share.sent(0.0, PIXELS)

    share.detected(60.0)

    assert share.is_due(0.5 + 60 * 0.2 + 0.2)


def test_a_controller_keeps_to_its_share_and_says_so() -> None:
    controller = make_controller()
    controller.on_share(PIXELS)

    assert offered(controller, 10.0) == Verdict.BEST
    assert offered(controller, 10.2) == WaitReason.SHARE
    assert offered(controller, 10.6) == Verdict.BEST


def test_another_stream_begins_without_a_share() -> None:
    controller = make_controller()
    controller.on_share(1)
    assert offered(controller, 1.0) == Verdict.BEST
    assert offered(controller, 2.0) == WaitReason.SHARE

    controller.on_connected(2.0, 0.01)

    assert offered(controller, 2.0) == Verdict.BEST


def test_without_a_deadline_frames_wait_for_their_turn_in_the_cloud() -> None:
    controller = make_controller(None)
    controller.on_share(1)

    assert [offered(controller, now) for now in (1.0, 1.1)] == [Verdict.BEST, Verdict.BEST]


def test_a_share_is_used_though_the_last_results_were_late() -> None:
    controller = make_controller()
    controller.on_detected(0.0, 30.0)
    assert [offered(controller, now) for now in (30.0, 30.3)] == [
        Verdict.PROBE,
        WaitReason.INFEASIBLE,
    ]

    controller.on_share(10 * PIXELS)

    assert [offered(controller, now) for now in (30.4, 30.6)] == [Verdict.PROBE, Verdict.PROBE]
    busy = replace(IDLE, undetected_frames=1)
    assert offered(controller, 30.8, busy) == WaitReason.INFEASIBLE
