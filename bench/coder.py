"""Time of the entropy coder, of one thread's CPU.

    python -m bench.coder

Symbols are drawn from the shipped codec's own tables, 192 channels of 30 x 40 (a picture of 640 x
480 pixels); once coded by channel, and once by one of the tables drawn for every symbol.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.whole import decode_symbols, encode_symbols
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact

ROOT = Path(__file__).parents[1]
ROUNDS = 25
CHANNELS = 192


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL, ROOT / "models"))
    assert codec.context is not None
    tables, shape = codec.context.tables, (CHANNELS, 30, 40)
    by_channel = np.broadcast_to(np.arange(CHANNELS)[:, None, None], shape)
    time_coder("one table a channel", tables, by_channel)
    drawn = np.random.default_rng(1).integers(0, tables.num_tables, shape)
    time_coder("one of all tables a symbol", tables, drawn)


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


if __name__ == "__main__":
    main()
