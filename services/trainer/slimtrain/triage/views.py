"""What a triage head is trained on: views of pictures, what the detector sees in them, their
latents.

    pictures -crop, scale, mirror-> views -detector, uncompressed-> boxes   (cached in labels.npz)
                                     `-> real containers of level 0, random quality -> y_hat

The detector looks at the very view that is encoded, so a label always says what would be detected
there. Views depend on (seed, picture's name, number) alone: labels are made once for a detector,
whatever codec comes after it.
"""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from slimcodec.container import round_quality
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.whole_file import whole_file
from slimdetect.detector import Detector
from slimdetect.scores import Wanted
from slimtrain.data.pictures import Pictures

# (h, w), pixels: multiples of every codec's padding, so that a view is its own padded picture.
VIEW_SHAPES = ((192, 256), (256, 256), (256, 448), (320, 320), (320, 448), (448, 448), (384, 512))
_SMALLEST_CROP = 0.08  # of the picture's area
_LOWEST_SCORE = 0.05  # of boxes in the cache
_SAVE_EVERY_SECONDS = 60.0
_FIELDS = 4  # class, centre x, centre y (parts of the view), score


@dataclass(frozen=True, slots=True)
class View:
    """Which part of which picture: made anew from the picture whenever it is needed."""

    picture: int  # index into the pictures
    number: int
    key: str  # source/name#number, for the cache


@dataclass(frozen=True, slots=True)
class LabelledLatent:
    """One training example."""

    picture: int  # index into the pictures
    y_hat: NDArray[np.float16]  # (M_0, h, w)
    boxes: NDArray[np.float32]  # (n, 4) class, centre x, centre y (parts of the view), score


def list_views(pictures: Pictures, each: int) -> list[View]:
    """`each` views of every picture; number 0 is nearly the whole picture."""
    return [
        View(index, number, f"{picture.source}/{picture.name}#{number}")
        for index, picture in enumerate(pictures)
        for number in range(each)
    ]


def make_view(image: NDArray[np.uint8], view: View, seed: int) -> NDArray[np.uint8]:
    """The pixels of a view, (h, w, 3) uint8 RGB, in one of `VIEW_SHAPES`."""
    rng = np.random.default_rng([seed, zlib.crc32(view.key.encode())])
    height, width = image.shape[:2]
    if view.number == 0:
        shape = min(VIEW_SHAPES, key=lambda s: (abs(s[1] / s[0] - width / height), rng.random()))
        share = 1.0
    else:
        shape = VIEW_SHAPES[rng.integers(len(VIEW_SHAPES))]
        share = float(rng.uniform(_SMALLEST_CROP, 1.0))
    aspect = shape[1] / shape[0]
    crop_h = min(height, width / aspect) * share**0.5
    crop_w = crop_h * aspect
    left, top = rng.random() * (width - crop_w), rng.random() * (height - crop_h)
    resized = Image.fromarray(image).resize(
        (shape[1], shape[0]),
        Image.Resampling.BILINEAR,
        box=(left, top, left + crop_w, top + crop_h),
    )
    pixels = np.asarray(resized)
    return np.ascontiguousarray(pixels[:, ::-1] if rng.random() < 0.5 else pixels)


def label_views(
    pictures: Pictures,
    views: Sequence[View],
    seed: int,
    detector: Detector,
    cache: Path,
) -> list[NDArray[np.float32]]:
    """What the detector finds in each view, (n, 4); from the cache where it was asked before.

    Args:
        cache: of this seed and this detector alone; written every minute, so that a kill loses
            little.
    """
    known = _load_labels(cache)
    saved = time.monotonic()
    for view in tqdm(views, unit="view", desc="labels", mininterval=5.0):
        if view.key in known:
            continue
        pixels = make_view(pictures[view.picture].image, view, seed)
        h, w = pixels.shape[:2]
        rows = [
            (found.class_id, (x0 + x1) / 2 / w, (y0 + y1) / 2 / h, found.score)
            for found in detector.detect_image(pixels, Wanted(_LOWEST_SCORE, raw=True))
            for x0, y0, x1, y1 in [found.box_xyxy]
        ]
        known[view.key] = np.asarray(rows, np.float32).reshape(-1, _FIELDS)
        if time.monotonic() - saved > _SAVE_EVERY_SECONDS:
            _save_labels(cache, known)
            saved = time.monotonic()
    _save_labels(cache, known)
    return [known[view.key] for view in views]


def encode_views(
    pictures: Pictures,
    views: Sequence[View],
    labels: Sequence[NDArray[np.float32]],
    seed: int,
    encoder: Encoder,
    decoder: Decoder,
    qualities: int,
) -> list[LabelledLatent]:
    """The latents of the views, each through a real container at a random quality."""
    examples = []
    progress = tqdm(views, unit="view", desc="latents", mininterval=5.0)
    for view, boxes in zip(progress, labels, strict=True):
        rng = np.random.default_rng([seed, zlib.crc32(view.key.encode()), 1])
        pixels = make_view(pictures[view.picture].image, view, seed)
        quality = round_quality(rng.uniform(0, qualities - 1))
        latent = decoder.decode_latent(encoder.encode(pixels, 0, quality).bitstream)
        examples.append(LabelledLatent(view.picture, latent.y_hat[0].astype(np.float16), boxes))
    return examples


def _load_labels(path: Path) -> dict[str, NDArray[np.float32]]:
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        tables = np.split(file["boxes"], file["ends"][:-1])
        return dict(zip(file["keys"].tolist(), tables, strict=True))


def _save_labels(path: Path, known: dict[str, NDArray[np.float32]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        np.savez(
            file,
            keys=np.asarray(list(known), np.str_),
            boxes=np.concatenate([*known.values(), np.zeros((0, _FIELDS), np.float32)]),
            ends=np.cumsum([len(boxes) for boxes in known.values()], dtype=np.int64),
        )
