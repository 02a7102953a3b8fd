"""`/cameras/{camera}/rules`: zones, masks and labels; what is reported, and what is an alert."""

import logging
from http import HTTPStatus

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from slimcloud.review.errors import ApiError, problems
from slimcloud.review.resource import API_PREFIX, ApiContext, Caller, Context
from slimcloud.review.routes.cameras import find_camera
from slimcloud.zones.rules import CameraRules

logger = logging.getLogger(__name__)

router = APIRouter(prefix=f"{API_PREFIX}/cameras/{{camera_id}}/rules", tags=["cameras"])


class RulesDocument(CameraRules):
    """The rules of a camera, as they are told and taken."""

    version: int | None = Field(None, ge=0, strict=True)
    """counts up; of what is put: that of the rules it replaces, null for whichever they are"""
    editable: bool = Field(True, strict=True)
    """false: the operator's file has the rules of this camera; not read of what is put"""


@router.get("", responses=problems(404, 503))
async def get_rules(camera_id: str, context: Context) -> RulesDocument:
    """The rules of a camera; without any set, those that report everything."""
    await find_camera(context, camera_id)
    return await _document(context, camera_id)


@router.put("", responses=problems(400, 404, 409, 413, 422, 503))
async def put_rules(
    camera_id: str, document: RulesDocument, context: Context, caller: Caller
) -> RulesDocument:
    """Replace them all; what is seen from now on goes by them."""
    await find_camera(context, camera_id)
    if camera_id in context.store.rules.fixed:
        detail = f"the rules of {camera_id} are in the operator's file; change them there"
        raise ApiError(HTTPStatus.CONFLICT, "rules-in-file", detail)
    if unknown := document.unknown_label(context.names):
        raise RequestValidationError([{"loc": ("body",), "msg": unknown}])
    rules = CameraRules.model_validate(document.model_dump(exclude={"version", "editable"}))
    version = await context.store.rules.put(camera_id, rules, document.version)
    logger.info("%s has set rules %d", caller, version, extra={"camera_id": camera_id})
    return await _document(context, camera_id)


async def _document(context: ApiContext, camera_id: str) -> RulesDocument:
    stored = await context.store.rules.get(camera_id)
    is_editable = camera_id not in context.store.rules.fixed
    return RulesDocument.model_validate(
        {**stored.rules.model_dump(), "version": stored.version, "editable": is_editable}
    )
