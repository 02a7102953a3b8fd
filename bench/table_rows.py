"""What it costs to code a quality with tables of other qualities, in percent of the bits that its
own tables need.

    python -m bench.table_rows DIRECTORY

Tables of the shipped codec's widest level are counted on pictures of a folder at every eighth of a
quality. On other pictures of that folder each of these qualities is then coded with: the nearest
row, or the mixture of both neighbours, of rows that lie one, two or four to a quality. Bits are the
ideal code length of the integer tables, an escaped value counted as 8.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from slimcodec.entropy.coder import SymbolTables
from slimcodec.entropy.tables import Tables, save_tables
from slimcodec.pixels import pad_to_multiple, to_x
from slimnets.export.tabulate import tabulate
from slimtrain.codec.artifact import load_codec
from slimtrain.data.pictures import index_pictures, load_pictures

MODEL = Path(__file__).parents[1] / "models" / "slim-n" / "1"
FINEST = 8  # rows to a quality; each is some quality's own
COUNTED, CODED = 30, 8  # pictures
MAX_EDGE = 400  # pixels
ESCAPE_BITS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    entries = index_pictures([parser.parse_args().images])
    counted = load_pictures(entries[1 :: len(entries) // COUNTED][:COUNTED], MAX_EDGE)
    coded = load_pictures(entries[:: len(entries) // CODED][:CODED], MAX_EDGE)
    codec = load_codec(MODEL)
    finest, _ = tabulate(codec, (to_tensor(picture.image) for picture in counted), FINEST)
    with torch.no_grad():
        latents = [
            codec.analyse(to_tensor(picture.image), 3)[0].flatten(1).numpy() for picture in coded
        ]
    y = np.concatenate(latents, 1)  # (M, places)
    losses: dict[str, list[float]] = {}
    for eighth in range((len(finest.gain) - 1) * FINEST + 1):
        quality = eighth / FINEST
        symbols = np.rint(y * finest.gain_at(quality)[:, np.newaxis]).astype(np.int64)
        own = code_length(symbols, finest.at(quality))
        for steps in (1, 2, 4):
            if quality * steps % 1:
                rows = every(finest, steps)
                nearest = rows.rows[int(quality * steps + 0.5)]
                for name, tables in (("nearest", nearest), ("mixed", rows.at(quality))):
                    loss = 100 * (code_length(symbols, tables) / own - 1)
                    losses.setdefault(f"{steps} rows to a quality, {name}", []).append(loss)
    for name, values in losses.items():
        print(f"{name}: mean {np.mean(values):.2f} %, most {max(values):.2f} %")
    with tempfile.TemporaryDirectory() as folder:
        for steps in (1, 2, 4):
            path = Path(folder) / "tables.npz"
            save_tables(path, every(finest, steps))
            print(f"{steps} rows to a quality: {path.stat().st_size / 1000:.0f} kB")


def to_tensor(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pad_to_multiple(to_x(image), 32))


def every(finest: Tables, steps: int) -> Tables:
    """The tables that have `steps` rows to a quality."""
    kept = slice(None, None, FINEST // steps)
    return replace(
        finest,
        cdf=finest.cdf[kept],
        cdf_length=finest.cdf_length[kept],
        offset=finest.offset[kept],
        table_steps=steps,
    )


def code_length(symbols: NDArray[np.int64], tables: SymbolTables) -> float:
    """Bits of symbols (M, places) by one table a channel."""
    bits = 0.0
    for channel, values in enumerate(symbols):
        p = tables.frequencies(channel) / 2.0**tables.precision_bits
        bins = values - int(tables.offset[channel])
        inside = (bins >= 0) & (bins < len(p) - 1)
        bits -= float(np.log2(p[np.where(inside, bins, len(p) - 1)]).sum())
        bits += ESCAPE_BITS * int((~inside).sum())
    return bits


if __name__ == "__main__":
    main()
