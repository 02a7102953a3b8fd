"""Our errors -> HTTP status and problem type: one table, for every route.

    CloudError                        see slimcloud.errors
    └── ApiError                      raised by the routes only
        ├── CameraNotFoundError       no such camera was ever seen
        ├── DetectionConflictError    there is nothing to ask the detector, or to take back
        ├── InvalidTimeSpanError      it ends before it begins
        ├── NotAcceptableError        no picture format that the client takes
        └── RefetchConflictError      there is nothing to ask the camera for, or no camera to ask

A fault of ours (500) is logged here with the trace id that the client is shown.
"""

import logging
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from slimcloud.errors import (
    CloudError,
    FrameGoneError,
    FrameNotFoundError,
    InvalidCursorError,
    InvalidFrameIdError,
    RequestNotFoundError,
    ReviewNotFoundError,
    StoreFullError,
)
from slimcloud.review.pictures.reconstruct import BusyError
from slimcloud.review.problems import InvalidInput, Problem, ProblemResponse
from slimcodec.errors import BitstreamError, CodecError, FingerprintMismatchError
from slimops.tracing import trace_of

logger = logging.getLogger(__name__)

STORE_RETRY_SECONDS = (
    2  # Retry-After while Redis is away: its clients reconnect within a second or two
)


class ApiError(CloudError):
    """Base of the errors that only the API raises."""


class CameraNotFoundError(ApiError):
    def __init__(self, camera_id: str) -> None:
        super().__init__(f"no camera {camera_id[:80]!r} was ever seen here")


class DetectionConflictError(ApiError):
    """The state of the frame does not allow to ask for its detection, or to take that back."""


class InvalidTimeSpanError(ApiError):
    """A span of time that holds nothing."""


class NotAcceptableError(ApiError):
    def __init__(self, accept: str, offered: Sequence[str]) -> None:
        super().__init__(f"cannot answer with {accept[:120]!r}; offered: {', '.join(offered)}")
        self.offered = tuple(offered)


class RefetchConflictError(ApiError):
    """The state of the frame or of its camera does not allow a refetch."""


@dataclass(frozen=True)
class ProblemKind:
    """How one kind of error is answered."""

    status: HTTPStatus
    slug: str  # of urn:slimwire:problem:<slug>

    @property
    def title(self) -> str:
        return self.slug.replace("-", " ").capitalize()


# The narrowest class of an error that is listed here decides.
ERROR_STATUS: Mapping[type[Exception], ProblemKind] = {
    InvalidCursorError: ProblemKind(HTTPStatus.BAD_REQUEST, "invalid-cursor"),
    InvalidFrameIdError: ProblemKind(HTTPStatus.NOT_FOUND, "invalid-frame-id"),
    FrameNotFoundError: ProblemKind(HTTPStatus.NOT_FOUND, "frame-not-found"),
    RequestNotFoundError: ProblemKind(HTTPStatus.NOT_FOUND, "refetch-not-found"),
    ReviewNotFoundError: ProblemKind(HTTPStatus.NOT_FOUND, "review-not-found"),
    CameraNotFoundError: ProblemKind(HTTPStatus.NOT_FOUND, "camera-not-found"),
    InvalidTimeSpanError: ProblemKind(HTTPStatus.BAD_REQUEST, "invalid-time-span"),
    NotAcceptableError: ProblemKind(HTTPStatus.NOT_ACCEPTABLE, "not-acceptable"),
    DetectionConflictError: ProblemKind(HTTPStatus.CONFLICT, "detection-conflict"),
    RefetchConflictError: ProblemKind(HTTPStatus.CONFLICT, "refetch-conflict"),
    FrameGoneError: ProblemKind(HTTPStatus.GONE, "frame-gone"),
    RequestValidationError: ProblemKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request"),
    BusyError: ProblemKind(HTTPStatus.TOO_MANY_REQUESTS, "decoder-busy"),
    StoreFullError: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "store-full"),
    RedisError: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable"),
    FingerprintMismatchError: ProblemKind(HTTPStatus.INTERNAL_SERVER_ERROR, "model-mismatch"),
    BitstreamError: ProblemKind(HTTPStatus.INTERNAL_SERVER_ERROR, "bitstream-corrupt"),
    CodecError: ProblemKind(HTTPStatus.INTERNAL_SERVER_ERROR, "decode-failed"),
    Exception: ProblemKind(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error"),
}


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of `app`, the framework's own included, with a problem."""
    app.add_exception_handler(HTTPException, _answer_http_exception)
    for error_type in ERROR_STATUS:
        app.add_exception_handler(error_type, _answer_error)


async def _answer_error(request: Request, error: Exception) -> Response:
    kind = next(ERROR_STATUS[cls] for cls in type(error).__mro__ if cls in ERROR_STATUS)
    trace_id = _trace_id(request)
    detail = str(error)
    if kind is ERROR_STATUS[Exception]:
        # Its traceback is logged by the server, to which the framework raises it again.
        logger.error("%s answers 500", request.url.path, extra={"trace_id": trace_id})
        detail = "the server failed; its log has the reason under this trace id"
    elif kind.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: %s", request.url.path, error, extra={"trace_id": trace_id})
    elif isinstance(error, RedisError):
        logger.warning("store unavailable: %s", error, extra={"trace_id": trace_id})
        detail = "the store does not answer; try again shortly"
    inputs = _invalid_inputs(error) if isinstance(error, RequestValidationError) else []
    if inputs:
        detail = f"{len(inputs)} invalid input{'s' if len(inputs) > 1 else ''}"
    return _respond(request, kind, detail, trace_id, inputs, _retry_header(error))


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # registered for it
    status = HTTPStatus(error.status_code)
    kind = ProblemKind(status, status.phrase.lower().replace(" ", "-"))
    detail = f"{request.method} {request.url.path}: {error.detail}"
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED and (allowed := _allowed_methods(request)):
        headers["Allow"] = ", ".join(allowed)
    return _respond(request, kind, detail, _trace_id(request), [], headers)


def _allowed_methods(request: Request) -> list[str]:
    """Of every operation at this path; the framework names those of the first one only."""
    paths: Mapping[str, Mapping[str, object]] = request.app.openapi()["paths"]
    return sorted(
        method.upper()
        for template, operations in paths.items()
        if compile_path(template)[0].match(request.url.path)
        for method in operations
    )


def _respond(
    request: Request,
    kind: ProblemKind,
    detail: str,
    trace_id: str,
    inputs: list[InvalidInput],
    headers: dict[str, str],
) -> Response:
    problem = Problem(
        type=f"urn:slimwire:problem:{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request.url.path,
        trace_id=trace_id,
        errors=inputs,
    )
    return ProblemResponse(problem, headers)


def _invalid_inputs(error: RequestValidationError) -> list[InvalidInput]:
    # Only location and message: the rest may hold the input itself, in types that are no JSON.
    return [
        InvalidInput(location=".".join(str(part) for part in item["loc"]), detail=item["msg"])
        for item in error.errors()
    ]


def _retry_header(error: Exception) -> dict[str, str]:
    if isinstance(error, BusyError):
        return {"Retry-After": str(math.ceil(error.retry_after_seconds))}
    if isinstance(error, RedisError | StoreFullError):
        return {"Retry-After": str(STORE_RETRY_SECONDS)}
    return {}


def _trace_id(request: Request) -> str:
    traceparent = trace_of(request.headers.get("traceparent", ""))
    return traceparent.split("-")[1] if traceparent else uuid.uuid4().hex
