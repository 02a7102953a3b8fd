"""Stages 3 and 4 of 12: image -> y -> symbols -> container.

image -to_x, pad-> x -g_a-> y (1, M_l, h, w) -gain-> symbols -coder, one section a group-> bitstream
"""

import threading
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcodec.artifact import CodecArtifact
from slimcodec.coder import encode_symbols
from slimcodec.container import (
    MAX_PIXELS,
    Container,
    Section,
    pack_container,
    parse_container,
)
from slimcodec.errors import CodecError, FingerprintMismatchError, ImageError
from slimcodec.image import check_image, pad_to_multiple, to_x
from slimcodec.runtime import Graph, Runtime

MAX_SYMBOL = 32767  # larger latents are clipped: they are not of this world, but must not wrap


@dataclass(frozen=True)
class EncodedImage:
    """One picture's container and what it took."""

    bitstream: bytes
    level: int
    quality: int
    image_hw: tuple[int, int]  # original, pixels
    encode_seconds: float  # image to bitstream, without loading the graph

    @property
    def bpp(self) -> float:
        """Container bits per original pixel."""
        h, w = self.image_hw
        return 8 * len(self.bitstream) / (h * w)


class Encoder:
    """Encodes pictures with one codec; safe from many threads. Graphs load when first used."""

    def __init__(
        self, artifact: CodecArtifact, runtime: Runtime, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._artifact = artifact
        self._runtime = runtime
        self._max_pixels = max_pixels
        self._graphs: dict[int, Graph] = {}
        self._lock = threading.Lock()

    def load(self, level: int) -> None:
        """Load the graph of a level now, so that its first picture does not wait for it."""
        self._graph(level)

    def encode(self, image: NDArray[np.uint8], level: int, quality: int) -> EncodedImage:
        """Return the base container of a picture at an operating point.

        Args:
            image: uint8 (H, W, 3) RGB.
            level: 0 (narrowest) to the artifact's widest.
            quality: 0 (coarsest) to the artifact's finest.

        Raises:
            ImageError: not such an array, or too large.
            CodecError: there is no such level or quality.
        """
        return self._encode(image, first_group=0, level=level, quality=quality)

    def enhance(
        self, image: NDArray[np.uint8], base: bytes, level: int | None = None
    ) -> EncodedImage:
        """Return the enhancement that lifts a base of the same picture to a wider level.

        Args:
            image: The very picture that the base was made of, uint8 (H, W, 3) RGB.
            base: Its base container.
            level: The level to reach; None is the widest.

        Raises:
            BitstreamError: `base` is no container of this codec.
            ImageError: the picture has another size than the base's.
            CodecError: the base is an enhancement itself, or reaches `level` already.
        """
        container = parse_container(base)
        if container.fingerprint != self._artifact.fingerprint:
            raise FingerprintMismatchError(container.fingerprint, self._artifact.fingerprint)
        if container.is_enhancement:
            raise CodecError(
                f"an enhancement (groups {container.first_group}..{container.level}) was given "
                "as base; enhance the base it belongs to"
            )
        if container.image_hw != image.shape[:2]:
            raise ImageError(
                f"image has height and width {image.shape[:2]}, the base {container.image_hw}; "
                "enhance the picture that the base was made of"
            )
        target = self._artifact.widest_level if level is None else level
        if target <= container.level:
            raise CodecError(
                f"base has level {container.level} already, level {target} was asked for"
            )
        return self._encode(image, container.level + 1, target, container.quality)

    def _encode(
        self, image: NDArray[np.uint8], first_group: int, level: int, quality: int
    ) -> EncodedImage:
        check_image(image, self._max_pixels)
        self._check_operating_point(level, quality)
        graph = self._graph(level)
        start = time.perf_counter()
        x = pad_to_multiple(to_x(image), self._artifact.manifest.pad_multiple)
        y = graph(x=x)["y"]  # (1, M_l, H'/16, W'/16)
        gain = self._artifact.tables.gain[quality, : y.shape[1], np.newaxis, np.newaxis]
        scaled = np.nan_to_num(np.rint(y[0] * gain))
        symbols = np.clip(scaled, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)  # (M_l, h, w)
        image_hw = (image.shape[0], image.shape[1])
        container = Container(
            fingerprint=self._artifact.fingerprint,
            level=level,
            quality=quality,
            image_hw=image_hw,
            first_group=first_group,
            sections=tuple(
                self._section(symbols, group, quality) for group in range(first_group, level + 1)
            ),
        )
        bitstream = pack_container(container)
        return EncodedImage(bitstream, level, quality, image_hw, time.perf_counter() - start)

    def _section(self, symbols: NDArray[np.int32], group: int, quality: int) -> Section:
        channels = self._artifact.group_channels(group)
        chosen = symbols[channels.start : channels.stop]
        data = encode_symbols(chosen, self._artifact.tables, quality, channels.start)
        return Section(group, chosen.size, data)

    def _check_operating_point(self, level: int, quality: int) -> None:
        widest, finest = self._artifact.widest_level, self._artifact.manifest.qualities - 1
        if not (0 <= level <= widest and 0 <= quality <= finest):
            raise CodecError(
                f"level {level} and quality {quality}; {self._artifact.label} has levels "
                f"0..{widest} and qualities 0..{finest}"
            )

    def _graph(self, level: int) -> Graph:
        with self._lock:  # so that a graph is compiled once
            if level not in self._graphs:
                self._graphs[level] = self._runtime.load(self._artifact.analysis_path(level))
            return self._graphs[level]
