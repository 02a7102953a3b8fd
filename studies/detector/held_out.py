"""A folder for `slimwire detector calibrate`: streets that training never saw, with the boxes of
DEIMv2-femto; those of a score below 0.35 are neither right nor wrong.

    python -m studies.detector.held_out --data ../shared/data --to /tmp/held-out

COCO's pictures are calibrated on beside it, as they are: people labelled them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image

from slimtrain.data.pictures import Pictures
from studies.detector.evaluate import LONDON_A13, PROPOSALS, read_folders, read_videos

SETS = ("camvid", "dashcam_korea", "openimages_street", "pedestrian_street", "trafficcam_montreal")
CAMERAS = (*(f"{name}.mp4" for name in LONDON_A13), "motorway_haze.mp4", "car-detection.mp4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    stills = [options.data / "detect" / name for name in SETS]
    cameras = [options.data / "video" / name for name in CAMERAS]
    write_folder(read_folders(stills, PROPOSALS, is_tenth=True), options.to / "stills")
    write_folder(read_videos(cameras, by_people=False), options.to / "cameras")


def write_folder(pictures: Pictures, folder: Path) -> None:
    """Pictures in `images/`, and their boxes as JSON lines in `labels`."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for picture in pictures:
        file_name = f"{picture.source}-{Path(picture.name).stem}.png"
        Image.fromarray(picture.image).save(folder / "images" / file_name)
        listed = [] if picture.boxes is None else picture.boxes.tolist()
        rows.append(json.dumps({"image": file_name, "boxes": listed}) + "\n")
    (folder / "labels").write_text("".join(rows))


if __name__ == "__main__":
    main()
