"""States of which none is beaten by another: the heart of the oracle's search.

    e  when the encoder is free     L  when the link is     C  when the cloud is     U  worth so far

A state beats another if none of its times is later and it is worth no less: whatever can be made of
the other can be made of it. What is left of some 10,000 candidates is some 100 to some 1000.

Where that is still too many, those are merged that agree to within a few milliseconds in e, C and
L, in one of two ways:

    optimistic    the earliest of their times, the highest worth      -> never below the truth
    realistic     the one with the highest worth                      -> can be done, never above

Source: the Pareto labels of shortest paths with several costs; merging in cells as by
epsilon-dominance (Laumanns, Thiele, Deb and Zitzler, Evolutionary Computation 10(3), 2002).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

# How fine and how large the tables are decides the time that is taken, never the result.
_CELL_SECONDS = 0.004
_MOST_RANKS = 64  # different times of the encoder that the table keeps apart
_BLOCK = 64  # states that are compared with all others at once

# How states are merged decides what the optimistic bound gains, so it is fine at first.
_FIRST_MERGE_SECONDS = 0.0002
_MERGE_GROWTH = 1.5


class States(NamedTuple):
    """What was reached in so many ways, each (n,)."""

    encoder: Floats  # seconds
    link: Floats
    cloud: Floats
    worth: Floats
    sent_bytes: Floats  # of containers; told, but nothing is decided by it

    def take(self, which: Indices | Mask | slice) -> States:
        """Give some of them."""
        return States(*(column[which] for column in self))

    def join(self, *others: States) -> States:
        """Give these and others."""
        columns = zip(self, *others, strict=True)
        return States(*(np.concatenate(column) for column in columns))


def first_state() -> States:
    """Everything is free, nothing is gained yet."""
    return States(*(np.zeros(1) for _ in States._fields))


def drop_beaten(states: States) -> States:
    """Keep the states that no other one beats; of equal ones, one."""
    left = _drop_surely_beaten(states)
    left = left.take(np.lexsort((left.cloud, left.link, left.encoder, -left.worth)))
    kept = left.take(slice(0))
    while len(left.worth):
        # What stands further down is worth no more: it beats none of these.
        block, left = left.take(slice(_BLOCK)), left.take(slice(_BLOCK, None))
        beaten = np.triu(_is_no_later(block, block), 1).any(axis=0)
        block = block.take(~beaten)
        left = left.take(~_is_no_later(block, left).any(axis=0))
        kept = kept.join(block)
    return kept


def merge(states: States, max_states: int, *, optimistic: bool) -> States:
    """Merge states that are close, and then less close, until no more than so many are left."""
    seconds = _FIRST_MERGE_SECONDS
    while len(states.worth) > max_states:
        states = _merge_cells(states, seconds, optimistic=optimistic)
        seconds *= _MERGE_GROWTH
    return states


def _drop_surely_beaten(states: States) -> States:
    """Drop those whose cell of a table lies behind a cell that is worth as much: most of them."""
    encoder, no_later = _ranks(states.encoder)
    cloud, link = _cells(states.cloud, _CELL_SECONDS), _cells(states.link, _CELL_SECONDS)
    shape = tuple(int(cell.max()) + 1 for cell in (encoder, cloud, link))
    highest = np.full(shape, -np.inf)
    own = np.ravel_multi_index((encoder, cloud, link), shape)
    np.maximum.at(highest.reshape(-1), own, states.worth)
    for axis in range(3):
        np.maximum.accumulate(highest, axis=axis, out=highest)
    # A lower cell holds only earlier times, and cell 0 of a grid but one time.
    rival = highest[no_later, np.maximum(cloud - 1, 0), np.maximum(link - 1, 0)]
    is_own = (no_later == encoder) & (cloud == 0) & (link == 0)
    before = np.where(encoder > 0, highest[encoder - 1, 0, 0], -np.inf)
    return states.take(states.worth > np.where(is_own, before, rival))


def _ranks(times: Floats) -> tuple[Indices, Indices]:
    """Cells for times of which few differ, and for each cell the one that is surely no later."""
    values, rank = np.unique(times, return_inverse=True)
    if len(values) <= _MOST_RANKS:
        return rank, rank
    cell = _cells(times, (values[-1] - values[0]) / _MOST_RANKS)
    return cell, np.maximum(cell - 1, 0)


def _cells(times: Floats, seconds: float) -> Indices:
    """Number times by cells of a grid; 0 holds only the very earliest one."""
    after = times - times.min()
    return np.where(after == 0, 0, np.floor(after / seconds) + 1).astype(np.intp)


def _is_no_later(first: States, second: States) -> Mask:
    """(n, m): whether all times of one of the first are at or before those of the second."""
    no_later: Mask = first.link[:, None] <= second.link
    no_later &= first.cloud[:, None] <= second.cloud
    no_later &= first.encoder[:, None] <= second.encoder
    return no_later


def _merge_cells(states: States, seconds: float, *, optimistic: bool) -> States:
    times = (states.encoder, states.link, states.cloud)
    cells = [((column - column.min()) // seconds).astype(np.intp) for column in times]
    cell = np.ravel_multi_index(cells, [int(column.max()) + 1 for column in cells])
    order = np.lexsort((-states.worth, cell))
    begin = np.flatnonzero(np.diff(cell[order], prepend=-1))
    best = states.take(order[begin])
    if not optimistic:
        return best
    encoder, link, cloud = (np.minimum.reduceat(column[order], begin) for column in times)
    return States(encoder, link, cloud, best.worth, best.sent_bytes)
