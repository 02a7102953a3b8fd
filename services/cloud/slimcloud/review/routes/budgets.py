"""`/cameras/{id}/budget`: the bytes that a camera keeps to, and asking it to keep to others."""

import logging

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from slimcloud.review.context import ApiContext, Caller, Context, problems
from slimcloud.review.errors import CameraNotFoundError
from slimcloud.review.views import API_PREFIX
from slimcloud.store.cameras.budgets import BudgetState, ByteBudget, CameraBudget

logger = logging.getLogger(__name__)

router = APIRouter(prefix=API_PREFIX, tags=["cameras"])


class BudgetView(BaseModel):
    """How many container bytes a camera may send in the long run: so many in each period."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    container_bytes: int = Field(ge=0, lt=2**53, description="bytes per period; 0 = no budget")
    period_seconds: int = Field(ge=1, le=31 * 24 * 3600, description="length of a period, s")


class CameraBudgetView(BaseModel):
    """What a camera keeps to, and the newest wish for something else."""

    model_config = ConfigDict(frozen=True)

    camera: str
    stated: BudgetView | None = Field(description="what the camera said last; null = no budget")
    wanted: BudgetView | None = Field(description="what it was asked for last; null = nothing")
    state: BudgetState | None = Field(description="of that wish; null = there is none")
    detail: str = Field(description="why it was refused, for people; else empty")


@router.get("/cameras/{camera_id}/budget", responses=problems(404, 503))
async def get_budget(camera_id: str, response: Response, context: Context) -> CameraBudgetView:
    """The budget of a camera, and how far the newest wish for another has come."""
    response.headers["Cache-Control"] = "no-store"
    await _require(context, camera_id)
    return _view(camera_id, await context.store.budgets.get(camera_id))


@router.put("/cameras/{camera_id}/budget", status_code=202, responses=problems(400, 404, 422, 503))
async def put_budget(
    camera_id: str, wanted: BudgetView, response: Response, context: Context, caller: Caller
) -> CameraBudgetView:
    """Ask a camera to keep to another budget: at once, and again whenever it restarts."""
    response.headers["Cache-Control"] = "no-store"
    await _require(context, camera_id)
    budget = ByteBudget(wanted.container_bytes, wanted.period_seconds)
    await context.store.budgets.want(camera_id, budget)
    logger.info(
        "%s wants %d bytes in %d s", caller, budget.container_bytes, budget.period_seconds,
        extra={"camera_id": camera_id},
    )  # fmt: skip
    return _view(camera_id, await context.store.budgets.get(camera_id))


async def _require(context: ApiContext, camera_id: str) -> None:
    if await context.store.cameras.get(camera_id) is None:
        raise CameraNotFoundError(camera_id)


def _view(camera_id: str, budget: CameraBudget) -> CameraBudgetView:
    return CameraBudgetView(
        camera=camera_id,
        stated=_budget_view(budget.stated),
        wanted=_budget_view(budget.wanted),
        state=budget.state,
        detail=budget.detail,
    )


def _budget_view(budget: ByteBudget | None) -> BudgetView | None:
    if budget is None:
        return None
    return BudgetView(container_bytes=budget.container_bytes, period_seconds=budget.period_seconds)
