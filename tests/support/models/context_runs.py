"""Ways of computing the tables and means of one context prior that must agree to the last symbol:
for the integers that are stored, and for weights that are left as floats.

    python -m support.models.context_runs SEED RUN FRACTION FILE
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.context.prior import NUM_SCALES, Chunk, ContextPrior
from slimcodec.context.walk import Reference, Step, Walk
from support.models.toy_context import toy_context

ENDS = (4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192)  # the chunks of slim
QUALITIES = 6
HW = (80, 104)  # of each frame's latent
INTRA, INTER = 5, 2  # frames
NUM_TABLES = 8 * NUM_SCALES


@dataclass(frozen=True)
class Run:
    """How to compute."""

    threads: int = 1
    kernels: str = ""  # of a processor, by OpenBLAS's name; its own
    dtype: str = "float32"
    order: str = "C"  # of the weights
    piece: int = 1 << 20  # places at a time
    backwards: bool = False  # the places of a step


RUNS: dict[str, Run] = {
    "1 thread": Run(),
    "2 threads": Run(threads=2),
    "100 places at a time": Run(piece=100),
    "1,000 places at a time, from the end": Run(piece=1000, backwards=True),
    "weights column by column": Run(order="F"),
    "float64": Run(dtype="float64"),
    "kernels of Nehalem (SSE)": Run(kernels="Nehalem"),
    "kernels of Sandy Bridge (AVX)": Run(kernels="Sandybridge"),
    "kernels of Haswell (FMA)": Run(kernels="Haswell", threads=2),
}
REFERENCE = "1 thread"
FRACTION = 1e-3  # of a weight, at most, by which a float is no integer


@dataclass(frozen=True, eq=False)
class _Varied(ContextPrior):
    """A prior whose weights are carried in another way."""

    run: Run = Run()
    fraction: float = 0.0

    def mixed(
        self, chunk: Chunk, number: int, channels: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        weights, of_fineness = super().mixed(chunk, number, channels)
        return self._varied(weights), self._varied(of_fineness)

    def widened(self, kind: str, chunk: Chunk, number: int, channels: int) -> NDArray[np.float32]:
        return self._varied(super().widened(kind, chunk, number, channels))

    def _varied(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.fraction:
            waves = np.sin(np.arange(weights.size, dtype=np.float64)).reshape(weights.shape)
            weights = (weights * (1 + self.fraction * waves)).astype(np.float32)
        varied: NDArray[np.float32] = weights.astype(self.run.dtype, order=self.run.order)  # type: ignore[call-overload]  # a name
        return varied


def make_prior(seed: int) -> ContextPrior:
    """Random weights whose sums fill most of 24 bits, and tables of all scales."""
    random = np.random.default_rng(seed)
    toy, weights = toy_context(ENDS, QUALITIES), {}
    for name, array in toy.weights.items():
        inputs, is_mean = len(array), "mean" in name
        deviation = 10_000 / inputs if is_mean else 2200 / inputs**0.5
        drawn = np.rint(random.normal(0, deviation, array.shape))
        weights[name] = np.clip(drawn, -300, 300).astype(np.int16)
    bias = random.integers(40_000, 120_000, (2, *toy.bias.shape)).astype(np.int32)
    prior = replace(toy, weights=weights, bias=bias[0], inter_bias=bias[1])
    prior.validate("random")
    return prior


def make_frames(seed: int) -> Iterator[tuple[NDArray[np.int32], Reference | None, float]]:
    """Symbols (h * w, M) with long tails, references and qualities of frames."""
    random, size = np.random.default_rng(seed), HW[0] * HW[1]
    deviation = 6 / (1 + np.arange(ENDS[-1]) / 24)
    for number in range(INTRA + INTER):
        tails = random.choice((1, 1, 1, 20), (size, 1))
        symbols = np.rint(random.laplace(0, deviation, (size, ENDS[-1])) * tails).astype(np.int32)
        reference = None
        if number >= INTRA:
            other = symbols + np.rint(random.laplace(0, 1, symbols.shape)).astype(np.int32)
            channels = random.choice(ENDS[2:], size)
            fineness = random.integers(-500, 1500, size)
            reference = Reference(other, channels, fineness, random.random(size) < 0.6)
        yield symbols, reference, number * 205 / 256


def predict(
    seed: int, run: Run, fraction: float = 0.0, frames: int | None = None
) -> NDArray[np.int32]:
    """Return table + 384 * mean of each symbol, alone and as a difference, one after another.

    Args:
        fraction: of a weight, by which it is no integer.
        frames: only so many; None: all.
    """
    prior = make_prior(seed)
    stored = {field.name: getattr(prior, field.name) for field in fields(prior)}
    varied, found = _Varied(**stored, run=run, fraction=fraction), []
    for symbols, reference, quality in islice(make_frames(seed), frames):
        walk = Walk(varied, quality, HW, ENDS[-1], reference)
        for step in walk.steps(0, ENDS[-1]):
            found.append(_predict(walk, step, step.places, run, "alone"))
            there = step.places[walk.has_reference(step)]
            if len(there):
                found.append(_predict(walk, step, there, run, "differing"))
            walk.put(step, symbols[step.places, step.chunk.start : step.chunk.end])
    return np.concatenate(found)


def run_apart(seed: int, name: str, fraction: float = 0.0) -> NDArray[np.int32]:
    """Return what a run predicts, in a process of its own, for OpenBLAS reads its settings once."""
    run = RUNS[name]
    settings = {"OPENBLAS_NUM_THREADS": str(run.threads)}
    if run.kernels:
        settings["OPENBLAS_CORETYPE"] = run.kernels
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.npy"
        command = [sys.executable, "-m", __spec__.name, str(seed), name, str(fraction), str(out)]
        environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, check=True, env=environment)
        loaded: NDArray[np.int32] = np.load(out)
        return loaded


def _predict(
    walk: Walk, step: Step, places: NDArray[np.intp], run: Run, kind: str
) -> NDArray[np.int32]:
    order = places[::-1] if run.backwards else places
    parts = []
    for start in range(0, len(order), run.piece):
        index, mean = getattr(walk, kind)(step, order[start : start + run.piece])
        parts.append((index + NUM_TABLES * mean).astype(np.int32))
    together = np.concatenate(parts)
    ordered: NDArray[np.int32] = together[::-1] if run.backwards else together
    return ordered.ravel()


if __name__ == "__main__":
    _, _seed, _name, _fraction, _out = sys.argv
    np.save(_out, predict(int(_seed), RUNS[_name], float(_fraction)))
