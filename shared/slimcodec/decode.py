"""Container -> y_hat, and (only when a person asks) y_hat -> image.

base, enhancement -parse_for-> sections -coder-> symbols -inverse gain-> y_hat (1, M_l, h, w)
y_hat -tiles-> -zeros to M-> -g_s, level-> x_hat -joined, cropped-> image
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import MAX_PIXELS, QUALITY_STEPS, Container
from slimcodec.context.coder import ContextCoder
from slimcodec.errors import DamagedContainerError
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.pixels import to_image
from slimcodec.sections import (
    build_section_coder,
    check_digest,
    check_enhances,
    check_reference,
    parse_for,
)
from slimcodec.symbols import FrameSymbols

TILE = 48  # latents along a side: larger pictures are synthesised in tiles, 180 bytes a pixel each
MARGIN = 3  # latents: those further away change no pixel (2, with the shipped models)


@dataclass(frozen=True, eq=False)
class Latent:
    """One picture's dequantised latent: all that the cloud needs to detect or to show."""

    y_hat: NDArray[np.float32]  # (1, M_l, h, w)
    level: int  # the highest of any place
    quality: float
    image_hw: tuple[int, int]  # original, pixels
    levels: NDArray[np.uint8] | None = None  # (h, w) of each place; with the context prior


