"""Training batches for the detector, made on the device: mosaic, scale, flip, colour, weather.

    (seed, step) -draw-> four tiles a sample -read their pictures-> x; boxes follow by the same
    numbers -> targets

A sample is cut into four tiles at a random point (mosaic) or is one tile. A tile shows one picture,
scaled, mirrored and shifted; where it has no pixel, grey.

Source: mosaic: Bochkovskiy et al., YOLOv4, 2020, section 3.3, https://arxiv.org/abs/2004.10934;
sampling of rare classes: Gupta et al., LVIS, CVPR 2019, appendix ("repeat factor"),
https://arxiv.org/abs/1908.03195.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slimtrain.data.pictures import (
    BOX_FIELDS,
    POSITIVE_CONFIDENCE,
    Boxes,
    Labelling,
    PictureError,
    Pictures,
)
from slimtrain.detector.augment import Augmentation, Draw, augment_colour, augment_weather

GREY = 114.0 / 255  # fills what no picture covers; the usual letterbox grey of YOLO training
MAX_BOXES_PER_PICTURE = 80
MAX_BOXES_PER_SAMPLE = 120
MIN_VISIBLE = 0.15  # a box of which less of the area stays in its tile is dropped
CLEARLY_VISIBLE = 0.35  # a box of which less stays is ignored: neither object nor background
MAX_SIDE = 4096  # of a sample, pixels
MIN_SIDE_PIXELS = 2.0
CLEAR_SIDE_PIXELS = 5.0
RARE_CLASS_SHARE = 0.03  # classes in fewer pictures than this share are drawn more often
# whether a tile lies right of the centre, and below it
_TILES = ((False, False), (True, False), (False, True), (True, True))


@dataclass(frozen=True)
class DetectorBatch:
    """`x` (B, 3, S, S) float32 RGB in [0, 1]; `targets` (B, T, 6): class, cx, cy, w, h in pixels,
    confidence.

    Unused rows of `targets` have w = h = 0. `centre` (B, 2) is where four tiles meet, x before y,
    in pixels; `absent` (B, 4, C) says of each tile's picture for which classes "no box" means "not
    there".
    """

    x: Tensor
    targets: Tensor
    centre: Tensor
    absent: Tensor

    def is_absent(self, h: int, w: int) -> Tensor:
        """`absent` of the cells of a map: (B, h, w, C) bool."""
        scale = self.x.shape[-1] / w
        column, row = (
            (torch.arange(side, device=self.x.device) + 0.5) * scale >= self.centre[:, axis, None]
            for axis, side in enumerate((w, h))
        )
        tile = column[:, None, :].long() + 2 * row[:, :, None].long()  # (B, h, w)
        images = torch.arange(len(tile), device=tile.device)[:, None, None]
        return self.absent[images, tile]


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


class DetectorSampler:
    """Draws augmented batches, each from (seed, step) alone, so that a resumed run goes on."""

    def __init__(
        self,
        pictures: Pictures,
        image_size: int,
        device: torch.device,
        augmentation: Augmentation,
        seed: int = 0,
        labellings: Mapping[str, Labelling] | None = None,
        num_classes: int = 1,
    ) -> None:
        labelled = [picture for picture in pictures if picture.boxes is not None]
        if not labelled:
            raise PictureError("no labelled pictures; a detector cannot be trained on them")
        boxes = [rows for picture in labelled if (rows := picture.boxes) is not None]
        self.image_size = image_size
        self.device = device
        self.augmentation = augmentation
        self.seed = seed
        self.num_pictures = len(labelled)
        self._pictures = [
            torch.from_numpy(picture.image).permute(2, 0, 1).contiguous().to(device)
            for picture in labelled
        ]
        sizes = [picture.shape[1:] for picture in self._pictures]
        self._sizes = torch.tensor(sizes, device=device)  # (N, 2) h, w
        self._at = torch.arange(MAX_SIDE, device=device) + 0.5  # middles of pixels
        self._boxes = _pad_boxes(boxes).to(device)  # (N, P, 6)
        by_folder = [(labellings or {}).get(each.source, Labelling()) for each in labelled]
        absent = np.stack([labelling.is_absent(num_classes) for labelling in by_folder])
        self._absent = torch.from_numpy(absent).to(device)  # (N, C)
        weights = _sampling_weights(boxes, [labelling.weight for labelling in by_folder])
        self._cumulative = torch.from_numpy(np.cumsum(weights / weights.sum())).to(device)

    @torch.no_grad()
    def batch(
        self,
        step: int,
        size: int,
        mosaic_share: float | None = None,
        image_size: int | None = None,
    ) -> DetectorBatch:
        """The batch of a step; `mosaic_share` and `image_size` override the sampler's."""
        side = image_size or self.image_size
        generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + step)
        share = self.augmentation.mosaic_share if mosaic_share is None else mosaic_share

        def draw(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=self.device)

        index = torch.searchsorted(self._cumulative, draw(size, 4).double())
        index = index.clamp(max=self.num_pictures - 1)  # (B, 4)
        is_mosaic = draw(size, 1) < share  # (B, 1)
        tiles = self._place_tiles(index, is_mosaic, side, draw)
        x = augment_colour(self._read_pixels(index, tiles, side), self.augmentation, draw)
        x = augment_weather(x, self.augmentation, draw)
        targets = self._place_boxes(index, tiles)
        return DetectorBatch(x, targets, tiles.centre, self._absent[index])

    def _place_tiles(self, index: Tensor, is_mosaic: Tensor, side: int, draw: Draw) -> _Tiles:
        B, S = len(index), float(side)
        centre = torch.where(is_mosaic, S * (0.25 + 0.5 * draw(B, 2)), S).round()  # (B, 2) x, y
        is_behind = torch.tensor(_TILES, device=self.device)  # (4, 2)
        low = torch.where(is_behind, centre[:, None], 0.0)  # (B, 4, 2)
        high = torch.where(is_behind, S, centre[:, None])
        size_wh = self._sizes[index].flip(-1).float()  # (B, 4, 2) w, h
        fit = S / size_wh.amax(dim=-1)
        ranges = self.augmentation.scale_range, self.augmentation.mosaic_scale_range
        # evenly by the logarithm
        single, mosaic = (low * (high / low) ** draw(B, 4) for low, high in ranges)
        scale = fit * torch.where(is_mosaic, mosaic, single)  # (B, 4)
        if self.augmentation.native_share:
            is_native = draw(B, 4) < self.augmentation.native_share
            scale = torch.where(is_native, 1.0, scale)
        slack = high - low - size_wh * scale[..., None]
        # From one edge to the other: a small picture lies anywhere in its tile, of a large one
        # anything shows.
        offset = low + slack * draw(B, 4, 2)
        return _Tiles(centre, low, high, size_wh, scale, offset, draw(B, 4) < 0.5)

    def _read_pixels(self, index: Tensor, tiles: _Tiles, side: int) -> Tensor:
        """(B, 3, S, S) float32 by bilinear interpolation; grey where a tile shows no picture."""
        x = torch.full((len(index), 3, side, side), GREY, device=self.device)
        corners = torch.cat([tiles.low, tiles.high], dim=-1).long().tolist()  # (B, 4, 4)
        numbers, mirrored = index.tolist(), tiles.mirrored.tolist()
        for sample, tile in product(range(len(index)), range(4)):
            left, top, right, bottom = corners[sample][tile]
            if left >= right or top >= bottom:
                continue
            picture = self._pictures[numbers[sample][tile]]  # (3, h, w) uint8
            h, w = picture.shape[1:]
            scale, offset = tiles.scale[sample, tile], tiles.offset[sample, tile]
            u = (self._at[left:right] - offset[0]) / scale
            v = (self._at[top:bottom] - offset[1]) / scale
            inside = ((v >= 0) & (v < h))[:, None] & ((u >= 0) & (u < w))
            rows = _interpolate(picture, v, 1)
            seen = _interpolate(rows, w - u if mirrored[sample][tile] else u, 2) / 255
            x[sample, :, top:bottom, left:right] = torch.where(inside, seen, GREY)
        return x

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


