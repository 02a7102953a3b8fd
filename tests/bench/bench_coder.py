"""Time of the entropy coder, and damage to containers.

    python tests/bench/bench_coder.py [--mutants N]

Symbols are drawn from the shipped codec's own tables, 192 channels of 30 x 40 (a picture of 640 x
480 pixels). Mutants are golden-sized containers with flipped, cut, doubled or random bytes, a third
of them with every checksum repaired, so that they reach the decoder.
"""

from __future__ import annotations

import argparse
import random
import struct
import time
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from slimcodec import (
    HEADER_BYTES,
    SECTION_HEADER_BYTES,
    CodecArtifact,
    CodecError,
    Container,
    Section,
    decode_symbols,
    encode_symbols,
    find_model,
    load_codec_artifact,
    pack_container,
    parse_container,
)

ROOT = Path(__file__).parents[2]
QUALITY = 3
ROUNDS = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=200_000)
    arguments = parser.parse_args()
    codec = load_codec_artifact(find_model("codec", "slim-n", ROOT / "models"))
    time_coder(codec)
    damage(codec, arguments.mutants)


def draw(codec: CodecArtifact, channels: int, h: int, w: int) -> NDArray[np.int32]:
    """Symbols by the tables' own frequencies, the escape left out: (channels, h, w) int32."""
    rng = np.random.default_rng(0)
    symbols = np.empty((channels, h, w), np.int32)
    for channel in range(channels):
        p = codec.tables.frequencies(QUALITY, channel)[:-1].astype(float)
        picked = rng.choice(len(p), (h, w), p=p / p.sum())
        symbols[channel] = picked + codec.tables.offset[QUALITY, channel]
    return symbols


def time_coder(codec: CodecArtifact) -> None:
    symbols = draw(codec, codec.tables.num_channels, 30, 40)
    shape = (codec.tables.num_channels, 30, 40)
    data = encode_symbols(symbols, codec.tables, QUALITY, 0)
    seconds: dict[str, list[float]] = {"encode": [], "decode": []}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        encode_symbols(symbols, codec.tables, QUALITY, 0)
        middle = time.perf_counter()
        decode_symbols(data, shape, codec.tables, QUALITY, 0)
        seconds["encode"].append(middle - started)
        seconds["decode"].append(time.perf_counter() - middle)
    for name, values in seconds.items():
        print(f"{name} {symbols.size} symbols: best of {ROUNDS} {1000 * min(values):.1f} ms")


def damage(codec: CodecArtifact, count: int) -> None:
    """Every mutant must decode or raise a CodecError (anything else ends the run)."""
    channels = codec.levels[0].latent_channels
    symbols = draw(codec, channels, 2, 4)
    section = Section(0, symbols.size, encode_symbols(symbols, codec.tables, QUALITY, 0))
    golden = pack_container(Container(codec.fingerprint, 0, QUALITY, (32, 64), 0, (section,)))
    rng = random.Random(0)
    refused = decoded = silent = 0
    for i in range(count):
        mutant = mutate(golden, rng)
        repaired = i % 3 == 0
        if repaired:
            mutant = repair(mutant)
        try:
            parsed = parse_container(mutant)
            part = parsed.sections[0]
            decode_symbols(part.data, (channels, 2, 4), codec.tables, QUALITY, 0)
        except CodecError:
            refused += 1
        else:
            decoded += 1
            silent += not repaired and mutant != golden
    print(
        f"{count} mutants: {refused} refused, {decoded} decoded (checksums repaired, or unchanged)"
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
