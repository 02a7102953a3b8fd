from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from slimcloud.store import scripts
from slimcloud.store.lua import Script
from slimcloud.store.stored_frame import CONTAINER, QUEUE_FIELDS, StoredFrame
from slimcloud.store.work import scripts as work_scripts
from support.cloud.frames import make_frame

FIELDS = {*StoredFrame.names(), CONTAINER, *QUEUE_FIELDS}
_CALL = re.compile(r"redis\.call\('(H\w+)', (?:frame|FRAME \.\. \w+),\s*(.*?)\)", re.DOTALL)
_NAME = re.compile(r"'(\w+)'")


def test_frame_is_read_as_it_was_written() -> None:
    frame = make_frame(1, lane="backfill").record.model_copy(
        update={"presence": 0.25, "reason": "", "link_bytes_per_second": 7}
    )
    written = frame.written()
    stored = dict(zip(written[::2], written[1::2], strict=True))

    read = StoredFrame.read(frame.frame_id, [stored.get(name) for name in StoredFrame.names()])

    assert read == frame
    assert "comments_count" not in stored


def test_frame_that_is_not_there_is_none() -> None:
    values = [None] * len(StoredFrame.names())

    assert StoredFrame.read(make_frame(1).frame_id, values) is None


def test_frame_outside_its_bounds_is_refused() -> None:
    frame = make_frame(1).record

    with pytest.raises(ValidationError, match="image_height"):
        StoredFrame.model_validate({**dict(frame), "image_height": 0})


@pytest.mark.parametrize(
    "text",
    [
        work_scripts.QUEUE,
        *(
            script.text.removeprefix(work_scripts.QUEUE)
            for module in (scripts, work_scripts)
            for script in vars(module).values()
            if isinstance(script, Script)
        ),
    ],
)
def test_scripts_name_fields_of_the_frame_only(text: str) -> None:
    assert set(_names(text)) <= FIELDS


def test_every_field_that_scripts_write_is_found_by_this_test() -> None:
    everything = [
        work_scripts.QUEUE,
        *(
            script.text
            for module in (scripts, work_scripts)
            for script in vars(module).values()
            if isinstance(script, Script)
        ),
    ]

    found = {name for text in everything for name in _names(text)}

    assert found >= {*QUEUE_FIELDS, "state", "label_scores", "presence", "mark"}


async def test_script_wants_every_name_and_no_other(client: Redis) -> None:
    add = Script(
        "return redis.call('INCRBY', counter, by) + #rest", keys="counter", args="by", more="rest"
    ).on(client)

    assert await add("x", "y", counter="c", by=5) == 7
    for wrong in ({"counter": "c"}, {"counter": "c", "by": 1, "to": 2}):
        with pytest.raises(TypeError, match="expected"):
            await add(**wrong)


def _names(text: str) -> Iterator[str]:
    """Names of a frame's fields in Lua: of HSET every second word, of the others every one."""
    for command, words in _CALL.findall(text):
        parts = [part.strip() for part in words.split(",")]
        for part in parts[:: 2 if command.startswith(("HSET", "HINCR")) else 1]:
            match = _NAME.fullmatch(part)
            if match:
                yield match[1]
