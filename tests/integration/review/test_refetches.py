"""Asking the camera for what a frame left out."""

from datetime import UTC, datetime, timedelta

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


async def test_a_frame_says_until_when_its_camera_has_the_picture(review: ReviewWorld) -> None:
    cameras, frame_id = review.store.cameras, await review.send(1)
    url = f"/api/v1/frames/{frame_id}"

    async def until(seconds: int) -> tuple[bool, timedelta]:
        await cameras.set_originals("gate-1", EPOCH, seconds)
        await cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="again")
        said = (await review.http.get(url)).json()
        captured, end = said["capture_time"], said["enhance_until"]
        kept = datetime.fromisoformat(end) - datetime.fromisoformat(captured)
        return said["can_enhance"], kept

    await cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="c")
    unsaid = (await review.http.get(url)).json()
    now, gone = await until(10**9), await until(90)
    refused = await review.http.post(f"{url}/refetch")
    await cameras.connect("gate-1", epoch=EPOCH + 1, model_name="toy/1", connection="d")
    lost = (await review.http.get("/api/v1/frames")).json()["frames"][0]

    assert (unsaid["can_enhance"], unsaid["enhance_until"]) == (True, None)
    assert now == (True, timedelta(seconds=10**9))
    assert gone == (False, timedelta(seconds=90))
    assert refused.status_code == 409
    assert "keeps pictures for 90 s" in refused.json()["detail"]
    assert lost["can_enhance"] is False
    assert datetime.fromisoformat(lost["enhance_until"]) <= datetime.now(UTC)


async def test_an_unknown_refetch_is_404(review: ReviewWorld) -> None:
    response = await review.http.get("/api/v1/refetches/nope")

    assert response.status_code == 404
    assert response.json()["type"] == "urn:slimwire:problem:refetch-not-found"
