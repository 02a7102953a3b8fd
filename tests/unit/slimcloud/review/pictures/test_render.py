"""Which format a client gets for what it says it takes."""

import pytest

from slimcloud.review.pictures.render import ImageFormat, choose_format

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize("accept", [None, "", "*/*", "image/*", "text/html, */*;q=0.1"])
def test_who_takes_anything_gets_the_lossless_picture(accept: str | None) -> None:
    assert choose_format(accept) is ImageFormat.PNG


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/jpeg", ImageFormat.JPEG),
        ("image/avif", ImageFormat.AVIF),
        ("IMAGE/PNG", ImageFormat.PNG),
        ("image/jpeg;q=0.5, image/png;q=0.4", ImageFormat.JPEG),
        ("image/jpeg ; q=0.5 , image/png; q=0.9", ImageFormat.PNG),
        ("image/jpeg, image/*", ImageFormat.JPEG),
        (CHROME, ImageFormat.WEBP),
    ],
)
def test_the_highest_weight_wins_and_then_what_is_named(accept: str, expected: ImageFormat) -> None:
    assert choose_format(accept) is expected


def test_a_specific_range_overrides_a_wildcard() -> None:
    assert choose_format("image/png;q=0, */*") is not ImageFormat.PNG
    assert choose_format("*/*;q=0.9, image/webp;q=0.1, image/png;q=0.2") is ImageFormat.AVIF


@pytest.mark.parametrize(
    "accept",
    ["text/html", "image/gif", "image/png;q=0", "*/*;q=0", "image/png;q=2", "image/png;q=x", ","],
)
def test_nothing_acceptable_is_said_so(accept: str) -> None:
    assert choose_format(accept) is None
