"""The edge: a camera's pictures, encoded for the link there is, and sent to the cloud."""

from slimedge.app import run_edge
from slimedge.errors import (
    CameraError,
    CameraLostError,
    EdgeError,
    ModelMismatchError,
    RefusedError,
)
from slimedge.event import EdgeEvent, EdgeObserver, Observers
from slimedge.settings import EdgeSettings

__all__ = [
    "CameraError",
    "CameraLostError",
    "EdgeError",
    "EdgeEvent",
    "EdgeObserver",
    "EdgeSettings",
    "ModelMismatchError",
    "Observers",
    "RefusedError",
    "run_edge",
]
