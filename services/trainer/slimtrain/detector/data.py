"""Training batches for the detector, made wholly on the device: mosaic, scale, flip, colour.

    pictures -pack their pixels into one flat tensor-> pixels on the device
    (seed, step) -draw-> four tiles a sample -one gather for all pixels-> x; boxes follow by the
    same numbers -> targets

A sample is cut into four tiles at a random point (mosaic) or is one tile. A tile shows one picture,
scaled, mirrored and shifted; where it has no pixel, grey. Every output pixel asks its tile where to
read, so that a mosaic costs no more than a single picture, and nothing loops over pictures or boxes
on the host.

Source: mosaic: Bochkovskiy et al., YOLOv4, 2020, section 3.3, https://arxiv.org/abs/2004.10934;
sampling of rare classes: Gupta et al., LVIS, CVPR 2019, appendix ("repeat factor"),
https://arxiv.org/abs/1908.03195.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimtrain.data.pictures import (
    BOX_FIELDS,
    POSITIVE_CONFIDENCE,
    Boxes,
    PictureError,
    Pictures,
)

GREY = 114.0 / 255
"""Fills what no picture covers; the usual letterbox grey of YOLO training."""
MAX_BOXES_PER_PICTURE = 80
MAX_BOXES_PER_SAMPLE = 120
MIN_VISIBLE = 0.15
"""A box of which less of the area stays in its tile is dropped."""
CLEARLY_VISIBLE = 0.35
"""A box of which less stays is ignored: neither object nor background."""
MIN_SIDE_PIXELS = 2.0
CLEAR_SIDE_PIXELS = 5.0
RARE_CLASS_SHARE = 0.03
"""Classes in fewer pictures than this share are drawn more often."""


@dataclass(frozen=True)
class DetectorBatch:
    """`x` (B, 3, S, S) float32 RGB in [0, 1]; `targets` (B, T, 6): class, cx, cy, w, h in pixels,
    confidence.

    Unused rows of `targets` have w = h = 0.
    """

    x: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far samples are changed; ranges are factors.

    Args:
        folder_weights: how much more often pictures of a folder of this name are drawn; 1 for all
            others.
    """

    mosaic_share: float = 0.5
    scale_range: tuple[float, float] = (0.55, 1.6)
    mosaic_scale_range: tuple[float, float] = (0.4, 1.3)
    brightness: float = 0.35
    channel_gain: float = 0.1
    saturation: float = 0.5
    grey_share: float = 0.05
    folder_weights: Mapping[str, float] = field(default_factory=dict)


