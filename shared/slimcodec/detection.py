"""What was seen in a picture: one object, from the detector over the wire to the camera and people.

It lies beside the codec, for edges carry no detector and are told detections all the same.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Detection:
    """One object: (x_min, y_min, x_max, y_max) in pixels of the original image, score in [0, 1].

    `label` is the detector's name of the class; empty where only its number is known.
    """

    box_xyxy: tuple[float, float, float, float]
    score: float
    class_id: int
    label: str = ""
