"""What is counted makes what is coded shorter."""

from __future__ import annotations

import numpy as np
import pytest

from slimcodec.container import Container, pack_container
from slimcodec.context.coder import ContextCoder
from slimcodec.context.flags import encode_flags
from slimcodec.context.prior import ContextPrior
from slimtrain.tabulate.count import Counts
from slimtrain.tabulate.frames import Camera, InterFrame
from slimtrain.tabulate.predictor import Predictor
from slimtrain.tabulate.tabulate import to_prior
from support.models.toy_artifact import make_tables

GAIN = make_tables(np.random.default_rng(0), 8).gain
LATENTS = np.random.default_rng(5).laplace(scale=1.0, size=(8, 8, 16, 20)).astype(np.float32)


@pytest.fixture(scope="module")
def prior() -> ContextPrior:
    predictors = (Predictor((4, 8), len(GAIN), inter=inter) for inter in (False, True))
    return Counts().made(to_prior(*predictors))


@pytest.fixture(scope="module")
def frames() -> list[InterFrame]:
    """A block that moves over a scene."""
    latents = np.repeat(LATENTS[:1], 8, axis=0)
    for time in range(8):
        latents[time, :, 4:9, 2 * time : 2 * time + 5] += 9
    camera = Camera(latents, GAIN, (8,))
    drawn = (camera.sequence(np.random.default_rng(seed)) for seed in range(4))
    return [frame for sequence in drawn for frame in sequence if frame.changed.any()]


def test_counted_tables_shorten_pictures(prior: ContextPrior) -> None:
    counts = Counts()
    for y in LATENTS[:-1]:
        counts.add_key(prior, np.rint(y * GAIN[2][:, None, None]), 2.0)

    sizes = []
    for each in (prior, counts.made(prior)):
        coder = ContextCoder(each, GAIN, (8,))
        frame = Container(bytes(8), 0, 2.0, (256, 320), 0, (), prior="context")
        coded, _ = coder.encode(LATENTS[-1] * GAIN[2][:, None, None], frame)
        sizes.append(len(pack_container(coded)))

    assert sizes[1] < 0.9 * sizes[0]


def test_counted_flags_and_modes_shorten_frames(
    prior: ContextPrior, frames: list[InterFrame]
) -> None:
    counts = Counts()
    for frame in frames:
        counts.add_flags(frame)
        counts.add_inter(prior, frame)

    counted = counts.made(prior)

    assert counts.alone.sum() == sum(frame.changed.sum() for frame in frames)
    assert counts.changed.sum() == sum(frame.changed.size for frame in frames)
    sizes = [
        sum(
            len(encode_flags(each, f.changed, np.zeros_like(f.changed), f.before, f.fineness > 0))
            for f in frames
        )
        for each in (prior, counted)
    ]
    assert sizes[1] < 0.9 * sizes[0]
