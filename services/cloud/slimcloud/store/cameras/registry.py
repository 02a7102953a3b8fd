"""Who is connected, and what each camera sent last.

A process that holds connections renews a lease: when it dies, its cameras are not connected.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import TypeAdapter
from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.records import StoredFrame
from slimcloud.store.replies import fields_of, text
from slimcloud.store.scripts import Script

_DAY_US = 24 * 3600 * 1_000_000
_SILENT_US = 10_000_000
_STARVED_US = 30_000_000

_RELEASE = Script(__file__, "release")


class CameraCondition(StrEnum):
    """How a camera fares."""

    LIVE = "live"  # connected, and frames arrive
    SILENT = "silent"  # connected, and nothing arrived for ten seconds
    STARVED = "starved"  # live frames arrive, and none was detected for thirty seconds
    OFFLINE = "offline"


@dataclass(frozen=True)
class CameraRecord:
    camera_id: str
    connected: bool
    epoch: int
    model_name: str
    connected_time_unix_us: int
    last_frame_id: FrameId | None = None
    last_received_time_unix_us: int = 0  # 0 = no frame yet
    frames_total: int = 0
    bytes_total: int = 0
    level: int = 0  # of the newest frame
    quality: float = 0.0
    bytes_today: int = 0  # containers received since midnight UTC
    lag_seconds: float | None = None  # capture to detected, of the live frame detected last
    deadline_seconds: float | None = None  # capture to detection that it aims for; None = none
    heard_us: int = 0  # of its connection or newest frame, by the store's clock
    clock_offset_us: int = 0  # as of its newest frame, see `StoredFrame`
    socket_sent_bytes: int = 0  # since its start, as it said last; 0 = it has not said
    socket_received_bytes: int = 0
    waits_since_us: int = 0  # its first live frame after the last result came then; 0 = none did

    def condition(self, now_us: int) -> CameraCondition:
        """How it fares at a time of the store's clock."""
        if not self.connected:
            return CameraCondition.OFFLINE
        if now_us - self.heard_us > _SILENT_US:
            return CameraCondition.SILENT
        is_starved = self.waits_since_us and now_us - self.waits_since_us > _STARVED_US
        return CameraCondition.STARVED if is_starved else CameraCondition.LIVE


_RECORD = TypeAdapter(CameraRecord)


@dataclass(frozen=True, slots=True)
class Originals:
    """The pictures that a camera has itself."""

    epoch: int  # of which it has any
    connected_us: int  # when that was seen last, microseconds since 1970: it has none of before
    seconds: int  # from capture until it forgets one, as things go; 0 = it has not said

    def until_us(self, frame: StoredFrame) -> int:
        """About when it forgets that picture, or did, microseconds since 1970; 0 = not known."""
        if frame.frame_id.epoch != self.epoch:
            return self.connected_us
        return frame.captured_us + 1_000_000 * self.seconds if self.seconds else 0


