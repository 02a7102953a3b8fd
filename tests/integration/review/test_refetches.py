"""Asking the camera for what a frame left out."""

from support.cloud.review import EPOCH, ReviewWorld


async def test_a_refetch_is_pending_until_the_camera_answers(review: ReviewWorld) -> None:
    await review.store.cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="c")
    frame_id = await review.send(1)

    asked = await review.http.post(f"/api/v1/frames/{frame_id}/refetch")
    location = asked.headers["location"]
    before = (await review.http.get(location)).json()
    (taken,) = await review.store.refetches.take("gate-1", EPOCH)
    told = (await review.http.get(location)).json()
    await review.answer_refetch(taken.frame_id, taken.request_id)
    after = (await review.http.get(location)).json()
    frame = (await review.http.get(after["frame_url"])).json()

    assert asked.status_code == 202
    assert location == asked.json()["url"] == f"/api/v1/refetches/{taken.request_id}"
    assert [before["state"], told["state"], after["state"]] == ["pending", "sent", "done"]
    assert before["sent_time"] is None
    assert before["created_time"] <= after["sent_time"] <= after["ended_time"]
    assert (frame["enhanced"], frame["can_enhance"]) == (True, False)
    assert frame["bytes_total"] == frame["base_bytes"] + frame["enhancement_bytes"]


async def test_asking_twice_gives_the_same_request(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    url = f"/api/v1/frames/{frame_id}/refetch"

    first, second = await review.http.post(url), await review.http.post(url)

    assert first.json()["request_id"] == second.json()["request_id"]


async def test_a_refusal_is_shown_with_its_reason_and_may_be_asked_again(
    review: ReviewWorld,
) -> None:
    frame_id = await review.send(1)
    url = f"/api/v1/frames/{frame_id}/refetch"
    asked = (await review.http.post(url)).json()

    await review.store.refetches.refuse("gate-1", asked["request_id"], "left the ring buffer")
    refused = (await review.http.get(asked["url"])).json()
    again = await review.http.post(url)

    assert (refused["state"], refused["detail"]) == ("refused", "left the ring buffer")
    assert again.status_code == 202
    assert again.json()["request_id"] != asked["request_id"]


async def test_nothing_is_asked_when_there_is_nothing_to_get(review: ReviewWorld) -> None:
    widest = await review.send(1, level=3)
    enhanced = await review.send(2)
    await review.answer_refetch(enhanced)
    lost = await review.send(3)
    await review.store.cameras.connect(
        "gate-1", epoch=EPOCH + 1, model_name="toy/1", connection="c"
    )

    answers = [
        await review.http.post(f"/api/v1/frames/{frame_id}/refetch")
        for frame_id in (widest, enhanced, lost)
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    details = [answer.json()["detail"] for answer in answers]
    assert "the widest" in details[0]
    assert "stored already" in details[1]
    assert "restarted" in details[2]


async def test_an_unknown_refetch_is_404(review: ReviewWorld) -> None:
    response = await review.http.get("/api/v1/refetches/nope")

    assert response.status_code == 404
    assert response.json()["type"] == "urn:slimwire:problem:refetch-not-found"
