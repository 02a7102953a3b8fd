"""The review API: what people and programs ask the cloud."""

from slimcloud.api.app import build_api, end_event_streams
from slimcloud.api.auth import ApiAccess
from slimcloud.api.metrics import ReviewMetrics

__all__ = ["ApiAccess", "ReviewMetrics", "build_api", "end_event_streams"]
