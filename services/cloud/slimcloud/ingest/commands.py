"""Commands to cameras, and what they answer: other byte budgets, enhancements of frames.

store ──► Command ──► camera ──► Acceptance, Refusal or Enhancement
"""

from slimcloud.ingest.camera_stream import CameraStream
from slimcloud.store.frames import Store
from slimwire.v1 import ingest_pb2 as pb

MAX_DETAIL = 500  # characters of a camera's words that are kept


async def send_commands(store: Store, stream: CameraStream) -> None:
    """Tell a camera what is asked of it and was not told yet."""
    asked_budget = await store.budgets.take(stream.camera_id)
    if asked_budget is not None and (wanted := asked_budget.wanted) is not None:
        budget = pb.ByteBudget(
            container_bytes=wanted.container_bytes, period_seconds=wanted.period_seconds
        )
        command = pb.Command(
            request_id=asked_budget.request_id, set_budget=pb.SetBudget(byte_budget=budget)
        )
        stream.answer(pb.StreamFramesResponse(command=command))
    for asked in await store.refetches.take(stream.camera_id, stream.epoch):
        left_us = asked.expires_unix_us - store.clock() if asked.expires_unix_us else 0
        command = pb.Command(
            request_id=asked.request_id,
            refetch_enhancement=pb.RefetchEnhancement(
                sequence=asked.frame_id.sequence,
                level=asked.level,
                quality=asked.quality,
                expire_ms=max(1, left_us // 1000) if asked.expires_unix_us else 0,
            ),
        )
        stream.answer(pb.StreamFramesResponse(command=command))


async def take_acceptance(store: Store, stream: CameraStream, request_id: str) -> None:
    """The camera keeps to another budget from now on."""
    if await store.budgets.accept(stream.camera_id, request_id):
        stream.spending.keep_to((await store.budgets.get(stream.camera_id)).stated)


async def take_refusal(store: Store, stream: CameraStream, refusal: pb.Refusal) -> None:
    """The camera will not, or cannot; noted with the request that it names."""
    request_id, detail = refusal.request_id, refusal.detail[:MAX_DETAIL]
    if not await store.budgets.refuse(stream.camera_id, request_id, detail):
        await store.refetches.refuse(stream.camera_id, request_id, detail)
