"""The shape of a codec of the paper's kinds."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import accumulate, pairwise
from typing import Literal, Self

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from slimnets.codec.config import PAD_MULTIPLE, CodecConfig


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class PaperConfig(CodecConfig):
    """Shape of a codec that may be switchable, have a hyperprior, or both."""

    # "switchable": widths share kernels, each has a stream of its own (`studies.paper.switchable`)
    sharing: Literal["nested", "switchable"] = "nested"  # type: ignore[assignment]  # more of them
    # "hyperprior" sends side information (`studies.paper.hyperprior`)
    prior: Literal["factorized", "hyperprior"] = "factorized"  # type: ignore[assignment]  # likewise
    # with a hyperprior, channels of its latent z at each level; they grow too
    hyper_channels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        CodecConfig.__post_init__(self)
        hyper_levels = self.num_levels if self.prior == "hyperprior" else 0
        if len(self.hyper_channels) != hyper_levels or any(
            n >= w for n, w in pairwise((0, *self.hyper_channels))
        ):
            raise ValueError(
                f"hyper_channels {self.hyper_channels}; a {self.prior} prior with "
                f"{self.num_levels} levels needs {hyper_levels} numbers that grow"
            )

    @property
    def prior_channels(self) -> tuple[int, ...]:
        """As `CodecConfig.prior_channels`; with a hyperprior those of z."""
        return self.hyper_channels or self.latent_channels

    @property
    def pad_multiple(self) -> int:
        """As `CodecConfig.pad_multiple`; z is four times coarser than the latent."""
        return 2 * PAD_MULTIPLE if self.prior == "hyperprior" else PAD_MULTIPLE

    def only(self, level: int) -> Self:
        """As `CodecConfig.only`."""
        hyper_channels = self.hyper_channels[level : level + 1]
        return replace(self, channels=(self.channels[level],), hyper_channels=hyper_channels)

    @property
    def first_rows(self) -> tuple[int, ...]:
        """Of each switchable level in what is kept per coded channel, then the number of rows."""
        return tuple(accumulate(self.latent_channels, initial=0))

    def alone(self, level: int) -> PaperConfig:
        """The shape of one switchable level, which is that of a nested codec of one level."""
        return PaperConfig(**{**asdict(self.only(level)), "sharing": "nested"})
