"""The steps in C do what numpy does, to the byte, and numpy is there where they are not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slimcodec.context import compiled
from slimcodec.context.compiled import CompiledSteps, find_steps
from slimcodec.context.prior import ContextPrior
from slimcodec.context.steps import Given, NumpySteps, Steps
from slimcodec.context.walk import Reference
from slimcodec.errors import DamagedContainerError
from support.build_hook import HAS_COMPILER, ROOT, load_build_hook
from support.models import context_runs
from support.models.toy_context import toy_context

ENDS = (2, 4, 6)

needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="no C compiler")


def both(prior: ContextPrior) -> tuple[NumpySteps, CompiledSteps]:
    library = compiled.load_library(compiled.LIBRARY)
    assert library is not None
    return NumpySteps(prior), CompiledSteps(prior, library)


def frames(seed: int) -> Iterator[tuple[Given, NDArray[np.int32]]]:
    """An intra and an inter frame of any small size, with escapes and all levels of a reference."""
    random = np.random.default_rng(seed)
    hw = (int(random.integers(1, 7)), int(random.integers(1, 7)))
    size = hw[0] * hw[1]
    symbols = np.rint(random.laplace(0, random.choice((0.3, 3, 3000)), (size, ENDS[-1])))
    symbols = np.clip(symbols, -32_767, 32_767).astype(np.int32)
    quality = int(random.integers(0, 513)) / 256
    yield Given(quality, hw), symbols
    there = random.choice((0, *ENDS), size)
    other = symbols + random.integers(-2, 3, symbols.shape).astype(np.int32)
    other[np.arange(ENDS[-1]) >= there[:, np.newaxis]] = 0
    changed = random.random(size) < random.random()
    reference = Reference(other, there, random.integers(-512, 4096, size), changed)
    yield Given(quality, hw, reference), np.where(changed[:, np.newaxis], symbols, other)


def result(steps: Steps, given: Given, alone: NDArray[np.bool_], data: list[bytes]) -> object:
    """The bytes of decoded symbols, or that they are damaged."""
    try:
        return steps.decode(given, alone, ENDS, data).tobytes()
    except DamagedContainerError:
        return DamagedContainerError


@needs_compiler
@given(seed=st.integers(0, 10_000), start=st.sampled_from((0, *ENDS[:-1])))
@settings(deadline=None, max_examples=60)
def test_frames_become_the_same_bytes(seed: int, start: int) -> None:
    pure, fast = both(toy_context())
    ends = ENDS[(0, *ENDS).index(start) :]
    for given_, symbols in frames(seed):
        alone = pure.choose(given_, symbols)

        np.testing.assert_array_equal(fast.choose(given_, symbols), alone)
        data = pure.encode(given_, symbols, alone, start, ends)
        assert fast.encode(given_, symbols, alone, start, ends) == data
        if start == 0:
            np.testing.assert_array_equal(fast.decode(given_, alone, ENDS, data), symbols)


@needs_compiler
@given(
    seed=st.integers(0, 10_000),
    position=st.integers(0, 1000),
    flip=st.integers(1, 255),
    foreign=st.none() | st.binary(max_size=40),
)
@settings(deadline=None, max_examples=150)
def test_damage_is_damage_to_both(
    seed: int, position: int, flip: int, foreign: bytes | None
) -> None:
    pure, fast = both(toy_context())
    for given_, symbols in frames(seed):
        alone = pure.choose(given_, symbols)
        data = pure.encode(given_, symbols, alone, 0, ENDS)
        damaged = bytearray(data[position % 3]) or bytearray(1)
        damaged[position // 3 % len(damaged)] ^= flip
        data[position % 3] = bytes(damaged) if foreign is None else foreign

        assert result(fast, given_, alone, data) == result(pure, given_, alone, data)


@needs_compiler
@given(seed=st.integers(0, 10_000), foreign=st.binary(max_size=12))
@settings(deadline=None, max_examples=60)
def test_flags_become_the_same_bytes(seed: int, foreign: bytes) -> None:
    pure, fast = both(toy_context())
    random = np.random.default_rng(seed)
    size = random.integers(1, 9, 2)
    changed, alone, before, finer = random.random((4, *size)) < random.random((4, 1, 1))
    alone &= changed

    data = pure.encode_flags(changed, alone, before, finer)

    assert fast.encode_flags(changed, alone, before, finer) == data
    np.testing.assert_array_equal(fast.decode_flags(data, before, finer), (changed, alone))
    found = []
    for steps in (pure, fast):
        try:
            found.append(np.stack(steps.decode_flags(foreign, before, finer)).tobytes())
        except DamagedContainerError:
            found.append(b"damaged")
    assert found[0] == found[1]


@needs_compiler
@pytest.mark.slow
def test_ten_million_symbols_become_the_same_bytes() -> None:
    pure, fast = both(context_runs.make_prior(5))
    count = 0
    for symbols, reference, quality in context_runs.make_frames(5):
        if reference is not None:
            has = np.arange(symbols.shape[1]) < reference.there[:, np.newaxis]
            reference = replace(reference, symbols=np.where(has, reference.symbols, 0))
        given_ = Given(quality, context_runs.HW, reference)
        alone = fast.choose(given_, symbols)

        data = fast.encode(given_, symbols, alone, 0, context_runs.ENDS)

        assert pure.encode(given_, symbols, alone, 0, context_runs.ENDS) == data
        read = fast.decode(given_, alone, context_runs.ENDS, data)
        coded = slice(None) if reference is None else reference.changed
        np.testing.assert_array_equal(read[coded], symbols[coded])
        count += symbols[coded].size
    assert count >= 9 * 10**6


@needs_compiler
def test_the_setting_chooses_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(find_steps(toy_context()), CompiledSteps)

    monkeypatch.setenv(compiled.PURE, "1")

    assert isinstance(find_steps(toy_context()), NumpySteps)


def test_without_a_compiler_numpy_takes_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "steps.lib"
    library.write_text("of another machine")
    monkeypatch.setattr(compiled, "LIBRARY", library)
    assert isinstance(find_steps(toy_context()), NumpySteps)
    monkeypatch.setenv("CC", "no-such-compiler")

    why = load_build_hook().compile_steps(ROOT, library)

    assert "no-such-compiler" in why
    assert not list(tmp_path.iterdir())


@needs_compiler
def test_a_library_of_another_source_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, source = tmp_path / "steps.lib", tmp_path / "steps.c"
    assert not load_build_hook().compile_steps(ROOT, library)
    source.write_bytes(compiled.SOURCE.read_bytes() + b"\n")
    monkeypatch.setattr(compiled, "LIBRARY", library)
    monkeypatch.setattr(compiled, "SOURCE", source)

    assert isinstance(find_steps(toy_context()), NumpySteps)


@needs_compiler
def test_source_that_does_not_compile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "cc -include no-such-header.h")

    assert "no-such-header.h" in load_build_hook().compile_steps(ROOT, tmp_path / "steps.lib")