class Decoder:
    """Decodes containers of one codec; safe from many threads. g_s is loaded when first used."""

    def __init__(
        self, artifact: CodecArtifact, runtime: Runtime, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._artifact = artifact
        self._runtime = runtime
        self._max_pixels = max_pixels
        self._sections = build_section_coder(artifact, runtime)

    def decode_latent(
        self, base: bytes, enhancement: bytes | None = None, reference: FrameSymbols | None = None
    ) -> Latent:
        """Return the latent of a base, lifted by its enhancement if there is one.

        Args:
            base: A base container.
            enhancement: Of that base; with the context prior also a container that refines it: one
                that refers to it, or decodes alone.
            reference: What an inter base was coded against.

        Raises:
            BitstreamError: the bytes are damaged, of another model, do not belong together, or need
                another reference.
        """
        if isinstance(self._sections, ContextCoder):
            return self.latent_of(self.decode_symbols(base, enhancement, reference))
        container = self._parse_base(base)
        if enhancement is not None:
            container = _join(container, self._parse_enhancement(enhancement, container))
        symbols = self._sections.decode(container)  # (M_l, h, w)
        columns = self._artifact.latent_layout.level_columns(container.level)
        inverse_gain = self._artifact.tables.inverse_gain_at(container.quality)[columns]
        y_hat = symbols.astype(np.float32) * inverse_gain[:, np.newaxis, np.newaxis]
        return Latent(y_hat[np.newaxis], container.level, container.quality, container.image_hw)

    def decode_symbols(
        self, base: bytes, enhancement: bytes | None = None, reference: FrameSymbols | None = None
    ) -> FrameSymbols:
        """Return what a reader holds then, with the context prior; as `decode_latent` otherwise."""
        assert isinstance(self._sections, ContextCoder), "only the context prior has references"
        container = self._parse_base(base, reference)
        if enhancement is None:
            return self._symbols_of(container, reference)
        addition = self._parse_enhancement(enhancement, container)
        if not addition.is_enhancement:
            held = self._symbols_of(container, reference) if addition.is_inter else None
            return self._symbols_of(addition, held)
        symbols = self._symbols_of(_join(container, addition), reference)
        check_digest(addition, self._sections.before(symbols, addition))
        return symbols

    def _symbols_of(self, container: Container, reference: FrameSymbols | None) -> FrameSymbols:
        assert isinstance(self._sections, ContextCoder)
        if container.is_inter:
            assert reference is not None  # else its size would be missing
            check_reference(reference, self._artifact)
            check_digest(container, reference)
        else:
            reference = None
        return self._sections.decode(
            container, self._artifact.latent_hw(container.image_hw), reference
        )

    def latent_of(self, symbols: FrameSymbols) -> Latent:
        """Return the latent of decoded symbols: each place by the gains of its own quality."""
        h, w, M = symbols.symbols.shape
        y_hat = np.empty((h, w, M), np.float32)
        for fixed in np.unique(symbols.qualities):
            at = symbols.qualities == fixed
            gain = self._artifact.tables.inverse_gain_at(int(fixed) / QUALITY_STEPS)[:M]
            y_hat[at] = symbols.symbols[at] * gain
        planes = np.ascontiguousarray(y_hat.transpose(2, 0, 1))[np.newaxis]
        return Latent(planes, symbols.level, symbols.quality, symbols.image_hw, symbols.levels)

    def _parse_base(self, base: bytes, reference: FrameSymbols | None = None) -> Container:
        known_hw = None if reference is None else reference.image_hw
        container = parse_for(self._artifact, base, self._max_pixels, known_hw)
        if container.is_enhancement:
            raise DamagedContainerError(
                f"an enhancement (groups {container.first_group}..{container.level}) was given "
                "as base; decode it together with the base it belongs to"
            )
        return container

    def _parse_enhancement(self, enhancement: bytes, base: Container) -> Container:
        addition = parse_for(self._artifact, enhancement, self._max_pixels, base.image_hw)
        check_enhances(
            addition,
            level=base.level,
            quality=base.quality,
            image_hw=base.image_hw,
            is_inter=base.is_inter,
        )
        return addition

    def decode_image(self, latent: Latent) -> NDArray[np.uint8]:
        """Return the picture of a latent, uint8 (H, W, 3) in its original size."""
        g_s = self._runtime.load(self._artifact.file("g_s.onnx"))
        stride = self._artifact.manifest.latent_stride
        h, w = latent.y_hat.shape[2:]
        image = np.empty((h * stride, w * stride, 3), np.uint8)
        for (rows, top, bottom), (columns, left, right) in itertools.product(_tiles(h), _tiles(w)):
            of_tile = None if latent.levels is None else latent.levels[rows, columns]
            tile = replace(latent, y_hat=latent.y_hat[:, :, rows, columns], levels=of_tile)
            channels, levels = self._artifact.levels[-1].latent_channels, len(self._artifact.levels)
            y_hat, level = widen_latents([tile], channels), one_hot_levels([tile], levels)
            pixels = to_image(g_s(y_hat=y_hat, level=level)["x_hat"])
            y, x = rows.start, columns.start
            image[top * stride : bottom * stride, left * stride : right * stride] = pixels[
                (top - y) * stride : (bottom - y) * stride,
                (left - x) * stride : (right - x) * stride,
            ]
        h, w = latent.image_hw
        return np.ascontiguousarray(image[:h, :w])


def _tiles(length: int) -> Iterator[tuple[slice, int, int]]:
    """Equal tiles along a side of so many latents; each, and the part that it alone gives."""
    inner = length - 2 * MARGIN
    count = max(1, math.ceil(inner / (TILE - 2 * MARGIN)))
    step = math.ceil(inner / count)
    size, end = step + 2 * MARGIN, 0
    for number in range(count):
        start = min(number * step, length - size)
        begin, end = end, length if number == count - 1 else start + size - MARGIN
        yield slice(start, start + size), begin, end


def widen_latents(latents: Sequence[Latent], num_channels: int) -> NDArray[np.float32]:
    """Return (B, M, h, w) of latents of equal size, zeros in the channels they do not have."""
    h, w = latents[0].y_hat.shape[2:]
    y_hat = np.zeros((len(latents), num_channels, h, w), np.float32)
    for row, latent in zip(y_hat, latents, strict=True):
        row[: latent.y_hat.shape[1]] = latent.y_hat[0]
    return y_hat


def one_hot_levels(latents: Sequence[Latent], num_levels: int) -> NDArray[np.float32]:
    """Return (B, K) with a one at each latent's level, as g_s and the feature transform take it;
    with the context prior (B, K, h, w), for there each place has its own.
    """
    ones = np.eye(num_levels, dtype=np.float32)
    planes = [latent.levels for latent in latents if latent.levels is not None]
    if not planes:
        return ones[[latent.level for latent in latents]]
    return np.ascontiguousarray(ones[np.stack(planes)].transpose(0, 3, 1, 2))


def _join(base: Container, enhancement: Container) -> Container:
    """The stream of the enhancement's level: of separate streams, the enhancement is all of it."""
    sections = enhancement.sections
    if base.streams == "nested":
        sections = base.sections + sections
    return replace(base, level=enhancement.level, sections=sections)
