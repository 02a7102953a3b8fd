"""Picture files -> image -> x; and x_hat -> image -> files.

file --load_image--> image uint8 (H, W, 3) --to_x--> x float32 (1, 3, H, W)
x --pad_to_multiple--> (1, 3, H', W')      x_hat --crop--> --to_image--> image --image_bytes--> file
"""

import io
from collections.abc import Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from slimcodec.container import MAX_PIXELS
from slimcodec.errors import ImageError

# of files that are taken for pictures where nobody names them one by one
PICTURE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg"),
        *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
_SIXTEEN_BIT_STEP = 257  # 65535 / 255: 16-bit white becomes 8-bit white
_UPRIGHT = {  # by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def files_in(folder: Path, suffixes: Set[str] = PICTURE_SUFFIXES) -> list[Path]:
    """The files of a folder whose names end so, by name, without those that begin with a dot."""
    named = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes)
    return [path for path in named if not path.name.startswith(".") and path.is_file()]


def load_image(source: Path | str | bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a picture as RGB, upright.

    EXIF's orientation is applied, its other tags are not read; alpha is composited over black,
    16-bit samples are scaled to 8 bits, greyscale is repeated. Only the first picture of an
    animation is read.

    Args:
        source: A path, or the bytes of a file.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: not a picture, damaged, or too large.
    """
    label = "picture" if isinstance(source, bytes) else str(source)
    encoded = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            check_image_hw((picture.height, picture.width), max_pixels, label)
            return _to_rgb(_upright(picture))
    except ImageError:
        raise
    except UnidentifiedImageError as exc:
        raise ImageError(f"{label}: not a picture in a format that can be read") from exc
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise ImageError(f"{label}: {exc}; at most {max_pixels} pixels are allowed") from exc
    except Exception as exc:  # of damaged bytes Pillow's readers raise anything
        raise ImageError(f"{label}: cannot be decoded: {exc}") from exc


def is_picture(encoded: bytes) -> bool:
    """Whether a file's bytes begin as a picture does; it may be damaged or too large."""
    try:
        with Image.open(io.BytesIO(encoded)):
            return True
    except UnidentifiedImageError:
        return False
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return True


def check_image_hw(image_hw: tuple[int, int], max_pixels: int, label: str = "picture") -> None:
    """Refuse a picture that is larger than the limit or the format allow.

    Raises:
        ImageError: naming what was found, the limit, and what to do.
    """
    h, w = image_hw
    limit = min(max_pixels, MAX_PIXELS)
    if h < 1 or w < 1 or max(h, w) > 0xFFFF:
        raise ImageError(f"{label} is {w}x{h}; sides must be 1 to 65535 pixels")
    if h * w > limit:
        remedy = "shrink the picture"
        if limit < MAX_PIXELS:
            remedy += f" or raise max_pixels (the format's own limit is {MAX_PIXELS})"
        raise ImageError(
            f"{label} is {w}x{h} = {h * w} pixels; at most {limit} are allowed; {remedy}"
        )


def check_image(image: NDArray[np.uint8], max_pixels: int = MAX_PIXELS) -> None:
    """Refuse an array that is not uint8 (H, W, 3) within the limits.

    Raises:
        ImageError: naming what was found and expected.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    check_image_hw((image.shape[0], image.shape[1]), max_pixels)


def to_x(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return `x` (1, 3, H, W) float32 in [0, 1] of an image uint8 (H, W, 3)."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis])
    return planes.astype(np.float32) / np.float32(255)


def to_image(x_hat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) of `x_hat` (1, 3, H, W), clipped to [0, 1] and rounded."""
    samples = np.rint(np.clip(np.nan_to_num(x_hat[0]), 0, 1) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(samples.transpose(1, 2, 0))


def pad_to_multiple(x: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """Return `x` (..., H, W) with its last row and column repeated up to the next multiple."""
    h, w = x.shape[-2:]
    padding = [(0, 0)] * (x.ndim - 2) + [(0, -h % multiple), (0, -w % multiple)]
    return np.pad(x, padding, mode="edge") if any(after for _, after in padding) else x


def crop(x: NDArray[np.float32], image_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return the upper left (..., h, w) of `x`: what `pad_to_multiple` added is removed."""
    h, w = image_hw
    return x[..., :h, :w]


def image_bytes(image: NDArray[np.uint8], suffix: str) -> bytes:
    """Return the file of an image uint8 (H, W, 3) in the format that a suffix (`.png`) names.

    Raises:
        ImageError: the suffix names no format that can be written.
    """
    check_image(image)
    image_format = Image.registered_extensions().get(suffix.lower(), "")
    if image_format not in Image.SAVE:
        raise ImageError(f"unknown suffix {suffix!r} of a picture; use .png, .jpg or .webp")
    file = io.BytesIO()
    Image.fromarray(image).save(file, image_format)
    return file.getvalue()


def _upright(picture: Image.Image) -> Image.Image:
    """`picture` as it is to be seen.

    `ImageOps.exif_transpose` writes all the tags again and fails where one is not as it should be.
    """
    picture.load()
    try:
        method = _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # tags that cannot be read turn nothing
        method = None
    return picture if method is None else picture.transpose(method)


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith("I;16") or picture.mode == "I":
        samples = np.asarray(picture).astype(np.int64)
        if samples.max(initial=0) > 0xFF or picture.mode != "I":
            samples = np.rint(samples.clip(0, 0xFFFF) / _SIXTEEN_BIT_STEP)
        grey = samples.clip(0, 0xFF).astype(np.uint8)
        return np.repeat(grey[..., np.newaxis], 3, axis=2)
    if picture.mode == "F":
        raise ValueError("its float samples are of unknown range; convert it to 8 or 16 bits")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.array(picture.convert("RGB"), dtype=np.uint8)
