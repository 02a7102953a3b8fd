"""Processor time of containers that were coded alone and against a reference, 640 x 480.

    python -m bench.frames VIDEO [--model NAME] [--level L] [--quality Q]

Two frames of the video, S apart, scaled: from the output of g_a to a container, and from that to
symbols, least and median of 40, one thread. The steps in C and with numpy take turns.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from slimcodec.context.compiled import LIBRARY, PURE, load_library
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.graph.runtime import Graph, Runtime
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
    if load_library(LIBRARY) is None:
        raise SystemExit(f"{LIBRARY}: none of this source; install again where there is a compiler")
    first, second = pictures(words.video, words.seconds)
    runtime, point = TimedRuntime(OpenVinoRuntime(1)), (words.level, words.quality)
    artifact = load_codec_artifact(find_model("codec", words.model))
    runs: dict[str, Callable[[], object]] = {}
    for name, is_pure in {"C": "", "numpy": "1"}.items():
        os.environ[PURE] = is_pure  # read when a codec is loaded
        encoder, decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
        alone = encoder.encode(first, *point)
        inter = encoder.encode(second, *point, alone.symbols)
        runs |= {
            f"{name}: encode alone": partial(encoder.encode, first, *point),
            f"{name}: encode inter": partial(encoder.encode, second, *point, alone.symbols),
            f"{name}: decode alone": partial(decoder.decode_symbols, alone.bitstream),
            f"{name}: decode inter": partial(
                decoder.decode_symbols, inter.bitstream, None, alone.symbols
            ),
        }
    print(f"alone {len(alone.bitstream)} bytes, inter {len(inter.bitstream)}")
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.thread_time()
            run()
            begun = runtime.ended if "encode" in name else start
            taken[name].append(1e3 * (time.thread_time() - begun))
    for name, times in taken.items():
        print(f"{name}: {min(times):.2f} ms, median {np.median(times):.2f}")


class TimedRuntime:
    """A runtime that knows when a graph last ended."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.ended = 0.0

    def load(self, path: Path, exact: bool = False) -> Graph:
        """See `Runtime.load`."""
        graph = self._runtime.load(path, exact)

        def run(**inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
            outputs = graph(**inputs)
            self.ended = time.thread_time()
            return outputs

        return run


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
