"""Our errors as the wire says them: as a Nack, by a table, or as a status.

A Nack refuses one frame and the stream lives on; a status ends the stream. The first class that
fits counts.
"""

from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from slimcloud.errors import (
    FrameGoneError,
    FrameNotFoundError,
    FrameRefusedError,
    StoreFullError,
    StoreLostError,
    StreamRefusedError,
)
from slimcodec.errors import BitstreamError, ContainerLimitError, FingerprintMismatchError

QUEUE_FULL_RETRY_MS = 1000  # a few batches later there may be room

# error -> name of the NackReason, and whether the same bytes may be sent again
_NACKS: tuple[tuple[type[Exception], str, bool], ...] = (
    (FingerprintMismatchError, "MODEL", False),
    (ContainerLimitError, "TOO_LARGE", False),
    (BitstreamError, "HEADER", False),
    (StoreFullError, "QUEUE_FULL", True),
    (FrameGoneError, "EXPIRED", False),
    (FrameNotFoundError, "EXPIRED", False),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a Nack says."""

    reason: str  # name of a NackReason without its prefix
    detail: str
    retryable: bool = False

    @property
    def retry_after_ms(self) -> int:
        """When the same bytes may be sent again, milliseconds from now; 0 = at once."""
        return QUEUE_FULL_RETRY_MS if self.reason == "QUEUE_FULL" else 0


def refusal_of(error: Exception) -> Refusal | None:
    """The Nack for an error; None when it is not about one frame."""
    if isinstance(error, FrameRefusedError):
        return Refusal(error.reason, str(error), error.retryable)
    for kind, reason, retryable in _NACKS:
        if isinstance(error, kind):
            return Refusal(reason, str(error), retryable)
    return None


def refusal_of_outcome(reason: str, *, is_dropped: bool) -> Refusal:
    """The Nack for a frame that was dropped, or has failed, and why."""
    return Refusal("EXPIRED" if is_dropped else "DECODE", reason)


def status_of(error: BaseException) -> grpc.StatusCode:
    """The status that ends a stream for an error."""
    if isinstance(error, StreamRefusedError):
        return error.status
    if isinstance(error, DecodeError):  # of a camera that could speak before
        return grpc.StatusCode.DATA_LOSS
    is_away = isinstance(error, RedisError | StoreLostError)
    return grpc.StatusCode.UNAVAILABLE if is_away else grpc.StatusCode.INTERNAL