class DetectorSampler:
    """Draws augmented batches; a batch depends only on (seed, step), so a resumed run goes on as it
    was.
    """

    def __init__(
        self,
        pictures: Pictures,
        image_size: int,
        device: torch.device,
        augmentation: Augmentation,
        seed: int = 0,
    ) -> None:
        labelled = pictures.select(lambda index: pictures.boxes[index] is not None)
        if len(labelled) == 0:
            raise PictureError("no labelled pictures; a detector cannot be trained on them")
        boxes = [rows for rows in labelled.boxes if rows is not None]
        self.image_size = image_size
        self.device = device
        self.augmentation = augmentation
        self.seed = seed
        self.num_pictures = len(labelled)
        sizes = torch.tensor([image.shape[:2] for image in labelled.images])  # (N, 2)
        areas = sizes.prod(dim=1)
        self._starts = (areas.cumsum(0) - areas).to(device)  # (N,) first pixel of each picture
        self._sizes = sizes.to(device)
        self._pixels = _pack_pixels(labelled.images, int(areas.sum())).to(device)
        self._boxes = _pad_boxes(boxes).to(device)  # (N, P, 6)
        weights = _sampling_weights(boxes, labelled.sources, augmentation.folder_weights)
        self._cumulative = torch.from_numpy(np.cumsum(weights / weights.sum())).to(device)

    @torch.no_grad()
    def batch(self, step: int, size: int, mosaic_share: float | None = None) -> DetectorBatch:
        """The batch of a step; `mosaic_share` overrides the augmentation's."""
        generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + step)
        share = self.augmentation.mosaic_share if mosaic_share is None else mosaic_share

        def draw(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=self.device)

        index = torch.searchsorted(self._cumulative, draw(size, 4).double())
        index = index.clamp(max=self.num_pictures - 1)  # (B, 4)
        is_mosaic = draw(size, 1) < share  # (B, 1)
        tiles = self._place_tiles(index, is_mosaic, draw)
        x = self._colour(self._read_pixels(index, tiles), draw)
        return DetectorBatch(x, self._place_boxes(index, tiles))

    def _place_tiles(self, index: Tensor, is_mosaic: Tensor, draw: _Draw) -> _Tiles:
        B, S = len(index), float(self.image_size)
        centre = torch.where(is_mosaic, S * (0.25 + 0.5 * draw(B, 2)), S).round()  # (B, 2) x, y
        zero, full = torch.zeros_like(centre), torch.full_like(centre, S)
        low = torch.stack(  # (B, 4, 2): tile order left/right within top/bottom
            [
                zero,
                torch.stack([centre[:, 0], zero[:, 1]], dim=1),
                torch.stack([zero[:, 0], centre[:, 1]], dim=1),
                centre,
            ],
            dim=1,
        )
        high = torch.stack(
            [
                centre,
                torch.stack([full[:, 0], centre[:, 1]], dim=1),
                torch.stack([centre[:, 0], full[:, 1]], dim=1),
                full,
            ],
            dim=1,
        )
        size_wh = self._sizes[index].flip(-1).float()  # (B, 4, 2) w, h
        fit = S / size_wh.amax(dim=-1)
        ranges = self.augmentation.scale_range, self.augmentation.mosaic_scale_range
        single, mosaic = (_log_uniform(draw(B, 4), *range_) for range_ in ranges)
        scale = fit * torch.where(is_mosaic, mosaic, single)  # (B, 4)
        slack = high - low - size_wh * scale[..., None]
        # From one edge to the other: a small picture lies anywhere in its tile, of a large one
        # anything shows.
        offset = low + slack * draw(B, 4, 2)
        return _Tiles(centre, low, high, size_wh, scale, offset, draw(B, 4) < 0.5)

    def _read_pixels(self, index: Tensor, tiles: _Tiles) -> Tensor:
        """(B, 3, S, S) float32 by bilinear interpolation."""
        B, S = len(index), self.image_size
        at = torch.arange(S, device=self.device, dtype=torch.float32) + 0.5
        right = (at[None, :] >= tiles.centre[:, :1])[:, None, :].expand(B, S, S)
        below = (at[None, :] >= tiles.centre[:, 1:])[:, :, None].expand(B, S, S)
        tile = (right.long() + 2 * below.long()).view(B, S * S)

        def of_tile(values: Tensor) -> Tensor:  # (B, 4) -> (B, S, S)
            return values.gather(1, tile).view(B, S, S)

        w, h = of_tile(tiles.size_wh[..., 0]), of_tile(tiles.size_wh[..., 1])
        scale = of_tile(tiles.scale)
        u = (at[None, None, :] - of_tile(tiles.offset[..., 0])) / scale
        v = (at[None, :, None] - of_tile(tiles.offset[..., 1])) / scale
        inside = (u >= 0) & (u < w) & (v >= 0) & (v < h)
        u = torch.where(of_tile(tiles.mirrored), w - u, u) - 0.5
        v = v - 0.5
        u0, v0 = u.floor(), v.floor()
        du, dv = u - u0, v - v0
        start = of_tile(self._starts[index])

        def pixel(du_whole: int, dv_whole: int) -> Tensor:  # -> (3, B, S, S) float32, 0-255
            column = torch.minimum((u0 + du_whole).clamp(min=0), w - 1).long()
            row = torch.minimum((v0 + dv_whole).clamp(min=0), h - 1).long()
            packed = self._pixels[start + row * w.long() + column]
            return torch.stack([packed & 255, (packed >> 8) & 255, (packed >> 16) & 255]).float()

        # Out-of-tile coordinates are clamped to some pixel of the picture and painted grey below.
        top = torch.lerp(pixel(0, 0), pixel(1, 0), du)
        bottom = torch.lerp(pixel(0, 1), pixel(1, 1), du)
        colour = torch.lerp(top, bottom, dv) / 255  # (3, B, S, S)
        return torch.where(inside, colour, GREY).transpose(0, 1)

    def _colour(self, x: Tensor, draw: _Draw) -> Tensor:
        """Brightness, channel gain and saturation, each drawn per sample."""
        B, a = len(x), self.augmentation
        saturation = 1 + a.saturation * (2 * draw(B, 1, 1, 1) - 1)
        saturation = torch.where(draw(B, 1, 1, 1) < a.grey_share, 0.0, saturation)
        gain = 1 + a.channel_gain * (2 * draw(B, 3, 1, 1) - 1)
        gain = gain * (1 + a.brightness * (2 * draw(B, 1, 1, 1) - 1))
        luma = x.mean(dim=1, keepdim=True)
        return ((luma + (x - luma) * saturation) * gain).clamp(0, 1)

    def _place_boxes(self, index: Tensor, tiles: _Tiles) -> Tensor:
        """The boxes of all tiles, moved as their pixels and cut at the tile: (B, T, 6)."""
        B = len(index)
        boxes = self._boxes[index]  # (B, 4, P, 6)
        size_wh = tiles.size_wh[:, :, None]
        centre_x = torch.where(tiles.mirrored[:, :, None], 1 - boxes[..., 1], boxes[..., 1])
        centre = torch.stack([centre_x, boxes[..., 2]], dim=-1) * size_wh  # picture's pixels
        half = boxes[..., 3:5] * size_wh / 2
        scale, offset = tiles.scale[:, :, None, None], tiles.offset[:, :, None]
        low, high = (centre - half) * scale + offset, (centre + half) * scale + offset
        bounds_low, bounds_high = tiles.low[:, :, None], tiles.high[:, :, None]
        cut_low = torch.minimum(torch.maximum(low, bounds_low), bounds_high)
        cut_high = torch.minimum(torch.maximum(high, bounds_low), bounds_high)
        side = cut_high - cut_low
        visible = side.prod(-1) / (high - low).prod(-1).clamp(min=1e-6)
        short_side = side.amin(-1)
        kept = (visible >= MIN_VISIBLE) & (short_side >= MIN_SIDE_PIXELS)
        clear = (visible >= CLEARLY_VISIBLE) & (short_side >= CLEAR_SIDE_PIXELS)
        placed = torch.cat(
            [
                boxes[..., :1],
                (cut_low + cut_high) / 2,
                side,
                torch.where(clear, boxes[..., 5], 0.0)[..., None],
            ],
            dim=-1,
        )
        placed = torch.where(kept[..., None], placed, 0.0).view(B, -1, BOX_FIELDS)
        order = kept.view(B, -1).float().argsort(dim=1, descending=True, stable=True)
        order = order[:, :MAX_BOXES_PER_SAMPLE, None].expand(-1, -1, BOX_FIELDS)
        return placed.gather(1, order)


