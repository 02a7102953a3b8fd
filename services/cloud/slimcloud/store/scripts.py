"""The steps that must happen whole or not at all, as Redis scripts: functions in Lua, each in
the file beside the module that calls it.

Every script begins with the names of `slimcloud.store.keys` and of `FeedKind`, and with what is
in `library.lua`.

A lane is a stream of all its frames until they are done, and for each camera a line of those that
no worker has taken. Cameras take turns, whoever has paid least first, and pay the pixels of the
frame that is taken over their weight: start-time fair queueing. One that was away begins where the
others are.

A live frame gets a place in `slim:order:{camera}` when a worker takes it. Its entry in the feed is
written when every frame before it has its own; until then its id is in `slim:held`, by the time of
its outcome.
`announce` writes the entry; `slimcloud.ingest.event_relay` reads it and tells the camera.

A script that Redis refuses for want of memory has written nothing: its first write is the one
that needs memory. Those that give memory back begin with one that needs none: Redis refuses no
write that comes after another of its script, so a full store can be made empty.
"""

import functools
import re
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from slimcloud.store import keys
from slimcloud.store.feed import FeedKind


@functools.cache
def library() -> str:
    """What every script begins with: the names, and the functions of `library.lua`."""
    names = {name: value for name, value in vars(keys).items() if name.isupper()}
    names |= {kind.name: kind.value for kind in FeedKind}
    declared = "".join(f"local {name} = {value!r}\n" for name, value in names.items())
    return declared + Path(__file__).with_name("library.lua").read_text(encoding="utf-8")


class Script:
    """A step that happens whole or not at all: a function of the `.lua` file beside a module.

    Args:
        module: the file of the module.
        function: of its Lua file, or of `library.lua`.
    """

    def __init__(self, module: str, function: str) -> None:
        self._path = Path(module).with_suffix(".lua")
        self._function = function
        self._run: AsyncScript | None = None  # with its digest; of whichever client came first

    @functools.cached_property
    def text(self) -> str:
        """The whole script."""
        functions = library() + self._path.read_text(encoding="utf-8")
        return f"{functions}return {self._function}(unpack(ARGV))"

    @functools.cached_property
    def _args(self) -> list[str]:
        signature = re.search(rf"^local function {self._function}\(([^)]*)\)", self.text, re.M)
        assert signature is not None, f"{self._path} has no {self._function}"
        return re.split(r",\s*", signature[1])

    async def __call__(
        self, client: Redis, *more: str | float | bytes, **named: str | float | bytes
    ) -> Any:
        """What the function returns, as Redis gives it.

        Args:
            more: for the `...` of a function that has it.

        Raises:
            TypeError: a name is missing, or none of the function's.
        """
        names = [name for name in self._args if name != "..."]
        if named.keys() != set(names) or (more and names == self._args):
            raise TypeError(f"got {sorted(named)}; expected {sorted(names)}")
        if self._run is None:
            self._run = client.register_script(self.text)
        return await self._run(args=[*(named[name] for name in names), *more], client=client)
