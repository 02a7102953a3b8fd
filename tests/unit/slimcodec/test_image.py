import io
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import ExifTags, Image

from slimcodec.errors import ImageError
from slimcodec.image import files_in, image_bytes, load_image
from support.models.toy_artifact import make_image

INPUTS = Path(__file__).parents[2] / "vectors" / "inputs"


def png(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("hw", [(1, 1), (17, 33), (480, 641)])
def test_rgb_picture_is_read_as_it_is(hw: tuple[int, int]) -> None:
    image = make_image(*hw)

    assert np.array_equal(load_image(png(Image.fromarray(image))), image)


def test_path_and_bytes_read_the_same(tmp_path: Path) -> None:
    image = make_image(8, 9)
    (tmp_path / "a.png").write_bytes(image_bytes(image, ".png"))

    assert np.array_equal(load_image(tmp_path / "a.png"), image)
    assert np.array_equal(load_image((tmp_path / "a.png").read_bytes()), image)


def test_greyscale_is_repeated() -> None:
    grey = make_image(5, 7)[..., 0]

    image = load_image(png(Image.fromarray(grey)))

    assert np.array_equal(image, np.repeat(grey[..., np.newaxis], 3, axis=2))


def test_sixteen_bits_are_scaled_not_cut() -> None:
    samples = np.array([[0, 257, 32896, 65535]], np.uint16)

    image = load_image(png(Image.fromarray(samples)))

    assert image[0, :, 0].tolist() == [0, 1, 128, 255]


def test_alpha_is_composited_over_black() -> None:
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)

    image = load_image(png(Image.fromarray(rgba)))

    assert image[0].tolist() == [[200, 100, 50], [0, 0, 0], [40, 20, 10]]


def test_palette_with_transparency_is_composited_over_black() -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60])

    image = load_image(png(picture, transparency=1))

    assert image[0].tolist() == [[10, 20, 30], [0, 0, 0]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    buffer = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(buffer, "JPEG")

    image = load_image(buffer.getvalue())

    assert image.shape == (8, 8, 3)
    assert (np.abs(image[0, 0].astype(int) - [255, 0, 0]) < 4).all()


def test_exif_rotated_picture_is_turned_upright() -> None:
    image = make_image(16, 24)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: rotate by 90 degrees clockwise to view

    upright = load_image(png(Image.fromarray(image), exif=exif))

    assert np.array_equal(upright, np.rot90(image, k=-1))


@pytest.mark.parametrize("path", sorted(INPUTS.glob("exif_*.jpg")), ids=lambda path: path.stem)
def test_other_exif_tags_do_not_hinder_turning(path: Path) -> None:
    with Image.open(path) as stored:
        expected = np.rot90(np.asarray(stored.convert("RGB")), k=-1)

    assert np.array_equal(load_image(path), expected)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of such tags
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_random_exif_tags_never_hinder_reading(form: str) -> None:
    random = Random(7)
    picture = Image.fromarray(make_image(8, 16))
    shapes = []

    for _ in range(200):
        buffer = io.BytesIO()
        picture.save(buffer, form, exif=_random_tags(random))
        shapes.append(load_image(buffer.getvalue()).shape)

    assert set(shapes) <= {(16, 8, 3), (8, 16, 3)}
    assert shapes.count((16, 8, 3)) >= 190  # of the others no orientation can be read


def _random_tags(random: Random) -> bytes:
    """EXIF that says to turn the picture, beside tags of types that are not theirs."""
    entries = {0x0112: struct.pack("<HHII", 0x0112, 3, 1, 6)}
    for tag in random.sample([*ExifTags.TAGS], random.randint(1, 4)):
        kind, count = random.randint(0, 14), random.choice([0, 1, 2, 40, 2**31])
        value = random.choice([0, 8, 65535, 2**32 - 1])
        entries.setdefault(tag, struct.pack("<HHII", tag, kind, count, value))
    directory = b"".join(entries[tag] for tag in sorted(entries))
    return (
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00"
        + struct.pack("<H", len(entries))
        + directory
        + bytes(64)
    )


def png_that_claims(w: int, h: int) -> bytes:
    """A PNG of one pixel whose header says that it has more."""
    claim = bytearray(png(Image.new("1", (1, 1))))
    claim[16:24] = struct.pack(">II", w, h)
    claim[29:33] = struct.pack(">I", zlib.crc32(claim[12:29]))
    return bytes(claim)


def test_picture_above_max_pixels_is_refused_with_what_to_do() -> None:
    encoded = png(Image.new("L", (1250, 1000)))

    with pytest.raises(ImageError, match=r"1250x1000.*at most 1000000.*shrink.*max_pixels"):
        load_image(encoded, max_pixels=1_000_000)
    assert load_image(encoded).shape == (1000, 1250, 3)


def test_picture_above_the_formats_limit_is_refused_whatever_max_pixels_says() -> None:
    with pytest.raises(ImageError, match=r"8192x8193.*at most 67108864.*shrink the picture$"):
        load_image(png_that_claims(8192, 8193), max_pixels=2**40)


def test_decompression_bomb_is_refused() -> None:
    with pytest.raises(ImageError, match="at most"):
        load_image(png_that_claims(30_000, 30_000))


def test_side_that_the_format_cannot_say_is_refused() -> None:
    with pytest.raises(ImageError, match=r"70000x1.*65535"):
        load_image(png(Image.new("1", (70000, 1))))


@pytest.mark.parametrize("encoded", [b"", b"hello", b"\x9bSLW" + bytes(30)])
def test_bytes_that_are_no_picture_are_refused(encoded: bytes) -> None:
    with pytest.raises(ImageError, match="not a picture"):
        load_image(encoded)


def test_truncated_picture_is_refused() -> None:
    encoded = png(Image.fromarray(make_image(64, 64)))

    with pytest.raises(ImageError, match="cannot be decoded"):
        load_image(encoded[: len(encoded) // 2])


def test_float_samples_are_refused() -> None:
    buffer = io.BytesIO()
    Image.new("F", (4, 4)).save(buffer, "TIFF")

    with pytest.raises(ImageError, match="float samples"):
        load_image(buffer.getvalue())


def test_missing_path_is_failed_io_not_a_bad_picture(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "none.png")


def test_files_of_a_folder_leave_out_dot_files_folders_and_others(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.pgm", "._a.pgm", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c.jpg").mkdir()

    assert [path.name for path in files_in(tmp_path)] == ["a.pgm", "b.JPG"]


def test_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\.xyz"):
        image_bytes(make_image(4, 4), ".xyz")
