"""`/cameras`: who sends, how it fares, the bytes that it keeps to, and its share of detectors."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
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
from slimcloud.store.cameras.registry import CameraCondition, CameraRecord
from slimcontrol.budget import Budget

logger = logging.getLogger(__name__)

MAX_GAPS = 10  # of one camera; `/timeline` has more
WEIGHT_RANGE = (0.01, 100)

router = APIRouter(prefix=f"{API_PREFIX}/cameras", tags=["cameras"])


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
    socket_sent_bytes: int = Field(ge=0)
    """bytes of IP packets, from its sockets to this cloud since it started; 0 = it has not said"""
    socket_received_bytes: int = Field(ge=0, description="the same, that came in")
    gaps: list[GapView] = Field(description="its newest gaps, newest first; at most 10")
    level: int = Field(ge=0, description="of its newest frame")
    quality: float = Field(ge=0, description="of its newest frame")
    clock_offset_seconds: float | None
    """what its wall clock is ahead of the cloud's; below 0: behind; null: in step"""
    deadline_seconds: float | None = Field(gt=0)
    """capture to detection that it aims for; null where it has none"""
    weight: float = Field(gt=0, description="its share of busy detectors beside that of another")


class CameraList(BaseView):
    """Every camera ever seen."""

    cameras: list[CameraView]


# JSON has one kind of number, so 1191.0 is an integer; text and truth values are none.
_Whole = Annotated[
    int, BeforeValidator(lambda n: int(n) if isinstance(n, float) and n.is_integer() else n)
]


class WeightView(BaseModel):
    """A camera's share of busy detectors beside that of another: 2 is twice as much as 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(ge=WEIGHT_RANGE[0], le=WEIGHT_RANGE[1])


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
    weights = await context.store.cameras.weights()
    cameras = await context.store.cameras.list()
    return CameraList(cameras=[await _view(context, camera, weights) for camera in cameras])


@router.get("/{camera_id}", responses=problems(404, 503))
async def get_camera(camera_id: str, context: Context) -> CameraView:
    """One camera."""
    camera = await find_camera(context, camera_id)
    return await _view(context, camera, await context.store.cameras.weights())


@router.delete("/{camera_id}", status_code=204, responses=problems(404, 409, 503))
async def forget_camera(camera_id: str, context: Context, caller: Caller) -> None:
    """Take a camera that is gone for good off the list; its frames stay as long as any."""
    if (await find_camera(context, camera_id)).connected:
        detail = f"camera {camera_id} is connected; stop it, or take its token back, first"
        raise ApiError(HTTPStatus.CONFLICT, "camera-connected", detail)
    await context.store.cameras.forget(camera_id)
    logger.info("%s takes it off the list", caller, extra={"camera_id": camera_id})


@router.put("/{camera_id}/weight", responses=problems(400, 404, 413, 422, 503))
async def put_weight(
    camera_id: str, wanted: WeightView, context: Context, caller: Caller
) -> CameraView:
    """Deal a camera another share of busy detectors: at once, and for good."""
    camera = await find_camera(context, camera_id)
    await context.store.cameras.set_weight(camera_id, wanted.weight)
    logger.info("%s sets the weight %g", caller, wanted.weight, extra={"camera_id": camera_id})
    return await _view(context, camera, {camera_id: wanted.weight})


@router.get("/{camera_id}/budget", responses=problems(404, 503))
async def get_budget(camera_id: str, context: Context) -> CameraBudgetView:
    """The budget of a camera, and how far the newest wish for another has come."""
    await find_camera(context, camera_id)
    return await _budget(context, camera_id)


@router.put("/{camera_id}/budget", status_code=202, responses=problems(400, 404, 413, 422, 503))
async def put_budget(
    camera_id: str, wanted: BudgetView, context: Context, caller: Caller
) -> CameraBudgetView:
    """Ask a camera to keep to another budget: at once, and again whenever it restarts."""
    await find_camera(context, camera_id)
    budget = Budget(wanted.container_bytes, wanted.period_seconds)
    await context.store.budgets.want(camera_id, budget)
    logger.info(
        "%s wants %d bytes in %d s", caller, budget.container_bytes, budget.period_seconds,
        extra={"camera_id": camera_id},
    )  # fmt: skip
    return await _budget(context, camera_id)


async def find_camera(context: ApiContext, camera_id: str) -> CameraRecord:
    """The camera, or a 404."""
    camera = await context.store.cameras.get(camera_id)
    if camera is None:
        detail = f"no camera {camera_id[:80]!r} was ever seen here"
        raise ApiError(HTTPStatus.NOT_FOUND, "camera-not-found", detail)
    return camera


async def _view(
    context: ApiContext, camera: CameraRecord, weights: Mapping[str, float]
) -> CameraView:
    return CameraView.model_validate(
        {
            **vars(camera),
            "state": camera.condition(context.store.clock()),
            "gaps": await context.store.gaps.list(camera.camera_id, limit=MAX_GAPS),
            "clock_offset_seconds": camera.clock_offset_us / 1e6 or None,
            "weight": weights.get(camera.camera_id, 1.0),
        }
    )


async def _budget(context: ApiContext, camera_id: str) -> CameraBudgetView:
    budget = asdict(await context.store.budgets.get(camera_id))
    return CameraBudgetView.model_validate({"camera": camera_id, **budget})
