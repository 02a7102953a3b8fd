"""Pictures on demand over a real Redis and the toy codec's real decoder."""

import asyncio
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slimcloud.store.reviews import ReviewKind
from slimcodec.detection import Detection
from support.cloud.review import ReviewWorld, ToyCodec, open_review
from support.models.toy_preview import toy_previewer

CAR = Detection((4.0, 5.0, 30.0, 25.0), 0.9, 2, "car")
PNG = {"Accept": "image/png"}


def pixels(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error))


async def test_a_png_is_the_decoders_own_output(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    decoder = review.codec.decoder
    expected = decoder.decode_image(
        decoder.decode_latent(await review.store.get_container(frame_id))
    )

    response = await review.http.get(f"/api/v1/frames/{frame_id}/image", headers=PNG)

    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(pixels(response.content), expected)


async def test_a_preview_is_a_quarter_of_the_picture_and_runs_no_network(
    review: ReviewWorld,
) -> None:
    frame_id = await review.send(1, image_hw=(49, 65))
    frame = (await review.http.get(f"/api/v1/frames/{frame_id}")).json()
    latent = review.codec.decoder.decode_latent(await review.store.get_container(frame_id))

    shown = await review.http.get(frame["preview_url"])
    unnamed = await review.http.get(f"/api/v1/frames/{frame_id}/preview")
    again = await review.http.get(
        frame["preview_url"], headers={"If-None-Match": shown.headers["etag"]}
    )
    reviews = (await review.http.get(f"/api/v1/frames/{frame_id}/reviews")).json()

    expected = toy_previewer(review.codec.artifact).preview(latent)
    assert expected.shape == (13, 17, 3)
    jpeg = io.BytesIO()
    Image.fromarray(expected).save(jpeg, "JPEG", quality=75)
    assert shown.content == jpeg.getvalue()
    assert shown.headers["content-type"] == "image/jpeg"
    assert "immutable" in shown.headers["cache-control"]
    assert (unnamed.content, unnamed.headers["cache-control"]) == (
        shown.content,
        "private, no-cache",
    )
    assert again.status_code == 304
    assert review.decoder.pictures == 0
    assert reviews["reviews"] == []


async def test_an_enhancement_gives_another_preview(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    url = f"/api/v1/frames/{frame_id}"
    before = (await review.http.get(url)).json()["preview_url"]

    await review.answer_refetch(frame_id)
    after = (await review.http.get(url)).json()["preview_url"]

    assert before != after
    pictures = [(await review.http.get(name)).content for name in (before, after)]
    assert pictures[0] == pictures[1]  # as it is now, by either name


async def test_two_requests_at_once_decode_once(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    url = f"/api/v1/frames/{frame_id}/image"

    answers = await asyncio.gather(
        review.http.get(url, headers=PNG),
        review.http.get(url, headers=PNG),
        review.http.get(url, headers={"Accept": "image/webp"}),
    )

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert review.decoder.pictures == 1


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg", "avif"])
async def test_the_client_gets_the_format_that_it_takes(
    review: ReviewWorld, image_format: str
) -> None:
    frame_id = await review.send(1)

    response = await review.http.get(
        f"/api/v1/frames/{frame_id}/image", headers={"Accept": f"image/{image_format}"}
    )

    assert response.headers["content-type"] == f"image/{image_format}"
    assert response.headers["vary"] == "Accept"
    picture = Image.open(io.BytesIO(response.content))
    assert picture.format == image_format.upper()
    assert picture.size == (65, 49)


async def test_a_format_that_is_not_offered_is_406(review: ReviewWorld) -> None:
    frame_id = await review.send(1)

    response = await review.http.get(
        f"/api/v1/frames/{frame_id}/image", headers={"Accept": "image/gif"}
    )

    assert response.status_code == 406
    assert "image/webp" in response.json()["detail"]
    assert review.decoder.pictures == 0


async def test_a_picture_that_the_client_has_is_304_and_not_decoded(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    url = f"/api/v1/frames/{frame_id}/image"
    etag = (await review.http.get(url, headers=PNG)).headers["etag"]
    decoded = review.decoder.pictures

    same = await review.http.get(url, headers=PNG | {"If-None-Match": f'"other", W/{etag}'})
    other = await review.http.get(url, headers={"Accept": "image/webp", "If-None-Match": etag})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert other.status_code == 200
    assert review.decoder.pictures == decoded


async def test_the_plain_path_is_asked_for_again_and_the_versioned_one_is_kept(
    review: ReviewWorld,
) -> None:
    frame_id = await review.send(1)
    frame_url = f"/api/v1/frames/{frame_id}"
    image_url = (await review.http.get(frame_url)).json()["image_url"]

    plain = await review.http.get(f"{frame_url}/image")
    versioned = await review.http.get(image_url)
    await review.answer_refetch(frame_id)
    outdated = await review.http.get(image_url)
    better_url = (await review.http.get(frame_url)).json()["image_url"]

    assert plain.headers["cache-control"] == "private, no-cache"
    assert versioned.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert outdated.headers["cache-control"] == "private, no-cache"
    assert better_url != image_url


async def test_the_enhancement_makes_another_and_a_better_picture(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    url = f"/api/v1/frames/{frame_id}/image"

    before = await review.http.get(url, headers=PNG)
    await review.answer_refetch(frame_id)
    after = await review.http.get(url, headers=PNG | {"If-None-Match": before.headers["etag"]})

    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]
    assert (before.headers["slimwire-level"], before.headers["slimwire-enhanced"]) == ("0", "?0")
    assert (after.headers["slimwire-level"], after.headers["slimwire-enhanced"]) == ("3", "?1")
    original = review.images[frame_id]
    assert psnr(pixels(after.content), original) > psnr(pixels(before.content), original) + 1


async def test_a_picture_is_shrunk_and_never_enlarged(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    url = f"/api/v1/frames/{frame_id}/image"

    small = await review.http.get(url, params={"max_edge": 32}, headers=PNG)
    large = await review.http.get(url, params={"max_edge": 500}, headers=PNG)

    assert pixels(small.content).shape == (24, 32, 3)
    assert pixels(large.content).shape == (49, 65, 3)


async def test_an_overlay_draws_the_boxes(review: ReviewWorld) -> None:
    frame_id = await review.send(1, found=[CAR])
    url = f"/api/v1/frames/{frame_id}/image"

    plain = await review.http.get(url, headers=PNG)
    drawn = await review.http.get(url, params={"overlay": 1}, headers=PNG)

    changed = (pixels(plain.content) != pixels(drawn.content)).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed.any()
    assert drawn.headers["etag"] != plain.headers["etag"]
    assert (rows.max(), columns.min()) == (24, 4)  # the car's lower and left edge


async def test_a_full_decode_line_is_429_with_retry_after(
    redis_url: str, toy_codec: ToyCodec
) -> None:
    async with open_review(redis_url, toy_codec, max_waiting=0) as review:
        frames = [await review.send(sequence) for sequence in range(1, 9)]

        answers = await asyncio.gather(
            *(review.http.get(f"/api/v1/frames/{frame}/image", headers=PNG) for frame in frames)
        )

    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert refused[0].json()["type"] == "urn:slimwire:problem:decoder-busy"


async def test_a_damaged_container_is_no_fault_of_the_server_and_says_so(
    review: ReviewWorld,
) -> None:
    good = await review.send(1)
    container = bytearray(await review.store.get_container(good))
    container[-1] ^= 1
    frame_id = await review.send(2, container=bytes(container))

    response = await review.http.get(f"/api/v1/frames/{frame_id}/image")

    assert response.status_code == 409
    assert response.json()["type"] == "urn:slimwire:problem:bitstream-corrupt"


async def test_who_looked_is_recorded(review: ReviewWorld) -> None:
    frame_id = await review.send(1)

    await review.http.get(f"/api/v1/frames/{frame_id}/image")

    (look,) = await review.store.reviews.of_frame(frame_id)
    assert (look.reviewer, look.kind, look.level) == ("127.0.0.1", ReviewKind.LOOK, 0)


async def test_a_head_request_has_the_headers_of_the_picture(review: ReviewWorld) -> None:
    frame_id = await review.send(1)
    url = f"/api/v1/frames/{frame_id}/image"

    get, head = await review.http.get(url), await review.http.head(url)

    assert head.status_code == 200
    assert head.headers["etag"] == get.headers["etag"]
    assert len(await review.store.reviews.of_frame(frame_id)) == 1  # nobody looked at a HEAD
