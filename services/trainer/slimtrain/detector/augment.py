"""Other light and other weather: what a camera sees besides the pictures that are there.

Colour, and in a street night, haze, rain, a noisy or soft sensor. Boxes stay where they are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

RAIN_SHARE = 0.003  # of pixels in which a streak begins
STREAK_PIXELS = 15


Draw = Callable[..., Tensor]  # uniform numbers in [0, 1) of the shape (*sides)


@dataclass(frozen=True)
class Augmentation:
    """How far samples are changed; ranges are factors, shares are of the samples."""

    mosaic_share: float = 0.5
    scale_range: tuple[float, float] = (0.55, 1.6)
    mosaic_scale_range: tuple[float, float] = (0.4, 1.3)
    native_share: float = 0.0  # of tiles that show their picture at its own size
    brightness: float = 0.35
    channel_gain: float = 0.1
    saturation: float = 0.5
    grey_share: float = 0.05
    night_share: float = 0.0
    haze_share: float = 0.0
    rain_share: float = 0.0
    noise_share: float = 0.0
    blur_share: float = 0.0


def augment_colour(x: Tensor, how: Augmentation, draw: Draw) -> Tensor:
    """Brightness, channel gain and saturation of x (B, 3, S, S), each drawn per sample."""
    B = len(x)
    saturation = 1 + how.saturation * (2 * draw(B, 1, 1, 1) - 1)
    saturation = torch.where(draw(B, 1, 1, 1) < how.grey_share, 0.0, saturation)
    gain = 1 + how.channel_gain * (2 * draw(B, 3, 1, 1) - 1)
    gain = gain * (1 + how.brightness * (2 * draw(B, 1, 1, 1) - 1))
    luma = x.mean(dim=1, keepdim=True)
    return ((luma + (x - luma) * saturation) * gain).clamp(0, 1)


def augment_weather(x: Tensor, how: Augmentation, draw: Draw) -> Tensor:
    """Change some samples of x (B, 3, S, S), RGB in [0, 1]."""
    B = len(x)

    def some(share: float) -> Tensor:
        return (draw(B) < share).nonzero()[:, 0]

    if how.blur_share and len(index := some(how.blur_share)):
        x[index] = functional.avg_pool2d(x[index], 3, 1, 1, count_include_pad=False)
    if how.haze_share and len(index := some(how.haze_share)):
        depth = 0.6 * draw(len(index), 1, 1, 1)
        x[index] = x[index] * (1 - depth) + depth * (0.6 + 0.3 * draw(len(index), 1, 1, 1))
    if how.night_share and len(index := some(how.night_share)):
        x[index] = _night(x[index], draw)
    if how.rain_share and len(index := some(how.rain_share)):
        x[index] = _rain(x[index], draw)
    if how.noise_share and len(index := some(how.noise_share)):
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
