"""Listing frames, one frame, its detections, cameras: over a real Redis."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slimcodec.detection import Detection
from support.cloud.review import PERIOD_US, START_UNIX_US, ReviewWorld

CAR = Detection((4.0, 5.0, 30.0, 25.0), 0.9, 2, "car")
PERSON = Detection((1.0, 2.0, 9.0, 20.0), 0.6, 0, "person")


def captured(sequence: int) -> str:
    time = datetime.fromtimestamp(0, UTC) + timedelta(
        microseconds=START_UNIX_US + sequence * PERIOD_US
    )
    return time.isoformat()


async def listed(review: ReviewWorld, **query: Any) -> list[int]:
    response = await review.http.get("/api/v1/frames", params=query)
    assert response.status_code == 200, response.text
    return [frame["sequence"] for frame in response.json()["frames"]]


async def test_pages_give_every_frame_once_newest_first(review: ReviewWorld) -> None:
    container = review.codec.encoder.encode(
        (await _any_image(review)), level=0, quality=0
    ).bitstream
    for sequence in range(1, 24):
        await review.send(sequence, container=container)
    for sequence in (3, 4, 5):  # the same instants, another camera
        await review.send(sequence, camera_id="gate-2", container=container)

    seen: list[tuple[int, str]] = []
    url: str | None = "/api/v1/frames?limit=4"
    while url:
        response = await review.http.get(url)
        page = response.json()
        seen += [(frame["sequence"], frame["camera"]) for frame in page["frames"]]
        link = response.links.get("next")
        assert (link is None) == (page["next_cursor"] is None)
        url = link["url"] if link else None

    assert len(seen) == len(set(seen)) == 26
    assert [sequence for sequence, _ in seen] == sorted((s for s, _ in seen), reverse=True)


async def test_the_next_link_keeps_the_conditions(review: ReviewWorld) -> None:
    for sequence in range(1, 6):
        await review.send(sequence, found=[CAR] if sequence % 2 else [PERSON])

    response = await review.http.get("/api/v1/frames", params={"label": "car", "limit": 2})
    following = await review.http.get(response.links["next"]["url"])

    assert [frame["sequence"] for frame in response.json()["frames"]] == [5, 3]
    assert [frame["sequence"] for frame in following.json()["frames"]] == [1]


async def test_frames_are_chosen_by_camera_time_label_and_score(review: ReviewWorld) -> None:
    await review.send(1, found=[CAR])
    await review.send(2, found=[CAR, PERSON])
    await review.send(3, found=[])
    await review.send(4, camera_id="gate-2", found=[PERSON])

    assert await listed(review) == [4, 3, 2, 1]
    assert await listed(review, camera="gate-2") == [4]
    assert await listed(review, **{"from": captured(2), "to": captured(4)}) == [3, 2]
    assert await listed(review, label="person") == [4, 2]
    assert await listed(review, label="person", min_score=0.7) == []
    assert await listed(review, min_score=0.7) == [2, 1]


async def test_a_frame_says_what_it_cost_and_where_its_time_went(review: ReviewWorld) -> None:
    frame_id = await review.send(1, level=1, quality=2, found=[CAR, PERSON])
    base = await review.store.get_container(frame_id)

    frame = (await review.http.get(f"/api/v1/frames/{frame_id}")).json()

    assert frame["id"] == str(frame_id)
    assert (frame["level"], frame["quality"], frame["state"]) == (1, 2, "detected")
    assert (frame["image_height"], frame["image_width"]) == (49, 65)
    assert frame["base_bytes"] == frame["bytes_total"] == len(base)
    assert frame["bpp"] == pytest.approx(8 * len(base) / (49 * 65))
    assert frame["labels"] == {"car": 0.9, "person": 0.6}
    assert frame["detections_count"] == 2
    assert frame["latency"] == {
        "transport_seconds": 0.02,
        "queue_seconds": 0.01,
        "compute_seconds": 0.05,
        "total_seconds": 0.09,
    }
    assert (frame["enhanced"], frame["can_enhance"]) == (False, True)
    assert datetime.fromisoformat(frame["capture_time"]) == datetime.fromisoformat(captured(1))


@pytest.mark.parametrize(
    "path", ["frames", "frames/{}", "frames/{}/detections", "frames/{}/reviews", "overview"]
)
async def test_what_changes_is_not_for_caches(review: ReviewWorld, path: str) -> None:
    frame_id = await review.send(1)

    response = await review.http.get(f"/api/v1/{path.format(frame_id)}")

    assert response.headers["cache-control"] == "no-store"


async def test_a_frame_that_waits_has_no_detections_yet(review: ReviewWorld) -> None:
    frame_id = await review.send(1, found=None)

    frame = (await review.http.get(f"/api/v1/frames/{frame_id}")).json()
    detections = (await review.http.get(f"/api/v1/frames/{frame_id}/detections")).json()

    assert frame["state"] == detections["state"] == "queued"
    assert frame["detections_count"] is None
    assert frame["latency"]["total_seconds"] is None
    assert detections["detections"] == []
    assert detections["detector"] is None


async def test_detections_come_as_they_were_stored(review: ReviewWorld) -> None:
    frame_id = await review.send(1, found=[CAR, PERSON])

    answer = (await review.http.get(f"/api/v1/frames/{frame_id}/detections")).json()

    assert answer["detector"] == "toy-detector/1"
    assert answer["batch_size"] == 2
    assert answer["detections"][0] == {
        "x_min": 4.0,
        "y_min": 5.0,
        "x_max": 30.0,
        "y_max": 25.0,
        "score": 0.9,
        "class_id": 2,
        "label": "car",
    }


async def test_cameras_are_listed_with_what_they_sent_last(review: ReviewWorld) -> None:
    await review.store.cameras.connect(
        "gate-1", epoch=0x197F3A1B2C3, model_name="toy/1", connection="one"
    )
    frame_id = await review.send(1, level=2, quality=4)

    (camera,) = (await review.http.get("/api/v1/cameras")).json()["cameras"]

    assert (camera["id"], camera["connected"], camera["model"]) == ("gate-1", True, "toy/1")
    assert camera["last_frame_id"] == str(frame_id)
    assert (camera["level"], camera["quality"], camera["frames_total"]) == (2, 4, 1)


async def test_a_capture_time_beyond_the_calendar_does_not_take_the_page_down(
    review: ReviewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.cloud.review.START_UNIX_US", 2**63)
    await review.send(1)

    assert await listed(review) == [1]


async def _any_image(review: ReviewWorld) -> Any:
    frame_id = await review.send(1000, camera_id="elsewhere")
    await review.store.retention.remove(frame_id)
    return review.images[frame_id]
