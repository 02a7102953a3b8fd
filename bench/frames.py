"""Processor time of containers that were coded alone and against a reference, 640 x 480.

    python -m bench.frames VIDEO [--model slim] [--level L] [--quality Q] [--seconds S]

Two frames of the video, S apart, scaled; decoding to symbols, least and median of 40, one thread,
in turns with a codec whose tables depend on nothing (slim-n) on the same pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import find_model
from slimcodec.model.load import load_codec_artifact

ROUNDS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", default="slim")
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--quality", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    words = parser.parse_args()
    first, second = pictures(words.video, words.seconds)
    runtime = OpenVinoRuntime(1)
    point = words.level, words.quality
    artifact = load_codec_artifact(find_model("codec", words.model))
    encoder, decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
    alone = encoder.encode(first, *point)
    inter = encoder.encode(second, *point, alone.symbols)
    plain = load_codec_artifact(find_model("codec", "slim-n"))
    rival, rivals = Decoder(plain, runtime), Encoder(plain, runtime).encode(first, *point)
    runs: dict[str, Callable[[], object]] = {
        "alone": lambda: decoder.decode_symbols(alone.bitstream),
        "inter": lambda: decoder.decode_symbols(inter.bitstream, None, alone.symbols),
        "slim-n": lambda: rival.decode_latent(rivals.bitstream),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            taken[name].append(1e3 * (time.thread_time() - start))
    sizes = (len(one.bitstream) for one in (alone, inter, rivals))
    for (name, times), size in zip(taken.items(), sizes, strict=True):
        print(f"{name}: {size} bytes, {min(times):.2f} ms, median {np.median(times):.2f}")


def pictures(path: Path, seconds: float) -> list[NDArray[np.uint8]]:
    """Two frames, so many seconds apart, (480, 640, 3)."""
    found: list[NDArray[np.uint8]] = []
    with av.open(str(path)) as video:
        for frame in video.decode(video=0):
            if frame.time >= len(found) * seconds:
                found.append(frame.reformat(640, 480, "rgb24").to_ndarray().astype(np.uint8))
            if len(found) == 2:
                return found
    raise SystemExit(f"{path}: is shorter than {seconds} seconds")


if __name__ == "__main__":
    main()
