"""Work that expires while it waits: what Triton calls the timeout of a queue's policy.

Workers drop what has expired when they take it and again before its batch; `drop_expired` is for a
queue that nobody takes from, so that it cannot fill up with frames that nobody wants any more.
"""

from __future__ import annotations

from slimcloud.errors import CloudError
from slimcloud.store.frames import Store


def expired_reason(waited_us: int) -> str:
    """Why a frame is dropped whose deadline passed.

    Args:
        waited_us: since it was RECEIVED, microseconds.
    """
    return f"its deadline passed while it waited for {waited_us / 1e6:.3f} s"


async def drop_expired(store: Store, now_unix_us: int) -> int:
    """Drop the live frames whose deadline passed before any worker took them; how many."""
    dropped = 0
    for frame_id, deadline_us in await store.work.untaken_deadlines():
        if deadline_us < now_unix_us:
            try:
                record = await store.get_frame(frame_id)
            except CloudError:
                continue  # retention was faster
            reason = expired_reason(now_unix_us - record.received_time_unix_us)
            dropped += await store.set_dropped(frame_id, reason)
    return dropped
