"""One computation per key, and a budget in bytes."""

import asyncio
from collections import Counter

import pytest

from slimcloud.review.pictures.single_flight import CacheResult, SingleFlightCache


class Kitchen:
    """Computes values and counts how often; `gate` holds computations back."""

    def __init__(self) -> None:
        self.computed: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.gate.set()

    async def cook(self, key: str, size: int = 10) -> bytes:
        self.computed[key] += 1
        await self.gate.wait()
        return key[:1].encode() * size


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def results() -> list[CacheResult]:
    return []


@pytest.fixture
def cache(results: list[CacheResult]) -> SingleFlightCache[str, bytes]:
    return SingleFlightCache(30, len, results.append)


async def test_concurrent_callers_share_one_computation(
    kitchen: Kitchen, cache: SingleFlightCache[str, bytes], results: list[CacheResult]
) -> None:
    values = await asyncio.gather(*(cache.get("a", lambda: kitchen.cook("a")) for _ in range(5)))

    assert set(values) == {b"a" * 10}
    assert kitchen.computed["a"] == 1
    assert results == ["miss", "joined", "joined", "joined", "joined"]


async def test_a_kept_value_is_not_computed_again(
    kitchen: Kitchen, cache: SingleFlightCache[str, bytes], results: list[CacheResult]
) -> None:
    for _ in range(2):
        await cache.get("a", lambda: kitchen.cook("a"))

    assert kitchen.computed["a"] == 1
    assert results == ["miss", "hit"]


async def test_the_least_recently_used_value_is_forgotten_when_the_budget_is_spent(
    kitchen: Kitchen, cache: SingleFlightCache[str, bytes]
) -> None:
    for key in "abcad":  # a is used again before d needs room
        await cache.get(key, lambda key=key: kitchen.cook(key))  # type: ignore[misc]

    await cache.get("a", lambda: kitchen.cook("a"))
    await cache.get("b", lambda: kitchen.cook("b"))

    assert kitchen.computed == {"a": 1, "b": 2, "c": 1, "d": 1}


async def test_a_value_beyond_the_whole_budget_is_given_and_not_kept(
    kitchen: Kitchen, cache: SingleFlightCache[str, bytes]
) -> None:
    value = await cache.get("big", lambda: kitchen.cook("big", size=31))

    assert len(value) == 31
    await cache.get("big", lambda: kitchen.cook("big", size=31))
    assert kitchen.computed["big"] == 2


async def test_a_failure_reaches_every_caller_and_is_not_kept(
    cache: SingleFlightCache[str, bytes], kitchen: Kitchen
) -> None:
    async def burn() -> bytes:
        raise OSError("burnt")

    failures = await asyncio.gather(
        cache.get("a", burn), cache.get("a", burn), return_exceptions=True
    )

    assert [type(failure) for failure in failures] == [OSError, OSError]
    assert await cache.get("a", lambda: kitchen.cook("a")) == b"a" * 10


async def test_a_caller_that_leaves_does_not_take_the_value_from_the_others(
    kitchen: Kitchen, cache: SingleFlightCache[str, bytes]
) -> None:
    kitchen.gate.clear()
    leaver = asyncio.create_task(cache.get("a", lambda: kitchen.cook("a")))
    stayer = asyncio.create_task(cache.get("a", lambda: kitchen.cook("a")))
    while not kitchen.computed["a"]:
        await asyncio.sleep(0)

    leaver.cancel()
    kitchen.gate.set()

    assert await stayer == b"a" * 10
    assert kitchen.computed["a"] == 1
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_a_value_that_nobody_waits_for_is_not_computed_to_its_end(
    kitchen: Kitchen, cache: SingleFlightCache[str, bytes], results: list[CacheResult]
) -> None:
    kitchen.gate.clear()
    leavers = [asyncio.create_task(cache.get("a", lambda: kitchen.cook("a"))) for _ in range(2)]
    while not kitchen.computed["a"]:
        await asyncio.sleep(0)

    for leaver in leavers:
        leaver.cancel()
    await asyncio.gather(*leavers, return_exceptions=True)
    kitchen.gate.set()

    assert await cache.get("a", lambda: kitchen.cook("a")) == b"a" * 10
    assert results == ["miss", "joined", "miss"]
