"""What the codec leaves of the detector, by the size of the objects: AP50 of the feature path, and
of the decoded picture, against the same detector's boxes in the uncompressed picture.

Sizes as COCO's: an area below 32 x 32 pixels is small, from 96 x 96 on large. Of each size the mean
of the classes with `MIN_BOXES` boxes or more of that size; a size without such a class has none.

    python -m studies.detector.ceiling --data ../shared/data --to F.json --models slim/1 slim/2
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.detection import Detection
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact, load_detector_of
from slimdetect.detector import Detector
from slimtrain.data.pictures import box_overlap, box_xywh, index_pictures, load_pictures
from slimtrain.figures.mean_average_precision import (
    MEASURED,
    Labels,
    ScoredBoxes,
    match_boxes,
    pseudo_labels,
)
from studies.detector.evaluate import PROPOSALS, read_frames

SIZES = {"small": (0, 32**2), "middle": (32**2, 96**2), "large": (96**2, 10**9)}
MIN_BOXES = 20
STILLS = ("camvid", "dashcam_korea", "openimages_street", "pedestrian_street")
"""The validation tenth of each."""
VIDEOS = (
    "lane_pedestrians.mp4",
    "residential_street.mp4",
    "motorway_tunnel.mp4",
    "motorway_haze.mp4",
    "london_a13_day.mp4",
    "london_a13_sun.mp4",
    "vtest.avi",
)
"""The first three were learned from, frame by frame; the others never."""
FRAMES = 25
POINTS = ((0, 2.0), (1, 3.0), (2, 3.0), (3, 3.0), (3, 5.0))
"""Level and quality."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--root", type=Path, help="where the models are")
    options = parser.parse_args()
    rows = []
    for name, images in read_places(options.data):
        for model in options.models:
            row = {"place": name, "model": model, **measure(model, images, options.root)}
            print(json.dumps(row), flush=True)  # noqa: T201  # a study's own output
            rows.append(row)
            options.to.write_text(json.dumps(rows, indent=1) + "\n")


def read_places(data: Path) -> Iterator[tuple[str, list[NDArray[np.uint8]]]]:
    for name in STILLS:
        entries = index_pictures([data / "detect" / name], {name: PROPOSALS})
        pictures = load_pictures([entry for entry in entries if entry.is_validation])
        yield name, [picture.image for picture in pictures]
    for name in VIDEOS:
        path = data / "video" / name
        every = {"vtest.avi": 31}.get(name, 10)
        wanted = range(1, 1 + every * FRAMES, every)
        yield name, [image for _, image in read_frames(path, wanted)]


def measure(
    model: str, images: Sequence[NDArray[np.uint8]], root: Path | None
) -> dict[str, object]:
    """AP50 by point and size; `boxes` of each size there are."""
    artifact = load_codec_artifact(find_model("codec", model, root))
    runtime = OpenVinoRuntime(num_threads=1)
    encoder, decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
    detector = Detector(artifact, load_detector_of(artifact, root), runtime)
    uncut = [scored(detector.detect_image(image, MEASURED)) for image in images]
    points: dict[str, object] = {}
    for level, quality in POINTS:
        seen, decoded, bits = [], [], 0
        for image in images:
            bitstream = encoder.encode(image, level, quality).bitstream
            bits += 8 * len(bitstream)
            latent = decoder.decode_latent(bitstream)
            seen.append(scored(detector.detect_latents([latent], MEASURED)[0]))
            if (level, quality) == POINTS[-1]:
                picture = decoder.decode_image(latent)
                decoded.append(scored(detector.detect_image(picture, MEASURED)))
        pixels = sum(image[..., 0].size for image in images)
        points[f"{level}:{quality:g}"] = {"bpp": round(bits / pixels, 4), **by_size(seen, uncut)}
        if decoded:
            points["decoded"] = by_size(decoded, uncut)
    labels = [pseudo_labels(each) for each in uncut]
    counts = {
        size: sum(int((~of_size(each, size).is_ignored).sum()) for each in labels) for size in SIZES
    }
    return {"boxes": counts, "points": points}


def scored(found: Sequence[Detection]) -> ScoredBoxes:
    return ScoredBoxes.of(found)


def by_size(seen: Sequence[ScoredBoxes], uncut: Sequence[ScoredBoxes]) -> dict[str, float | None]:
    labels = [pseudo_labels(each) for each in uncut]
    figures: dict[str, float | None] = {}
    for size in SIZES:
        mine = [of_size(each, size) for each in labels]
        found = [near(*each, size) for each in zip(seen, mine, strict=True)]
        ap = [
            float(matches.average_precision(np.ones((1, len(labels))))[0])
            for matches in match_boxes(found, mine)
            if matches.num_labels.sum() >= MIN_BOXES
        ]
        figures[size] = round(float(np.mean(ap)), 3) if ap else None
    return figures


def of_size(labels: Labels, size: str) -> Labels:
    """Labels of other sizes neither help nor harm."""
    return replace(labels, is_ignored=labels.is_ignored | ~is_of_size(labels.boxes_xyxy, size))


def near(found: ScoredBoxes, labels: Labels, size: str) -> ScoredBoxes:
    """Detections of a size, and those of other sizes that hit a label of this one."""
    wanted = labels.boxes_xyxy[~labels.is_ignored]
    keep = is_of_size(found.boxes_xyxy, size)
    keep |= box_overlap(found.boxes_xyxy, wanted).max(axis=1, initial=0) >= 0.5
    return ScoredBoxes(found.boxes_xyxy[keep], found.scores[keep], found.class_ids[keep])


def is_of_size(boxes_xyxy: NDArray[np.float32], size: str) -> NDArray[np.bool_]:
    low, high = SIZES[size]
    area: NDArray[np.float64] = box_xywh(boxes_xyxy)[:, 2:].prod(axis=1)
    return (low <= area) & (area < high)


if __name__ == "__main__":
    main()
