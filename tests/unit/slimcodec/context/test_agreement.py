"""Tables and means of 10.7 million symbols are the same however they are computed; those of weights
that are no integers are not.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.context.prior import NUM_SCALES
from support.models.context_runs import FRACTION, NUM_TABLES, REFERENCE, RUNS, predict, run_apart

pytestmark = pytest.mark.slow

SEED = 5


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future[NDArray[np.int32]]]]:
    """What each run predicts; two processes at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run_apart, SEED, name) for name in RUNS}


@pytest.fixture(scope="module")
def found(runs: dict[str, Future[NDArray[np.int32]]]) -> NDArray[np.int32]:
    return runs[REFERENCE].result()


def test_symbols_under_test_are_many_and_cover_the_tables(found: NDArray[np.int32]) -> None:
    tables = np.bincount(found % NUM_TABLES, minlength=NUM_TABLES) / found.size
    scales = tables.reshape(NUM_SCALES, -1).sum(1)

    assert found.size >= 10**7
    assert (scales > 1e-3).all()
    assert (tables > 1e-4).all()


@pytest.mark.parametrize("name", [name for name in RUNS if name != REFERENCE])
def test_tables_are_identical_however_they_are_computed(
    runs: dict[str, Future[NDArray[np.int32]]], found: NDArray[np.int32], name: str
) -> None:
    np.testing.assert_array_equal(runs.pop(name).result(), found)


def test_weights_that_are_no_integers_give_other_tables_in_float64() -> None:
    floats = [predict(SEED, RUNS[name], FRACTION, frames=1) for name in (REFERENCE, "float64")]

    assert (floats[0] != floats[1]).any()
