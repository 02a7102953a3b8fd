"""What of each camera is reported: its rules, replaced as a whole, with a version that counts up.

The rules of cameras that an operator's file names are the file's; others are set by the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis

from slimcloud.errors import RulesReplacedError
from slimcloud.store import keys
from slimcloud.store.replies import fields_of
from slimcloud.store.scripts import Script
from slimcloud.zones.rules import CameraRules

_PUT_RULES = Script(__file__, "put_rules")


@dataclass(frozen=True, slots=True)
class StoredRules:
    rules: CameraRules = CameraRules()
    version: int = 0  # 0 = none were ever set


@dataclass(eq=False)
class RuleBook:
    client: Redis
    fixed: frozenset[str] = frozenset()  # cameras whose rules are those of the operator's file

    async def get(self, camera_id: str) -> StoredRules:
        """The rules of a camera. What a newer build has said beyond what this one knows is left
        out.
        """
        fields = fields_of(await self.client.hgetall(f"{keys.RULES}{camera_id}"))
        if not fields:
            return StoredRules()
        rules = CameraRules.model_validate_json(fields["rules"], extra="ignore")
        return StoredRules(rules, int(fields["version"]))

    async def put(self, camera_id: str, rules: CameraRules, replaces: int | None = None) -> int:
        """Replace the rules of a camera and tell the feed; gives their version. The same rules
        again change nothing.

        Args:
            replaces: version of those that are meant to be replaced; None: whichever they are.

        Raises:
            RulesReplacedError: somebody else has replaced them.
        """
        version = await _PUT_RULES(
            self.client,
            camera=camera_id,
            rules=rules.model_dump_json(),
            replaces="" if replaces is None else replaces,
        )
        if version < 0:
            raise RulesReplacedError(camera_id, -version - 1)
        return int(version)

    async def put_file(self, table: Mapping[str, CameraRules]) -> None:
        """Go by the operator's file. A camera that it no longer names keeps its rules."""
        for camera_id, rules in table.items():
            await self.put(camera_id, rules)
        self.fixed = frozenset(table)
