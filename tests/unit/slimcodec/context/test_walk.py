"""The sums that choose tables: exact, whatever computes them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.context.prior import (
    MAX_SUM,
    ContextPrior,
    load_context,
    save_context,
)
from slimcodec.context.walk import Reference, Walk
from slimcodec.entropy.symbol_tables import SymbolTables
from slimcodec.errors import ModelError
from support.models.toy_context import toy_context

HW = (7, 9)
ENDS = (2, 4, 6)


def largest_weights(prior: ContextPrior) -> ContextPrior:
    """Weights that fill the bounds, of both signs: sums of up to 24 bits."""
    weights = {}
    for name, array in prior.weights.items():
        most = (
            (1 << 14) if name.rsplit("_", 2)[0].endswith("mean") else (MAX_SUM - (1 << 17)) // 128
        )
        size = min(most // len(array), 32_767)
        signs = np.where(np.indices(array.shape).sum(0) % 3, 1, -1)
        weights[name] = (size * signs).astype(np.int16)
    return replace(prior, weights=weights)


def nearly_free(tables: SymbolTables) -> SymbolTables:
    """Tables of which one has a symbol that takes 0.001 bits."""
    cdf = tables.cdf.copy()
    cdf[9, 1:-1] = np.arange(cdf.shape[1] - 2) + 65_500
    return replace(tables, cdf=cdf)


def around(values: NDArray[np.int64], place: int) -> NDArray[np.int64]:
    """(9, C) of a place of (h, w, C), zeros outside."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    i, j = divmod(place, HW[1])
    return padded[i : i + 3, j : j + 3].reshape(9, -1)


@pytest.mark.parametrize("make", [toy_context, lambda: largest_weights(toy_context())])
@pytest.mark.parametrize("quality", [0, 1.5, 2])
def test_tables_are_those_of_integer_arithmetic(
    make: Callable[[], ContextPrior], quality: float
) -> None:
    prior = make()
    prior.validate("toy")
    random = np.random.default_rng(2)
    size = HW[0] * HW[1]
    symbols = random.integers(-400, 400, (size, ENDS[-1])).astype(np.int32)
    other = symbols + random.integers(-2, 3, symbols.shape).astype(np.int32)
    reference = Reference(
        other,
        np.where(np.arange(size) % 5, 6, 4),
        random.integers(-300, 300, size),
        np.arange(size) % 3 > 0,
    )
    walk = Walk(prior, quality, HW, ENDS[-1], reference)
    known = np.where(reference.changed[:, np.newaxis], 0, other).astype(np.int64)
    lost = np.zeros_like(known)
    lut, fine = prior.lut.astype(np.int64), np.clip(reference.fineness // 16, 0, 127)
    shape = (*HW, ENDS[-1])
    for step in walk.steps(0, ENDS[-1]):
        a, b, k, p = step.chunk.start, step.chunk.end, step.chunk.number, step.number
        there = walk.has_reference(step)
        alone, differing = walk.alone(step, step.places), walk.differing(step, step.places)
        for row, place in enumerate(step.places.tolist()):
            n = around(known.reshape(shape), place)[:, :b]
            d = around(lost.reshape(shape), place)[:, :b]
            r = around(other.reshape(shape).astype(np.int64), place)[:, a:b]
            c = around(reference.changed.reshape(*HW, 1).astype(np.int64), place)

            def magnitude(values: NDArray[np.int64]) -> NDArray[np.int64]:
                found: NDArray[np.int64] = lut[np.minimum(np.abs(values), 255)]
                return found

            inputs = np.concatenate([magnitude(n), magnitude(d), magnitude(r), c], axis=1).ravel()
            inputs = np.append(inputs, fine[place])
            for found, kind, given, means, signed in (
                (alone, "intra", magnitude(n).ravel(), "mean", n),
                (differing, "inter", inputs, "inter_mean", d),
            ):
                bias = prior.bias_at(quality, kind == "inter")[p, a:b].astype(np.int64)
                sums = given @ prior.weights[f"{kind}_{k}_{p}"].astype(np.int64) + bias
                mean = np.clip(signed, -1023, 1023).ravel() @ prior.weights[
                    f"{means}_{k}_{p}"
                ].astype(np.int64)
                eighths = (mean + 64) // 128
                whole = (eighths + 4) // 8
                table = 8 * np.clip(sums // 4096, 0, 47) + eighths - 8 * whole + 4
                np.testing.assert_array_equal(found[0][row], table)
                np.testing.assert_array_equal(found[1][row], whole)
        chosen = symbols[step.places, a:b]
        walk.put(step, chosen)
        known[step.places, a:b] = chosen
        lost[step.places, a:b] = np.where(there[:, np.newaxis], chosen - other[step.places, a:b], 0)


def test_saved_prior_is_read_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("prior") / "context.npz"
    prior = toy_context()
    save_context(path, prior)

    read = load_context(path)

    assert read.weights.keys() == prior.weights.keys()
    np.testing.assert_array_equal(read.inter_bias, prior.inter_bias)
    np.testing.assert_array_equal(read.tables.cdf, prior.tables.cdf)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ends": np.array([2, 2, 6], np.int32)}, "ends"),
        ({"changed": np.zeros(120, np.int32)}, "changed"),
        ({"alone": np.full(4, 9, np.int32)}, "alone"),
        ({"bias": np.full((3, 3, 6), MAX_SUM, np.int32)}, "float32"),
        ({"lut": np.zeros(255, np.uint8)}, "lut"),
        ({"tables": nearly_free(toy_context().tables)}, "bits"),
    ],
)
def test_prior_that_cannot_be_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        replace(toy_context(), **change).validate("toy")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "weights", "named"),
    [
        ("intra_0_0", np.full((18, 2), 32_767, np.int16), "float32"),
        ("mean_1_0", np.full((36, 2), 32_767, np.int16), "sum to"),
        ("intra_1_1", np.zeros((35, 2), np.int16), "expected int16"),
        ("intra_9_0", np.zeros((36, 2), np.int16), "expected int16 None"),
    ],
)
def test_weights_that_cannot_be_are_refused(
    name: str, weights: NDArray[np.int16], named: str
) -> None:
    prior = toy_context()
    changed = replace(prior, weights={**prior.weights, name: weights})

    with pytest.raises(ModelError, match=named):
        changed.validate("toy")


def test_prior_without_the_weights_of_a_step_is_refused() -> None:
    prior = toy_context()
    weights = {name: w for name, w in prior.weights.items() if name != "intra_2_0"}

    with pytest.raises(ModelError, match="lacks intra_2_0"):
        replace(prior, weights=weights).validate("toy")
