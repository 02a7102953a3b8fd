from __future__ import annotations

import pytest
from redis.asyncio import Redis

from slimcloud.errors import RulesReplacedError
from slimcloud.store import keys
from slimcloud.store.cameras.rules import StoredRules
from slimcloud.store.feed import FeedKind
from slimcloud.store.frames import Store
from slimcloud.zones.rules import CameraRules, Selection

PERSONS = CameraRules(report=Selection(labels=("person",)))


async def test_rules_are_replaced_as_a_whole_and_the_feed_tells(store: Store) -> None:
    versions = [await store.rules.put("gate", rules) for rules in (PERSONS, CameraRules())]

    entries = await store.feed.read("0-0")

    assert versions == [1, 2]
    assert await store.rules.get("gate") == StoredRules(CameraRules(), 2)
    assert [(entry.kind, entry.camera_id, entry.detail) for entry in entries] == [
        (FeedKind.RULES_CHANGED, "gate", "1"),
        (FeedKind.RULES_CHANGED, "gate", "2"),
    ]
    assert await store.rules.get("hall") == StoredRules()


async def test_same_rules_again_change_nothing(store: Store) -> None:
    for _ in range(2):
        await store.rules.put_file({"gate": PERSONS})

    assert await store.rules.get("gate") == StoredRules(PERSONS, 1)
    assert len(await store.feed.read("0-0")) == 1


async def test_of_two_who_change_the_same_rules_one_is_told(store: Store) -> None:
    await store.rules.put("gate", PERSONS, replaces=0)

    with pytest.raises(RulesReplacedError, match="version 1; read them again"):
        await store.rules.put("gate", CameraRules(), replaces=0)

    assert await store.rules.get("gate") == StoredRules(PERSONS, 1)


async def test_camera_that_the_file_no_longer_names_keeps_its_rules(store: Store) -> None:
    await store.rules.put_file({"gate": PERSONS})
    named = store.rules.fixed

    await store.rules.put_file({})

    assert (list(named), list(store.rules.fixed)) == (["gate"], [])
    assert (await store.rules.get("gate")).rules == PERSONS


async def test_rules_of_a_newer_build_are_read(store: Store, client: Redis) -> None:
    newer = '{"report": {"labels": ["person"], "colour": "red"}, "moods": []}'
    await client.hset(f"{keys.RULES}gate", mapping={"rules": newer, "version": 7})

    assert await store.rules.get("gate") == StoredRules(PERSONS, 7)
