"""What can go wrong in the cloud.

CloudError
├── InvalidFrameIdError      not camera:epoch:sequence                        (API: 404)
├── InvalidCursorError       not a cursor that this cloud gave out            (API: 400)
├── FrameNotFoundError       no such frame was ever stored                    (API: 404)
├── FrameGoneError           it was stored, and retention removed it          (API: 410)
├── EventNotFoundError       no such event, or its time is over               (API: 404)
├── ReviewNotFoundError      no such review record, or it was trimmed         (API: 404)
├── RequestNotFoundError     no such refetch request, or it is forgotten      (API: 404)
├── RulesReplacedError       somebody else has replaced these rules           (API: 409)
├── LetterNotFoundError      no such notification was given up                (API: 404)
├── StoreFullError           the work queue or Redis' memory is full          (wire: QUEUE_FULL)
├── StoreUnreachableError    Redis does not answer at the start
├── StoreLostError           Redis holds another store than before            (wire: UNAVAILABLE)
├── ReferenceRefusedError    the frame that another needs cannot be that    (wire: REFERENCE)
├── FrameRefusedError        a frame that ingest does not take                (wire: Nack)
└── StreamRefusedError       a stream that ingest does not take or ends       (wire: gRPC status)
"""

import grpc


class CloudError(Exception):
    """Base of every error that the cloud raises on purpose."""


class InvalidFrameIdError(CloudError):
    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:120]!r} is no frame id; expected camera:epoch:sequence")


class InvalidCursorError(CloudError):
    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:120]!r} is no cursor of this cloud; list again from the start")


class FrameNotFoundError(CloudError):
    def __init__(self, frame_id: object) -> None:
        super().__init__(f"frame {frame_id} was never stored here")


class FrameGoneError(CloudError):
    def __init__(self, frame_id: object) -> None:
        super().__init__(f"frame {frame_id} was stored, and retention has removed it")


class RequestNotFoundError(CloudError):
    def __init__(self, request_id: str) -> None:
        super().__init__(f"no refetch request {request_id[:80]!r}; it may be forgotten by now")


class EventNotFoundError(CloudError):
    def __init__(self, event_id: str) -> None:
        super().__init__(f"no event {event_id[:120]!r} is known; it may be too old by now")


class ReviewNotFoundError(CloudError):
    def __init__(self, review_id: str) -> None:
        super().__init__(f"no review record {review_id[:80]!r} is known; list them again")


class RulesReplacedError(CloudError):
    def __init__(self, camera_id: str, version: int) -> None:
        super().__init__(
            f"the rules of {camera_id} have been replaced, and are version {version}; read them "
            "again"
        )


class LetterNotFoundError(CloudError):
    def __init__(self, letter_id: str) -> None:
        super().__init__(f"no dead letter {letter_id[:80]!r}; it may have been sent again")


class StoreFullError(CloudError):
    """The store takes no more for now; the same bytes may be sent again later."""


class StoreUnreachableError(CloudError):
    """The Redis that a setting names does not answer."""


class StoreLostError(CloudError):
    def __init__(self) -> None:
        super().__init__("the store was emptied, or is another one; connect again to hear which")


class ReferenceRefusedError(CloudError):
    """The frame that another needs is not stored, has failed, or needs too many itself."""


class FrameRefusedError(CloudError):
    """A frame or an enhancement that ingest does not take; the stream lives on.

    `reason` is the name of a `NackReason` without its prefix, e.g. `CRC`.
    """

    def __init__(self, reason: str, detail: str, *, retryable: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.retryable = retryable


class StreamRefusedError(CloudError):
    """A stream that ingest does not take, or ends."""

    def __init__(self, status: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.status = status
