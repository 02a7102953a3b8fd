"""Every error of the API is a problem document, by one table for every route.

A fault of ours (500) is logged here with the trace id that the client is shown.

Source: RFC 9457, Problem Details for HTTP APIs.
"""

import logging
import math
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from slimcloud.errors import (
    CloudError,
    EventNotFoundError,
    FrameGoneError,
    FrameNotFoundError,
    InvalidCursorError,
    InvalidFrameIdError,
    LetterNotFoundError,
    RequestNotFoundError,
    ReviewNotFoundError,
    RulesReplacedError,
    StoreFullError,
)
from slimcloud.review.pictures.job_pool import BusyError
from slimcodec.errors import BitstreamError, CodecError, FingerprintMismatchError
from slimops.tracing import trace_of

logger = logging.getLogger(__name__)

PROBLEM_MEDIA_TYPE = "application/problem+json"
_STORE_RETRY_SECONDS = 2  # while Redis is away: its clients reconnect within a second or two

# The narrowest class of an error that is listed here decides. The text ends urn:slimwire:problem:.
_KINDS: Mapping[type[Exception], tuple[HTTPStatus, str]] = {
    InvalidCursorError: (HTTPStatus.BAD_REQUEST, "invalid-cursor"),
    InvalidFrameIdError: (HTTPStatus.NOT_FOUND, "invalid-frame-id"),
    FrameNotFoundError: (HTTPStatus.NOT_FOUND, "frame-not-found"),
    EventNotFoundError: (HTTPStatus.NOT_FOUND, "event-not-found"),
    RequestNotFoundError: (HTTPStatus.NOT_FOUND, "refetch-not-found"),
    LetterNotFoundError: (HTTPStatus.NOT_FOUND, "dead-letter-not-found"),
    ReviewNotFoundError: (HTTPStatus.NOT_FOUND, "review-not-found"),
    FrameGoneError: (HTTPStatus.GONE, "frame-gone"),
    RulesReplacedError: (HTTPStatus.CONFLICT, "rules-replaced"),
    RequestValidationError: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request"),
    BusyError: (HTTPStatus.TOO_MANY_REQUESTS, "decoder-busy"),
    StoreFullError: (HTTPStatus.SERVICE_UNAVAILABLE, "store-full"),
    RedisError: (HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable"),
    FingerprintMismatchError: (HTTPStatus.INTERNAL_SERVER_ERROR, "model-mismatch"),
    BitstreamError: (HTTPStatus.CONFLICT, "bitstream-corrupt"),  # its camera's, and for good
    CodecError: (HTTPStatus.INTERNAL_SERVER_ERROR, "decode-failed"),
    Exception: (HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error"),
}


class ApiError(CloudError):
    """What only the API refuses; `slug` ends the problem's type."""

    def __init__(self, status: HTTPStatus, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug


class InvalidInput(BaseModel):
    """One input that was not understood."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    location: str = Field(examples=["query.limit"])
    """where the input is, outermost first"""
    detail: str = Field(description="what is wrong with it, for people")


class Problem(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    type: str = Field(examples=["urn:slimwire:problem:frame-gone"])
    """stable name of the kind of problem"""
    title: str = Field(description="the kind of problem, for people", examples=["Frame gone"])
    status: int = Field(ge=400, le=599, description="HTTP status code")
    detail: str = Field(description="this problem, for people: found, expected, what to do")
    instance: str = Field(description="path of the request")
    trace_id: str = Field(description="32 hex digits; the log has it, too, when the fault is ours")
    errors: list[InvalidInput] = []
    """each input that was not understood; validation only"""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: it answers these statuses with a problem."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "Problem", "content": content} for status in statuses}


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of `app`, the framework's own included, with a problem."""
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ApiError, _answer_error)
    for error_type in _KINDS:
        app.add_exception_handler(error_type, _answer_error)


async def _answer_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ApiError):
        return _respond(request, error.status, error.slug, str(error))
    status, slug = next(_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS)
    trace_id = _trace_id(request)
    detail, inputs, headers = str(error), [], {}
    if slug == "internal-error":
        # Its traceback is logged by the server, to which the framework raises it again.
        logger.error("%s answers 500", request.url.path, extra={"trace_id": trace_id})
        detail = "the server failed; its log has the reason under this trace id"
    elif status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: %s", request.url.path, error, extra={"trace_id": trace_id})
    elif isinstance(error, RedisError):
        logger.warning("store unavailable: %s", error, extra={"trace_id": trace_id})
        detail = "the store does not answer; try again shortly"
    elif isinstance(error, RequestValidationError):
        # Only location and message: the rest may hold the input itself, in types that are no JSON.
        inputs = [
            InvalidInput(location=".".join(map(str, item["loc"])), detail=item["msg"])
            for item in error.errors()
        ]
        detail = f"{len(inputs)} invalid input{'s' if len(inputs) > 1 else ''}"
    if isinstance(error, BusyError):
        headers = {"Retry-After": str(math.ceil(error.retry_after_seconds))}
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": str(_STORE_RETRY_SECONDS)}
    return _respond(request, status, slug, detail, trace_id, inputs, headers)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for it
    status = HTTPStatus(error.status_code)
    if status < HTTPStatus.BAD_REQUEST:
        return Response(status_code=status, headers=error.headers)
    detail = f"{request.method} {request.url.path}: {error.detail}"
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED and (allowed := _allowed_methods(request)):
        headers["Allow"] = ", ".join(allowed)
    slug = status.phrase.lower().replace(" ", "-")
    return _respond(request, status, slug, detail, headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    """Of every operation at this path; the framework names those of the first one only. A path
    that is spelled out comes before one with names in it.
    """
    paths: Mapping[str, Mapping[str, object]] = request.app.openapi()["paths"]
    found = [path for path in paths if compile_path(path)[0].match(request.url.path)]
    fewest = min((path.count("{") for path in found), default=0)
    templates = [path for path in found if path.count("{") == fewest]
    return sorted(method.upper() for path in templates for method in paths[path])


def _respond(
    request: Request,
    status: HTTPStatus,
    slug: str,
    detail: str,
    trace_id: str = "",
    inputs: Sequence[InvalidInput] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    problem = Problem(
        type=f"urn:slimwire:problem:{slug}",
        title=slug.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        instance=request.url.path,
        trace_id=trace_id or _trace_id(request),
        errors=list(inputs),
    )
    return JSONResponse(
        problem.model_dump(exclude_defaults=True),
        status_code=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type=PROBLEM_MEDIA_TYPE,
    )


def _trace_id(request: Request) -> str:
    traceparent = trace_of(request.headers.get("traceparent", ""))
    return traceparent.split("-")[1] if traceparent else uuid.uuid4().hex
