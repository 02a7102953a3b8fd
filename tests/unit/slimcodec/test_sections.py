"""Nested and separate streams, both priors: the same encoder, decoder and coder."""

import struct
from dataclasses import replace
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slimcodec.container import (
    HEADER_BYTES,
    MAX_PIXELS,
    Container,
    Prior,
    Section,
    Streams,
    pack_container,
    parse_container,
)
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.errors import CodecError, DamagedContainerError, ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.graph.runtime import Graph
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcodec.sections import parse_for
from support.models.toy_artifact import make_image, make_toy_codec

KINDS: dict[str, tuple[Streams, Prior]] = {
    "separate": ("separate", "factorized"),
    "hyperprior": ("nested", "hyperprior"),
    "separate-hyperprior": ("separate", "hyperprior"),
}
IMAGE = make_image(40, 70)


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    streams, prior = KINDS[request.param]
    folder = make_toy_codec(tmp_path_factory.mktemp("models"), 1, streams, prior)
    return load_codec_artifact(folder)


@pytest.fixture(scope="module")
def hyper(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    folder = make_toy_codec(tmp_path_factory.mktemp("hyper"), 1, prior="hyperprior")
    return load_codec_artifact(folder)


@pytest.fixture(scope="module")
def hyper_decoder(hyper: CodecArtifact, runtime: OpenVinoRuntime) -> Decoder:
    return Decoder(hyper, runtime)


class Meddling:
    """A runtime that changes what some graphs give, and notes what was loaded, and how."""

    def __init__(self, runtime: OpenVinoRuntime, changed: dict[str, float]) -> None:
        self._runtime, self._changed = runtime, changed
        self.loaded: set[tuple[str, bool]] = set()

    def load(self, path: Path, exact: bool = False) -> Graph:
        self.loaded.add((path.stem, exact))
        graph, added = self._runtime.load(path, exact), self._changed.get(path.stem, 0.0)

        def run(**inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
            return {k: v + np.float32(added) for k, v in graph(**inputs).items()}

        return run


def reseal(container_bytes: bytes, data: bytes) -> bytes:
    """Give the first section of a container of one section other data, with checksums."""
    container = parse_container(container_bytes)
    (section,) = container.sections
    return pack_container(replace(container, sections=(replace(section, data=data),)))


def test_every_level_and_quality_comes_back(kind: CodecArtifact, runtime: OpenVinoRuntime) -> None:
    encoder, decoder = Encoder(kind, runtime), Decoder(kind, runtime)
    errors = []
    for level, quality in ((0, 0.0), (1, 2.5), (3, 5.0)):
        encoded = encoder.encode(IMAGE, level, quality)
        latent = decoder.decode_latent(encoded.bitstream)

        columns = kind.latent_layout.level_columns(level)
        inverse_gain = kind.tables.inverse_gain_at(quality)[columns]
        symbols = latent.y_hat[0] / inverse_gain[:, np.newaxis, np.newaxis]
        np.testing.assert_allclose(symbols, np.rint(symbols), atol=1e-3)
        difference = decoder.decode_image(latent).astype(float) - IMAGE
        errors.append(float((difference**2).mean()))
    assert errors == sorted(errors, reverse=True)


def test_enhancement_gives_the_wider_level(kind: CodecArtifact, runtime: OpenVinoRuntime) -> None:
    encoder, decoder = Encoder(kind, runtime), Decoder(kind, runtime)
    base, full = (encoder.encode(IMAGE, level, 3.25).bitstream for level in (1, 3))

    enhancement = encoder.enhance(IMAGE, base).bitstream

    parsed = parse_container(enhancement)
    assert (parsed.is_enhancement, parsed.first_group) == (True, 2)
    joined, whole = decoder.decode_latent(base, enhancement), decoder.decode_latent(full)
    assert np.array_equal(joined.y_hat, whole.y_hat)
    assert joined.level == 3
    if kind.manifest.streams == "separate":
        assert parsed.sections == parse_container(full).sections
    else:
        assert len(base) + len(enhancement) == len(full) + HEADER_BYTES
    with pytest.raises(DamagedContainerError, match="from group 2 .* needs group 1"):
        decoder.decode_latent(encoder.encode(IMAGE, 0, 3.25).bitstream, enhancement)


def test_separate_levels_have_one_section_and_columns_of_their_own(
    runtime: OpenVinoRuntime, tmp_path: Path
) -> None:
    codec = load_codec_artifact(make_toy_codec(tmp_path, 1, "separate"))
    encoder = Encoder(codec, runtime)

    container = parse_container(encoder.encode(IMAGE, 2, 3).bitstream)

    assert [section.group for section in container.sections] == [2]
    assert container.sections[0].symbol_count == 24 * 4 * 6
    assert codec.latent_layout.num_columns == 8 + 16 + 24 + 32
    assert codec.latent_layout.columns(2) == range(24, 48)


def test_enhancement_of_a_hyperprior_is_coded_by_the_bases_z(
    hyper: CodecArtifact, runtime: OpenVinoRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimcodec.encode._SAME_PICTURE_SHARE", 1.0)  # or it would be refused
    base = Encoder(hyper, runtime).encode(IMAGE, 1, 4.0).bitstream
    # the second run of the transforms sees latents so different that its own z would be another
    other_run = Encoder(hyper, Meddling(runtime, {"g_a_3": 0.7}))
    enhancement = other_run.enhance(IMAGE, base).bitstream
    decoder = Decoder(hyper, runtime)

    joined = decoder.decode_latent(base, enhancement).y_hat

    assert np.array_equal(joined[:, :16], decoder.decode_latent(base).y_hat)
    of_other_run = decoder.decode_latent(other_run.encode(IMAGE, 3, 4.0).bitstream).y_hat
    assert np.array_equal(joined[:, 16:], of_other_run[:, 16:])
    assert not np.array_equal(joined[:, :16], of_other_run[:, :16])


def test_h_s_and_only_h_s_runs_exactly(hyper: CodecArtifact, runtime: OpenVinoRuntime) -> None:
    meddling = Meddling(runtime, {})

    encoder = Encoder(hyper, meddling)
    encoder.load(0)
    Decoder(hyper, meddling).decode_latent(encoder.encode(IMAGE, 0, 1).bitstream)

    assert meddling.loaded == {("g_a_0", False), ("h_a_0", False), ("h_s_0", True)}


@pytest.mark.parametrize("added", [0.5, 1000.0, -1000.0])
def test_index_that_is_no_table_is_refused(
    hyper: CodecArtifact, runtime: OpenVinoRuntime, added: float
) -> None:
    encoder = Encoder(hyper, Meddling(runtime, {"h_s_0": added}))

    with pytest.raises(ModelError, match="no integer from 0 to 47"):
        encoder.encode(IMAGE, 0, 1)


def test_section_whose_z_is_not_whole_is_refused(
    hyper: CodecArtifact, runtime: OpenVinoRuntime
) -> None:
    bitstream = Encoder(hyper, runtime).encode(IMAGE, 0, 3).bitstream
    data = parse_container(bitstream).sections[0].data
    decoder = Decoder(hyper, runtime)

    for short in (b"", data[:3]):
        with pytest.raises(DamagedContainerError, match="no length of its z"):
            decoder.decode_latent(reseal(bitstream, short))
    for length in (len(data) - 3, 2**24, 2**32 - 1):
        with pytest.raises(DamagedContainerError, match="ends within its z"):
            decoder.decode_latent(reseal(bitstream, struct.pack("<I", length) + data[4:]))
    with pytest.raises(DamagedContainerError):
        decoder.decode_latent(reseal(bitstream, struct.pack("<I", 0) + data[4:]))


@settings(max_examples=60, deadline=None)
@given(z=st.binary(max_size=12), y=st.binary(max_size=40))
def test_arbitrary_sections_are_refused_or_decoded(
    hyper: CodecArtifact, hyper_decoder: Decoder, z: bytes, y: bytes
) -> None:
    section = Section(0, 8 * 4 * 4, struct.pack("<I", len(z)) + z + y)
    frame = Container(hyper.fingerprint, 0, 2.0, (9, 9), 0, (section,), "nested", "hyperprior")

    try:
        latent = hyper_decoder.decode_latent(pack_container(frame))
    except CodecError:
        return

    assert latent.y_hat.shape == (1, 8, 4, 4)


def test_every_flipped_bit_is_refused(kind: CodecArtifact, runtime: OpenVinoRuntime) -> None:
    bitstream = Encoder(kind, runtime).encode(make_image(9, 9), 1, 0.5).bitstream
    decoder = Decoder(kind, runtime)

    for position in range(8 * len(bitstream)):
        flipped = bytearray(bitstream)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(CodecError):
            decoder.decode_latent(bytes(flipped))


def test_damage_below_right_checksums_never_does_more_than_a_wrong_picture(
    kind: CodecArtifact, runtime: OpenVinoRuntime
) -> None:
    bitstream = Encoder(kind, runtime).encode(make_image(9, 9), 0, 2.5).bitstream
    decoder, data = Decoder(kind, runtime), parse_container(bitstream).sections[0].data

    refused = 0
    for position in range(0, 8 * len(data), 7):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        try:
            latent = decoder.decode_latent(reseal(bitstream, bytes(flipped)))
        except CodecError:
            refused += 1
        else:
            assert np.isfinite(latent.y_hat).all()
    assert refused > 0


@pytest.mark.parametrize("change", [{"streams": "separate"}, {"prior": "factorized"}])
def test_container_of_another_kind_is_refused(
    hyper: CodecArtifact, runtime: OpenVinoRuntime, change: dict[str, str]
) -> None:
    container = parse_container(Encoder(hyper, runtime).encode(IMAGE, 0, 1).bitstream)
    forged = pack_container(replace(container, **change))  # type: ignore[arg-type]  # any field

    with pytest.raises(DamagedContainerError, match="toy/1 has nested streams and hyperprior"):
        Decoder(hyper, runtime).decode_latent(forged)


def test_symbol_counts_of_another_size_are_refused(
    kind: CodecArtifact, runtime: OpenVinoRuntime
) -> None:
    container = parse_container(Encoder(kind, runtime).encode(IMAGE, 0, 1).bitstream)
    forged = pack_container(replace(container, image_hw=(8192, 8192)))

    with pytest.raises(DamagedContainerError, match=r"symbols; a picture of 8192x8192"):
        Decoder(kind, runtime).decode_latent(forged)


def test_few_bytes_cannot_be_a_large_picture(kind: CodecArtifact, runtime: OpenVinoRuntime) -> None:
    small = parse_container(Encoder(kind, runtime).encode(IMAGE, 0, 0).bitstream)
    h, w = kind.latent_hw((4096, 4096))
    section = replace(small.sections[0], symbol_count=kind.levels[0].latent_channels * h * w)
    claimed = pack_container(replace(small, image_hw=(4096, 4096), sections=(section,)))

    with pytest.raises(DamagedContainerError, match=rf"{len(section.data)} bytes; its .* at least"):
        parse_for(kind, claimed, MAX_PIXELS)
    with pytest.raises(DamagedContainerError, match="at least"):
        Decoder(kind, runtime).decode_latent(claimed)


def test_checksum_of_a_hyperprior_section_covers_its_z(
    hyper: CodecArtifact, runtime: OpenVinoRuntime
) -> None:
    bitstream = Encoder(hyper, runtime).encode(IMAGE, 0, 1).bitstream
    start = HEADER_BYTES
    covered = bitstream[start : start + 8] + bitstream[start + 12 :]

    assert bitstream[start + 8 : start + 12] == struct.pack("<I", google_crc32c.value(covered))
