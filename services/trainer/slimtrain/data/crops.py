"""Random crops, cut on the device from pictures that stay in its memory; aspect ratios are kept."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class CropSampler:
    """All pictures as one uint8 tensor; a batch depends only on (seed, step), so a resumed run sees
    the same crops.

    Args:
        images: (H, W, 3) uint8 RGB each. Pictures smaller than the crop are extended by
            replication.
        crop: side of the square crop, pixels.
    """

    def __init__(
        self, images: Sequence[NDArray[np.uint8]], crop: int, device: torch.device, seed: int
    ) -> None:
        side_h = max(crop, max(image.shape[0] for image in images))
        side_w = max(crop, max(image.shape[1] for image in images))
        canvas = torch.empty((len(images), side_h, side_w, 3), dtype=torch.uint8)
        for i, image in enumerate(images):
            pad = ((0, side_h - image.shape[0]), (0, side_w - image.shape[1]), (0, 0))
            canvas[i] = torch.from_numpy(np.pad(image, pad, mode="edge"))
        sizes = [(max(crop, image.shape[0]), max(crop, image.shape[1])) for image in images]
        self.crop, self.seed, self.device = crop, seed, device
        self.canvas = canvas.to(device)
        self.sizes = torch.tensor(sizes)

    def batch(self, step: int, size: int) -> Tensor:
        """(size, 3, crop, crop) float32 in [0, 1], half of them mirrored."""
        generator = torch.Generator().manual_seed(draw_seed(self.seed, step))
        index = torch.randint(len(self.sizes), (size,), generator=generator)
        room = self.sizes[index] - self.crop + 1  # (size, 2)
        start = (torch.rand((size, 2), generator=generator) * room).long().to(self.device)
        mirror = (torch.rand(size, generator=generator) < 0.5).to(self.device)
        steps = torch.arange(self.crop, device=self.device)
        rows = start[:, :1] + steps
        cols = start[:, 1:] + torch.where(mirror[:, None], steps.flip(0), steps)
        picked = self.canvas[
            index.to(self.device)[:, None, None], rows[:, :, None], cols[:, None, :]
        ]
        return picked.permute(0, 3, 1, 2).float() / 255


def draw_seed(*numbers: int) -> int:
    """A seed of the run's seed, the step, what is drawn: a run that goes on draws the same.

    All of them count: torch's generator on the CPU reads the lower 32 bits of a seed and no more.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
