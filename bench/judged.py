"""What a live edge sent of a video, what came back, and how much of the detector's AP50 that is.

events of the edge -Watch-> SentFrame: its container, its result, what it took
boxes that came back -Judge-> AP50 against what the uncut detector is sure of in the same frames
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcli.models import open_codec, open_detector
from slimcodec.detection import Detection
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import DEFAULT_MODEL
from slimdetect.detector import Detector
from slimedge.capture.source import open_source
from slimedge.event import Captured, Detected, EdgeEvent, Encoded, LinkTraffic, Sent
from slimtrain.evaluation.video import CLASSES, VideoLabels, read_video_labels
from slimtrain.evaluation.video_point import WANTED
from slimtrain.evaluation.video_rows import SURE_SCORE
from slimtrain.figures.mean_average_precision import (
    MIN_LABELS,
    Labels,
    ScoredBoxes,
    match_class,
    pseudo_labels,
)


@dataclass
class SentFrame:
    """One frame that was encoded for the wire."""

    number: int  # of the camera, from 1 on
    point: tuple[int, float]  # level, quality
    encode_seconds: float
    bitstream_bytes: int
    is_key: bool
    is_sent: bool = False
    detections: tuple[Detection, ...] = ()
    latency_seconds: float | None = None  # capture to result; None: there was none
    cloud_seconds: float = 0.0  # waiting there, and computing

    @property
    def computing_seconds(self) -> float:
        """What it spent in the encoder and in the cloud."""
        return self.encode_seconds + self.cloud_seconds


@dataclass
class Watch:
    """Watches an edge from the first frame that it encodes for the wire until it is closed."""

    begun: float | None = None  # monotonic seconds
    captured: list[int] = field(default_factory=list)  # numbers
    by_sequence: dict[int, SentFrame] = field(default_factory=dict)
    socket_bytes_out: int = 0
    socket_bytes_in: int = 0
    is_open: bool = True

    def notify(self, event: EdgeEvent) -> None:
        match event:
            case Captured() if self.is_open:
                self.captured.append(event.frame)
            case Encoded() if self.is_open:
                if self.begun is None:
                    self.begun, self.captured = time.monotonic(), [event.frame]
                self.by_sequence[event.sequence] = SentFrame(
                    number=event.frame,
                    point=(event.level, event.quality),
                    encode_seconds=event.encode_seconds,
                    bitstream_bytes=event.bitstream_bytes,
                    is_key=event.kind == "intra",
                )
            case Sent() if event.sequence in self.by_sequence:
                self.by_sequence[event.sequence].is_sent = True
            case Detected() if event.sequence in self.by_sequence:
                frame = self.by_sequence[event.sequence]
                frame.detections = event.detections
                frame.latency_seconds = event.latency_seconds
                frame.cloud_seconds = event.cloud_queue_seconds + event.cloud_compute_seconds
            case LinkTraffic() if self.is_open and self.begun is not None:
                self.socket_bytes_out += event.sent_bytes
                self.socket_bytes_in += event.received_bytes
            case _:
                pass

    @property
    def sent(self) -> list[SentFrame]:
        """The frames that went out, in their order."""
        return [frame for frame in self.by_sequence.values() if frame.is_sent]

    @property
    def is_settled(self) -> bool:
        """Whether all that went out has its result."""
        return all(frame.latency_seconds is not None for frame in self.sent)


class Judge:
    """Knows what is in a video's frames, which a camera shows again and again.

    Args:
        labels: Boxes that somebody drew, as MOTChallenge has them.
        every: Of the labels' frames, the video has one of so many.
    """

    def __init__(self, video: Path, labels: Path | None = None, every: int = 1) -> None:
        codec = open_codec(DEFAULT_MODEL, None)
        self._detector = Detector(codec, open_detector(codec, None), OpenVinoRuntime(num_threads=1))
        self._video, self._every = video, every
        shapes = [picture.image.shape for picture in open_source(str(video), 1.0).pictures()]
        self._length = len(shapes)
        names = self._detector.names
        self._class_ids = [names.index(name) for name in CLASSES]
        self._given: VideoLabels | None = None
        if labels is not None:
            self._given = read_video_labels(labels, (shapes[0][0], shapes[0][1]), names)
        self._sure: dict[int, Labels] = {}  # by the video's frame, from 1 on

    def ap50(self, found: Mapping[int, ScoredBoxes]) -> list[float | None]:
        """Of persons and of cars, by the boxes of the camera's frames; None: too few to tell."""
        self._look(map(self._frame, found))
        truths = [self._sure[self._frame(number)] for number in found]
        return [_ap50(list(found.values()), truths, class_id) for class_id in self._class_ids]

    def ap50_of_given_persons(self, found: Mapping[int, ScoredBoxes]) -> float | None:
        """The same of persons, against the boxes that somebody drew."""
        if self._given is None:
            return None
        numbers = {number: (self._frame(number) - 1) * self._every + 1 for number in found}
        truths = {number: self._given.of_frame(labelled) for number, labelled in numbers.items()}
        known = [(found[number], truth) for number, truth in truths.items() if truth is not None]
        return _ap50([b for b, _ in known], [truth for _, truth in known], self._class_ids[0])

    def _frame(self, number: int) -> int:
        """Of the video, by the camera's number."""
        return (number - 1) % self._length + 1

    def _look(self, wanted: Iterable[int]) -> None:
        unknown = set(wanted).difference(self._sure)
        for frame, image in self._images() if unknown else ():
            if frame in unknown:
                seen = ScoredBoxes.of(self._detector.detect_image(image, WANTED))
                self._sure[frame] = pseudo_labels(seen, SURE_SCORE)

    def _images(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        pictures = open_source(str(self._video), 1.0).pictures()
        return ((frame, picture.image) for frame, picture in enumerate(pictures, start=1))


def _ap50(found: list[ScoredBoxes], truths: list[Labels], class_id: int) -> float | None:
    matches = match_class(class_id, found, truths)
    if matches.num_labels.sum() < MIN_LABELS:
        return None
    return float(matches.average_precision(np.ones((1, len(found))))[0])
