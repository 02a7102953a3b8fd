"""The review API: what people and programs ask the cloud."""

from slimcloud.api.app import build_api, end_event_streams
from slimcloud.api.auth import ApiAccess
from slimcloud.api.metrics import ReviewMetrics
from slimcloud.api.readiness import Readiness

__all__ = ["ApiAccess", "Readiness", "ReviewMetrics", "build_api", "end_event_streams"]
