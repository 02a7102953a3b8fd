"""`/cameras`: who sends, how it fares, and the bytes that it keeps to."""

import logging
from dataclasses import asdict
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from slimcloud.review.errors import ApiError, problems
from slimcloud.review.resource import (
    API_PREFIX,
    ApiContext,
    BaseView,
    Caller,
    Context,
    TextOrNone,
    Time,
    TimeOrNone,
)
from slimcloud.store.cameras.budgets import BudgetState
from slimcloud.store.cameras.registry import CameraRecord
from slimcontrol.budget import Budget

logger = logging.getLogger(__name__)

MAX_GAPS = 10  # of one camera; `/timeline` has more
_SILENT_US = 10_000_000  # a connected camera that sent nothing for this long is silent

router = APIRouter(prefix=f"{API_PREFIX}/cameras", tags=["cameras"])


class CameraCondition(StrEnum):
    """How a camera fares."""

    LIVE = "live"  # connected, and frames arrive
    SILENT = "silent"  # connected, and nothing arrived for ten seconds
    OFFLINE = "offline"


class GapView(BaseView):
    """A time from which a camera could not send what it saw."""

    camera: str = Field(validation_alias="camera_id")
    from_time: Time = Field(validation_alias="begin_unix_us")
    """wall clock of the edge, UTC"""
    to_time: Time = Field(validation_alias="end_unix_us", description="wall clock of the edge, UTC")
    frames_count: int = Field(ge=0, validation_alias="dropped_frames")
    """frames that were lost; 0 = not known"""
    reason: str = Field(description="why, in one word", examples=["spool_full"])
    detail: str = Field(description="why, for people; may be empty")


class CameraView(BaseView):
    """A camera, and the newest that is known of it."""

    id: str = Field(validation_alias="camera_id")
    state: CameraCondition
    connected: bool
    lag_seconds: float | None = Field(
        description="capture (edge clock) to detected (cloud clock) of its newest detected frame; "
        "null before the first"
    )
    model: str = Field(validation_alias="model_name")
    """codec that it speaks, name/version"""
    connected_time: Time = Field(validation_alias="connected_time_unix_us")
    """start of its newest stream, wall clock of the cloud, UTC"""
    last_frame_id: TextOrNone
    last_received_time: TimeOrNone = Field(validation_alias="last_received_time_unix_us")
    """wall clock of the cloud, UTC"""
    frames_total: int = Field(ge=0, description="frames stored since it was first seen")
    bytes_total: int = Field(ge=0, description="their base containers, bytes")
    bytes_today: int = Field(ge=0)
    """containers received since midnight UTC, bytes; enhancements included"""
    gaps: list[GapView] = Field(description="its newest gaps, newest first; at most 10")
    level: int = Field(ge=0, description="of its newest frame")
    quality: float = Field(ge=0, description="of its newest frame")
    clock_offset_seconds: float | None
    """what its wall clock is ahead of the cloud's; below 0: behind; null: in step"""
    deadline_seconds: float | None = Field(gt=0)
    """capture to detection that it aims for; null where it has none"""


class CameraList(BaseView):
    """Every camera ever seen."""

    cameras: list[CameraView]


# JSON has one kind of number, so 1191.0 is an integer; text and truth values are none.
_Whole = Annotated[
    int, BeforeValidator(lambda n: int(n) if isinstance(n, float) and n.is_integer() else n)
]


class BudgetView(BaseModel):
    """How many container bytes a camera may send in the long run: so many in each period."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    container_bytes: _Whole = Field(ge=0, lt=2**53, description="bytes per period; 0 = no budget")
    period_seconds: _Whole = Field(ge=1, le=31 * 24 * 3600, description="length of a period, s")


class CameraBudgetView(BaseView):
    """What a camera keeps to, and the newest wish for something else."""

    camera: str
    stated: BudgetView | None = Field(description="what the camera said last; null = no budget")
    wanted: BudgetView | None = Field(description="what it was asked for last; null = nothing")
    state: BudgetState | None = Field(description="of that wish; null = there is none")
    detail: str = Field(description="why it was refused, for people; else empty")


@router.get("", responses=problems(503))
async def list_cameras(context: Context) -> CameraList:
    """Every camera ever seen, by name."""
    cameras = await context.store.cameras.list()
    return CameraList(cameras=[await _view(context, camera) for camera in cameras])


@router.get("/{camera_id}", responses=problems(404, 503))
async def get_camera(camera_id: str, context: Context) -> CameraView:
    """One camera."""
    return await _view(context, await _find(context, camera_id))


@router.get("/{camera_id}/budget", responses=problems(404, 503))
async def get_budget(camera_id: str, context: Context) -> CameraBudgetView:
    """The budget of a camera, and how far the newest wish for another has come."""
    await _find(context, camera_id)
    return await _budget(context, camera_id)


@router.put("/{camera_id}/budget", status_code=202, responses=problems(400, 404, 413, 422, 503))
async def put_budget(
    camera_id: str, wanted: BudgetView, context: Context, caller: Caller
) -> CameraBudgetView:
    """Ask a camera to keep to another budget: at once, and again whenever it restarts."""
    await _find(context, camera_id)
    budget = Budget(wanted.container_bytes, wanted.period_seconds)
    await context.store.budgets.want(camera_id, budget)
    logger.info(
        "%s wants %d bytes in %d s", caller, budget.container_bytes, budget.period_seconds,
        extra={"camera_id": camera_id},
    )  # fmt: skip
    return await _budget(context, camera_id)


async def _find(context: ApiContext, camera_id: str) -> CameraRecord:
    camera = await context.store.cameras.get(camera_id)
    if camera is None:
        detail = f"no camera {camera_id[:80]!r} was ever seen here"
        raise ApiError(HTTPStatus.NOT_FOUND, "camera-not-found", detail)
    return camera


async def _view(context: ApiContext, camera: CameraRecord) -> CameraView:
    gaps = await context.store.gaps.list(camera.camera_id, limit=MAX_GAPS)
    is_silent = context.store.clock() - camera.heard_us > _SILENT_US
    condition = CameraCondition.SILENT if is_silent else CameraCondition.LIVE
    state = condition if camera.connected else CameraCondition.OFFLINE
    offset = camera.clock_offset_us / 1e6 or None
    return CameraView.model_validate(
        {**vars(camera), "state": state, "gaps": gaps, "clock_offset_seconds": offset}
    )


async def _budget(context: ApiContext, camera_id: str) -> CameraBudgetView:
    budget = asdict(await context.store.budgets.get(camera_id))
    return CameraBudgetView.model_validate({"camera": camera_id, **budget})
