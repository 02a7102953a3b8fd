"""How the golden containers of this directory were made; see README.md.

python tests/vectors/make_vectors.py DIRECTORY
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.container import Container, Section, pack_container
from slimcodec.entropy.tables import Tables, save_tables
from slimcodec.entropy.whole import encode_symbols

FINGERPRINT = bytes.fromhex("0123456789abcdef")
GROUP_CHANNELS = 2
NUM_LEVELS = 3
NUM_QUALITIES = 2
NUM_CHANNELS = GROUP_CHANNELS * NUM_LEVELS
PAD_MULTIPLE, LATENT_STRIDE = 32, 16


def numbers(seed: int) -> Iterator[int]:
    """Yield 0..65535: the upper halves of a linear congruential generator's 32-bit states."""
    state = seed
    while True:
        state = (state * 1664525 + 1013904223) % (1 << 32)  # Numerical Recipes' constants
        yield state >> 16


def make_tables() -> Tables:
    """Return tables with 4 + 2 * channel + quality bins whose frequencies are uneven integers."""
    shape = (NUM_QUALITIES, NUM_CHANNELS)
    longest = 4 + 2 * NUM_CHANNELS + NUM_QUALITIES
    cdf = np.zeros((*shape, longest), np.uint32)
    cdf_length = np.zeros(shape, np.int32)
    offset = np.zeros(shape, np.int32)
    for quality, channel in np.ndindex(*shape):
        num_bins = 4 + 2 * channel + quality
        middle = num_bins // 2
        frequencies = [1 + 9000 // (1 + 3 * abs(i - middle)) for i in range(num_bins - 1)] + [7]
        frequencies[middle] += (1 << 16) - sum(frequencies)
        cdf[quality, channel, 1 : num_bins + 1] = np.cumsum(frequencies)
        cdf_length[quality, channel] = num_bins + 1
        offset[quality, channel] = -middle
    gain = np.array([[1.0] * NUM_CHANNELS, [2.0] * NUM_CHANNELS], np.float32)
    return Tables(gain, (1 / gain).astype(np.float32), cdf, cdf_length, offset)


def make_symbols(h: int, w: int, seed: int, spread: int) -> NDArray[np.int32]:
    """Return int32 (6, h, w) in -spread..spread, small values more often."""
    source = numbers(seed)
    values = [
        (next(source) % (spread + 1)) * (next(source) % 3 - 1) for _ in range(NUM_CHANNELS * h * w)
    ]
    return np.array(values, np.int32).reshape(NUM_CHANNELS, h, w)


def make_container(
    symbols: NDArray[np.int32],
    quality: int,
    image_hw: tuple[int, int],
    first_group: int,
    level: int,
) -> Container:
    """Return the container of the groups `first_group`..`level` of all symbols."""
    tables = make_tables()
    sections = []
    for group in range(first_group, level + 1):
        start = group * GROUP_CHANNELS
        chosen = symbols[start : start + GROUP_CHANNELS]
        columns = np.arange(start, start + GROUP_CHANNELS)[:, np.newaxis, np.newaxis]
        data = encode_symbols(chosen, tables.at(quality), columns)
        sections.append(Section(group, chosen.size, data))
    return Container(FINGERPRINT, level, quality, image_hw, first_group, tuple(sections))


def make_all() -> dict[str, tuple[Container, NDArray[np.int32]]]:
    """Return every golden container by name, with the symbols of its own channels."""
    picture = make_symbols(4, 6, seed=1, spread=3)
    pixel = make_symbols(2, 2, seed=2, spread=3)
    wild = make_symbols(4, 6, seed=3, spread=30)
    wild[0, 0, :2] = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    wild[5, 3, 5] = np.iinfo(np.int32).min
    return {
        "base_0": (make_container(picture, 1, (40, 70), 0, 0), picture[:2]),
        "base_2": (make_container(picture, 1, (40, 70), 0, 2), picture),
        "enhancement_1_2": (make_container(picture, 1, (40, 70), 1, 2), picture[2:]),
        "one_pixel": (make_container(pixel, 0, (1, 1), 0, 2), pixel),
        "escapes": (make_container(wild, 0, (40, 70), 0, 2), wild),
    }


def make_manifest(tables_path: Path) -> dict[str, object]:
    """Return the manifest of a codec that has tables and no graphs."""
    return {
        "format": 1,
        "kind": "codec",
        "name": "golden",
        "version": 1,
        "fingerprint": FINGERPRINT.hex(),
        "pad_multiple": PAD_MULTIPLE,
        "latent_stride": LATENT_STRIDE,
        "levels": [
            {"level": level, "latent_channels": GROUP_CHANNELS * (level + 1), "kmac_per_pixel": 0}
            for level in range(NUM_LEVELS)
        ],
        "qualities": NUM_QUALITIES,
        "prior": "factorized",
        "files": {
            tables_path.name: {
                "sha256": hashlib.sha256(tables_path.read_bytes()).hexdigest(),
                "bytes": tables_path.stat().st_size,
            }
        },
        "licence": "Apache-2.0",
    }


def main() -> None:
    """Write everything into the directory named on the command line."""
    directory = Path(sys.argv[1])
    codec = directory / "codec"
    codec.mkdir(parents=True)
    save_tables(codec / "tables.npz", make_tables())
    manifest = make_manifest(codec / "tables.npz")
    (codec / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    vectors = make_all()
    for name, (container, _) in vectors.items():
        (directory / f"{name}.slw").write_bytes(pack_container(container))
    np.savez_compressed(
        directory / "symbols.npz", **{name: symbols for name, (_, symbols) in vectors.items()}
    )


if __name__ == "__main__":
    main()
