"""The account of what was sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slimedge.frame import FrameHeader
from slimedge.memory.ledger import RESEND_FRAMES, BackfillState, Ledger, LedgerFrame


def make_frame(sequence: int, size_bytes: int = 100) -> LedgerFrame:
    header = FrameHeader(
        sequence=sequence,
        capture_time_unix_us=0,
        capture_time_mono_us=1_000_000 * sequence,
        container_crc32c=0,
    )
    return LedgerFrame(header, bytes(size_bytes), encoded_at=0.0)


def make_ledger(*sequences: int, credit_bytes: int = 1000) -> Ledger:
    ledger = Ledger()
    ledger.credit_bytes = credit_bytes
    for sequence in sequences:
        ledger.send(make_frame(sequence), now=float(sequence))
    return ledger


def test_bytes_count_from_sending_until_received() -> None:
    ledger = make_ledger(1, 2)

    assert ledger.in_flight_bytes == 200
    ledger.receive(1, 5.0)
    assert ledger.in_flight_bytes == 100
    assert ledger.undetected_frames == 2


def test_a_stage_is_told_once() -> None:
    ledger = make_ledger(1)

    assert ledger.receive(1, 5.0) is not None
    assert ledger.receive(1, 5.0) is None
    assert ledger.persist(1) is not None
    assert ledger.persist(1) is None
    assert ledger.close(1) is not None
    assert ledger.close(1) is None


def test_a_container_larger_than_the_window_goes_alone() -> None:
    ledger = make_ledger(credit_bytes=50)

    assert ledger.has_room(100)
    ledger.send(make_frame(1, 100), 0.0)
    assert not ledger.has_room(1)


def test_the_view_tells_the_age_of_the_oldest_frame_on_its_way() -> None:
    ledger = make_ledger(1, 2, 3)
    ledger.receive(1, 0.0)

    view = ledger.view(now=10.0)

    assert view.oldest_in_flight_seconds == 8.0
    assert view.in_flight_bytes == 200
    assert not view.idle


def test_a_frame_behind_another_is_marked() -> None:
    ledger = Ledger()
    first, second = make_frame(1), make_frame(2)

    ledger.send(first, 0.0)
    ledger.send(second, 0.0)

    assert (first.behind, second.behind) == (False, True)


def test_resume_gives_back_what_was_not_persisted_in_order() -> None:
    ledger = make_ledger(3, 1, 2, 4)
    ledger.receive(4, 0.0)
    ledger.persist(4)
    ledger.disconnect()

    ledger.persist(1)  # as Welcome says
    again = ledger.resume()

    assert [frame.sequence for frame in again] == [2, 3]
    assert all(frame.container for frame in again)
    assert ledger.in_flight_bytes == 0
    assert ledger.undetected_frames == 2  # 1 and 4 are persisted and wait for their result


def test_results_of_an_earlier_stream_are_awaited_but_are_no_queue() -> None:
    ledger = make_ledger(1)
    ledger.receive(1, server_time=5.0)
    ledger.persist(1)
    ledger.disconnect()

    ledger.resume()
    ledger.send(make_frame(2), now=9.0)

    assert ledger.view(now=9.0).undetected_frames == 1
    late = ledger.close(1)
    assert late is not None
    assert late.received_at_server is None, "the clock of a server that may be another"


def test_unpersisted_frames_beyond_the_limit_are_given_up_oldest_first() -> None:
    ledger = make_ledger()

    given_up = [f.sequence for n in range(1, RESEND_FRAMES + 3) for f in ledger.keep(make_frame(n))]

    assert given_up == [1, 2]
    assert len(ledger.resume()) == RESEND_FRAMES


def test_the_answer_to_an_enhancement_releases_its_bytes_and_leaves_its_frame() -> None:
    ledger = make_ledger(1)
    ledger.receive(1, 0.0)
    ledger.persist(1)
    ledger.send_enhancement("wish", 500, 0.0)
    ledger.send_enhancement("another", 70, 0.0)

    assert ledger.in_flight_bytes == 570
    ledger.release_enhancement("wish")
    assert ledger.in_flight_bytes == 70
    assert not ledger.is_answered
    assert ledger.close(1) is not None


def test_whatever_was_sent_awaits_its_answer_until_it_is_persisted_or_refused() -> None:
    ledger = make_ledger(3)
    ledger.send_enhancement("wish", 10, 4.0)
    ledger.send_backfill(1, make_frame(9).header, 10, 5.0)

    assert ledger.unanswered_seconds(10.0) == 7.0
    ledger.answered_at = 6.0
    ledger.receive(3, 0.0)
    assert ledger.unanswered_seconds(10.0) == 4.0, "RECEIVED keeps nothing"
    ledger.persist(3)
    ledger.answered_at = 7.0
    ledger.release_enhancement("wish")
    assert ledger.unanswered_seconds(10.0) == 3.0
    ledger.answer_backfill(1, 9, BackfillState.REFUSED)
    assert ledger.unanswered_seconds(10.0) == 0.0


def test_a_frame_awaits_its_answer_from_when_those_before_it_have_passed_the_line() -> None:
    ledger = make_ledger(1, 2, 3)

    ledger.answered_at = 15.0
    ledger.receive(1, 0.0)
    ledger.persist(1)
    assert ledger.unanswered_seconds(20.0) == 5.0, "2 has been first in line since then"
    ledger.answered_at = 18.0
    ledger.close(2)  # refused
    assert ledger.unanswered_seconds(20.0) == 2.0


def test_a_frame_that_was_overtaken_is_overdue_from_when_it_was_sent() -> None:
    ledger = make_ledger(1, 2, 3)

    ledger.answered_at = 15.0
    ledger.receive(2, 0.0)
    ledger.persist(2)

    assert ledger.unanswered_seconds(20.0) == 19.0, "1 is lost, though others arrive"


def test_a_result_is_awaited_from_when_the_cloud_kept_the_frame() -> None:
    ledger = make_ledger(1)

    ledger.answered_at = 50.0
    ledger.receive(1, 0.0)
    ledger.persist(1)

    assert ledger.undetected_seconds(52.0) == 2.0
    assert ledger.forget(awaited_before=50.0) == []
    assert len(ledger.forget(awaited_before=51.0)) == 1


def test_silence_is_counted_from_the_last_answer_and_only_while_one_is_awaited() -> None:
    ledger = make_ledger(3)
    assert ledger.answer_age(10.0) is None
    assert ledger.silent_seconds(10.0) == 7.0

    ledger.answered_at = 6.0

    assert ledger.silent_seconds(10.0) == ledger.answer_age(10.0) == 4.0
    ledger.disconnect()
    assert ledger.silent_seconds(10.0) == 0.0
    assert ledger.answer_age(10.0) == 4.0


def test_a_window_is_closed_from_the_first_grant_of_nothing() -> None:
    ledger = make_ledger()
    ledger.grant(0, 2.0)
    ledger.grant(0, 5.0)
    assert ledger.closed_seconds(6.0) == 4.0

    ledger.grant(100, 7.0)

    assert ledger.closed_seconds(8.0) == 0.0


def test_a_result_that_does_not_come_is_forgotten_but_a_frame_on_its_way_is_not() -> None:
    ledger = make_ledger(1, 2)
    ledger.receive(1, 0.0)

    overdue = ledger.forget(awaited_before=100.0)

    assert [frame.sequence for frame in overdue] == [1]
    assert ledger.in_flight_bytes == 100


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["send", "receive", "persist", "detect", "refuse", "enhance", "answer", "drop"]
            ),
            st.integers(1, 6),
        )
    )
)
def test_the_bytes_in_flight_are_never_negative_and_end_at_nothing(
    steps: list[tuple[str, int]],
) -> None:
    ledger = make_ledger()
    for action, sequence in steps:
        match action:
            case "send":
                ledger.send(make_frame(sequence), 0.0)
            case "receive":
                ledger.receive(sequence, 0.0)
            case "persist":
                ledger.persist(sequence)
            case "detect":
                ledger.close(sequence)
            case "refuse":
                ledger.close(sequence)
            case "enhance":
                ledger.send_enhancement(f"r-{sequence}", 10, 0.0)
            case "answer":
                ledger.release_enhancement(f"r-{sequence}")
            case "drop":
                ledger.disconnect()
        assert ledger.in_flight_bytes >= 0
        assert (ledger.in_flight_bytes > 0) or ledger.has_room(10**9)

    ledger.disconnect()
    assert ledger.in_flight_bytes == 0


def test_the_view_tells_the_bytes_of_the_oldest_frame_on_its_way() -> None:
    ledger = Ledger()
    ledger.send(make_frame(1, 3000), 1.0)
    ledger.send(make_frame(2, 500), 2.0)

    both = ledger.view(3.0)
    ledger.receive(1, 0.0)
    second = ledger.view(3.0)
    ledger.receive(2, 0.0)

    assert (both.oldest_in_flight_seconds, both.oldest_in_flight_bytes) == (2.0, 3000)
    assert (second.oldest_in_flight_seconds, second.oldest_in_flight_bytes) == (1.0, 500)
    assert ledger.view(3.0).oldest_in_flight_bytes == 0
