from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.container import Container, Section, pack_container, parse_container
from slimcodec.decode import Decoder
from slimcodec.entropy.whole import decode_symbols, encode_symbols
from slimcodec.errors import CodecError
from slimcodec.model.artifact import CodecArtifact

VECTORS = Path(__file__).parents[2] / "vectors"
NAMES = ("base_0", "base_2", "enhancement_1_2", "one_pixel", "escapes")


def _read(name: str) -> tuple[bytes, NDArray[np.int32]]:
    with np.load(VECTORS / "symbols.npz") as archive:
        return (VECTORS / f"{name}.slw").read_bytes(), archive[name]


def columns_of(group: int) -> NDArray[np.intp]:
    return np.array([[[2 * group]], [[2 * group + 1]]])


def _is_refused(decoder: Decoder, name: str, bitstream: bytes) -> bool:
    try:
        if name.startswith("enhancement"):
            decoder.decode_latent(_read("base_0")[0], bitstream)
        else:
            decoder.decode_latent(bitstream)
    except CodecError:
        return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_golden_container_decodes_to_its_symbols(name: str, golden_codec: CodecArtifact) -> None:
    bitstream, expected = _read(name)

    container = parse_container(bitstream)
    h, w = golden_codec.latent_hw(container.image_hw)
    tables = golden_codec.tables.at(container.quality)
    decoded = [
        decode_symbols(section.data, (2, h, w), tables, columns_of(section.group))
        for section in container.sections
    ]

    assert np.array_equal(np.concatenate(decoded), expected)


@pytest.mark.parametrize("name", NAMES)
def test_golden_symbols_encode_to_the_same_bytes(name: str, golden_codec: CodecArtifact) -> None:
    bitstream, symbols = _read(name)
    old = parse_container(bitstream)

    sections = []
    for group, chosen in enumerate(np.split(symbols, len(symbols) // 2), old.first_group):
        data = encode_symbols(chosen, golden_codec.tables.at(old.quality), columns_of(group))
        sections.append(Section(group, chosen.size, data))
    new = Container(
        golden_codec.fingerprint,
        old.level,
        old.quality,
        old.image_hw,
        old.first_group,
        tuple(sections),
    )

    assert pack_container(new) == bitstream


def test_golden_base_with_its_enhancement_is_the_full_stream(golden_decoder: Decoder) -> None:
    base, enhancement, full = (_read(n)[0] for n in ("base_0", "enhancement_1_2", "base_2"))

    joined = golden_decoder.decode_latent(base, enhancement)
    whole = golden_decoder.decode_latent(full)

    assert np.array_equal(joined.y_hat, whole.y_hat)
    assert (joined.level, joined.quality, joined.image_hw) == (2, 1, (40, 70))


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_refused(name: str, golden_decoder: Decoder) -> None:
    bitstream, _ = _read(name)

    accepted = []
    for position in range(8 * len(bitstream)):
        flipped = bytearray(bitstream)
        flipped[position // 8] ^= 1 << position % 8
        if not _is_refused(golden_decoder, name, bytes(flipped)):
            accepted.append(position)

    assert accepted == []
    assert not _is_refused(golden_decoder, name, bitstream)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_and_extension_is_refused(name: str, golden_decoder: Decoder) -> None:
    bitstream, _ = _read(name)

    shorter = [
        n for n in range(len(bitstream)) if not _is_refused(golden_decoder, name, bitstream[:n])
    ]

    assert shorter == []
    assert _is_refused(golden_decoder, name, bitstream + b"\0")
    assert _is_refused(golden_decoder, name, bitstream + bitstream)
