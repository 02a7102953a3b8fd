"""Events as they are stored."""

from slimcloud.events.event import Event
from slimcloud.frame_id import FrameId


def make_event(number: int, **changes: object) -> Event:
    return Event.model_validate(
        {
            "event_id": f"gate-1.00065ff0a0000000.{number}",
            "camera": "gate-1",
            "labels": ("person",),
            "begin_us": 1_780_000_000_000_000,
            "objects": 1,
            "score": 0.9,
            "best_frame_id": FrameId("gate-1", 1, number),
            "best_box": (0.1, 0.2, 0.3, 0.4),
            **changes,
        }
    )
