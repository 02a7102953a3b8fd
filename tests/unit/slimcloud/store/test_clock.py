"""Whatever is done to a wall clock, nothing grows old by it."""

from redis.asyncio import Redis

from slimcloud.store import keys
from slimcloud.store.clock import StoreClock
from slimcloud.store.frames import Store
from support.cloud.frames import make_frame

HOUR_US = 3600 * 10**6


async def set_clock(client: Redis, by_us: int) -> None:
    """As if Redis' wall clock had been set: what was read before lies so far from it now."""
    await client.hincrby(keys.CLOCK, "wall_us", -by_us)


async def read(client: Redis) -> int:
    clock = StoreClock(client)
    await clock.read()
    return clock()


async def test_clock_goes_on_as_time_does(client: Redis) -> None:
    first = await read(client)
    await set_clock(client, 5_000_000)  # or five seconds have passed

    assert 5_000_000 <= await read(client) - first < 20_000_000


async def test_step_of_the_wall_clock_moves_it_nowhere(client: Redis) -> None:
    first = await read(client)
    for hours in (25, -25, 4 * 24, -365 * 24):
        await set_clock(client, hours * HOUR_US)

        assert abs(await read(client) - first) < 20_000_000


async def test_processes_agree(client: Redis) -> None:
    clocks = [StoreClock(client) for _ in range(2)]
    await set_clock(client, 0)
    for clock in clocks:
        await clock.read()

    assert abs(clocks[0]() - clocks[1]()) < 10_000_000


async def test_it_goes_on_where_redis_is_full(client: Redis) -> None:
    first = await read(client)
    await set_clock(client, 50_000_000)
    await client.config_set("maxmemory", 1)
    try:
        later = await read(client)
    finally:
        await client.config_set("maxmemory", 0)

    assert 50_000_000 <= later - first < 70_000_000
    assert abs(await read(client) - later) < 20_000_000


async def test_step_of_a_day_and_an_hour_removes_no_frame(client: Redis) -> None:
    clock = StoreClock(client)
    await clock.read()
    store = Store(client, retention_seconds=24 * 3600, clock=clock)
    for sequence in (1, 2):
        record, container = make_frame(sequence)
        await store.put_frame(record.model_copy(update={"stored_us": clock()}), container)

    for hours in (25, -25, 25):
        await set_clock(client, hours * HOUR_US)
        await clock.read()

        assert await store.retention.sweep() == 0

    assert len((await store.index.page()).records) == 2
