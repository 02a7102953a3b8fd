"""Requests for the enhancement of a frame, from the reviewer's wish to the camera's answer.

    API     request(frame) ──► pending ──► slim:commands:{camera}, and an entry that wakes ingest
    ingest  take(camera)   ──► sent    ──► Command on the camera's stream, slim:asked:{camera}
    ingest  Enhancement    ──► done          or    Refusal ──► refused
    ingest  ask_again      ──► pending       of what was sent on a stream that is gone

A request is forgotten after an hour. Asking again while a request is open that reaches as far gives
that same request. A frame that waits to be detected from its enhancement is woken by a refusal.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.typing import EncodableT, FieldT

from slimcloud.errors import RequestNotFoundError
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.feed import Feed, FeedKind
from slimcloud.store.replies import fields_of, stream_entries, text
from slimcloud.store.work_queue import WorkQueue
from slimcloud.wall_clock import unix_us


class RefetchState(StrEnum):
    """Where a request for an enhancement is on its way."""

    PENDING = "pending"  # the camera has not been told yet
    SENT = "sent"
    DONE = "done"  # the enhancement is stored
    REFUSED = "refused"  # the edge cannot, see `detail`


@dataclass(frozen=True, slots=True)
class RefetchRequest:
    request_id: str
    frame_id: FrameId
    state: RefetchState
    detail: str  # for people; set when refused
    created_time_unix_us: int
    level: int = 0  # the level to reach; 0 = all there is
    quality: float = 0.0  # the quality to reach; 0 = the frame's own
    expires_unix_us: int = 0  # nobody waits for it after this, the store's clock; 0 = never
    sent_time_unix_us: int = 0  # the camera was told; 0 = not yet
    ended_time_unix_us: int = 0  # done or refused; 0 = not yet

    def covers(self, level: int, quality: float) -> bool:
        """Whether its answer reaches a level and quality as well."""
        is_wide = self.level == 0 or (level != 0 and self.level >= level)
        return is_wide and self.quality >= quality


_REQUEST = TypeAdapter(RefetchRequest)


@dataclass(frozen=True, eq=False)
class RefetchLog:
    client: Redis
    feed: Feed
    work: WorkQueue
    clock: Callable[[], int]

    async def request(
        self,
        frame_id: FrameId,
        *,
        level: int = 0,
        quality: float = 0.0,
        expires_unix_us: int = 0,
    ) -> RefetchRequest:
        """Ask the frame's camera for its enhancement.

        The caller checks that the frame is stored and that no enhancement that reaches as far is.
        While the camera is away the request waits; it is refused at once when the camera has
        restarted, for then the frame's picture is lost.

        Args:
            level: the level to reach; 0 = all there is.
            quality: the quality to reach; 0 = the frame's own.
            expires_unix_us: nobody waits for it after this, the store's clock; 0 = never.
        """
        request_id = uuid.uuid4().hex
        of_key = f"{keys.REFETCH_OF}{frame_id}"
        if not await self.client.set(of_key, request_id, nx=True, ex=keys.REFETCH_TTL_SECONDS):
            earlier = await self._find(text(await self.client.get(of_key)))
            if (
                earlier is not None
                and earlier.state is not RefetchState.REFUSED
                and earlier.covers(level, quality)
            ):
                return earlier
            await self.client.set(of_key, request_id, ex=keys.REFETCH_TTL_SECONDS)
        fields: dict[FieldT, EncodableT] = {
            "frame_id": str(frame_id),
            "state": RefetchState.PENDING.value,
            "detail": "",
            "created_time_unix_us": unix_us(),
            "level": level,
            "quality": quality,
            "expires_unix_us": expires_unix_us,
        }
        asked = _request(request_id, fields)
        async with self.client.pipeline(transaction=True) as pipeline:
            pipeline.hset(f"{keys.REFETCH}{request_id}", mapping=fields)
            pipeline.expire(f"{keys.REFETCH}{request_id}", keys.REFETCH_TTL_SECONDS)
            _enqueue(pipeline, asked)
            await pipeline.execute()
        await self.feed.add(FeedKind.REFETCH_REQUESTED, frame_id.camera_id, frame_id, request_id)
        return asked

    async def get(self, request_id: str) -> RefetchRequest:
        """The request as it stands.

        Raises:
            RequestNotFoundError: there is none, or it is forgotten.
        """
        found = await self._find(request_id)
        if found is None:
            raise RequestNotFoundError(request_id)
        return found

    async def take(self, camera_id: str, epoch: int) -> list[RefetchRequest]:
        """What the camera is to be told now, oldest first; each is marked as sent.

        Requests for frames of another epoch are refused here: the camera has restarted and lost
        them. So are those that nobody waits for any more.
        """
        taken: list[RefetchRequest] = []
        pending = f"{keys.PENDING_REFETCHES}{camera_id}"
        for entry_id, fields in stream_entries(await self.client.xrange(pending)):
            if not await self.client.xdel(pending, entry_id):
                continue  # another connection of this camera took it
            asked = await self._find(fields.get("request_id", ""))
            if asked is None or asked.state is not RefetchState.PENDING:
                continue
            refusal = ""
            if asked.frame_id.epoch != epoch:
                refusal = "the camera has restarted since and lost the picture"
            elif 0 < asked.expires_unix_us <= self.clock():
                refusal = "nobody waits for it any more"
            if refusal:
                await self.refuse(camera_id, asked.request_id, refusal)
            else:
                await self._set_state(asked, RefetchState.SENT)
                taken.append(asked)
        return taken

    async def ask_again(self, camera_id: str) -> None:
        """Let the camera be told anew what it has not answered: the stream that the Command was
        written to is gone, and perhaps the Command with it.
        """
        sent_key = f"{keys.SENT_REFETCHES}{camera_id}"
        for request_id in sorted(text(name) for name in await self.client.smembers(sent_key)):
            asked = await self._find(request_id)
            async with self.client.pipeline(transaction=True) as pipeline:
                if asked is not None and asked.state is RefetchState.SENT:
                    pipeline.hset(
                        f"{keys.REFETCH}{request_id}", "state", RefetchState.PENDING.value
                    )
                    _enqueue(pipeline, asked)
                pipeline.srem(sent_key, request_id)
                await pipeline.execute()

    async def refuse(self, camera_id: str, request_id: str, detail: str) -> None:
        """Note that the camera cannot; another camera's request, or one that is done, is left."""
        asked = await self._find(request_id)
        if (
            asked is None
            or asked.frame_id.camera_id != camera_id
            or asked.state is RefetchState.DONE
        ):
            return
        await self._set_state(asked, RefetchState.REFUSED, detail)
        await self.work.wake(asked.frame_id)
        await self.feed.add(FeedKind.REFETCH_REFUSED, camera_id, asked.frame_id, request_id)

    async def set_done(
        self, frame_id: FrameId, request_id: str, level: int, quality: float
    ) -> None:
        """Note that the enhancement of a frame up to a level and quality is stored: the request
        that it names is done, and so is the newest one where that asks for no more.
        """
        newest_id = text(await self.client.get(f"{keys.REFETCH_OF}{frame_id}"))
        for found_id in dict.fromkeys((request_id, newest_id)):
            asked = await self._find(found_id)
            if asked is None or asked.frame_id != frame_id:
                continue
            is_reached = 0 < asked.level <= level and asked.quality <= quality
            if found_id == request_id or is_reached:
                await self._set_state(asked, RefetchState.DONE)

    async def _find(self, request_id: str) -> RefetchRequest | None:
        fields = fields_of(await self.client.hgetall(f"{keys.REFETCH}{request_id}"))
        return _request(request_id, fields) if "frame_id" in fields else None

    async def _set_state(
        self, asked: RefetchRequest, state: RefetchState, detail: str = ""
    ) -> None:
        moment = "sent" if state is RefetchState.SENT else "ended"
        sent_key = f"{keys.SENT_REFETCHES}{asked.frame_id.camera_id}"
        if state is RefetchState.SENT:
            await self.client.sadd(sent_key, asked.request_id)
            await self.client.expire(sent_key, keys.REFETCH_TTL_SECONDS)
        else:
            await self.client.srem(sent_key, asked.request_id)
        await self.client.hset(
            f"{keys.REFETCH}{asked.request_id}",
            mapping={
                "state": state.value,
                "detail": detail,
                f"{moment}_time_unix_us": unix_us(),
            },
        )


def _request(request_id: str, fields: Mapping[Any, object]) -> RefetchRequest:
    frame_id = FrameId.parse(str(fields["frame_id"]))
    return _REQUEST.validate_python({**fields, "request_id": request_id, "frame_id": frame_id})


def _enqueue(pipeline: Pipeline, asked: RefetchRequest) -> None:
    pending = f"{keys.PENDING_REFETCHES}{asked.frame_id.camera_id}"
    pipeline.xadd(pending, {"request_id": asked.request_id, "frame_id": str(asked.frame_id)})
    pipeline.expire(pending, keys.REFETCH_TTL_SECONDS)
