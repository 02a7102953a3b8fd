from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.entropy.tables import Tables, load_tables, save_tables
from slimcodec.errors import ModelError
from support.models.toy_artifact import make_tables

TABLES = make_tables(np.random.default_rng(0), num_channels=3)


def with_value(name: str, index: tuple[int, ...], value: float) -> Tables:
    array: NDArray[np.generic] = getattr(TABLES, name).copy()
    array[index] = value
    changed: dict[str, NDArray[np.generic]] = {name: array}
    return replace(TABLES, **changed)  # type: ignore[arg-type]  # any field, by name


def test_tables_come_back_from_their_file(tmp_path: Path) -> None:
    save_tables(tmp_path / "tables.npz", TABLES)

    loaded = load_tables(tmp_path / "tables.npz")

    for name in ("gain", "inverse_gain", "cdf", "cdf_length", "offset"):
        assert np.array_equal(getattr(loaded, name), getattr(TABLES, name))
    assert loaded.offset.shape == (6, 3)


def test_frequencies_of_every_table_sum_to_the_precision() -> None:
    for row in TABLES.rows:
        assert [row.frequencies(table).sum() for table in range(3)] == [2**16] * 3


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (with_value("cdf", (1, 2, 0), 1), "row 1, table 2.*cdf runs 1"),
        (with_value("cdf", (0, 0, 2), 0), "row 0, table 0.*frequency 0"),
        (with_value("cdf_length", (0, 1), 2), "row 0, table 1.*cdf_length 2"),
        (with_value("cdf_length", (5, 0), 10**6), "row 5, table 0.*cdf_length"),
        (with_value("gain", (0, 0), np.nan), "gain must be finite"),
        (with_value("inverse_gain", (0, 0), 0), "inverse_gain must be finite"),
        (with_value("offset", (0, 0), -(2**31)), "offset beyond"),
        (replace(TABLES, gain=TABLES.gain.astype(np.float64)), "gain is float64"),
        (replace(TABLES, gain=TABLES.gain[0]), r"gain is float32 \(3,\)"),
        (replace(TABLES, offset=TABLES.offset[:1]), "offset has shape"),
        (replace(TABLES, cdf=TABLES.cdf[:, :1]), "cdf is uint32.* for 3 tables"),
        (replace(TABLES, table_steps=0), r"table_steps 0 not in 1\.\.64"),
        (replace(TABLES, table_steps=2), "in steps of 1/2 need 11 rows"),
        (with_value("offset", (1, 0), 5000), "rows 0 and 1 span"),
    ],
)
def test_impossible_tables_are_refused(broken: Tables, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        broken.validate()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 neither"])
def test_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tables.npz"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"tables\.npz"):
        load_tables(path)


def test_archive_that_lacks_an_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "tables.npz", gain=TABLES.gain)

    with pytest.raises(ModelError, match="inverse_gain"):
        load_tables(tmp_path / "tables.npz")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        load_tables(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("steps", [np.array(2.0), np.array([1]), np.array(-1)])
def test_steps_that_are_no_count_are_refused(tmp_path: Path, steps: NDArray[np.generic]) -> None:
    save_tables(tmp_path / "tables.npz", TABLES)
    with np.load(tmp_path / "tables.npz") as archive:
        arrays = dict(archive) | {"table_steps": steps}
    np.savez(tmp_path / "tables.npz", **arrays)

    with pytest.raises(ModelError, match="table_steps"):
        load_tables(tmp_path / "tables.npz")


def test_rows_between_two_qualities_come_back_and_are_found() -> None:
    fine = replace(
        TABLES, gain=TABLES.gain[:3], inverse_gain=TABLES.inverse_gain[:3], cdf=TABLES.cdf[:5],
        cdf_length=TABLES.cdf_length[:5], offset=TABLES.offset[:5], table_steps=2,
    )  # fmt: skip
    fine.validate()

    assert fine.at(1.5) is fine.rows[3]
    between = fine.at(1.25)
    assert between.num_tables == 3
    assert fine.at(1.25) is between
    between.validate("between")


def test_file_of_a_model_before_continuous_rate_has_a_row_for_each_quality(tmp_path: Path) -> None:
    names = ("gain", "inverse_gain", "cdf", "cdf_length", "offset")
    np.savez(tmp_path / "tables.npz", **{name: getattr(TABLES, name) for name in names})

    loaded = load_tables(tmp_path / "tables.npz")

    assert loaded.table_steps == 1
    assert loaded.at(4.0) is loaded.rows[4]
