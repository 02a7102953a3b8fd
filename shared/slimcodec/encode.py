"""Image -> y -> symbols -> container.

image -to_x, pad-> x -g_a-> y (1, M_l, h, w) -gain-> v -rint, coder-> sections -> bitstream

With the context prior a picture may be coded against another's symbols, which the reader has.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import MAX_PIXELS, Container, pack_container, round_quality
from slimcodec.context.changes import DEFAULT_HYSTERESIS, Hysteresis
from slimcodec.context.coder import ContextCoder
from slimcodec.errors import CodecError, ImageError
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.pixels import check_image, pad_to_multiple, to_x
from slimcodec.sections import build_section_coder, check_reference, parse_for
from slimcodec.symbols import FrameSymbols, round_symbols

# Of the symbols that are not zero, how many may differ where the same picture was encoded again:
# 3.4 % at most between float32 and bfloat16, both models that ship, 768 x 576; of the next
# frame of a video 11 % at least. And a few more, since small pictures have few symbols.
_SAME_PICTURE_SHARE = 0.08
_SAME_PICTURE_SYMBOLS = 4
# Where more places than this changed, coding the picture alone is tried, too. Always trying it took
# 1.4 to 1.5 times the time, and was shorter for none of 80 frames below this (three videos, two
# points): a place that changed may be coded alone in an inter frame as well.
_SCENE_CUT = 0.5


@dataclass(frozen=True)
class EncodedImage:
    """One picture's container and what it took."""

    bitstream: bytes
    level: int
    quality: float  # as coded: a multiple of 1/256
    image_hw: tuple[int, int]  # original, pixels
    encode_seconds: float  # image to bitstream, without loading the graph
    symbols: FrameSymbols | None = None  # what the reader has then; with the context prior

    @property
    def bpp(self) -> float:
        """Container bits per original pixel."""
        h, w = self.image_hw
        return 8 * len(self.bitstream) / (h * w)


