"""The review API: what people and programs ask the cloud."""

from slimcloud.review.app import build_api, end_event_streams, take_tokens
from slimcloud.review.metrics import ReviewMetrics
from slimcloud.review.routes.events import event_document

__all__ = ["ReviewMetrics", "build_api", "end_event_streams", "event_document", "take_tokens"]
