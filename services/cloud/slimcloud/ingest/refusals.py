"""Our errors as the wire says them: as a Nack, by a table, or as a status.

A Nack refuses one frame and the stream lives on; a status ends the stream. The first class that
fits counts.
"""

import grpc
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from slimcloud.errors import (
    FrameGoneError,
    FrameNotFoundError,
    FrameRefusedError,
    ReferenceRefusedError,
    StoreFullError,
    StoreLostError,
    StreamRefusedError,
)
from slimcodec.errors import (
    BitstreamError,
    ContainerLimitError,
    FingerprintMismatchError,
    MissingReferenceError,
)

# error -> name of the NackReason, and whether the same bytes may be sent again
_NACKS: tuple[tuple[type[Exception], str, bool], ...] = (
    (FingerprintMismatchError, "MODEL", False),
    (ContainerLimitError, "TOO_LARGE", False),
    (MissingReferenceError, "REFERENCE", False),
    (ReferenceRefusedError, "REFERENCE", False),
    (BitstreamError, "HEADER", False),
    (StoreFullError, "QUEUE_FULL", True),
    (FrameGoneError, "EXPIRED", False),
    (FrameNotFoundError, "EXPIRED", False),
)


def refusal_of(error: Exception) -> FrameRefusedError | None:
    """What a Nack says of an error; None when it is not about one frame."""
    if isinstance(error, FrameRefusedError):
        return error
    for kind, reason, retryable in _NACKS:
        if isinstance(error, kind):
            return FrameRefusedError(reason, str(error), retryable=retryable)
    return None


def refusal_of_outcome(reason: str, *, is_dropped: bool) -> FrameRefusedError:
    """What a Nack says of a frame that was dropped, or has failed, and why."""
    return FrameRefusedError("EXPIRED" if is_dropped else "DECODE", reason)


def status_of(error: BaseException) -> grpc.StatusCode:
    """The status that ends a stream for an error."""
    if isinstance(error, StreamRefusedError):
        return error.status
    if isinstance(error, DecodeError):  # of a camera that could speak before
        return grpc.StatusCode.DATA_LOSS
    is_away = isinstance(error, RedisError | StoreLostError)
    return grpc.StatusCode.UNAVAILABLE if is_away else grpc.StatusCode.INTERNAL
