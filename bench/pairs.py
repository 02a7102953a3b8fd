"""Processor time of one container to its boxes: a codec and its detector beside another pair.

Both run in turns in one process of one thread, so that a busy machine slows both; the least of all
turns counts. Precision and instruction set decide the ratio: a processor with matrix units (AMX)
does large convolutions for little. `ONEDNN_MAX_CPU_ISA=AVX2` measures without them.

    git worktree add old e839b3d
    python -m bench.pairs --pair old/models slim-n/4 yolov3-slim/2
        --pair models slim/2 yolo-fastest-street/1 --precision f32
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimdetect.detector import Detector
from slimedge.capture.video import Video

SIZES = ((640, 352), (768, 576))  # width, height in pixels


class Pair:
    """A codec, and the detector that it was trained for."""

    def __init__(self, models: str, codec: str, detector: str, runtime: OpenVinoRuntime) -> None:
        artifact = load_codec_artifact(Path(models, codec))
        self.name = f"{codec}, {detector}"
        self.encoder, self.decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
        self.detector = Detector(artifact, load_detector_artifact(Path(models, detector)), runtime)

    def seconds(self, container: bytes) -> float:
        """Processor seconds, of all threads, from container to boxes."""
        started = time.process_time()
        self.detector.detect_latents([self.decoder.decode_latent(container)])
        return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pair", nargs=3, action="append", required=True, metavar=("MODELS", "CODEC", "DETECTOR")
    )
    parser.add_argument("--video", type=Path, default=Path("samples/street.mp4"))
    parser.add_argument("--precision", choices=("auto", "f32", "bf16"), default="auto")
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--quality", type=int, default=3)
    parser.add_argument("--turns", type=int, default=25)
    options = parser.parse_args()
    runtime = OpenVinoRuntime(num_threads=1, precision=options.precision)
    pairs = [Pair(models, codec, detector, runtime) for models, codec, detector in options.pair]
    frame = Image.fromarray(next(iter(Video(str(options.video)).pictures())).image)
    print("| size | precision | " + " | ".join(f"{pair.name}, ms" for pair in pairs) + " | ratio |")
    print("|---" * (len(pairs) + 3) + "|")
    for size in SIZES:
        picture = np.asarray(frame.resize(size))
        containers = [
            pair.encoder.encode(picture, level=options.level, quality=options.quality).bitstream
            for pair in pairs
        ]
        turns = [
            [pair.seconds(data) for pair, data in zip(pairs, containers, strict=True)]
            for _ in range(options.turns)
        ]
        least = np.min(turns, axis=0) * 1e3
        cells = [f"{value:.1f}" for value in least] + [f"{least[-1] / least[0]:.2f}"]
        print(f"| {size[0]} x {size[1]} | {runtime.precision} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
