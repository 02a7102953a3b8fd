"""What a file says is taken up while the process runs, and a broken one changes nothing."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError

from slimcloud.followed_file import follow_file


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimcloud.followed_file._LOOK_SECONDS", 0.001)


async def test_new_content_is_taken_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, taken, told = tmp_path / "number", asyncio.Queue[int](), list[bool]()
    path.write_text("1")
    following = asyncio.create_task(follow_file(path, int, 1, taken.put, told.append))

    path.write_text("one")
    with caplog.at_level(logging.WARNING):
        while not caplog.records:
            await asyncio.sleep(0)
    path.write_text("2")
    changed = await taken.get()
    following.cancel()

    assert changed == 2
    assert taken.empty()
    assert len(caplog.records) == 1
    assert (told[0], told[-1]) == (True, False)


async def test_what_the_store_could_not_take_is_tried_again(tmp_path: Path) -> None:
    path, tries = tmp_path / "number", asyncio.Queue[int]()
    path.write_text("2")

    async def take(number: int) -> None:
        tries.put_nowait(number)
        if tries.qsize() == 1:
            raise ConnectionError("gone")

    following = asyncio.create_task(follow_file(path, int, 1, take, lambda _: None))
    while tries.qsize() < 2:
        await asyncio.sleep(0)
    following.cancel()

    assert [tries.get_nowait(), tries.get_nowait()] == [2, 2]