@dataclass(frozen=True, eq=False)
class CameraRegistry:
    client: Redis
    clock: Callable[[], int]
    clock_unix_us: Callable[[], int]
    process: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def renew_lease(self) -> None:
        """Say that this process holds its connections still: often in `LEASE_SECONDS`."""
        await self.client.set(f"{keys.INGEST}{self.process}", "", ex=keys.LEASE_SECONDS)

    async def connect(
        self,
        camera_id: str,
        *,
        epoch: int,
        model_name: str,
        connection: str,
        deadline_seconds: float | None = None,
    ) -> None:
        """Note that `connection` holds the camera from now on; an earlier holder loses it.

        Args:
            deadline_seconds: capture to detection that the camera aims for; None for none.
        """
        await self.renew_lease()
        await self.client.sadd(keys.CAMERAS, camera_id)
        await self.client.hdel(f"{keys.CAMERA}{camera_id}", "waits_since_us")
        await self.client.hset(
            f"{keys.CAMERA}{camera_id}",
            mapping={
                "connected": 1,
                "epoch": f"{epoch:016x}",
                "model_name": model_name,
                "connection": connection,
                "ingest": self.process,
                "connected_time_unix_us": self.clock_unix_us(),
                "heard_us": self.clock(),
                "deadline_seconds": deadline_seconds or 0,
            },
        )

    async def set_originals(self, camera_id: str, epoch: int, seconds: int) -> None:
        """Note for how long the camera keeps the pictures of an epoch, seconds."""
        await self.client.hset(
            f"{keys.CAMERA}{camera_id}",
            mapping={"originals_epoch": f"{epoch:016x}", "originals_seconds": seconds},
        )

    async def set_traffic(self, camera_id: str, sent_bytes: int, received_bytes: int) -> None:
        """Note what a camera says that its sockets carried since it started."""
        await self.client.hset(
            f"{keys.CAMERA}{camera_id}",
            mapping={"socket_sent_bytes": sent_bytes, "socket_received_bytes": received_bytes},
        )

    async def originals(self, camera_ids: Iterable[str]) -> dict[str, Originals]:
        """What cameras that were seen keep of their pictures."""
        names = sorted(set(camera_ids))
        said = ("epoch", "connected_time_unix_us", "originals_epoch", "originals_seconds")
        async with self.client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hmget(f"{keys.CAMERA}{name}", said)
            found = await pipeline.execute()
        return {
            name: Originals(int(text(epoch), 16), int(at), int(seconds) if of == epoch else 0)
            for name, (epoch, at, of, seconds) in zip(names, found, strict=True)
            if epoch is not None
        }

    async def weights(self) -> dict[str, float]:
        """What the share of each camera is beside that of another; 1 where absent."""
        found = fields_of(await self.client.hgetall(keys.WEIGHTS))
        return {camera_id: float(weight) for camera_id, weight in found.items()}

    async def set_weight(self, camera_id: str, weight: float) -> None:
        """Deal a camera another share from now on."""
        await self.client.hset(keys.WEIGHTS, camera_id, weight)

    async def token_digests(self) -> dict[str, str]:
        """The digest of the token of each camera that an admin gave one; empty: took it back."""
        return fields_of(await self.client.hgetall(keys.TOKENS))

    async def set_token_digest(self, camera_id: str, digest: str) -> None:
        """Let a camera have this token and no other; empty: none."""
        await self.client.hset(keys.TOKENS, camera_id, digest)

    async def forget(self, camera_id: str) -> None:
        """Let nothing be known of a camera but its frames, gaps, reviews and rules."""
        async with self.client.pipeline(transaction=True) as pipeline:
            pipeline.srem(keys.CAMERAS, camera_id)
            pipeline.hdel(keys.WEIGHTS, camera_id)
            pipeline.delete(f"{keys.CAMERA}{camera_id}", f"{keys.BUDGET}{camera_id}")
            await pipeline.execute()

    async def disconnect(self, camera_id: str, connection: str) -> bool:
        """Let the camera go; False when another connection holds it by now."""
        released = await _RELEASE(self.client, camera=camera_id, connection=connection)
        return bool(released == 1)

    async def get(self, camera_id: str) -> CameraRecord | None:
        """What is known of a camera; None when it was never seen."""
        fields = fields_of(await self.client.hgetall(f"{keys.CAMERA}{camera_id}"))
        if "epoch" not in fields:
            return None
        found: dict[str, object] = {
            **fields,
            "camera_id": camera_id,
            "connected": await self._is_connected(fields),
            "epoch": int(fields["epoch"], 16),
            "deadline_seconds": float(fields.get("deadline_seconds", 0)) or None,
        }
        if fields.get("bytes_day") != str(self.clock_unix_us() // _DAY_US):
            found["bytes_today"] = 0
        if name := fields.get("last_frame_id"):
            found["last_frame_id"] = frame_id = FrameId.parse(name)
            values = await self.client.hmget(f"{keys.FRAME}{frame_id}", StoredFrame.names())
            if newest := StoredFrame.read(frame_id, values):
                found |= {"level": newest.level, "quality": newest.quality}
        return _RECORD.validate_python(found)

    async def _is_connected(self, fields: Mapping[str, str]) -> bool:
        if fields.get("connected") != "1":
            return False
        process = fields.get("ingest")  # None: of a process that has no lease yet
        return process is None or await self.client.exists(f"{keys.INGEST}{process}") == 1

    async def list(self) -> list[CameraRecord]:
        """Every camera ever seen, by name."""
        names = sorted(text(name) for name in await self.client.smembers(keys.CAMERAS))
        states = [await self.get(name) for name in names]
        return [state for state in states if state is not None]
