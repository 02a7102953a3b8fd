"""`/cameras/{id}/token`: an admin lets a camera in, or takes it back, while the cloud runs."""

import logging
from enum import StrEnum
from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import Field

from slimcloud.review.errors import ApiError, problems
from slimcloud.review.resource import API_PREFIX, ApiContext, BaseView, Caller, CameraId, Context
from slimcloud.tokens import TokenTable, make_token, token_digest

logger = logging.getLogger(__name__)

router = APIRouter(prefix=f"{API_PREFIX}/cameras/{{camera_id}}/token", tags=["cameras"])


class TokenState(StrEnum):
    """Where the token of a camera is from."""

    NONE = "none"  # it has none
    TABLE = "table"  # of the file
    MADE = "made"  # here; one of the table does not count any more
    REVOKED = "revoked"  # taken back; one of the table does not count either


class TokenView(BaseView):
    """Whether a camera has a token; what it is, nobody is told again."""

    camera: str
    state: TokenState


class NewTokenView(BaseView):
    """A token that was made just now."""

    camera: str
    token: str = Field(description="for EDGE_TOKEN_FILE; shown this once")


@router.get("", responses=problems(409, 422, 503))
async def get_token(request: Request, camera_id: CameraId, context: Context) -> TokenView:
    """Whether a camera has a token."""
    table = _table(request)
    digest = (await context.store.cameras.token_digests()).get(camera_id)
    if digest is None:
        state = TokenState.TABLE if table.has_camera(camera_id) else TokenState.NONE
    else:
        state = TokenState.MADE if digest else TokenState.REVOKED
    return TokenView(camera=camera_id, state=state)


@router.put("", responses=problems(409, 422, 503))
async def put_token(
    request: Request, camera_id: CameraId, context: Context, caller: Caller
) -> NewTokenView:
    """Make a new token for a camera, seen before or not; those that it had count no more."""
    _table(request)
    token = make_token()
    await _set(context, camera_id, token_digest(token))
    logger.info("%s makes it a token", caller, extra={"camera_id": camera_id})
    return NewTokenView(camera=camera_id, token=token)


@router.delete("", status_code=204, responses=problems(409, 422, 503))
async def delete_token(
    request: Request, camera_id: CameraId, context: Context, caller: Caller
) -> None:
    """Take the token of a camera back: its stream ends, and it does not come back."""
    _table(request)
    await _set(context, camera_id, "")
    logger.info("%s takes its token back", caller, extra={"camera_id": camera_id})


async def _set(context: ApiContext, camera_id: str, digest: str) -> None:
    await context.store.cameras.set_token_digest(camera_id, digest)
    await context.look_at_tokens()


def _table(request: Request) -> TokenTable:
    tokens: TokenTable | None = request.app.state.tokens
    if tokens is None:
        detail = "nobody needs a token here; start with CLOUD_TOKENS_FILE, with an admin in it"
        raise ApiError(HTTPStatus.CONFLICT, "no-tokens", detail)
    return tokens
