"""Golden containers of version 2: a fractional quality, separate streams, a hyperprior."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.container import parse_container
from slimcodec.decode import Decoder
from slimcodec.errors import CodecError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact

VECTORS = Path(__file__).parents[2] / "vectors"
FOLDER = VECTORS / "version_2"
CODECS = {
    "fraction": VECTORS / "codec",
    "separate_0": FOLDER / "separate",
    "separate_1_2": FOLDER / "separate",
    "hyper_0": FOLDER / "hyperprior",
    "hyper_1_2": FOLDER / "hyperprior",
    "hyper_2": FOLDER / "hyperprior",
}
BASES = {"separate_1_2": "separate_0", "hyper_1_2": "hyper_0"}


def _read(name: str) -> tuple[bytes, NDArray[np.int32]]:
    with np.load(FOLDER / "symbols.npz") as archive:
        return (FOLDER / f"{name}.slw").read_bytes(), archive[name]


def _decode(decoder: Decoder, name: str, bitstream: bytes) -> NDArray[np.float32]:
    """y_hat (M_l, h, w) of a base, or of an enhancement together with its base."""
    if name in BASES:
        latent = decoder.decode_latent(_read(BASES[name])[0], bitstream)
    else:
        latent = decoder.decode_latent(bitstream)
    y_hat: NDArray[np.float32] = latent.y_hat[0]
    return y_hat


@pytest.fixture(params=list(CODECS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def codec(name: str) -> CodecArtifact:
    return load_codec_artifact(CODECS[name])


@pytest.fixture
def decoder(codec: CodecArtifact, runtime: OpenVinoRuntime) -> Decoder:
    return Decoder(codec, runtime)


def test_golden_container_decodes_to_its_symbols(
    name: str, codec: CodecArtifact, decoder: Decoder
) -> None:
    bitstream, expected = _read(name)
    container = parse_container(bitstream)

    y_hat = _decode(decoder, name, bitstream)

    columns = codec.latent_layout.level_columns(container.level)
    inverse_gain = codec.tables.inverse_gain_at(container.quality)[columns]
    of_expected = inverse_gain[-len(expected) :, np.newaxis, np.newaxis]
    assert container.version == 2
    assert np.array_equal(y_hat[-len(expected) :], expected.astype(np.float32) * of_expected)


def test_golden_fraction_lies_half_way() -> None:
    assert parse_container(_read("fraction")[0]).quality == 0.5


def test_golden_hyperprior_in_two_parts_is_the_whole(runtime: OpenVinoRuntime) -> None:
    decoder = Decoder(load_codec_artifact(FOLDER / "hyperprior"), runtime)

    joined = _decode(decoder, "hyper_1_2", _read("hyper_1_2")[0])

    assert np.array_equal(joined, _decode(decoder, "hyper_2", _read("hyper_2")[0]))


def test_every_flipped_bit_and_truncation_is_refused(name: str, decoder: Decoder) -> None:
    bitstream, _ = _read(name)
    flips = (1 << bit for bit in range(8 * len(bitstream)))
    whole = int.from_bytes(bitstream, "big")
    damaged = [(whole ^ flip).to_bytes(len(bitstream), "big") for flip in flips]

    for mutant in [*damaged, *(bitstream[:n] for n in range(len(bitstream))), bitstream + b"\0"]:
        with pytest.raises(CodecError):
            _decode(decoder, name, mutant)
