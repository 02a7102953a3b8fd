"""encode -> inspect -> detect -> decode -> upgrade -> decode --with, as a person does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimcli.exits import ExitCode
from slimcodec.container import HEADER_BYTES
from slimcodec.image import load_image
from slimcodec.pixels import psnr_db
from support.command import Slimwire
from support.models.toy_artifact import LATENT_CHANNELS, QUALITIES, make_image, make_toy_codec


def test_a_picture_goes_through_every_command(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    base, full = tmp_path / "base.slim", tmp_path / "full.slim"
    enhancement = tmp_path / "more.slim"
    shown, better, overlay = (tmp_path / f"{name}.png" for name in ("shown", "better", "overlay"))

    encoded = slimwire("encode", picture, "-o", base, "--level", 0, "--quality", 5)
    upgraded = slimwire("upgrade", base, picture, "-o", enhancement)
    whole = slimwire("encode", picture, "-o", full, "--level", 3, "--quality", 5)
    decoded = slimwire("decode", base, "-o", shown)
    decoded_with = slimwire("decode", base, "--with", enhancement, "-o", better)
    detected = slimwire("detect", base, "--json", "--overlay", overlay, "--min-score", 0.1)

    assert [o.code for o in (encoded, upgraded, whole, decoded, decoded_with, detected)] == [0] * 6
    assert f"{base.stat().st_size:,} bytes" in encoded.out
    assert base.stat().st_size + enhancement.stat().st_size == full.stat().st_size + HEADER_BYTES
    original = load_image(picture)
    assert load_image(shown).shape == original.shape
    assert psnr_db(original, load_image(better)) > psnr_db(original, load_image(shown)) + 0.5
    found = json.loads(detected.out)
    assert found["file"] == str(base)
    assert found["detections"]
    assert {"label", "class_id", "score", "box_xyxy"} == set(found["detections"][0])
    assert load_image(overlay).shape == original.shape


def test_an_enhancement_of_a_context_codec_is_inspected_and_decoded_with_its_base(
    slimwire: Slimwire, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_toy_codec(tmp_path / "models", prior="context")
    monkeypatch.setenv("SLIMWIRE_MODELS", str(tmp_path / "models"))
    base, more = tmp_path / "base.slim", tmp_path / "more.slim"
    slimwire("encode", picture, "-o", base, "--quality", 2)
    slimwire("upgrade", base, picture, "-o", more)

    decoded = slimwire("decode", base, "--with", more, "-o", tmp_path / "better.png")
    alone = slimwire("inspect", more)
    seen = slimwire("inspect", more, "--base", base, "--json")

    assert decoded.code == 0, decoded.err
    assert load_image(tmp_path / "better.png").shape == (64, 96, 3)
    assert alone.code == ExitCode.BAD_DATA
    told = json.loads(seen.out)
    assert (told["kind"], told["image_width"], told["sections"][0]["symbols"]) == (
        "enhancement",
        96,
        None,
    )
    assert "symbols" not in slimwire("inspect", base).out


def test_inspect_tells_what_encode_was_told(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    container = tmp_path / "a.slim"
    slimwire("encode", picture, "-o", container, "--level", 2, "--quality", 4)

    seen = json.loads(slimwire("inspect", container, "--json").out)

    assert (seen["kind"], seen["level"], seen["quality"]) == ("base", 2, 4)
    assert (seen["image_height"], seen["image_width"]) == (64, 96)
    assert seen["bytes"] == container.stat().st_size
    assert seen["bpp"] == pytest.approx(8 * container.stat().st_size / (64 * 96))
    assert seen["model"] == "toy/1"
    assert [section["group"] for section in seen["sections"]] == [0, 1, 2]
    assert "level    2, quality 4" in slimwire("inspect", container).out


def test_quality_may_lie_between_two_trained_ones(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    container = tmp_path / "a.slim"
    encoded = slimwire("encode", picture, "-o", container, "--quality", 2.6)

    seen = json.loads(slimwire("inspect", container, "--json").out)

    assert "quality 2.60156," in encoded.out
    assert (seen["quality"], seen["version"]) == (round(2.6 * 256) / 256, 2)
    assert (seen["streams"], seen["prior"]) == ("nested", "factorized")


def test_detect_prints_one_json_object_for_each_container(
    slimwire: Slimwire, picture: Path, tmp_path: Path
) -> None:
    containers = [tmp_path / f"{level}.slim" for level in range(2)]
    for level, path in enumerate(containers):
        slimwire("encode", picture, "-o", path, "--level", level)

    lines = slimwire("detect", *containers, "--json").out.splitlines()

    assert [json.loads(line)["file"] for line in lines] == [str(path) for path in containers]


def test_levels_counts_the_graphs(slimwire: Slimwire) -> None:
    table = json.loads(slimwire("levels", "--json").out)

    assert table["qualities"] == QUALITIES
    assert [row["latent_channels"] for row in table["levels"]] == list(LATENT_CHANNELS)
    # the toy's g_a is one 16 x 16 convolution of stride 16: 3 products for each pixel and channel
    assert [row["kmac_per_pixel"] for row in table["levels"]] == pytest.approx(
        [3 * channels / 1000 for channels in LATENT_CHANNELS]
    )
    assert all(len(row["expected_bpp"]) == QUALITIES for row in table["levels"])
    assert "kMAC/pixel" in slimwire("levels").out


@pytest.mark.parametrize("hw", [(1, 1), (33, 17), (17, 33), (1, 700), (1024, 1536)])
def test_every_size_comes_back_as_it_was(
    slimwire: Slimwire, tmp_path: Path, hw: tuple[int, int]
) -> None:
    source, container, shown = (tmp_path / name for name in ("in.png", "a.slim", "out.png"))
    Image.fromarray(make_image(*hw)).save(source)

    codes = [
        slimwire("encode", source, "-o", container).code,
        slimwire("detect", container).code,
        slimwire("decode", container, "-o", shown).code,
    ]

    assert codes == [0, 0, 0]
    assert load_image(shown).shape == (*hw, 3)


def _greyscale(image: Image.Image, path: Path) -> None:
    image.convert("L").save(path)


def _with_alpha(image: Image.Image, path: Path) -> None:
    image.putalpha(128)
    image.save(path)


def _sixteen_bit(image: Image.Image, path: Path) -> None:
    samples = np.asarray(image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(samples).save(path)


def _on_its_side(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


@pytest.mark.parametrize("save", [_greyscale, _with_alpha, _sixteen_bit, _on_its_side])
def test_every_kind_of_picture_is_read_upright_as_colour(
    slimwire: Slimwire, tmp_path: Path, save: Callable[[Image.Image, Path], None]
) -> None:
    source, container, shown = (tmp_path / name for name in ("in.png", "a.slim", "out.png"))
    save(Image.fromarray(make_image(40, 72)), source)

    encoded = slimwire("encode", source, "-o", container, "--level", 3, "--quality", 5)
    decoded = slimwire("decode", container, "-o", shown)

    assert (encoded.code, decoded.code) == (0, 0), encoded.err + decoded.err
    assert load_image(shown).shape == (40, 72, 3)
    assert psnr_db(load_image(source), load_image(shown)) > 20


@pytest.mark.slow
def test_a_picture_of_48_megapixels_is_encoded(slimwire: Slimwire, tmp_path: Path) -> None:
    source, container = tmp_path / "large.jpg", tmp_path / "a.slim"
    Image.fromarray(np.tile(make_image(600, 800), (10, 10, 1))).save(source)

    encoded = slimwire("encode", source, "-o", container)
    seen = json.loads(slimwire("inspect", container, "--json").out)

    assert encoded.code == 0
    assert (seen["image_height"], seen["image_width"]) == (6000, 8000)
