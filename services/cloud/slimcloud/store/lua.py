"""Redis scripts whose keys and arguments have names, the same in Lua and where they are called."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis


class Script:
    """A step in Lua that happens whole or not at all.

    Args:
        body: reads its keys and arguments as local variables.
        keys: names of the keys, with blanks between.
        args: names of the arguments, likewise.
        more: name of a table of all further arguments; empty = there are none.
        library: Lua that goes before.
    """

    def __init__(
        self, body: str, *, keys: str = "", args: str = "", more: str = "", library: str = ""
    ) -> None:
        self.keys, self.args, self.more = keys.split(), args.split(), more
        named = [
            f"local {', '.join(names)} = unpack({of})\n"
            for names, of in ((self.keys, "KEYS"), (self.args, "ARGV"))
            if names
        ]
        if more:
            named.append(f"local {more} = {{unpack(ARGV, {len(self.args) + 1})}}\n")
        self.text = f"{library}{''.join(named)}{body.lstrip()}"

    def on(self, client: Redis) -> BoundScript:
        return BoundScript(self, client)


class BoundScript:
    """A script, to be called with every key and argument by its name."""

    def __init__(self, script: Script, client: Redis) -> None:
        self._script = script
        self._run = client.register_script(script.text)

    async def __call__(self, *more: str | float | bytes, **named: str | float | bytes) -> Any:
        """What the script returns, as Redis gives it.

        Raises:
            TypeError: a name is missing, or none of the script's.
        """
        keys, args = self._script.keys, self._script.args
        if named.keys() != {*keys, *args} or (more and not self._script.more):
            raise TypeError(f"got {sorted(named)}; expected {sorted([*keys, *args])}")
        return await self._run(
            keys=[str(named[name]) for name in keys], args=[*(named[name] for name in args), *more]
        )
