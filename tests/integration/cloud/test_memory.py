"""What a large picture takes, and what is left of it; `bench.memory` measures whole processes."""

import json
import subprocess
import sys

MEGAPIXELS = 2
# Measured in float32, which takes more than bf16: 167 bytes a pixel in the feature
# transform, 104 in the tail, and what is compiled anew.
MOST_MB = 250 * MEGAPIXELS + 150
KEPT_MB = 350  # compiled graphs, and what a tile of the picture takes
RUN = """
import json, sys
from pathlib import Path
import numpy as np
from slimcodec.decode import Decoder, Latent
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_of
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimdetect.detector import Detector

def megabytes(field):
    status = Path("/proc/self/status").read_text()
    return int(status.partition(field + ":")[2].split()[0]) // 1024

codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL))
runtime = OpenVinoRuntime(1, "f32", 192 * 2**20)
detector, decoder = Detector(codec, load_detector_of(codec), runtime), Decoder(codec, runtime)

def work(h, w, pictures):
    places = h // 16, w // 16
    y_hat, levels = np.zeros((1, 32, *places), np.float32), np.zeros(places, np.uint8)
    latent = Latent(y_hat, 0, 0, (h, w), levels)
    detector.detect_latents([latent] * pictures)
    decoder.decode_image(latent)

work(64, 64, 1)
before = megabytes("VmRSS")
work(1024, 1024 * int(sys.argv[1]), 2)
print(json.dumps([before, megabytes("VmHWM"), megabytes("VmRSS")]))
"""


def test_a_large_picture_takes_so_much_and_gives_it_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(MEGAPIXELS)], capture_output=True, text=True, check=True
    )

    before, peak, after = json.loads(done.stdout)
    assert peak - before <= MOST_MB
    assert after - before <= KEPT_MB
