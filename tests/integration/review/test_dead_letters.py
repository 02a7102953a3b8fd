"""What the detector gave up: listed, asked for again, and taken back."""

from slimcloud.frame_id import FrameId
from slimcloud.store.records import FrameState, Lane
from support.cloud.review import ReviewWorld


async def _give_up(review: ReviewWorld, sequence: int) -> FrameId:
    """A frame arrives, and every worker that takes it fails."""
    await review.store.work.prepare()
    frame_id = await review.send(sequence, found=None)
    (item,) = await review.store.work.take("worker", count=1)
    await review.store.work.fail_try(item, "RuntimeError: the graph failed")
    await review.store.work.dead_letter(item)
    return frame_id


async def test_given_up_frames_are_listed_newest_first_with_their_reason(
    review: ReviewWorld,
) -> None:
    frames = [await _give_up(review, sequence) for sequence in (1, 2, 3)]

    newest, older = (await review.http.get("/api/v1/dead-letters", params={"limit": 2})).json()[
        "dead_letters"
    ]

    assert [newest["frame"], older["frame"]] == [str(frames[2]), str(frames[1])]
    assert newest["reason"] == "given up after 0 deliveries: RuntimeError: the graph failed"
    frame = (await review.http.get(newest["frame_url"])).json()
    assert (frame["state"], frame["reason"]) == ("failed", newest["reason"])


async def test_given_up_frame_is_queued_before_what_is_live_when_a_person_asks(
    review: ReviewWorld,
) -> None:
    frame_id = await _give_up(review, 1)
    await review.send(2, found=None)
    url = f"/api/v1/frames/{frame_id}/detection-request"

    asked, again = await review.http.post(url), await review.http.post(url)

    assert (asked.status_code, again.status_code) == (202, 409)
    assert asked.headers["location"] == asked.json()["frame_url"]
    assert again.json()["type"] == "urn:slimwire:problem:detection-conflict"
    letters = (await review.http.get("/api/v1/dead-letters")).json()["dead_letters"]
    assert letters == []
    first, second = await review.store.work.take("worker", count=2)
    assert (first.frame_id, first.lane) == (frame_id, Lane.REVIEW)
    assert second.lane is Lane.LIVE


async def test_request_that_is_taken_back_leaves_the_queue(review: ReviewWorld) -> None:
    frame_id = await _give_up(review, 1)
    url = f"/api/v1/frames/{frame_id}/detection-request"
    await review.http.post(url)

    taken_back, again = await review.http.delete(url), await review.http.delete(url)

    assert (taken_back.status_code, again.status_code) == (204, 409)
    assert await review.store.work.outstanding() == 0
    assert (await review.store.get_frame(frame_id)).state is FrameState.DROPPED


async def test_request_for_an_unknown_frame_is_404(review: ReviewWorld) -> None:
    url = "/api/v1/frames/gate-1:0000000000000001:9/detection-request"

    assert (await review.http.post(url)).status_code == 404
    assert (await review.http.delete(url)).status_code == 404
