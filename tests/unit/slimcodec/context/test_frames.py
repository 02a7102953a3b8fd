"""Intra and inter frames, enhancements and chains of them, through encoder and decoder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slimcodec.container import parse_container
from slimcodec.context.changes import DEFAULT_HYSTERESIS, Hysteresis, gain_of_change
from slimcodec.context.compiled import find_steps
from slimcodec.context.flags import change_contexts
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.entropy.steps import StepEncoder
from slimcodec.errors import (
    BitstreamError,
    CodecError,
    DamagedContainerError,
    ImageError,
    MissingReferenceError,
)
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcodec.symbols import MAX_DEPTH, FrameSymbols
from support.models.earlier_edge import enhance_inter
from support.models.toy_artifact import make_image, make_toy_codec
from support.models.toy_context import toy_context

HW = (72, 120)
LATENT_HW = (6, 8)  # sides padded to 32
WIDEST = 3
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path_factory.mktemp("context"), prior="context"))


@pytest.fixture(scope="module")
def encoder(context: CodecArtifact, runtime: OpenVinoRuntime, steps: str) -> Encoder:
    return Encoder(context, runtime)


@pytest.fixture(scope="module")
def decoder(context: CodecArtifact, runtime: OpenVinoRuntime, steps: str) -> Decoder:
    return Decoder(context, runtime)


def moving(count: int, seed: int = 0) -> Iterator[Image]:
    """Pictures of a scene in which a box of noise moves."""
    random, scene = np.random.default_rng(seed), make_image(*HW)
    for t in range(count):
        scene = scene.copy()
        scene[8 * t % 40 : 8 * t % 40 + 20, 16 * t % 90 :][:, :30] = random.integers(0, 256, 3)
        yield scene


def equal(a: FrameSymbols, b: FrameSymbols) -> bool:
    arrays = ("symbols", "levels", "qualities", "changed")
    return a.digest == b.digest and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays
    )


@dataclass
class Chain:
    """A sender and a reader that have the same frame."""

    encoder: Encoder
    decoder: Decoder
    held: FrameSymbols | None = None
    base: bytes = b""  # of it
    before: FrameSymbols | None = None  # what that needed

    def send(self, image: Image, level: int, quality: float) -> FrameSymbols:
        sent = self.encoder.encode(image, level, quality, self.held)
        read = self.decoder.decode_symbols(sent.bitstream, None, self.held)
        assert sent.symbols is not None
        assert equal(sent.symbols, read)
        self.base, self.before, self.held = sent.bitstream, self.held, read
        return read

    def refine(self, image: Image, level: int, quality: float) -> FrameSymbols:
        assert self.held is not None
        sent = self.encoder.refine(image, self.held, level, quality)
        read = self.decoder.decode_symbols(self.base, sent.bitstream, self.before)
        assert sent.symbols is not None
        assert equal(sent.symbols, read)
        return read


@given(
    points=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5 * 256)),
        min_size=2,
        max_size=6,
    ),
    stands_still=st.booleans(),
)
@settings(deadline=None, max_examples=20)
def test_reader_holds_what_the_sender_holds_at_any_level_and_quality(
    encoder: Encoder, decoder: Decoder, points: list[tuple[int, int]], stands_still: bool
) -> None:
    chain = Chain(encoder, decoder)
    grey = np.full((*HW, 3), 128, np.uint8)
    for scene, (level, fixed) in zip(moving(len(points)), points, strict=True):
        read = chain.send(grey if stands_still else scene, level, fixed / 256)

        coded = read.changed if read.depth else np.ones(LATENT_HW, np.bool_)
        assert (read.levels[coded] == level).all()
        assert (read.qualities[coded] == fixed).all()
        channels = np.array([8, 16, 24, 32])[read.levels]
        beyond = np.arange(read.symbols.shape[2]) >= channels[..., np.newaxis]
        assert not read.symbols[beyond].any()


@given(
    points=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5 * 256)), min_size=2, max_size=4)
)
@settings(deadline=None, max_examples=20)
def test_a_frame_is_refined_everywhere_whatever_it_needed(
    encoder: Encoder, decoder: Decoder, points: list[tuple[int, int]]
) -> None:
    chain, (level, fixed) = Chain(encoder, decoder), points.pop()
    scenes = list(moving(len(points)))
    for scene, (of_base, coarse) in zip(scenes, points, strict=True):
        base = chain.send(scene, of_base, coarse / 256)
    if not base.coarser_than(max(level, base.level), max(fixed / 256, base.quality)).any():
        with pytest.raises(CodecError, match="already"):
            chain.refine(scenes[-1], level, fixed / 256)
        return

    read = chain.refine(scenes[-1], level, fixed / 256)

    assert (read.levels == max(level, base.level)).all()
    assert (read.qualities == max(fixed, base.qualities.max())).all()
    full = encoder.encode(scenes[-1], read.level, read.quality).symbols
    assert full is not None
    assert np.abs(read.symbols.astype(int) - full.symbols).max() <= 1


@pytest.mark.parametrize("level", [0, 1, 2])
def test_base_and_enhancement_are_the_full_stream_and_one_header(
    encoder: Encoder, decoder: Decoder, level: int
) -> None:
    image = make_image(*HW)
    full = encoder.encode(image, WIDEST, 2.5)
    base = encoder.encode(image, level, 2.5)
    rest = encoder.enhance(image, base.bitstream)

    assert full.symbols is not None
    assert equal(decoder.decode_symbols(base.bitstream, rest.bitstream), full.symbols)
    parts = [parse_container(one.bitstream, full.symbols.fingerprint, HW) for one in (base, rest)]
    whole = parse_container(full.bitstream)
    assert parts[0].sections + parts[1].sections == whole.sections
    header = 14 + 4
    assert len(base.bitstream) + len(rest.bitstream) <= len(full.bitstream) + header


@pytest.mark.parametrize("before", [0, 3])
def test_inter_base_is_enhanced_at_the_places_that_changed(
    encoder: Encoder, decoder: Decoder, context: CodecArtifact, before: int
) -> None:
    first, second = moving(2)
    held = encoder.encode(first, before, 3).symbols
    assert held is not None
    base = encoder.encode(second, 1, 3, held)
    rest, expected = enhance_inter(context, second, base.bitstream, held, 2)

    both = decoder.decode_symbols(base.bitstream, rest, held)

    assert base.symbols is not None
    assert equal(both, expected)
    assert both.depth == 1
    np.testing.assert_array_equal(both.changed, base.symbols.changed)
    assert (both.levels[both.changed] == 2).all()
    assert (both.levels[~both.changed] == before).all()
    np.testing.assert_array_equal(
        both.symbols[both.changed][:, :16], base.symbols.symbols[both.changed][:, :16]
    )


def test_what_stands_still_costs_a_header(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(*HW)
    held = encoder.encode(image, 2, 3).symbols
    noisy = np.clip(
        image.astype(int) + np.random.default_rng(0).integers(-1, 2, image.shape), 0, 255
    )

    still = encoder.encode(noisy.astype(np.uint8), 1, 1, held)

    assert held is not None
    assert len(still.bitstream) <= 20
    read = decoder.decode_symbols(still.bitstream, None, held)
    assert not read.changed.any()
    np.testing.assert_array_equal(read.symbols, held.symbols)
    np.testing.assert_array_equal(read.levels, held.levels)


@pytest.mark.parametrize("level", range(WIDEST + 1))
def test_what_stands_still_is_read_at_any_level(
    encoder: Encoder, decoder: Decoder, context: CodecArtifact, level: int
) -> None:
    grey = np.full((*HW, 3), 128, np.uint8)
    held = encoder.encode(grey, 0, 3).symbols
    assert held is not None

    base = encoder.encode(grey, level, 3, held).bitstream
    lift = enhance_inter(context, grey, base, held)[0] if level < WIDEST else None
    read = decoder.decode_symbols(base, lift, held)

    assert not read.changed.any()
    np.testing.assert_array_equal(read.symbols, held.symbols)


def test_places_that_are_named_are_refined_and_no_others(
    encoder: Encoder, decoder: Decoder
) -> None:
    image = make_image(*HW)
    held = encoder.encode(image, 0, 1).symbols
    places = np.zeros(LATENT_HW, np.bool_)
    places[2:4, 1:5] = True

    finer = encoder.encode(image, WIDEST, 4, held, places=places)
    read = decoder.decode_symbols(finer.bitstream, None, held)

    np.testing.assert_array_equal(read.changed, places)
    np.testing.assert_array_equal(read.levels == WIDEST, places)
    np.testing.assert_array_equal(read.qualities == 4 * 256, places)


def test_data_where_nothing_changed_are_damage(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(*HW)
    held = encoder.encode(image, 1, 3).symbols
    still = bytearray(encoder.encode(image, 1, 3, held).bitstream)
    still[-4:-4] = b"\x05"  # of the last section, which ends before the checksum
    still[-4:] = google_crc32c.value(bytes(still[:-4])).to_bytes(4, "little")

    with pytest.raises(DamagedContainerError, match="more than"):
        decoder.decode_symbols(bytes(still), None, held)


def test_fine_place_is_not_made_coarse_for_a_little_noise() -> None:
    values = np.full((2, 3), [[2.0], [0.5]])  # of three places, at a level of two channels
    symbols = np.full((2, 3), [[2], [0]])
    reference = np.zeros((4, 3))
    reference[2:, 1] = 2  # what the second would lose
    reference[:2, 2] = 1.8, 0  # the third is nearly the same

    changed = gain_of_change(values, symbols, reference) > DEFAULT_HYSTERESIS.change_gain

    assert changed.tolist() == [True, False, False]


def test_an_encoder_with_more_hysteresis_codes_less_and_is_read_as_well(
    context: CodecArtifact, runtime: OpenVinoRuntime, encoder: Encoder, decoder: Decoder
) -> None:
    first = make_image(*HW)
    noise = np.random.default_rng(1).normal(0, 20, first.shape)
    second = (first + noise).clip(0, 255).astype(np.uint8)
    held = encoder.encode(first, 1, 3).symbols
    lazy = Encoder(context, runtime, hysteresis=Hysteresis(0.9, 0.95))

    more, less = (e.encode(second, 1, 3, held).bitstream for e in (encoder, lazy))

    assert len(less) < len(more)
    read, full = (decoder.decode_symbols(bitstream, None, held) for bitstream in (less, more))
    assert 0 < read.changed.sum() < full.changed.sum()


def test_scene_cut_is_coded_alone(encoder: Encoder) -> None:
    held = encoder.encode(make_image(*HW), 1, 3).symbols
    other = np.random.default_rng(3).integers(0, 256, (*HW, 3)).astype(np.uint8)

    cut, alone = encoder.encode(other, 1, 3, held), encoder.encode(other, 1, 3)

    assert len(cut.bitstream) <= len(alone.bitstream)


def test_pictures_of_mixed_levels_are_decoded_place_by_place(
    encoder: Encoder, decoder: Decoder
) -> None:
    first, second = moving(2)
    held = encoder.encode(first, WIDEST, 4).symbols
    base = encoder.encode(second, 0, 0, held)
    latent = decoder.decode_latent(base.bitstream, None, held)
    assert latent.levels is not None
    assert set(np.unique(latent.levels)) == {0, WIDEST}
    assert held is not None

    picture, before = decoder.decode_image(latent), decoder.decode_image(decoder.latent_of(held))

    still = np.kron(latent.levels == WIDEST, np.ones((16, 16)))[: HW[0], : HW[1]] == 1
    np.testing.assert_array_equal(picture[still], before[still])
    assert (picture[~still] != before[~still]).any()


def test_missing_wrong_and_foreign_references_are_refused(
    encoder: Encoder, decoder: Decoder, context: CodecArtifact
) -> None:
    first, second = moving(2)
    held, other = encoder.encode(first, 1, 3).symbols, encoder.encode(first, 1, 2).symbols
    assert held is not None
    assert other is not None
    inter = encoder.encode(second, 1, 3, held).bitstream
    rest, _ = enhance_inter(context, second, inter, held)

    with pytest.raises(MissingReferenceError, match=held.digest.hex()):
        decoder.decode_latent(inter)
    with pytest.raises(MissingReferenceError, match=other.digest.hex()):
        decoder.decode_latent(inter, None, other)
    with pytest.raises(MissingReferenceError, match="model"):
        decoder.decode_latent(inter, None, replace(held, fingerprint=b"8 others"))
    with pytest.raises(MissingReferenceError, match="at most"):
        decoder.decode_latent(inter, None, replace(held, depth=MAX_DEPTH))
    with pytest.raises(BitstreamError):
        decoder.decode_latent(inter, None, replace(held, image_hw=(20, 20)))
    with pytest.raises(BitstreamError):  # an enhancement of another base
        decoder.decode_latent(encoder.encode(first, 1, 3).bitstream, rest)
    with pytest.raises(MissingReferenceError):
        decoder.decode_latent(rest)
    with pytest.raises(ImageError, match="reference"):
        encoder.encode(make_image(50, 50), 1, 3, held)
    with pytest.raises(MissingReferenceError):
        encoder.enhance(second, inter)
    refined = encoder.refine(second, held).bitstream  # of the frame before
    with pytest.raises(MissingReferenceError, match=held.digest.hex()):
        decoder.decode_latent(inter, refined, held)


def test_enhancement_says_whether_its_base_is_inter(encoder: Encoder, decoder: Decoder) -> None:
    image = make_image(*HW)
    base = encoder.encode(image, 1, 3).bitstream
    rest = bytearray(encoder.enhance(image, base).bitstream[:-4])
    rest[5] ^= 4
    rest += google_crc32c.value(bytes(rest)).to_bytes(4, "little")

    with pytest.raises(DamagedContainerError, match="inter"):
        decoder.decode_symbols(base, bytes(rest))


@pytest.mark.parametrize("escape", [2, -1])
def test_flag_that_is_neither_0_nor_1_is_refused(escape: int, steps: str) -> None:
    prior, still = toy_context(), np.zeros((1, 1), np.bool_)
    index = change_contexts(still, still, still, first=True)
    changes, modes = StepEncoder(), StepEncoder()
    changes.add(np.array([escape], np.int32), prior.change_tables, index[0])
    modes.add(np.array([1], np.int32), prior.change_tables, index[0])
    modes.add(np.array([escape], np.int32), prior.mode_tables, np.zeros(1, np.intp))

    for coder in (changes, modes):
        with pytest.raises(DamagedContainerError, match="flag"):
            find_steps(prior).decode_flags(coder.finish(), still, still)


def test_codec_without_the_context_prior_knows_no_references(
    codec: CodecArtifact, runtime: OpenVinoRuntime, encoder: Encoder
) -> None:
    held = encoder.encode(make_image(*HW), 1, 3).symbols

    with pytest.raises(CodecError, match="no context prior"):
        Encoder(codec, runtime).encode(make_image(*HW), 1, 3, held)


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255), repair=st.booleans())
@settings(deadline=None, max_examples=150)
def test_damage_is_an_error_or_decodes(
    encoder: Encoder, decoder: Decoder, position: int, flip: int, repair: bool
) -> None:
    first, second = moving(2)
    held = encoder.encode(first, 1, 3).symbols
    damaged = bytearray(encoder.encode(second, 1, 3, held).bitstream)
    damaged[position % len(damaged)] ^= flip
    if repair:  # so that what lies behind the checksum is reached
        damaged[-4:] = google_crc32c.value(bytes(damaged[:-4])).to_bytes(4, "little")
    try:
        read = decoder.decode_symbols(bytes(damaged), None, held)
    except BitstreamError:
        return
    assert repair
    assert read.symbols.shape[:2] == LATENT_HW


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_shortened_container_is_an_error(encoder: Encoder, decoder: Decoder, cut: int) -> None:
    bitstream = encoder.encode(make_image(*HW), 1, 3).bitstream

    with pytest.raises(BitstreamError):
        decoder.decode_symbols(bitstream[:-cut])


def test_section_that_cannot_hold_its_symbols_is_refused(
    encoder: Encoder, decoder: Decoder
) -> None:
    container = parse_container(encoder.encode(make_image(*HW), 0, 3).bitstream)
    empty = bytearray(encoder.encode(make_image(*HW), 0, 3).bitstream[:21])
    empty[17:21] = (2000).to_bytes(2, "little") * 2
    empty += google_crc32c.value(bytes(empty)).to_bytes(4, "little")

    assert container.sections
    with pytest.raises(DamagedContainerError, match="at least"):
        decoder.decode_symbols(bytes(empty))