def _interpolate(picture: Tensor, at: Tensor, axis: int) -> Tensor:
    """Linear, along one axis: values at the positions `at`, 0.5 being the first pixel's middle."""
    last = picture.shape[axis] - 1
    at = (at - 0.5).clamp(0, last)
    low = at.long()
    share = (at - low).view(-1, 1) if axis == 1 else at - low
    high = (low + 1).clamp(max=last)
    one, other = (picture.index_select(axis, number).float() for number in (low, high))
    return torch.lerp(one, other, share)


def _pad_boxes(boxes: list[Boxes]) -> Tensor:
    """(N, P, 6), unused rows zero; where a picture has more than P boxes, the smallest go."""
    P = max(1, min(MAX_BOXES_PER_PICTURE, max(len(rows) for rows in boxes)))
    padded = np.zeros((len(boxes), P, BOX_FIELDS), np.float32)
    for index, rows in enumerate(boxes):
        largest = rows[np.argsort(-rows[:, 3] * rows[:, 4], kind="stable")[:P]]
        padded[index, : len(largest)] = largest
    return torch.from_numpy(padded)


def _sampling_weights(boxes: list[Boxes], folder_weights: Sequence[float]) -> NDArray[np.float64]:
    """sqrt(share / frequency) of each picture's rarest class, times its folder's weight."""
    classes = [set(rows[rows[:, 5] >= POSITIVE_CONFIDENCE, 0].astype(int)) for rows in boxes]
    counts = Counter(class_id for present in classes for class_id in present)
    repeat = {
        class_id: max(1.0, (RARE_CLASS_SHARE * len(boxes) / count) ** 0.5)
        for class_id, count in counts.items()
    }
    rarest = [max((repeat[class_id] for class_id in present), default=0.5) for present in classes]
    return np.asarray(rarest, np.float64) * np.asarray(folder_weights, np.float64)
