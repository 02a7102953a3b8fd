"""Exports over a real Redis and the toy codec's real decoder."""

import asyncio
import io
import json
import sys
import threading
import zipfile
from datetime import UTC, datetime, timedelta

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slimcloud.review.routes import export
from slimcloud.store import keys
from slimcloud.store.reviews import ReviewKind
from slimcodec.decode import Latent
from slimcodec.detection import Detection
from support.cloud.events import make_event
from support.cloud.review import PERIOD_US, START_UNIX_US, ReviewWorld, served

CAR = Detection((4.0, 5.0, 30.0, 25.0), 0.9, 2, "car")
BEGIN = datetime.fromtimestamp(START_UNIX_US / 1e6, UTC)
SPAN = {
    "since": BEGIN.isoformat(),
    "until": (BEGIN + timedelta(seconds=60)).isoformat(),
}
URL = "/api/v1/cameras/gate-1/export"


async def test_a_zip_holds_the_pictures_in_order_and_what_is_known_of_them(
    review: ReviewWorld,
) -> None:
    frame_ids = [await review.send(sequence, found=[CAR]) for sequence in (1, 2, 3)]
    await review.send(4, camera_id="gate-2")

    response = await review.http.get(URL, params={**SPAN, "pictures": "png"})
    picture = await review.http.get(
        f"/api/v1/frames/{frame_ids[1]}/image", headers={"Accept": "image/png"}
    )
    looks = await review.store.reviews.of_frame(frame_ids[0])

    assert response.headers["content-type"] == "application/zip"
    assert 'filename="gate-1-20260528T' in response.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        *names, last = archive.namelist()
        document = json.loads(archive.read(last))
        second = np.asarray(Image.open(io.BytesIO(archive.read(names[1]))))
    assert last == "frames.json"
    assert names == sorted(names) == [frame["file"] for frame in document["frames"]]
    assert [frame["id"] for frame in document["frames"]] == list(map(str, frame_ids))
    assert document["frames"][0]["detections"][0]["label"] == "car"
    assert document["camera"] == "gate-1"
    np.testing.assert_array_equal(second, np.asarray(Image.open(io.BytesIO(picture.content))))
    assert [look.kind for look in looks] == [ReviewKind.LOOK]


async def test_boxes_are_drawn_where_they_are_asked_for(review: ReviewWorld) -> None:
    await review.send(1, found=[CAR])

    pictures = []
    for overlay in ("false", "true"):
        response = await review.http.get(URL, params={**SPAN, "overlay": overlay})
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            pictures.append(archive.read(archive.namelist()[0]))

    assert pictures[0] != pictures[1]


async def test_a_film_shows_each_picture_when_it_was_captured(review: ReviewWorld) -> None:
    for sequence in (1, 2, 9):  # 0.1 s apart
        await review.send(sequence, image_hw=(49, 65) if sequence < 9 else (97, 129))

    response = await review.http.get(URL, params={**SPAN, "format": "mp4"})

    assert response.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(response.content), "r") as film:
        shown = [(frame.width, frame.height, frame.time) for frame in film.decode(video=0)]
    assert shown == [(64, 48, 0.0), (64, 48, 0.1), (64, 48, 0.8)]


async def test_a_cloud_without_pyav_says_that_it_makes_no_films(
    review: ReviewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await review.send(1)
    monkeypatch.setitem(sys.modules, "av", None)

    film = await review.http.get(URL, params={**SPAN, "format": "mp4"})

    assert (film.status_code, film.json()["title"]) == (501, "No films")


async def test_a_frame_that_cannot_be_decoded_is_told_and_left_out(review: ReviewWorld) -> None:
    await review.send(1)
    await review.send(2, container=b"no container")

    response = await review.http.get(URL, params=SPAN)

    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        document = json.loads(archive.read("frames.json"))
        assert len(archive.namelist()) == 2
    assert [frame["file"] is None for frame in document["frames"]] == [False, True]


async def test_an_event_is_exported_with_what_is_known_of_it(review: ReviewWorld) -> None:
    for sequence in range(1, 5):
        await review.send(sequence)
    begin_us = START_UNIX_US + 2 * PERIOD_US
    event = make_event(1, begin_us=begin_us, end_us=begin_us + PERIOD_US)
    await review.client.hset(f"{keys.EVENT}{event.event_id}", "event", event.model_dump_json())

    told = await review.http.get(f"/api/v1/events/{event.event_id}")
    response = await review.http.get(f"{told.request.url}/export")
    unknown = await review.http.get(f"/api/v1/events/{event.event_id}9/export")

    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        document = json.loads(archive.read("frames.json"))
    assert document["event"] == told.json()
    assert [frame["sequence"] for frame in document["frames"]] == [2, 3]
    assert unknown.status_code == 404


async def test_too_much_and_nothing_are_refused(
    review: ReviewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = await review.http.get(URL, params=SPAN)
    await review.send(1)
    await review.send(2)
    monkeypatch.setattr(export, "MAX_FRAMES", 1)
    too_many = await review.http.get(URL, params=SPAN)
    monkeypatch.setattr(export, "MAX_FRAMES", 2)
    monkeypatch.setattr(export, "MAX_PIXELS", 49 * 65)
    too_large = await review.http.get(URL, params=SPAN)
    slots = review.api.state.context.exports
    for _ in range(export.MAX_EXPORTS):
        await slots.acquire()
    busy = await review.http.get(URL, params=SPAN)

    assert [answer.status_code for answer in (nothing, too_many, too_large, busy)] == [
        404, 413, 413, 429,
    ]  # fmt: skip


async def test_an_export_ends_with_its_client(
    review: ReviewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = review.codec.encoder.encode(np.zeros((49, 65, 3), np.uint8), 0, 3).bitstream
    for sequence in range(1, 61):
        await review.send(sequence, container=container, found=None)
    may_decode = threading.Semaphore(2)
    decode_image = review.decoder.decode_image

    def slowly(latent: Latent) -> NDArray[np.uint8]:
        may_decode.acquire()
        return decode_image(latent)

    monkeypatch.setattr(review.decoder, "decode_image", slowly)
    slots = review.api.state.context.exports
    async with served(review) as http:
        async with http.stream("GET", URL, params=SPAN) as response:
            await anext(response.aiter_bytes())
            await slots.acquire()
            was_busy = slots.locked()
        while slots.locked():
            may_decode.release()
            await asyncio.sleep(0.01)

    assert was_busy
    assert review.decoder.pictures < 60
