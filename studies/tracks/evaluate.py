"""IDF1 and switches of the cloud's tracks on videos with true boxes, at several frame rates.

    python -m studies.tracks.evaluate ../shared/data/video/{vtest.avi,tud_campus.mp4} \\
        --detections /tmp/found --to studies/results/tracks.csv

The true boxes lie beside a video, as NAME.boxes.txt in MOT's form. Every frame goes through the
codec, alone, at a level and quality; what is found is kept in the folder `--detections` and taken
from there the next time. Persons only: nothing else has true boxes.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import av

from slimcli.models import open_model, open_runtime
from slimcloud.tracks.motion import Box
from slimcloud.tracks.tracker import BEGIN_SCORE, Tracker, iou
from slimcodec.detection import Detection
from slimdetect.scores import SHOWN
from slimtrain.calibration.scores import open_detection
from studies.detector.evaluate import read_frames
from studies.tracks.identity import MIN_IOU, Identity, NamedBoxes, measure

LABEL = "person"
RATES = (1.0, 2.0, 5.0, 10.0)  # frames a second

Found = Mapping[int, Sequence[Detection]]  # by frame, 1 being the first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--detections", type=Path, required=True)
    parser.add_argument("--model", default="slim")
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--quality", type=int, default=3)
    parser.add_argument("--begin", type=float, nargs="+", default=(0.3, BEGIN_SCORE, 0.7))
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    codec, detector = open_model(options.model, None)
    find = open_detection(codec, detector, open_runtime(None))
    columns = (
        "video",
        "frames_per_second",
        "begin_score",
        *(field.name for field in fields(Identity)),
    )
    with options.to.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for video in options.videos:
            kept = options.detections / f"{video.stem}.jsonl"
            if not kept.exists():
                point = (options.level, options.quality)
                with kept.open("w") as rows:
                    for number, image in read_frames(video, range(1, 100_000)):
                        for box in find(image, point, SHOWN):
                            rows.write(json.dumps({"frame": number, **asdict(box)}) + "\n")
            found = read_found(kept)
            for rate in RATES:
                for begin_score in options.begin:
                    row = asdict(evaluate(video, found, rate, begin_score))
                    row = {name: round(value, 3) for name, value in row.items()}
                    key = {
                        "video": video.name,
                        "frames_per_second": rate,
                        "begin_score": begin_score,
                    }
                    writer.writerow(key | row)


def evaluate(video: Path, found: Found, rate: float, begin_score: float) -> Identity:
    """The tracks of what was found at a frame rate.

    Args:
        rate: frames a second, at most the video's own.
        begin_score: as of `Tracker.update`.
    """
    truth, ignored = read_truth(video.with_suffix(".boxes.txt"))
    with av.open(str(video)) as file:
        own_rate = float(file.streams.video[0].average_rate or 25)
    last = max(truth)
    frames = [1 + round(i * own_rate / rate) for i in range(int(last * rate / own_rate) + 1)]
    frames = [number for number in frames if number <= last]
    tracker = Tracker()
    told: list[NamedBoxes] = []
    for number in frames:
        persons = [box for box in found.get(number, ()) if box.label == LABEL]
        ids = tracker.update(round(1e6 * number / own_rate), persons, begin_score)
        named = zip(ids, persons, strict=True)
        told.append(
            {
                track_id: box.box_xyxy
                for track_id, box in named
                if track_id
                and all(iou(box.box_xyxy, place) < MIN_IOU for place in ignored.get(number, ()))
            }
        )
    return measure([truth.get(number, {}) for number in frames], told)


def read_found(path: Path) -> Found:
    found: defaultdict[int, list[Detection]] = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        found[row.pop("frame")].append(Detection(**row | {"box_xyxy": tuple(row["box_xyxy"])}))
    return found


def read_truth(path: Path) -> tuple[Mapping[int, NamedBoxes], Mapping[int, list[Box]]]:
    """True boxes of each frame by their object, and those that are to be ignored."""
    truth: defaultdict[int, dict[int, Box]] = defaultdict(dict)
    ignored: defaultdict[int, list[Box]] = defaultdict(list)
    for line in path.read_text().splitlines():
        frame, name, left, top, width, height, flag = map(float, line.split(",")[:7])
        box = (left, top, left + width, top + height)
        if flag:
            truth[int(frame)][int(name)] = box
        else:
            ignored[int(frame)].append(box)
    return truth, ignored


if __name__ == "__main__":
    main()
