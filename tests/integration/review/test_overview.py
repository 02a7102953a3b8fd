"""What the page begins with, the timeline, and one camera: over a real Redis."""

import pytest

from slimcloud.store.cameras.gaps import GapRecord
from slimcodec.detection import Detection
from support.cloud.review import EPOCH, NAMES, PERIOD_US, START_UNIX_US, ReviewWorld

CAR = Detection((4.0, 5.0, 30.0, 25.0), 0.9, 2, "car")


async def test_the_page_begins_with_who_asks_and_what_was_counted(review: ReviewWorld) -> None:
    frame_id = await review.send(1, found=[CAR])
    await review.send(2, found=None)
    container = await review.store.get_container(frame_id)

    overview = (await review.http.get("/api/v1/overview")).json()

    assert (overview["reviewer"], overview["labels"]) == ("127.0.0.1", list(NAMES))
    assert (overview["frames_total"], overview["detected_total"]) == (2, 1)
    assert overview["stored_bytes"] > overview["received_bytes_total"] > len(container)


async def test_the_timeline_counts_what_is_stored_and_no_more(review: ReviewWorld) -> None:
    for sequence in (0, 1, 2, 40):  # captured 0.1 s apart
        await review.send(sequence + 1)
    await review.send(1, camera_id="yard")

    everything = (await review.http.get("/api/v1/timeline", params={"buckets": 4})).json()
    of_yard = (await review.http.get("/api/v1/timeline", params={"camera": "yard"})).json()

    assert everything["frames"] == [4, 0, 0, 1]
    assert sum(of_yard["frames"]) == 1
    assert len(of_yard["frames"]) == 120


async def test_the_timeline_says_how_much_moved(review: ReviewWorld) -> None:
    for sequence, activity in ((1, None), (2, 0.5), (3, 0.25), (20, None), (40, 0.0)):
        await review.send(sequence, reference=min(1, sequence - 1), activity=activity)

    timeline = (await review.http.get("/api/v1/timeline", params={"buckets": 4})).json()

    assert timeline["frames"] == [3, 1, 0, 1]
    assert timeline["activity"] == [0.375, None, None, 0.0]


async def test_a_long_time_is_looked_at_in_samples(review: ReviewWorld) -> None:
    for sequence in range(1, 101):
        await review.send(
            sequence, found=None, reference=sequence // 2, activity=(sequence > 50) * 1.0
        )

    timeline = (await review.http.get("/api/v1/timeline", params={"buckets": 1})).json()

    assert timeline["activity"] == [0.5]


async def test_gaps_stand_in_the_timeline_and_with_their_camera(review: ReviewWorld) -> None:
    await review.store.cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="one")
    for sequence in (1, 100):
        await review.send(sequence)
    for number, begin_us in ((1, START_UNIX_US + PERIOD_US), (2, START_UNIX_US + 10**9)):
        await review.store.gaps.put(
            GapRecord("gate-1", EPOCH, number, begin_us, begin_us + 2_000_000, "spool_full", 20)
        )

    (gap,) = (await review.http.get("/api/v1/timeline")).json()["gaps"]
    camera = (await review.http.get("/api/v1/cameras/gate-1")).json()

    assert (gap["camera"], gap["reason"], gap["frames_count"]) == ("gate-1", "spool_full", 20)
    assert gap["from_time"] < gap["to_time"]
    assert len(camera["gaps"]) == 2
    assert camera["gaps"][1] == gap


async def test_an_empty_store_has_an_empty_timeline(review: ReviewWorld) -> None:
    response = await review.http.get("/api/v1/timeline", params={"buckets": 3})

    assert response.json()["frames"] == [0, 0, 0]


async def test_a_time_that_ends_before_it_begins_is_400(review: ReviewWorld) -> None:
    response = await review.http.get(
        "/api/v1/timeline",
        params={"from": "2026-11-22T12:00:00Z", "to": "2026-11-22T11:00:00Z"},
    )

    assert response.status_code == 400
    assert response.json()["type"] == "urn:slimwire:problem:invalid-time-span"


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("from", "0001-01-01T00:00:00+14:00"),
        ("to", "0001-01-01T00:00:00Z"),
        ("to", "9999-12-31T23:59:59.999999-14:00"),
    ],
)
async def test_a_time_at_an_end_of_the_calendar_is_answered(
    review: ReviewWorld, name: str, moment: str
) -> None:
    await review.send(1)

    for path in ("timeline", "frames"):
        response = await review.http.get(f"/api/v1/{path}", params={name: moment})
        assert response.status_code == 200, response.text


async def test_a_camera_is_live_silent_or_offline(review: ReviewWorld) -> None:
    connect = review.store.cameras.connect
    await connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="one")
    live = (await review.http.get("/api/v1/cameras/gate-1")).json()
    await review.client.hincrby("slim:camera:gate-1", "heard_us", -11_000_000)
    silent = (await review.http.get("/api/v1/cameras/gate-1")).json()
    await review.store.cameras.disconnect("gate-1", "one")
    offline = (await review.http.get("/api/v1/cameras/gate-1")).json()
    unknown = await review.http.get("/api/v1/cameras/nowhere")

    assert [camera["state"] for camera in (live, silent, offline)] == ["live", "silent", "offline"]
    assert unknown.status_code == 404
    assert unknown.json()["type"] == "urn:slimwire:problem:camera-not-found"


async def test_a_weight_is_set_and_a_camera_that_is_gone_is_forgotten(review: ReviewWorld) -> None:
    url = "/api/v1/cameras/gate-1"
    await review.store.cameras.connect("gate-1", epoch=EPOCH, model_name="toy/1", connection="one")

    assert (await review.http.get(url)).json()["weight"] == 1
    assert (await review.http.put(f"{url}/weight", json={"weight": 0})).status_code == 422
    assert (await review.http.put(f"{url}/weight", json={"weight": 2.5})).json()["weight"] == 2.5
    assert (await review.http.get(url)).json()["weight"] == 2.5
    assert (await review.http.delete(url)).status_code == 409
    await review.store.cameras.disconnect("gate-1", "one")
    assert (await review.http.delete(url)).status_code == 204
    assert (await review.http.get(url)).status_code == 404


async def test_boxes_come_with_frames_when_asked_for(review: ReviewWorld) -> None:
    frame_id = await review.send(1, found=[CAR])

    plain = (await review.http.get("/api/v1/frames")).json()["frames"][0]
    listed = (await review.http.get("/api/v1/frames?detections=true")).json()["frames"][0]
    single = (await review.http.get(f"/api/v1/frames/{frame_id}?detections=true")).json()

    assert plain["detections"] is None
    assert listed == single
    assert listed["detections"][0]["label"] == "car"
