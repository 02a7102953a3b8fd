"""Stages 6 and 11 of 12: container -> y_hat, and (only when a person asks) y_hat -> image.

base, enhancement -parse, check-> sections -coder-> symbols -inverse gain-> y_hat (1, M_l, h, w)
y_hat -zeros to M-> -g_s, level-> x_hat -crop-> image
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimcodec.artifact import CodecArtifact
from slimcodec.coder import decode_symbols
from slimcodec.container import MAX_PIXELS, Container, Section, parse_container
from slimcodec.errors import (
    ContainerLimitError,
    DamagedContainerError,
    FingerprintMismatchError,
)
from slimcodec.image import crop, to_image
from slimcodec.runtime import Graph, Runtime


@dataclass(frozen=True, eq=False)
class Latent:
    """One picture's dequantised latent: all that the cloud needs to detect or to show."""

    y_hat: NDArray[np.float32]  # (1, M_l, h, w)
    level: int
    quality: int
    image_hw: tuple[int, int]  # original, pixels


class Decoder:
    """Decodes containers of one codec; safe from many threads. g_s is loaded when first used."""

    def __init__(
        self, artifact: CodecArtifact, runtime: Runtime, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._artifact = artifact
        self._runtime = runtime
        self._max_pixels = max_pixels
        self._synthesis: Graph | None = None
        self._lock = threading.Lock()

    def decode_latent(self, base: bytes, enhancement: bytes | None = None) -> Latent:
        """Return the latent of a base, lifted by its enhancement if there is one.

        Raises:
            BitstreamError: the bytes are damaged, of another model, or do not belong together.
        """
        container = self._parse(base)
        if container.is_enhancement:
            raise DamagedContainerError(
                f"an enhancement (groups {container.first_group}..{container.level}) was given "
                "as base; decode it together with the base it belongs to"
            )
        sections, level = container.sections, container.level
        if enhancement is not None:
            addition = self._parse(enhancement)
            _check_belongs(container, addition)
            sections, level = sections + addition.sections, addition.level
        symbols = self._decode_sections(sections, container)  # (M_l, h, w)
        inverse_gain = self._artifact.tables.inverse_gain[container.quality, : symbols.shape[0]]
        y_hat = symbols.astype(np.float32) * inverse_gain[:, np.newaxis, np.newaxis]
        return Latent(y_hat[np.newaxis], level, container.quality, container.image_hw)

    def decode_image(self, latent: Latent) -> NDArray[np.uint8]:
        """Return the picture of a latent, uint8 (H, W, 3) in its original size."""
        outputs = self._graph()(
            y_hat=widen_latents([latent], self._artifact.tables.num_channels),
            level=one_hot_levels([latent], len(self._artifact.levels)),
        )
        return to_image(crop(outputs["x_hat"], latent.image_hw))

    def _parse(self, bitstream: bytes) -> Container:
        container = parse_container(bitstream)
        manifest = self._artifact.manifest
        if container.fingerprint != self._artifact.fingerprint:
            raise FingerprintMismatchError(container.fingerprint, self._artifact.fingerprint)
        h, w = container.image_hw
        if h * w > self._max_pixels:
            raise ContainerLimitError(
                f"picture is {w}x{h} = {h * w} pixels; at most {self._max_pixels} are allowed; "
                "send a smaller picture or raise max_pixels"
            )
        if container.level > self._artifact.widest_level or container.quality >= manifest.qualities:
            raise DamagedContainerError(
                f"level {container.level} and quality {container.quality}; {manifest.label} has "
                f"levels 0..{self._artifact.widest_level}, qualities 0..{manifest.qualities - 1}"
            )
        latent_h, latent_w = self._artifact.latent_hw(container.image_hw)
        for section in container.sections:
            expected = len(self._artifact.group_channels(section.group)) * latent_h * latent_w
            if section.symbol_count != expected:
                raise DamagedContainerError(
                    f"group {section.group} has {section.symbol_count} symbols; a picture of "
                    f"{w}x{h} has {expected}"
                )
        return container

    def _decode_sections(
        self, sections: Sequence[Section], container: Container
    ) -> NDArray[np.int32]:
        latent_h, latent_w = self._artifact.latent_hw(container.image_hw)
        parts = []
        for section in sections:
            channels = self._artifact.group_channels(section.group)
            shape = (len(channels), latent_h, latent_w)
            parts.append(
                decode_symbols(
                    section.data, shape, self._artifact.tables, container.quality, channels.start
                )
            )
        return np.concatenate(parts)

    def _graph(self) -> Graph:
        with self._lock:
            if self._synthesis is None:
                self._synthesis = self._runtime.load(self._artifact.file("g_s.onnx"))
            return self._synthesis


def widen_latents(latents: Sequence[Latent], num_channels: int) -> NDArray[np.float32]:
    """Return (B, M, h, w) of latents of equal size, zeros in the channels they do not have."""
    h, w = latents[0].y_hat.shape[2:]
    y_hat = np.zeros((len(latents), num_channels, h, w), np.float32)
    for row, latent in zip(y_hat, latents, strict=True):
        row[: latent.y_hat.shape[1]] = latent.y_hat[0]
    return y_hat


def one_hot_levels(latents: Sequence[Latent], num_levels: int) -> NDArray[np.float32]:
    """Return (B, K) with a one at each latent's level, as g_s and the feature transform take it."""
    return np.eye(num_levels, dtype=np.float32)[[latent.level for latent in latents]]


def _check_belongs(base: Container, enhancement: Container) -> None:
    if enhancement.first_group != base.level + 1:
        raise DamagedContainerError(
            f"enhancement begins with group {enhancement.first_group}; a base of level "
            f"{base.level} needs group {base.level + 1} next"
        )
    for name in ("quality", "image_hw"):
        found, expected = getattr(enhancement, name), getattr(base, name)
        if found != expected:
            raise DamagedContainerError(
                f"enhancement has {name} {found}, its base {expected}; "
                "they are of different pictures"
            )
