"""Cut a few seconds out of a video and encode them small: how `street.mp4` was made.

python samples/make_street.py vtest.avi samples/street.mp4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av

FIRST_FRAME = 0  # index into the source
NUM_FRAMES = 120  # 12 seconds at the source's own 10 frames a second
CRF = "23"  # x264's rate factor: 18 is hard to tell from the source, 28 shows blocks
PRESET = "veryslow"


def make_clip(source: Path, target: Path) -> None:
    """Write `NUM_FRAMES` frames of `source` to `target` as H.264, without sound."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        video = reader.streams.video[0]
        stream = writer.add_stream("libx264", rate=video.average_rate)
        stream.width, stream.height = video.width, video.height
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": CRF, "preset": PRESET, "x264-params": "threads=1"}
        for index, frame in enumerate(reader.decode(video)):
            if not FIRST_FRAME <= index < FIRST_FRAME + NUM_FRAMES:
                continue
            frame.pts = None  # the writer numbers the frames anew
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    make_clip(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
