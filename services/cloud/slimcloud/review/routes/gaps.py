"""What cameras could not send, as the API shows it."""

from slimcloud.review.schemas import GapView
from slimcloud.store.frames import Store
from slimcloud.wall_clock import time_of


async def gap_views(
    store: Store,
    camera_id: str | None,
    from_unix_us: int | None,
    to_unix_us: int | None,
    limit: int,
) -> list[GapView]:
    """Gaps that reach into a span of time, newest first; of every camera when it is None."""
    gaps = await store.gaps.list(
        camera_id, from_unix_us=from_unix_us, to_unix_us=to_unix_us, limit=limit
    )
    return [
        GapView(
            camera=gap.camera_id,
            from_time=time_of(gap.begin_unix_us),
            to_time=time_of(gap.end_unix_us),
            frames_count=gap.dropped_frames,
            reason=gap.reason,
            detail=gap.detail,
        )
        for gap in gaps
    ]
