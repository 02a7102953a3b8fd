"""What triage saves on a video, and what it misses.

    python -m bench.triage VIDEO... [--model NAME] [--level 3] [--quality 3]
        [--every 10] [--labels person,car] [--thresholds 0.1,0.2]

Every so many frames are encoded for real. Without triage each is sent at `--level`. With triage
each is sent at level 0, and the enhancement up to `--level` for those that the head does not find
quiet; base and enhancement give the latent of the level, so their detections are the same, and what
triage can lose are the frames that it stops. Bytes are those of whole containers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact, load_detector_of
from slimdetect.detector import Detector
from slimdetect.scores import class_ids_of
from slimdetect.triage import TriageSession
from slimedge.capture.source import open_source


@dataclass(frozen=True)
class Looked:
    """One frame: what each way costs, and what there is to be found at the fixed level."""

    presence: float
    base_bytes: int
    enhancement_bytes: int
    fixed_bytes: int
    detections: int  # of interest


class Bench:
    def __init__(
        self, model: str, root: Path | None, level: int, quality: float, labels: Sequence[str]
    ) -> None:
        runtime = OpenVinoRuntime()
        codec = load_codec_artifact(find_model("codec", model, root))
        self.codec = codec
        self.encoder, self.decoder = Encoder(codec, runtime), Decoder(codec, runtime)
        self.detector = Detector(codec, load_detector_of(codec, root), runtime)
        self.triage = TriageSession(codec, runtime)
        self.level, self.quality = level, quality
        self.class_ids = class_ids_of(labels or self.triage.spec.labels, self.detector.names)

    def look(self, image: NDArray[np.uint8]) -> Looked:
        base = self.encoder.encode(image, 0, self.quality).bitstream
        enhancement = self.encoder.enhance(image, base, self.level).bitstream
        fixed = self.encoder.encode(image, self.level, self.quality).bitstream
        narrow = self.decoder.decode_latent(base)
        (presence,) = self.triage.presence([narrow], self.class_ids)
        latent = self.decoder.decode_latent(base, enhancement)
        (found,) = self.detector.detect_latents([latent])
        of_interest = sum(detection.class_id in self.class_ids for detection in found)
        return Looked(presence, len(base), len(enhancement), len(fixed), of_interest)


def frames_of(video: Path, every: int, most: int) -> Iterator[NDArray[np.uint8]]:
    pictures = open_source(str(video), 1.0).pictures()
    for picture in islice(pictures, 0, every * most, every):
        yield picture.image


def summary(video: str, looked: Sequence[Looked], threshold: float) -> dict[str, object]:
    """Bytes with triage against bytes without, and the detections that are kept."""
    fixed = sum(frame.fixed_bytes for frame in looked)
    passed = [frame for frame in looked if frame.presence >= threshold]
    sent = sum(frame.base_bytes for frame in looked)
    sent += sum(frame.enhancement_bytes for frame in passed)
    busy = [frame for frame in looked if frame.detections]
    all_detections = sum(frame.detections for frame in busy)
    kept = sum(frame.detections for frame in passed)
    return {
        "video": video,
        "frames": len(looked),
        "with_detections": len(busy),
        "threshold": round(threshold, 4),
        "quiet": len(looked) - len(passed),
        "bytes_without": fixed,
        "bytes_with": sent,
        "saved": round(1 - sent / fixed, 4),
        "detections_kept": round(kept / all_detections, 4) if busy else None,
        "frames_kept": round(sum(f.detections > 0 for f in passed) / len(busy), 4)
        if busy
        else None,
        "needless": len([frame for frame in passed if not frame.detections]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--models", type=Path, default=None, help="directory of models")
    parser.add_argument("--level", type=int, default=3, help="that is detected from")
    parser.add_argument("--quality", type=float, default=3)
    parser.add_argument("--every", type=int, default=10, help="take one of so many frames")
    parser.add_argument("--frames", type=int, default=1000, help="take so many at most")
    parser.add_argument("--labels", default="", help="of interest, with commas; else the model's")
    parser.add_argument("--thresholds", default="", help="the model's own choices when empty")
    chosen = parser.parse_args()
    labels = [label for label in chosen.labels.split(",") if label]
    bench = Bench(chosen.model, chosen.models, chosen.level, chosen.quality, labels)
    thresholds = [float(word) for word in chosen.thresholds.split(",") if word]
    thresholds = thresholds or [choice.threshold for choice in bench.triage.spec.choices]
    for video in chosen.videos:
        looked = [bench.look(image) for image in frames_of(video, chosen.every, chosen.frames)]
        for threshold in thresholds:
            json.dump(summary(video.name, looked, threshold), sys.stdout)
            sys.stdout.write("\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
