"""The full YOLOv3 with random weights, as a user imports the official one, and its boxes: processor
time and peak memory, each in a process of its own.

    PYTHONPATH=tests python -m bench.yolov3

Prints a Markdown table. The weights are random: they find nothing, and time and memory do not
depend on them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_detector_artifact
from slimdetect.detector import Tail

IMAGE_HW = (416, 416)  # pixels
PICTURES = 5
MODEL = "yolov3/1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detect", nargs=2, metavar=("DIR", "PICTURES"), help="for itself")
    options = parser.parse_args()
    if options.detect:
        directory, pictures = options.detect
        detect(Path(directory), int(pictures))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / MODEL
        this = ["bench.yolov3", "--detect", str(model)]
        commands = {
            "slimwire detector import": [
                "slimcli",
                "detector",
                "import",
                *write_yolov3(folder),
                "--to",
                str(model),
            ],
            "one picture": [*this, "1"],
            f"{PICTURES} pictures": [*this, str(PICTURES)],
        }
        print("| what | processor, s | peak memory, MB |")
        print("|---|---|---|")
        for what, words in commands.items():
            processor, peak = measure(words)
            print(f"| {what} | {processor:.1f} | {peak:.0f} |", flush=True)
        size = sum(path.stat().st_size for path in model.iterdir())
        print(f"\nThe model's folder: {size / 1e6:.0f} MB.")


def detect(directory: Path, pictures: int) -> None:
    """Run the detector on so many pictures, with one thread."""
    detector = load_detector_artifact(directory)
    tail = Tail(detector, detector, OpenVinoRuntime(num_threads=1))
    rng = np.random.default_rng(0)
    for _ in range(pictures):
        tail.detect_image(rng.integers(0, 256, (*IMAGE_HW, 3), dtype=np.uint8))


def write_yolov3(folder: Path) -> list[str]:
    """Darknet's files, as the options that name them."""
    import torch  # not in the process that detects: it would be in its memory

    from slimnets.darknet.cfg import parse_cfg
    from slimnets.darknet.detector import Darknet
    from slimnets.darknet.weights import save_darknet_weights
    from support.models.yolov3 import yolov3_cfg

    cfg, weights, names = (folder / f"yolov3.{suffix}" for suffix in ("cfg", "weights", "names"))
    cfg.write_text(yolov3_cfg())
    torch.manual_seed(0)
    save_darknet_weights(Darknet(parse_cfg(cfg.read_text())), weights)
    names.write_text("".join(f"class{number}\n" for number in range(80)))
    return ["--cfg", str(cfg), "--weights", str(weights), "--names", str(names)]


def measure(words: Sequence[str]) -> tuple[float, float]:
    """Processor seconds and peak memory in MB of a Python module with its arguments."""
    child = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: exit code {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
