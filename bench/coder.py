"""Time of the entropy coder (of one thread's CPU), and damage to containers.

    PYTHONPATH=tests python -m bench.coder [--mutants N]

Symbols are drawn from the shipped codec's own tables, 192 channels of 30 x 40 (a picture of 640 x
480 pixels); once coded by channel, and once by one of 64 tables drawn for every symbol, as with a
hyperprior. Mutants are small containers of both priors with flipped, cut, doubled or random bytes,
a third of them with every checksum repaired, so that they reach the decoder.
"""

from __future__ import annotations

import argparse
import random
import struct
import tempfile
import time
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from slimcodec.container import HEADER_BYTES, SECTION_HEADER_BYTES, Prior
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.entropy.coder import SymbolTables, decode_symbols, encode_symbols
from slimcodec.entropy.tables import mix_tables
from slimcodec.errors import CodecError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact
from support.models.toy_artifact import make_image, make_toy_codec

PRIORS: tuple[Prior, ...] = ("factorized", "hyperprior")
ROOT = Path(__file__).parents[1]
QUALITY = 3
ROUNDS = 25
NUM_TABLES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=200_000)
    arguments = parser.parse_args()
    codec = load_codec_artifact(find_model("codec", "slim-n", ROOT / "models"))
    tables = codec.tables.at(QUALITY)
    shape = (tables.num_tables, 30, 40)
    by_channel = np.broadcast_to(np.arange(tables.num_tables)[:, None, None], shape)
    time_coder("one table a channel", tables, by_channel)
    drawn = np.random.default_rng(1).integers(0, NUM_TABLES, shape)
    time_coder("one of 64 tables a symbol", tables, drawn)
    started = time.process_time()
    mix_tables(codec.tables.rows[0], codec.tables.rows[1], 128)
    print(f"mixing {tables.num_tables} tables: {1000 * (time.process_time() - started):.1f} ms")
    for prior in PRIORS:
        with tempfile.TemporaryDirectory() as folder:
            damage(
                load_codec_artifact(make_toy_codec(Path(folder), prior=prior)), arguments.mutants
            )


def draw(tables: SymbolTables, index: NDArray[np.int64]) -> NDArray[np.int32]:
    """Symbols by the tables' own frequencies, the escape left out: (channels, h, w) int32."""
    rng = np.random.default_rng(0)
    symbols = np.empty(index.shape, np.int32)
    for table in np.unique(index):
        p = tables.frequencies(table)[:-1].astype(float)
        there = index == table
        symbols[there] = rng.choice(len(p), there.sum(), p=p / p.sum()) + tables.offset[table]
    return symbols


def time_coder(name: str, tables: SymbolTables, index: NDArray[np.int64]) -> None:
    symbols = draw(tables, index)
    channels, h, w = symbols.shape
    data = encode_symbols(symbols, tables, index)
    seconds: dict[str, list[float]] = {"encode": [], "decode": []}
    for _ in range(ROUNDS):
        started = time.process_time()
        encode_symbols(symbols, tables, index)
        middle = time.process_time()
        decode_symbols(data, (channels, h, w), tables, index)
        seconds["encode"].append(middle - started)
        seconds["decode"].append(time.process_time() - middle)
    for way, values in seconds.items():
        best = 1000 * min(values)
        print(f"{name}: {way} {symbols.size} symbols: best of {ROUNDS} {best:.1f} ms")


def damage(codec: CodecArtifact, count: int) -> None:
    """Every mutant must decode or raise a CodecError (anything else ends the run)."""
    runtime = OpenVinoRuntime(num_threads=1)
    golden = Encoder(codec, runtime).encode(make_image(32, 64), 0, QUALITY).bitstream
    decoder = Decoder(codec, runtime)
    rng = random.Random(0)
    refused = decoded = silent = 0
    for i in range(count):
        mutant = mutate(golden, rng)
        repaired = i % 3 == 0
        if repaired:
            mutant = repair(mutant)
        try:
            decoder.decode_latent(mutant)
        except CodecError:
            refused += 1
        else:
            decoded += 1
            silent += not repaired and mutant != golden
    print(
        f"{codec.manifest.prior}: {count} mutants: {refused} refused, {decoded} decoded "
        "(checksums repaired, or unchanged)"
    )
    print(f"damaged, not repaired, and decoded all the same: {silent}")


def mutate(golden: bytes, rng: random.Random) -> bytes:
    data = bytearray(golden)
    match rng.randrange(4):
        case 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 1:
            del data[rng.randrange(len(data)) :]
        case 2:
            at = rng.randrange(len(data))
            data[at:at] = data[at : at + rng.randrange(1, 16)]
        case _:
            at = rng.randrange(len(data))
            data[at : at + 8] = rng.randbytes(len(data[at : at + 8]))
    return bytes(data)


def repair(mutant: bytes) -> bytes:
    """Both checksums as they should be, where there is room for them."""
    data = bytearray(mutant)
    start = HEADER_BYTES + SECTION_HEADER_BYTES
    if len(data) < start:
        return mutant
    data[HEADER_BYTES - 4 : HEADER_BYTES] = checksum(data[: HEADER_BYTES - 4])
    covered = data[HEADER_BYTES : start - 4] + data[start:]
    data[start - 4 : start] = checksum(covered)
    return bytes(data)


def checksum(data: bytearray) -> bytes:
    return struct.pack("<I", google_crc32c.value(bytes(data)))


if __name__ == "__main__":
    main()
