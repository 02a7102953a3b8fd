"""Events of videos: how many an hour, of what, and how soon after an object came.

    python -m studies.events.count ../shared/data/video/{vtest.avi,shop_door.mp4} \\
        --detections /tmp/found --to studies/results/events.csv

Every frame that is looked at goes through the codec, alone, at a level and quality; what is shown
is kept in the folder `--detections` and taken from there the next time. A video is run through
`slimcloud.events.grouping` once, and then for an hour, over and over, as an edge with `--loop`
sends it. No server runs.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import av
import numpy as np

from slimcli.models import open_model, open_runtime
from slimcloud.events.event import Event
from slimcloud.events.grouping import CameraEvents, SeenFrame
from slimcloud.frame_id import FrameId
from slimcloud.tracks.tracker import iou
from slimcloud.zones.rules import CameraRules
from slimdetect.scores import SHOWN
from slimtrain.calibration.scores import open_detection
from studies.detector.evaluate import read_frames
from studies.tracks.evaluate import Found, read_found, read_truth
from studies.tracks.identity import MIN_IOU

HOUR = 3600  # seconds


@dataclass(frozen=True)
class Counted:
    """Of one video, once through or for an hour of it."""

    seconds: int
    events: int
    objects: int  # tracks that joined an event
    labels: str  # of the events
    seconds_to_event: float  # from an object's first detection until it is in an event: the median
    seconds_to_event_p95: float
    of_true_objects: float | None  # share of events whose best box is one; None: no true boxes


@dataclass(frozen=True)
class Video:
    """Frames of a video at a lower frame rate, and what was found in them."""

    path: Path
    rate: float  # frames a second that are looked at
    own_rate: float
    image_hw: tuple[int, int]
    numbers: list[int]  # of the frames, 1 being the first

    @classmethod
    def open(cls, path: Path, rate: float) -> Video:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            own_rate = float(stream.average_rate or 25)
            count = stream.frames or sum(1 for _ in file.decode(stream))
            image_hw = (stream.height, stream.width)
        total = int((count - 1) * rate / own_rate) + 1
        numbers = [1 + round(i * own_rate / rate) for i in range(total)]
        return cls(path, rate, own_rate, image_hw, numbers)

    def played(self, found: Found, seconds: float) -> Iterator[tuple[int, SeenFrame]]:
        """Its frames over and over, with their numbers."""
        for i in range(round(seconds * self.rate)):
            number = self.numbers[i % len(self.numbers)]
            captured_us = 1 + round(1e6 * i / self.rate)
            frame_id = FrameId("study", 1, i + 1)
            yield number, SeenFrame(frame_id, captured_us, self.image_hw, found.get(number, ()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--detections", type=Path, required=True)
    parser.add_argument("--model", default="slim")
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--quality", type=int, default=3)
    parser.add_argument("--rate", type=float, default=4.0, help="frames a second")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    find = None
    columns = ["video", *(field.name for field in fields(Counted))]
    with options.to.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for path in options.videos:
            video = Video.open(path, options.rate)
            kept = options.detections / f"{path.stem}.jsonl"
            if not kept.exists():
                if find is None:
                    codec, detector = open_model(options.model, None)
                    find = open_detection(codec, detector, open_runtime(None))
                with kept.open("w") as rows:
                    for number, image in read_frames(path, video.numbers):
                        for box in find(image, (options.level, options.quality), SHOWN):
                            rows.write(json.dumps({"frame": number, **asdict(box)}) + "\n")
            found = read_found(kept)
            for seconds in (len(video.numbers) / video.rate, HOUR):
                writer.writerow({"video": path.name, **asdict(count(video, found, seconds))})


def count(video: Video, found: Found, seconds: float) -> Counted:
    """What comes of a video that is played for so long."""
    maker, rules = CameraEvents("study"), CameraRules()
    events: dict[str, Event] = {}
    delays: dict[int, float] = {}  # by track
    shown = {}  # number of each frame by its sequence
    for number, frame in video.played(found, seconds):
        shown[frame.frame_id.sequence] = number
        events |= {told.event.event_id: told.event for told in maker.update(frame, rules)}
        for track in maker.tracker.tracks:
            if maker.objects[track.track_id].event:
                delays.setdefault(track.track_id, (frame.captured_us - track.begun_us) / 1e6)
    events |= {told.event.event_id: told.event for told in maker.end()}
    waits = list(delays.values()) or [0.0]
    truth_path = video.path.with_suffix(".boxes.txt")
    return Counted(
        seconds=round(seconds),
        events=len(events),
        objects=len(delays),
        labels=" ".join(sorted({label for event in events.values() for label in event.labels})),
        seconds_to_event=round(float(np.median(waits)), 2),
        seconds_to_event_p95=round(float(np.percentile(waits, 95)), 2),
        of_true_objects=(
            _share_of_true(video, list(events.values()), shown) if truth_path.exists() else None
        ),
    )


def _share_of_true(video: Video, events: list[Event], shown: dict[int, int]) -> float:
    """The share of events whose best box is that of a true object."""
    truth, ignored = read_truth(video.path.with_suffix(".boxes.txt"))
    h, w = video.image_hw
    hits = 0
    for event in events:
        number = shown[event.best_frame_id.sequence]
        x_min, y_min, x_max, y_max = event.best_box
        box = (x_min * w, y_min * h, x_max * w, y_max * h)
        true = [*truth.get(number, {}).values(), *ignored.get(number, ())]
        hits += any(iou(box, one) >= MIN_IOU for one in true)
    return round(hits / max(1, len(events)), 3)


if __name__ == "__main__":
    main()
