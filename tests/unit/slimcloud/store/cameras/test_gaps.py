from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from redis.asyncio import Redis

from slimcloud.store import keys
from slimcloud.store.cameras.gaps import GapLog, GapRecord
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store

GAP = GapRecord(
    camera_id="gate",
    epoch=7,
    gap_number=1,
    from_unix_us=1_000,
    to_unix_us=2_000,
    reason="spool_full",
    dropped_frames=12,
    dropped_bytes=34_000,
    detail="an hour without a link",
    first_sequence=5,
    last_sequence=16,
)


async def test_gap_comes_back_as_it_was_told(store: Store) -> None:
    await store.gaps.put(GAP)

    assert await store.gaps.list("gate") == [GAP]
    assert await store.gaps.list() == [GAP]
    assert await store.gaps.list("yard") == []


async def test_gap_that_is_told_again_counts_once(store: Store) -> None:
    assert await store.gaps.put(GAP)
    assert not await store.gaps.put(GAP)
    assert await store.gaps.put(replace(GAP, to_unix_us=3_000, dropped_frames=20))

    (gap,) = await store.gaps.list("gate")
    events = await store.feed.read("0-0")

    assert (gap.to_unix_us, gap.dropped_frames) == (3_000, 20)
    assert [event.kind for event in events] == [FeedKind.GAP_STORED] * 2
    assert events[0].detail == GAP.name == "gate:0000000000000007:1"


async def test_gaps_are_listed_by_overlap_the_latest_first(store: Store) -> None:
    for number, camera_id in ((1, "gate"), (2, "gate"), (3, "yard")):
        begin = 10_000 * number
        gap = replace(GAP, camera_id=camera_id, gap_number=number)
        await store.gaps.put(replace(gap, from_unix_us=begin, to_unix_us=begin + 5_000))

    assert _numbers(await store.gaps.list()) == [3, 2, 1]
    assert _numbers(await store.gaps.list(limit=2)) == [3, 2]
    assert _numbers(await store.gaps.list(from_unix_us=14_999, to_unix_us=20_001)) == [2, 1]
    assert _numbers(await store.gaps.list(from_unix_us=15_001, to_unix_us=20_000)) == []
    assert _numbers(await store.gaps.list("gate")) == [2, 1]


async def test_clock_that_was_set_back_is_a_gap_of_the_time_between(store: Store) -> None:
    await store.gaps.put(replace(GAP, reason="clock", from_unix_us=9_000, to_unix_us=4_000))

    assert len(await store.gaps.list(from_unix_us=8_000, to_unix_us=8_001)) == 1


async def test_oldest_gaps_of_a_camera_go_when_there_are_too_many(
    client: Redis,
) -> None:
    log = GapLog(client, max_per_camera=2)

    for number in (1, 2, 3):
        await log.put(replace(GAP, gap_number=number, to_unix_us=2_000 + number))

    assert _numbers(await log.list()) == [3, 2]
    assert await client.hlen(keys.GAP_RECORDS) == 2


def _numbers(gaps: Sequence[GapRecord]) -> list[int]:
    return [gap.gap_number for gap in gaps]
