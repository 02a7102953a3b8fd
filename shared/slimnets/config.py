"""The numbers of one codec model: they live in the checkpoint and the manifest, never in the
environment.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LATENT_STRIDE = 16  # pixels: four convolutions of stride 2
PAD_MULTIPLE = 32  # pixels: the detector's coarsest grid, so that its neck's maps line up


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """Shape of a nested slimmable codec.

    Args:
        channels: for each level, narrowest first, the channels after each of the four convolutions
            of g_a; the last is the latent. Every entry grows from level to level (a level contains
            the one before it).
        qualities: number of trained gain vectors; 0 is the coarsest.
        feature_channels: channels at the detector's split point.
        feature_width: inner channels of the feature transform.
        synthesis_widths: inner channels of g_s at strides 16, 8, 4 and 2.
    """

    channels: tuple[tuple[int, int, int, int], ...] = (
        (8, 16, 24, 32),
        (16, 32, 48, 64),
        (32, 64, 96, 128),
        (48, 96, 144, 192),
    )
    qualities: int = 6
    feature_channels: int = 128
    feature_width: int = 96
    synthesis_widths: tuple[int, int, int, int] = (192, 128, 96, 48)

    def __post_init__(self) -> None:
        for narrow, wide in zip(self.channels, self.channels[1:], strict=False):
            if any(n >= w for n, w in zip(narrow, wide, strict=True)):
                raise ValueError(f"levels must grow in every layer: {narrow} is not below {wide}")
        if self.qualities < 1:
            raise ValueError(f"a codec needs at least one quality, found {self.qualities}")

    @property
    def num_levels(self) -> int:
        return len(self.channels)

    @property
    def latent_channels(self) -> tuple[int, ...]:
        """M_w of every level."""
        return tuple(widths[-1] for widths in self.channels)

    def layer_groups(self, layer: int) -> tuple[int, ...]:
        """Channels that each level adds after convolution `layer` (0 to 3)."""
        prefix = [widths[layer] for widths in self.channels]
        return tuple(b - a for a, b in zip([0, *prefix], prefix, strict=False))

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest or checkpoint."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> CodecConfig:
        """The inverse of `to_json` (lists become tuples)."""
        plain = dict(values)
        plain["channels"] = tuple(tuple(widths) for widths in plain["channels"])
        plain["synthesis_widths"] = tuple(plain["synthesis_widths"])
        return cls(**plain)
