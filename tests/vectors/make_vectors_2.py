"""How the golden containers of version 2 were made; see README.md.

PYTHONPATH=shared:tests python tests/vectors/make_vectors_2.py DIRECTORY
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from slimcodec.container import Container, Prior, Section, Streams, pack_container, section_groups
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import Tables, save_scale_tables, save_tables
from slimcodec.entropy.whole import encode_symbols
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import ChannelLayout
from support.models.toy_hyperprior import HYPER_STRIDE, scale_tables, synthesis_graph
from vectors.make_vectors import (
    FINGERPRINT,
    LATENT_STRIDE,
    NUM_CHANNELS,
    NUM_LEVELS,
    make_symbols,
    make_tables,
    numbers,
)

WIDTHS = (2, 4, 6)
HYPER_WIDTHS = (2, 4, 6)  # as the toy h_s has them
IMAGE_HW = (40, 70)
LATENT_HW, HYPER_LATENT_HW = (4, 6), (4, 8)  # sides padded to 32, and to 64 with a hyperprior


def columns(layout: ChannelLayout, group: int) -> NDArray[np.intp]:
    """The tables of a section's channels."""
    chosen = layout.columns(group)
    return np.arange(chosen.start, chosen.stop)[:, np.newaxis, np.newaxis]


def repeated(tables: Tables, channels: list[int]) -> Tables:
    """Tables whose columns are some of another's, in another order."""
    return Tables(
        tables.gain[:, channels],
        tables.inverse_gain[:, channels],
        tables.cdf[:, channels],
        tables.cdf_length[:, channels],
        tables.offset[:, channels],
    )


def make_container(
    symbols: NDArray[np.int32],
    tables: SymbolTables,
    quality: float,
    first_group: int,
    level: int,
    streams: Streams,
) -> Container:
    """A container of a factorized prior."""
    layout, sections = ChannelLayout(WIDTHS, streams), []
    for group in section_groups(streams, first_group, level):
        chosen = symbols[layout.carried(group).start : layout.carried(group).stop]
        data = encode_symbols(chosen, tables, columns(layout, group))
        sections.append(Section(group, chosen.size, data))
    return Container(
        FINGERPRINT, level, quality, IMAGE_HW, first_group, tuple(sections), streams, "factorized"
    )


def make_hyper_container(
    symbols: NDArray[np.int32],
    z: NDArray[np.int32],
    index: NDArray[np.int32],
    tables: SymbolTables,
    quality: float,
    first_group: int,
    level: int,
) -> Container:
    """A container of a hyperprior and nested streams."""
    latent, hyper = ChannelLayout(WIDTHS, "nested"), ChannelLayout(HYPER_WIDTHS, "nested")
    sections = []
    for group in range(first_group, level + 1):
        of_y, of_z = (slice(r.start, r.stop) for r in (latent.carried(group), hyper.carried(group)))
        z_data = encode_symbols(z[of_z], tables, columns(hyper, group))
        y_data = encode_symbols(symbols[of_y], scale_tables(), index[of_y])
        data = struct.pack("<I", len(z_data)) + z_data + y_data
        sections.append(Section(group, symbols[of_y].size, data))
    return Container(
        FINGERPRINT, level, quality, IMAGE_HW, first_group, tuple(sections), "nested", "hyperprior"
    )


def write_codec(folder: Path, tables: Tables, streams: Streams, prior: Prior) -> None:
    """Write a codec without g_a and g_s."""
    folder.mkdir(parents=True)
    save_tables(folder / "tables.npz", tables)
    levels: list[dict[str, int]] = [
        {"level": level, "latent_channels": channels, "kmac_per_pixel": 0}
        for level, channels in enumerate(WIDTHS)
    ]
    extra: dict[str, object] = {"pad_multiple": 32}
    if prior == "hyperprior":
        save_scale_tables(folder / "hyper.npz", scale_tables())
        for level in range(NUM_LEVELS):
            onnx.save(synthesis_graph(WIDTHS[: level + 1]), folder / f"h_s_{level}.onnx")
            levels[level]["hyper_channels"] = HYPER_WIDTHS[level]
        extra = {"pad_multiple": HYPER_STRIDE, "hyper_stride": HYPER_STRIDE}
    files = {
        path.name: {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.iterdir())
    }
    manifest = {
        "format": 1,
        "kind": "codec",
        "name": "golden",
        "version": 1,
        "fingerprint": FINGERPRINT.hex(),
        "latent_stride": LATENT_STRIDE,
        "levels": levels,
        "qualities": 2,
        "streams": streams,
        "prior": prior,
        **extra,
        "files": files,
        "licence": "Apache-2.0",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    """Write everything into the directory named on the command line."""
    directory = Path(sys.argv[1])
    separate_columns = [0, 1, 3, 2, 1, 0, 5, 4, 3, 2, 1, 0]
    nested, separate = make_tables(), repeated(make_tables(), separate_columns)
    write_codec(directory / "separate", separate, "separate", "factorized")
    write_codec(directory / "hyperprior", nested, "nested", "hyperprior")

    picture = make_symbols(*LATENT_HW, seed=1, spread=3)
    wide = make_symbols(*HYPER_LATENT_HW, seed=4, spread=9)
    wide[1, 2, :2] = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    source = numbers(5)
    z = np.array([next(source) % 12 for _ in range(NUM_CHANNELS * 2)], np.int32).reshape(6, 1, 2)
    z[1, 0, 1] = 100_000  # an escape; h_s holds it to its range
    path = directory / "hyperprior" / "h_s_2.onnx"
    h_s = OpenVinoRuntime(num_threads=1).load(path, exact=True)
    index = h_s(z_hat=z[np.newaxis].astype(np.float32))["scale_index"][0].astype(np.int32)

    half, fine = nested.at(0.5), separate.at(1)
    vectors = {
        "fraction": (make_container(picture, half, 0.5, 0, 2, "nested"), picture),
        "separate_0": (make_container(picture, fine, 1.0, 0, 0, "separate"), picture[:2]),
        "separate_1_2": (make_container(picture, fine, 1.0, 1, 2, "separate"), picture),
        "hyper_0": (make_hyper_container(wide, z, index, nested.at(1), 1.0, 0, 0), wide[:2]),
        "hyper_1_2": (make_hyper_container(wide, z, index, nested.at(1), 1.0, 1, 2), wide[2:]),
        "hyper_2": (make_hyper_container(wide, z, index, nested.at(1), 1.0, 0, 2), wide),
    }
    for name, (container, _) in vectors.items():
        (directory / f"{name}.slw").write_bytes(pack_container(container))
    np.savez_compressed(
        directory / "symbols.npz", **{name: symbols for name, (_, symbols) in vectors.items()}
    )


if __name__ == "__main__":
    main()
