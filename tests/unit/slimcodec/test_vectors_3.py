"""The conformance kit of version 3: frames, chains of them, and containers that none may read."""

import base64
import zlib

import numpy as np
import pytest

from slimcodec.container import parse_container
from slimcodec.decode import Decoder
from slimcodec.errors import BitstreamError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact
from support.conformance import KIT, KitReader, read_lines

VECTORS, REFUSED = (
    read_lines((KIT / f"{name}.jsonl").read_text()) for name in ("vectors", "refused")
)


@pytest.fixture(scope="module")
def reader(runtime: OpenVinoRuntime, steps: str) -> KitReader:
    return KitReader(Decoder(load_codec_artifact(KIT / "codec"), runtime))


@pytest.mark.parametrize("name", VECTORS)
def test_vector_is_read_as_it_was_made(reader: KitReader, name: str) -> None:
    line = VECTORS[name]
    packed = zlib.decompress(base64.b64decode(line["symbols"]))

    read = reader.held(name)

    np.testing.assert_array_equal(read.symbols, np.frombuffer(packed, "<i2").reshape(line["shape"]))
    assert read.digest.hex() == line["digest"]
    assert read.depth == line["depth"]


@pytest.mark.parametrize("name", REFUSED)
def test_container_that_none_may_read_is_refused(reader: KitReader, name: str) -> None:
    with pytest.raises(BitstreamError):
        reader.read(REFUSED[name])


def test_kit_has_all_kinds_of_frames(reader: KitReader) -> None:
    frames = [reader.held(name) for name in VECTORS]
    kinds = {base64.b64decode(line["container"])[5] for line in VECTORS.values()}

    assert len(VECTORS) >= 100
    assert kinds == {0x20, 0x21, 0x24, 0x25}  # intra and inter, bases and enhancements
    assert max(frame.depth for frame in frames) >= 25
    assert any(len(np.unique(frame.levels)) == 3 for frame in frames)
    assert any(len(np.unique(frame.qualities)) > 3 for frame in frames)
    assert any(np.abs(frame.symbols).max() == 32_767 for frame in frames)
    assert any(frame.depth and not frame.changed.any() for frame in frames)
    assert any(frame.changed.all() for frame in frames)
    assert {frame.symbols.shape[:2] for frame in frames} >= {(1, 1), (1, 13), (13, 1), (13, 20)}


def test_checksum_covers_every_bit() -> None:
    bitstream = base64.b64decode(VECTORS["intra_0_q1"]["container"])
    whole = int.from_bytes(bitstream, "big")

    for bit in range(8 * len(bitstream)):
        with pytest.raises(BitstreamError):
            parse_container((whole ^ 1 << bit).to_bytes(len(bitstream), "big"))
