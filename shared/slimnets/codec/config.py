"""The numbers of one codec model: they live in the checkpoint and the manifest, never in the
environment.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

LATENT_STRIDE = 16  # pixels: four convolutions of stride 2
PAD_MULTIPLE = 32  # pixels: the detector's coarsest grid, so that its neck's maps line up


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class CodecConfig:
    """Shape of a codec: ours, or one of those that it is compared with.

    Its fields are what manifests and checkpoints keep (`asdict`); lists become tuples.
    """

    # for each level, narrowest first, the channels after each of the four convolutions of g_a; the
    # last is the latent. The latent grows from level to level, the others do not shrink (equal: a
    # full encoder whose latent alone is split, as in Choi and Bajic 2022). A single level is a
    # codec that is not slimmable
    channels: tuple[tuple[int, int, int, int], ...] = (
        (8, 16, 24, 32),
        (16, 32, 48, 64),
        (32, 64, 96, 128),
        (48, 96, 144, 192),
    )
    qualities: Annotated[int, Field(ge=1)] = 6  # number of trained gain vectors; 0 is the coarsest
    feature_channels: int = 128  # channels at the detector's split point
    feature_width: int = 96  # inner channels of the feature transform
    # inner channels of g_s at strides 16, 8, 4 and 2
    synthesis_widths: tuple[int, int, int, int] = (192, 128, 96, 48)
    # a narrow latent is the first channels of a wide one, and one density for each channel guides
    # training (other ways: `studies.paper`)
    sharing: Literal["nested"] = "nested"
    prior: Literal["factorized"] = "factorized"
    # a linear path beside the convolutions of g_a and g_s, which begins as a block DCT
    block_transform: bool = False
    # "latent": convolutions from the latent to the features, as the paper's. "stem": a linear
    # picture, then the detector's own first layers (`slimnets.codec.stem_transform`)
    feature_transform: Literal["latent", "stem"] = "latent"
    stem: str = ""  # those layers, as the `.cfg` text that `stem_cfg` gives; empty for "latent"

    def __post_init__(self) -> None:
        for narrow, wide in pairwise(self.channels):
            if narrow[-1] >= wide[-1] or any(n > w for n, w in zip(narrow, wide, strict=True)):
                raise ValueError(
                    f"levels must grow in the latent and shrink nowhere: {narrow}, then {wide}"
                )

    @property
    def num_levels(self) -> int:
        return len(self.channels)

    @property
    def latent_channels(self) -> tuple[int, ...]:
        """M_w of every level."""
        return tuple(widths[-1] for widths in self.channels)

    @property
    def prior_channels(self) -> tuple[int, ...]:
        """Those of every level that have a density."""
        return self.latent_channels

    @property
    def pad_multiple(self) -> int:
        """Pixels: sides of a padded picture are multiples of it."""
        return PAD_MULTIPLE

    def only(self, level: int) -> Self:
        """A codec of one level, of the same widths; it is dense, as that level's graphs are."""
        return replace(self, channels=(self.channels[level],))

    def layer_groups(self, layer: int) -> tuple[int, ...]:
        """Channels that each level adds after convolution `layer` (0 to 3)."""
        return tuple(b - a for a, b in pairwise((0, *(w[layer] for w in self.channels))))
