"""What cameras dropped: from when to when, how much, and why.

A camera tells a gap until it is acknowledged, and again when the gap has grown: the newest telling
counts. A gap outlives the frames around it, for an outage matters longer than its pictures.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from redis.asyncio import Redis

from slimcloud.frame_id import FrameId
from slimcloud.store import keys
from slimcloud.store.replies import full_memory_is_store_full, text
from slimcloud.store.scripts import Script

_MAX_LOOKED_AT = 2000  # records per list: bounds the work that one call can ask for

_PUT_GAP = Script(__file__, "put_gap")


@dataclass(frozen=True, slots=True)
class GapRecord:
    """Pictures that will never come."""

    camera_id: str
    epoch: int  # the start of the edge that it happened in
    gap_number: int  # 1, 2, 3 ... within the epoch
    from_unix_us: int  # the edge's wall clock, less its offset, microseconds; inclusive
    to_unix_us: int  # exclusive; before `from` only where the edge's clock was set back
    reason: str  # a `GapReason` without its prefix, lower-case, e.g. `spool_full`
    dropped_frames: int = 0  # 0 = none were made, or it is not known
    dropped_bytes: int = 0  # of their containers; 0 = they were not encoded, or it is not known
    detail: str = ""  # for people
    first_sequence: int = 0  # 0 = the pictures had no sequences
    last_sequence: int = 0

    @property
    def name(self) -> str:
        """`camera:epoch:number`, as a frame's."""
        return str(FrameId(self.camera_id, self.epoch, self.gap_number))

    @property
    def begin_unix_us(self) -> int:
        """The earlier of its ends, microseconds."""
        return min(self.from_unix_us, self.to_unix_us)

    @property
    def end_unix_us(self) -> int:
        """The later of its ends, microseconds."""
        return max(self.from_unix_us, self.to_unix_us)


class GapLog:
    def __init__(self, client: Redis, max_per_camera: int = keys.GAPS_PER_CAMERA) -> None:
        self._client = client
        self._max_per_camera = max_per_camera

    async def put(self, gap: GapRecord) -> bool:
        """Store a gap, in the place of an earlier one of its name; False when nothing is new.

        Raises:
            StoreFullError: Redis is out of memory; nothing was written.
        """
        with full_memory_is_store_full():
            stored = await _PUT_GAP(
                self._client,
                camera=gap.camera_id,
                name=gap.name,
                document=json.dumps(asdict(gap), separators=(",", ":")),
                end_us=gap.end_unix_us,
                max_per_camera=self._max_per_camera,
            )
        return bool(stored == 1)

    async def list(
        self,
        camera_id: str | None = None,
        *,
        from_unix_us: int | None = None,
        to_unix_us: int | None = None,
        limit: int = 100,
    ) -> Sequence[GapRecord]:
        """Gaps that overlap a span of time, the latest to end first; of every camera when
        `camera_id` is None.

        Args:
            from_unix_us: of the span, inclusive; None = from the beginning.
            to_unix_us: of the span, exclusive; None = until now and later.
            limit: gaps at most.
        """
        names = await self._client.zrevrangebyscore(
            keys.GAPS if camera_id is None else f"{keys.GAPS_OF_CAMERA}{camera_id}",
            "+inf",
            "-inf" if from_unix_us is None else from_unix_us,
            start=0,
            num=_MAX_LOOKED_AT,
        )
        if not names:
            return []
        documents = await self._client.hmget(keys.GAP_RECORDS, [text(name) for name in names])
        found = [GapRecord(**json.loads(document)) for document in documents if document]
        if to_unix_us is not None:
            found = [gap for gap in found if gap.begin_unix_us < to_unix_us]
        return found[:limit]
