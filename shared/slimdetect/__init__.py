"""Boxes from latents and from pictures: decoding, suppression, the detector. No torch."""

from slimcodec.detection import Detection
from slimdetect.boxes import (
    Candidates,
    Head,
    clip_detections,
    decode_heads,
    suppress,
)
from slimdetect.detector import Detector
from slimdetect.errors import DetectError, DetectorMismatchError, NamesError
from slimdetect.names import load_names
from slimdetect.overlay import draw_detections

__all__ = [
    "Candidates",
    "DetectError",
    "Detection",
    "Detector",
    "DetectorMismatchError",
    "Head",
    "NamesError",
    "clip_detections",
    "decode_heads",
    "draw_detections",
    "load_names",
    "suppress",
]
