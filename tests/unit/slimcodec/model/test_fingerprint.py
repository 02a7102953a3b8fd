from dataclasses import replace

import numpy as np
import pytest

from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.entropy.tables import Tables, compute_fingerprint
from support.models.toy_artifact import make_tables

TABLES = make_tables(np.random.default_rng(0), num_channels=3)
SCALES = TABLES.rows[0]
STRUCTURE: dict[str, object] = {"qualities": 6}


def fingerprint(
    structure: dict[str, object] = STRUCTURE,
    tables: Tables = TABLES,
    graphs: tuple[bytes, ...] = (b"g_a", b"h_a", b"h_s"),
    scales: SymbolTables | None = SCALES,
) -> str:
    return compute_fingerprint(structure, tables, graphs, scales)


def test_fingerprint_is_16_digits_and_always_the_same() -> None:
    assert len(fingerprint()) == 16
    assert fingerprint() == fingerprint()


@pytest.mark.parametrize(
    "changed",
    [
        fingerprint(structure={"qualities": 7}),
        fingerprint(tables=replace(TABLES, gain=TABLES.gain * 2)),
        fingerprint(tables=replace(TABLES, table_steps=2)),
        fingerprint(graphs=(b"g_a", b"h_a", b"h_s2")),
        fingerprint(graphs=(b"g_a", b"h_a2", b"h_s")),
        fingerprint(graphs=(b"g_a",)),
        fingerprint(scales=TABLES.rows[1]),
        fingerprint(scales=None),
    ],
)
def test_whatever_changes_symbols_or_their_coding_changes_it(changed: str) -> None:
    assert changed != fingerprint()
