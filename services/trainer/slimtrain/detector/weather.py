"""What a camera in a street sees besides fair days: night, haze, rain, a noisy or soft sensor."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

RAIN_SHARE = 0.003  # of pixels in which a streak begins
STREAK_PIXELS = 15


class Draw(Protocol):
    """Draws uniform numbers in [0, 1) of a shape."""

    def __call__(self, *shape: int) -> Tensor: ...


class Shares(Protocol):
    """How many of the samples are changed."""

    @property
    def night_share(self) -> float: ...
    @property
    def haze_share(self) -> float: ...
    @property
    def rain_share(self) -> float: ...
    @property
    def noise_share(self) -> float: ...
    @property
    def blur_share(self) -> float: ...


def augment_weather(x: Tensor, shares: Shares, draw: Draw) -> Tensor:
    """Change some samples of x (B, 3, S, S), RGB in [0, 1]; boxes stay where they are."""
    B = len(x)

    def some(share: float) -> Tensor:
        return (draw(B) < share).nonzero()[:, 0]

    if shares.blur_share and len(index := some(shares.blur_share)):
        x[index] = functional.avg_pool2d(x[index], 3, 1, 1, count_include_pad=False)
    if shares.haze_share and len(index := some(shares.haze_share)):
        depth = 0.6 * draw(len(index), 1, 1, 1)
        x[index] = x[index] * (1 - depth) + depth * (0.6 + 0.3 * draw(len(index), 1, 1, 1))
    if shares.night_share and len(index := some(shares.night_share)):
        x[index] = _night(x[index], draw)
    if shares.rain_share and len(index := some(shares.rain_share)):
        x[index] = _rain(x[index], draw)
    if shares.noise_share and len(index := some(shares.noise_share)):
        deviation = 0.08 * draw(len(index), 1, 1, 1).square()
        # of two uniform numbers: near enough to a sensor's noise, and the device's own draw
        grain = draw(*x[index].shape) + draw(*x[index].shape) - 1
        x[index] = x[index] + grain * deviation * 2.4
    return x.clamp(0, 1)


def _night(x: Tensor, draw: Draw) -> Tensor:
    """Dark, of little colour, with the cast of lamps; lights stay bright."""
    B = len(x)
    gamma = 1.2 + 1.8 * draw(B, 1, 1, 1)
    gain = 0.5 + 0.5 * draw(B, 1, 1, 1)
    colour = 0.3 + 0.7 * draw(B, 1, 1, 1)
    cast = 1 + 0.3 * (2 * draw(B, 3, 1, 1) - 1)
    dark = x.clamp(min=0).pow(gamma) * gain
    luma = dark.mean(dim=1, keepdim=True)
    return (luma + (dark - luma) * colour) * cast


def _rain(x: Tensor, draw: Draw) -> Tensor:
    """Bright slanted streaks over a duller picture."""
    B, _, h, w = x.shape
    drops = (draw(B, 1, h, w) < RAIN_SHARE).float()
    slant = torch.eye(STREAK_PIXELS, device=x.device)[None, None]
    streaks = functional.conv2d(drops, slant, padding=STREAK_PIXELS // 2).clamp(max=1)
    return x * 0.85 + 0.05 + 0.25 * draw(B, 1, 1, 1) * streaks
