"""A person asks for the detection of a frame that was dropped or has failed, or takes that back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from slimcloud.errors import FrameGoneError, FrameNotFoundError, StoreFullError
from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.work import scripts as work_scripts


class DetectionRequests:
    """The review lane of the queue, as people fill it.

    Args:
        max_queue_size: requests that may wait.
        drop: leaves a frame undetected, with a reason.
        absent: the error for a frame that is not stored.
    """

    def __init__(
        self,
        client: Redis,
        max_queue_size: int,
        drop: Callable[[FrameId, str], Awaitable[bool]],
        absent: Callable[[FrameId], Awaitable[FrameNotFoundError | FrameGoneError]],
    ) -> None:
        self._client = client
        self._max_queue_size = max_queue_size
        self._drop = drop
        self._absent = absent
        self._request = work_scripts.REQUEST.on(client)

    async def ask(self, frame_id: FrameId) -> bool:
        """Have a frame detected before all that is live; False when it is waiting or detected. Its
        dead letter is taken back.

        Raises:
            FrameNotFoundError, FrameGoneError: the frame is not stored.
            StoreFullError: too many such requests wait.
        """
        asked = await self._request(
            frame=keys.frame_key(frame_id),
            lane=keys.WORK_REVIEW,
            dead_letters=keys.DEAD,
            totals=keys.TOTALS,
            id=str(frame_id),
            max_queue_size=self._max_queue_size,
        )
        if asked == -2:
            raise StoreFullError(f"{self._max_queue_size} requests wait for the detector already")
        if asked == -1:
            raise await self._absent(frame_id)
        return bool(asked == 1)

    async def take_back(self, frame_id: FrameId) -> bool:
        """False when there is no request that waits.

        Raises:
            FrameNotFoundError, FrameGoneError: the frame is not stored.
        """
        requested, state = await self._client.hmget(
            keys.frame_key(frame_id), ["requested", "state"]
        )
        if state is None:
            raise await self._absent(frame_id)
        return requested is not None and await self._drop(
            frame_id, "the request to detect it was taken back"
        )