class _Draw(Protocol):
    """Draws uniform numbers in [0, 1) of a shape."""

    def __call__(self, *shape: int) -> Tensor: ...


@dataclass(frozen=True)
class _Tiles:
    """Four tiles a sample; lengths in pixels, x before y. All but `centre` are (B, 4, ...)."""

    centre: Tensor  # (B, 2)
    low: Tensor  # (B, 4, 2)
    high: Tensor
    size_wh: Tensor  # of the picture
    scale: Tensor  # (B, 4)
    offset: Tensor  # (B, 4, 2) where the picture's corner lies
    mirrored: Tensor  # (B, 4) bool


def _pack_pixels(images: list[NDArray[np.uint8]], num_pixels: int) -> Tensor:
    """All pixels one after another, each as one int32 R | G << 8 | B << 16: one gather reads a
    pixel.
    """
    flat = np.zeros((num_pixels, 4), np.uint8)
    start = 0
    for image in images:
        stop = start + image.shape[0] * image.shape[1]
        flat[start:stop, :3] = image.reshape(-1, 3)
        start = stop
    return torch.from_numpy(flat.view("<i4").reshape(-1))


def _pad_boxes(boxes: list[Boxes]) -> Tensor:
    """(N, P, 6), unused rows zero; where a picture has more than P boxes, the smallest go."""
    P = max(1, min(MAX_BOXES_PER_PICTURE, max(len(rows) for rows in boxes)))
    padded = np.zeros((len(boxes), P, BOX_FIELDS), np.float32)
    for index, rows in enumerate(boxes):
        largest = rows[np.argsort(-rows[:, 3] * rows[:, 4], kind="stable")[:P]]
        padded[index, : len(largest)] = largest
    return torch.from_numpy(padded)


def _sampling_weights(
    boxes: list[Boxes], sources: list[str], folder_weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """How often each picture is drawn: sqrt(share / frequency) of its rarest class, times its
    folder's weight.
    """
    classes = [set(rows[rows[:, 5] >= POSITIVE_CONFIDENCE, 0].astype(int)) for rows in boxes]
    counts: dict[int, int] = {}
    for present in classes:
        for class_id in present:
            counts[class_id] = counts.get(class_id, 0) + 1
    repeat = {
        class_id: max(1.0, (RARE_CLASS_SHARE * len(boxes) / count) ** 0.5)
        for class_id, count in counts.items()
    }
    weights = [
        max((repeat[class_id] for class_id in present), default=0.5)
        * folder_weights.get(source, 1.0)
        for present, source in zip(classes, sources, strict=True)
    ]
    return np.asarray(weights, np.float64)


def _log_uniform(uniform: Tensor, low: float, high: float) -> Tensor:
    return low * (high / low) ** uniform
