"""Simulated cameras: frames against what both sides hold, and crops of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from slimtrain.tabulate.frames import Camera, InterFrame, crop

GAIN = np.repeat(np.array([[1.0], [1.7], [2.9]], np.float32), 8, axis=1)
WIDTHS = (4, 8)


def moving_latents() -> NDArray[np.float32]:
    """A still scene with a little noise, in which one column of places moves."""
    rng = np.random.default_rng(5)
    scene = rng.normal(scale=6, size=(8, 10, 12)).astype(np.float32)
    latents = scene + rng.normal(scale=0.05, size=(12, *scene.shape)).astype(np.float32)
    for time, latent in enumerate(latents):
        latent[:, :, time] += 9
    return latents


@pytest.fixture(scope="module")
def frames() -> list[InterFrame]:
    camera = Camera(moving_latents(), GAIN, WIDTHS)
    drawn = (camera.sequence(np.random.default_rng(seed)) for seed in range(20))
    return [frame for sequence in drawn for frame in sequence]


def test_places_that_did_not_change_hold_the_reference(frames: list[InterFrame]) -> None:
    for frame in frames:
        still = ~frame.changed
        np.testing.assert_array_equal(frame.symbols[:, still], frame.reference[:, still])


def test_what_a_reference_lacks_is_zero_in_it(frames: list[InterFrame]) -> None:
    lacking = 0
    for frame in frames:
        beyond = np.arange(len(frame.symbols))[:, None, None] >= frame.there
        assert not frame.reference[beyond].any()
        lacking += beyond.sum()
    assert lacking


def test_levels_qualities_and_refinements_are_among_them(frames: list[InterFrame]) -> None:
    assert {len(frame.symbols) for frame in frames} == set(WIDTHS)
    assert any((frame.fineness > 0).any() for frame in frames)
    assert any((frame.fineness < 0).any() for frame in frames)
    share = np.mean([frame.changed.mean() for frame in frames])
    assert 0.05 < share < 0.6


def test_draws_decide_a_sequence() -> None:
    camera = Camera(moving_latents(), GAIN, WIDTHS)
    first, second = (list(camera.sequence(np.random.default_rng(2))) for _ in range(2))
    assert [frame.quality for frame in first] == [frame.quality for frame in second]
    np.testing.assert_array_equal(first[-1].symbols, second[-1].symbols)


def test_a_crop_has_a_changed_place_on_the_same_lattice(frames: list[InterFrame]) -> None:
    rng = np.random.default_rng(0)
    for frame in frames:
        if not frame.changed.any():
            continue
        cut = crop(frame, 6, rng)
        assert cut.symbols.shape[1:] == cut.changed.shape == (6, 6)
        assert cut.changed.any()
        corners = [
            (row, column)
            for row in range(0, 10 - 5, 2)
            for column in range(0, 12 - 5, 2)
            if (frame.symbols[:, row : row + 6, column : column + 6] == cut.symbols).all()
        ]
        assert corners


def test_a_crop_is_filled_up_with_still_zeros(frames: list[InterFrame]) -> None:
    frame = next(frame for frame in frames if frame.changed.any())

    cut = crop(frame, 16, np.random.default_rng(0))

    assert cut.symbols.shape[1:] == (16, 16)
    np.testing.assert_array_equal(cut.symbols[:, :10, :12], frame.symbols)
    assert not cut.symbols[:, 10:].any()
    assert not cut.changed[:, 12:].any()
