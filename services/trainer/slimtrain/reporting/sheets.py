"""The report's sheets: decoded pictures by level and quality, and boxes beside boxes.

They show pictures that an evaluation was made with, so a report folder is not for publishing. They
are JPEG files at full colour resolution, fine enough beside what they show: a quarter of the bytes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from slimcodec.image import load_image
from slimcodec.pixels import psnr_db
from slimdetect.overlay import draw_detections
from slimdetect.scores import Wanted
from slimtrain.data.pictures import PictureEntry
from slimtrain.evaluation.baseline import Baseline
from slimtrain.evaluation.operating_point import DETECT, VIEW, ReferenceDetector, ServedCodec
from slimtrain.evaluation.pictures import EvaluationError

NUM_SHOWN = 3
MAX_COLUMNS = 5
TILE_WIDTH = 320  # pixels
BOX_TILE_WIDTH = 460
GAP = 6
CAPTION_HEIGHT = 22
FONT_SIZE = 13
SHEET_QUALITY = 85
SURE = Wanted(0.3)  # boxes that a user would be shown

Array = NDArray[np.uint8]
Tile = tuple[Array, str]  # a picture, and what is said below it


def choose_shown(pictures: Sequence[PictureEntry], names: Sequence[str] = ()) -> list[PictureEntry]:
    """The pictures of the sheets: those named, or of the first folders the one with most labels.

    Raises:
        EvaluationError: a name that is not among the pictures.
    """
    if names:
        by_name = {picture.path.name: picture for picture in pictures}
        if unknown := sorted(set(names) - set(by_name)):
            raise EvaluationError(f"{', '.join(unknown)}: not among the evaluated pictures")
        return [by_name[name] for name in names]
    sources = list(dict.fromkeys(picture.source for picture in pictures))
    return [
        max(
            (picture for picture in pictures if picture.source == source),
            key=lambda p: 0 if p.boxes is None else len(p.boxes),
        )
        for source in sources[:NUM_SHOWN]
    ]


def draw_decoded_sheet(
    served: ServedCodec, baselines: Sequence[Baseline], picture: PictureEntry, path: Path
) -> bool:
    """One picture: the original and baselines of about equal bytes, then a row for each level.

    Returns:
        Whether there is anything to show: a model that only detects has no picture.
    """
    levels = [level for level in range(len(served.artifact.levels)) if served.does(VIEW, level)]
    if not levels:
        return False
    image, num_qualities = load_image(picture.path), served.artifact.manifest.qualities
    columns = np.linspace(0, num_qualities - 1, min(num_qualities, MAX_COLUMNS))
    qualities = columns.round().astype(int).tolist()  # with both ends

    def ours(level: int, quality: int) -> Tile:
        bitstream = served.encoder.encode(image, level, quality).bitstream
        decoded = served.decoder.decode_image(served.decoder.decode_latent(bitstream))
        return _tile(f"level {level}, quality {quality}", image, decoded, bitstream)

    middle = qualities[len(qualities) // 2]
    wanted = len(served.encoder.encode(image, levels[-1], middle).bitstream)
    top: list[Tile] = [(image, "original")]
    for baseline in baselines[: len(qualities) - 1]:
        coded = [(quality, baseline.code(image, quality)) for quality in baseline.ladder]
        quality, nearest = min(coded, key=lambda c: abs(len(c[1].bitstream) - wanted))
        head = f"{baseline.name} {quality}"
        top.append(_tile(head, image, nearest.image_hat, nearest.bitstream))
    rows = [[ours(level, quality) for quality in qualities] for level in levels]
    _compose([top, *rows], TILE_WIDTH).save(path, quality=SHEET_QUALITY, subsampling=0)
    return True


def draw_box_sheet(
    served: ServedCodec, reference: ReferenceDetector, pictures: Sequence[PictureEntry], path: Path
) -> bool:
    """Boxes in the original, from the features, and from the decoded picture, side by side; for
    the narrowest and the widest level at the middle quality.

    Returns:
        Whether there is anything to show: a model that does not both detect and show has no two
        kinds of boxes.
    """
    quality = (served.artifact.manifest.qualities - 1) // 2
    levels = [
        level
        for level in range(len(served.artifact.levels))
        if served.does(VIEW, level) and served.does(DETECT, level)
    ]
    if not levels or served.detector is None:
        return False
    rows: list[list[Tile]] = []
    for picture in pictures:
        image = load_image(picture.path)
        original = reference.session.detect_image(image, SURE)
        for level in dict.fromkeys((levels[0], levels[-1])):
            bitstream = served.encoder.encode(image, level, quality).bitstream
            latent = served.decoder.decode_latent(bitstream)
            decoded = served.decoder.decode_image(latent)
            features = served.detector.detect_latents([latent], SURE)[0]
            pixels = reference.session.detect_image(decoded, SURE)
            bpp = 8 * len(bitstream) / (image.shape[0] * image.shape[1])
            head = f"level {level}, quality {quality}, {bpp:.3f} bpp"
            rows.append(
                [
                    (draw_detections(image, original), "uncompressed: uncut detector"),
                    (draw_detections(decoded, features), f"{head}: from features"),
                    (draw_detections(decoded, pixels), f"{head}: from pixels"),
                ]
            )
    _compose(rows, BOX_TILE_WIDTH).save(path, quality=SHEET_QUALITY, subsampling=0)
    return True


def _tile(head: str, image: Array, decoded: Array, bitstream: bytes) -> Tile:
    bpp = 8 * len(bitstream) / (image.shape[0] * image.shape[1])
    return decoded, f"{head}: {bpp:.3f} bpp, {psnr_db(image, decoded):.1f} dB"


def _compose(rows: Sequence[Sequence[Tile]], tile_width: int) -> Image.Image:
    """Tiles in rows, each scaled to one width, its caption below it."""
    scaled = [[(_scale(image, tile_width), caption) for image, caption in row] for row in rows]
    heights = [max(image.height for image, _ in row) + CAPTION_HEIGHT for row in scaled]
    num_columns = max(len(row) for row in scaled)
    size = (num_columns * (tile_width + GAP) + GAP, sum(heights) + GAP * (len(heights) + 1))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    top = GAP
    for row, height in zip(scaled, heights, strict=True):
        for column, (image, caption) in enumerate(row):
            left = GAP + column * (tile_width + GAP)
            sheet.paste(image, (left, top))
            draw.text((left, top + image.height + 3), caption, fill="black", font=font)
        top += height + GAP
    return sheet


def _scale(image: Array, width: int) -> Image.Image:
    size = (width, 1 << 16)  # as high as it is then
    return ImageOps.contain(Image.fromarray(image), size, Image.Resampling.LANCZOS)