class Encoder:
    """Encodes pictures with one codec; safe from many threads. Graphs load when first used."""

    def __init__(
        self,
        artifact: CodecArtifact,
        runtime: Runtime,
        max_pixels: int = MAX_PIXELS,
        hysteresis: Hysteresis = DEFAULT_HYSTERESIS,
    ) -> None:
        self._artifact = artifact
        self._runtime = runtime
        self._max_pixels = max_pixels
        self._sections = build_section_coder(artifact, runtime, hysteresis)

    def load(self, level: int) -> None:
        """Load the graphs of a level now, so that its first picture does not wait for them."""
        self._runtime.load(self._artifact.analysis_path(level))
        self._sections.load(level)

    def encode(
        self,
        image: NDArray[np.uint8],
        level: int,
        quality: float,
        reference: FrameSymbols | None = None,
        places: NDArray[np.bool_] | None = None,
    ) -> EncodedImage:
        """Return the base container of a picture at an operating point.

        Args:
            image: uint8 (H, W, 3) RGB.
            level: 0 (narrowest) to the artifact's widest.
            quality: 0 (coarsest) to the artifact's finest, any real number; it is rounded to
                1/256.
            reference: With the context prior, what the reader has of another picture; None: it is
                coded alone, as it is where that takes fewer bytes.
            places: (h, w), with a reference, which ones are coded; None: those that changed.

        Raises:
            ImageError: not such an array, too large, or of another size than the reference.
            CodecError: there is no such level or quality, or this codec knows no references.
        """
        if reference is not None:
            self._check_reference(reference, (image.shape[0], image.shape[1]))
        return self._encode(image, None, level, quality, reference, places)

    def enhance(
        self, image: NDArray[np.uint8], base: bytes, level: int | None = None
    ) -> EncodedImage:
        """Return the enhancement that lifts a base of the same picture to a wider level.

        Args:
            image: The very picture that the base was made of, uint8 (H, W, 3) RGB.
            base: Its base container, one that decodes alone.
            level: The level to reach; None is the widest.

        Raises:
            BitstreamError: `base` is no container of this codec, or is an inter one, which
                `refine` is for.
            ImageError: the base is of another picture. With separate streams only its size is
                compared: they share no symbols.
            CodecError: the base is an enhancement itself, or reaches `level` already.
        """
        container = parse_for(self._artifact, base, self._max_pixels)
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
        return self._encode(image, container, target, container.quality, None)

    def refine(
        self,
        image: NDArray[np.uint8],
        held: FrameSymbols,
        level: int | None = None,
        quality: float = 0.0,
    ) -> EncodedImage:
        """Return what brings all places of a picture to a level and quality at least, with the
        context prior: an inter container that refers to the picture's own, or an intra one where
        that takes fewer bytes.

        Args:
            image: The very picture, uint8 (H, W, 3) RGB.
            held: What the reader has of it.
            level: The level to reach; None is the widest. No place becomes narrower or coarser.
            quality: The quality to reach.

        Raises:
            ImageError, CodecError: as `encode`; or all places are as good already.
        """
        self._check_reference(held, (image.shape[0], image.shape[1]))
        level = self._artifact.widest_level if level is None else level
        self._check_operating_point(level, quality)
        level = max(level, held.level)
        quality = max(round_quality(quality), held.quality)
        places = held.coarser_than(level, quality)
        if not places.any():
            raise CodecError(f"all places have level {level} and quality {quality:g} already")
        return self._encode(image, None, level, quality, held, places)

    def _encode(
        self,
        image: NDArray[np.uint8],
        base: Container | None,
        level: int,
        quality: float,
        reference: FrameSymbols | None,
        places: NDArray[np.bool_] | None = None,
    ) -> EncodedImage:
        check_image(image, self._max_pixels)
        self._check_operating_point(level, quality)
        graph = self._runtime.load(self._artifact.analysis_path(level))
        start = time.perf_counter()
        manifest = self._artifact.manifest
        frame = Container(
            fingerprint=self._artifact.fingerprint,
            level=level,
            quality=round_quality(quality),
            image_hw=(image.shape[0], image.shape[1]),
            first_group=0 if base is None else base.level + 1,
            sections=(),
            streams=manifest.streams,
            prior=manifest.prior,
        )
        x = pad_to_multiple(to_x(image), manifest.pad_multiple)
        y = graph(x=x)["y"]  # (1, M_l, H'/16, W'/16)
        columns = self._artifact.latent_layout.level_columns(level)
        gain = self._artifact.tables.gain_at(frame.quality)[columns]
        v = y[0] * gain[:, np.newaxis, np.newaxis]  # (M_l, h, w)
        if isinstance(self._sections, ContextCoder):
            bitstream, symbols = self._in_context(self._sections, v, frame, base, reference, places)
        else:
            if base is not None and frame.streams == "nested":
                _check_same_picture(round_symbols(v), self._sections.decode(base))
            sections = self._sections.encode(v, frame, base)
            bitstream, symbols = pack_container(replace(frame, sections=sections)), None
        seconds = time.perf_counter() - start
        return EncodedImage(bitstream, level, frame.quality, frame.image_hw, seconds, symbols)

    def _in_context(
        self,
        coder: ContextCoder,
        v: NDArray[np.float32],
        frame: Container,
        base: Container | None,
        reference: FrameSymbols | None,
        places: NDArray[np.bool_] | None,
    ) -> tuple[bytes, FrameSymbols]:
        if base is not None:
            of_base = coder.decode(base, (v.shape[1], v.shape[2]), None)
            container, symbols = coder.enhance(v, frame, base, of_base, None)
            _check_same_picture(round_symbols(v), of_base.symbols.transpose(2, 0, 1))
            return pack_container(container), symbols
        container, symbols = coder.encode(v, frame, reference, places)
        bitstream = pack_container(container)
        if symbols.changed.mean() > _SCENE_CUT:
            container, alone = coder.encode(v, frame)
            packed = pack_container(container)
            if len(packed) < len(bitstream):
                return packed, alone
        return bitstream, symbols

    def _check_reference(self, reference: FrameSymbols, image_hw: tuple[int, int]) -> None:
        if self._artifact.context is None:
            raise CodecError(f"{self._artifact.label} has no context prior and knows no references")
        check_reference(reference, self._artifact)
        if reference.image_hw != image_hw:
            raise ImageError(
                f"image has height and width {image_hw}, its reference {reference.image_hw}; code "
                "the first picture of a size alone"
            )

    def _check_operating_point(self, level: int, quality: float) -> None:
        widest, finest = self._artifact.widest_level, self._artifact.manifest.qualities - 1
        if not (0 <= level <= widest and 0 <= quality <= finest):
            raise CodecError(
                f"level {level} and quality {quality:g}; {self._artifact.label} has levels "
                f"0..{widest} and qualities 0..{finest}"
            )


def _check_same_picture(again: NDArray[np.int32], known: NDArray[np.int_]) -> None:
    """Compare the symbols of a base with those that its picture gives; channels come first."""
    again = again[: len(known)]
    differing = int(np.count_nonzero(known != again))
    told = int(np.count_nonzero((known != 0) | (again != 0)))
    if differing > _SAME_PICTURE_SYMBOLS + _SAME_PICTURE_SHARE * told:
        raise ImageError(
            f"the base is of another picture: {differing} of {told} symbols differ; enhance the "
            "picture that the base was made of"
        )
