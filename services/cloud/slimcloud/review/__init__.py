"""The review API: what people and programs ask the cloud."""

from slimcloud.review.app import build_api, end_event_streams, take_tokens
from slimcloud.review.metrics import ReviewMetrics

__all__ = ["ReviewMetrics", "build_api", "end_event_streams", "take_tokens"]
