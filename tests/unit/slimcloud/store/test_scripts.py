from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from slimcloud.store import keys
from slimcloud.store.records import CONTAINER, SCRIPT_FIELDS, StoredFrame
from slimcloud.store.scripts import Script

FIELDS = {*StoredFrame.names(), CONTAINER, *SCRIPT_FIELDS}
STORE = Path(keys.__file__).parent
LUA = {str(path.relative_to(STORE)): path.read_text("utf-8") for path in STORE.rglob("*.lua")}
_CALL = re.compile(
    r"redis\.call\('(H\w+)', FRAME \.\. \w+,\s*(.*?)\)|finish\(id, [\w']+,\s*(.*?)\)", re.DOTALL
)
_NAME = re.compile(r"'(\w+)'")


@pytest.mark.parametrize("path", LUA)
def test_scripts_name_fields_of_the_frame_only(path: str) -> None:
    assert set(_names(LUA[path])) <= FIELDS


def test_every_field_that_scripts_write_is_found_by_this_test() -> None:
    found = {name for text in LUA.values() for name in _names(text)}

    assert found >= {*SCRIPT_FIELDS, "state", "label_scores", "presence", "mark"}


async def test_script_wants_every_name_and_no_other(client: Redis, tmp_path: Path) -> None:
    (tmp_path / "sums.lua").write_text(
        "local function add(by, ...) return redis.call('INCRBY', PLACES, by) + #{...} end\n"
    )
    add = Script(str(tmp_path / "sums.py"), "add")

    assert await add(client, "x", "y", by=5) == 7
    for wrong in ({}, {"by": 1, "to": 2}):
        with pytest.raises(TypeError, match="expected"):
            await add(client, **wrong)


def _names(text: str) -> Iterator[str]:
    """Names of a frame's fields in Lua: of HSET every second word, of the others every one."""
    for command, words, outcome in _CALL.findall(text):
        parts = [part.strip() for part in (words or outcome).split(",")]
        in_turn = outcome or command.startswith(("HSET", "HINCR"))
        for part in parts[:: 2 if in_turn else 1]:
            match = _NAME.fullmatch(part)
            if match:
                yield match[1]
