"""Picture files -> image, and image -> files.

file --load_image--> image uint8 (H, W, 3) --image_bytes--> file
"""

import io
from collections.abc import Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from slimcodec.container import MAX_PIXELS
from slimcodec.errors import ImageError
from slimcodec.pixels import check_image, check_image_hw

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
