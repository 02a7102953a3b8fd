"""The predictors that are fitted are the walk that edge and cloud take, and their integers too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from slimcodec.context.prior import NUM_SCALES, ContextPrior
from slimcodec.context.walk import Reference as WalkedReference
from slimcodec.context.walk import Walk
from slimtrain.tabulate.count import Counts
from slimtrain.tabulate.fit import bits_of_places, chunk_ends
from slimtrain.tabulate.integers import (
    SCALES_PER_UNIT,
    ZERO_SCALE,
    laplace_weights,
    table_scales,
    to_integers,
)
from slimtrain.tabulate.predictor import Piece, Predictor, Reference, laplace_bits
from slimtrain.tabulate.tabulate import to_prior

ENDS = (4, 8, 12)
HW = (7, 6)


def random_predictor(inter: bool) -> Predictor:
    torch.manual_seed(3)
    predictor = Predictor(ENDS, 3, inter=inter)
    with torch.no_grad():
        for name, parameter in predictor.named_parameters():
            spread = 0.5 if name == "bias" else 0.03
            parameter.normal_(std=spread)
    return predictor


@pytest.fixture(scope="module")
def alone() -> Predictor:
    return random_predictor(inter=False)


@pytest.fixture(scope="module")
def difference() -> Predictor:
    return random_predictor(inter=True)


@pytest.fixture(scope="module")
def prior(alone: Predictor, difference: Predictor) -> ContextPrior:
    return to_prior(alone, difference)


def random_symbols(seed: int) -> NDArray[np.int32]:
    rng = np.random.default_rng(seed)
    drawn: NDArray[np.int32] = np.rint(rng.laplace(scale=2, size=(ENDS[-1], *HW))).astype(np.int32)
    return drawn


def as_tensor(array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))[None]


def check(
    pieces: list[Piece], table: NDArray[np.intp], mean: NDArray[np.int32], where: NDArray[np.bool_]
) -> None:
    """Tables and means (M, h, w) of the walk are those that the predictor means, but for rounding
    of the weights: a scale or an eighth more or less.
    """
    for piece in pieces:
        at = (piece.channels, piece.rows, piece.columns)
        is_coded = np.broadcast_to(where[at[1:]], table[at].shape)
        scale = np.clip(ZERO_SCALE + SCALES_PER_UNIT * piece.u[0].detach().numpy(), 0, NUM_SCALES)
        eighths = 8 * mean[at] + table[at] % 8 - 4
        assert np.abs(table[at] // 8 - scale)[is_coded].max() < 0.7
        assert np.abs(eighths - 8 * piece.mean[0].detach().numpy())[is_coded].max() < 0.7


def test_integers_choose_the_tables_that_the_predictor_means(
    alone: Predictor, prior: ContextPrior
) -> None:
    symbols, quality = random_symbols(1), 1.25
    walk = Walk(prior, quality, HW, ENDS[-1])
    values = symbols.reshape(ENDS[-1], -1).T
    table, mean = np.zeros((2, *values.shape), np.int32)
    for step in walk.steps(0, ENDS[-1]):
        channels = slice(step.chunk.start, step.chunk.end)
        table[step.places, channels], mean[step.places, channels] = walk.alone(step, step.places)
        walk.put(step, values[step.places, channels])

    pieces = list(alone(as_tensor(symbols), torch.tensor([quality])))

    shape = (ENDS[-1], *HW)
    check(pieces, table.T.reshape(shape), mean.T.reshape(shape), np.ones(HW, np.bool_))


@pytest.mark.parametrize("inter", [False, True])
def test_integers_of_inter_frames_choose_the_tables_that_the_predictors_mean(
    alone: Predictor, difference: Predictor, prior: ContextPrior, inter: bool
) -> None:
    symbols, before, quality = random_symbols(1), random_symbols(2), 1.25
    rng = np.random.default_rng(4)
    changed = rng.random(HW) < 0.5
    there = np.where(rng.random(HW) < 0.5, ENDS[-1], ENDS[1])
    before[ENDS[1] :, there == ENDS[1]] = 0
    symbols = np.where(changed, symbols, before)
    fineness = rng.integers(-16, 32, HW)  # in 1/16
    values, flat_before = (x.reshape(ENDS[-1], -1).T for x in (symbols, before))
    reference = WalkedReference(flat_before, there.ravel(), fineness.ravel() * 16, changed.ravel())
    walk = Walk(prior, quality, HW, ENDS[-1], reference)
    table, mean = np.zeros((2, *values.shape), np.int32)
    for step in walk.steps(0, ENDS[-1]):
        channels = slice(step.chunk.start, step.chunk.end)
        places = step.places[walk.has_reference(step)] if inter else step.places
        predict = walk.differing if inter else walk.alone
        table[places, channels], mean[places, channels] = predict(step, places)
        walk.put(step, values[step.places, channels])

    against = Reference(
        as_tensor(before),
        as_tensor(there)[:, None],
        as_tensor(changed)[:, None],
        as_tensor(fineness.clip(0) / 16)[:, None],
    )
    predictor = difference if inter else alone
    pieces = list(predictor(as_tensor(symbols), torch.tensor([quality]), against))

    shape = (ENDS[-1], *HW)
    table, mean = table.T.reshape(shape), mean.T.reshape(shape)
    everywhere = [p for p in pieces if p.channels.stop <= ENDS[1] or not inter]
    check(everywhere, table, mean, changed)
    check(pieces[len(everywhere) :], table, mean, changed & (there == ENDS[-1]))


def test_bits_are_those_of_the_laplace_tables() -> None:
    symbols = torch.arange(-40, 41)[:, None].expand(-1, 3)
    u, mean = torch.tensor([-1.0, 0.0, 1.5]), torch.tensor([0.0, 0.375, -0.5])

    bits = laplace_bits(symbols, u.expand(81, 3), mean.expand(81, 3))

    tables = 8 * (ZERO_SCALE + SCALES_PER_UNIT * u.long()) + (4 + 8 * mean).long()
    tables[2] = 8 * (ZERO_SCALE + 6)
    middle = laplace_weights().shape[1] // 2
    p = laplace_weights()[tables.numpy(), middle - 40 : middle + 41].T
    assert table_scales()[tables[1]] == 1.0
    likely = p > 1e-9
    assert likely.sum() > 100
    np.testing.assert_allclose(bits.numpy()[likely], -np.log2(p[likely]), rtol=1e-3)


def test_gradients_of_bits_are_their_slopes() -> None:
    rng = torch.Generator().manual_seed(0)
    symbols = torch.randint(-3, 4, (60,), generator=rng).double()
    u = (4 * torch.rand(60, generator=rng).double() - 2).requires_grad_()
    mean = (2 * torch.rand(60, generator=rng).double() - 1).requires_grad_()

    assert torch.autograd.gradcheck(lambda u, mean: laplace_bits(symbols, u, mean), (u, mean))


def test_only_channels_that_the_reference_has_are_counted(alone: Predictor) -> None:
    symbols = as_tensor(random_symbols(1))
    pieces = list(alone(symbols, torch.tensor([0.0])))
    there = torch.full((1, *HW), float(ENDS[1]))

    bits = bits_of_places(pieces, symbols, there)

    narrow = alone(symbols[:, : ENDS[1]], torch.tensor([0.0]))
    torch.testing.assert_close(bits, bits_of_places(narrow, symbols[:, : ENDS[1]]))


def test_sums_fit_whatever_was_fitted() -> None:
    wild = Predictor(ENDS, 2)
    with torch.no_grad():
        for parameter in wild.parameters():
            parameter.fill_(9.0)

    bias, weights = to_integers(wild)

    prior = Counts().made(to_prior(wild, None))
    prior.validate("wild")
    assert prior.weights.keys() == weights.keys()
    assert all(array.any() for array in weights.values())
    assert bias.dtype == np.int32


def test_chunks_end_where_levels_do() -> None:
    assert chunk_ends((32, 64, 128, 192)) == [4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192]
    assert chunk_ends((6, 20)) == [4, 6, 10, 18, 20]


def test_no_symbol_costs_nothing(prior: ContextPrior) -> None:
    zeros = np.zeros((ENDS[-1], 40, 40), np.float32)
    counts = Counts()
    for quality in (0.0, 1.0):
        counts.add_key(prior, zeros, quality)

    counted = counts.made(prior)

    assert counted.least_bits >= 0.005
    counted.validate("counted")
