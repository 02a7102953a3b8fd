"""How much faster than real time the simulator is, and how tight the oracle's bound.

    python tests/bench/bench_simulator.py [FOLDER OF TRACES] [--limit N]

Processor time of one process. Settings: 768 x 576, 10 pictures/s, due in 1 s; 1280 x 720, 15
pictures/s, due in 0.5 s. 120 s of each link, encode seconds of the model's profile, 0.09 s a frame
in the cloud. Without a folder: a link of 1 Mbit/s that stands still for 4 s of every 20.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from slimcodec.artifact import find_model, load_codec_artifact
from slimcontrol import Controller, build_operating_points
from slimsim.content import load_street
from slimsim.oracle import bound
from slimsim.outcome import summarise
from slimsim.simulate import simulate
from slimsim.trace import Trace
from slimsim.trace_file import find_traces
from slimsim.world import World

HOLES = Trace("holes", "made", (0.0, 16.0), (125_000.0, 0.0), 20.0)
SIZES = {"10 pictures/s": (576, 768), "15 pictures/s": (720, 1280)}  # pixels


def make_world(trace: Trace, image_hw: tuple[int, int]) -> World:
    """One of the two settings over a link."""
    codec = load_codec_artifact(find_model("codec", "slim-n/3", None))
    profile = codec.profile
    assert profile is not None, "slim-n/3 has a profile"
    assert profile.calibration is not None, "with seconds"
    seconds = {
        level.level: profile.calibration.encode_seconds(level.level, image_hw[0] * image_hw[1])
        for level in codec.levels
    }
    world = World(
        trace=trace,
        content=load_street(),
        points=build_operating_points(codec.levels, codec.manifest.qualities, profile),
        encode_seconds={level: value for level, value in seconds.items() if value is not None},
        image_hw=image_hw,
    )
    return world if image_hw[0] < 720 else replace(world, fps=15.0, deadline_seconds=0.5)


def make_controller(world: World) -> Controller:
    """The product's."""
    per_pixel = {level: value / world.pixels for level, value in world.encode_seconds.items()}
    return Controller(
        world.points,
        per_pixel,
        deadline_seconds=world.deadline_seconds,
        frame_seconds=world.frame_seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--limit", type=int, default=5, help="links, evenly among those found")
    arguments = parser.parse_args()
    traces = (HOLES,) if arguments.folder is None else find_traces(arguments.folder)
    traces = traces[:: max(1, len(traces) // arguments.limit)][: arguments.limit]
    print("| link | setting | simulated s per s | accuracy | bound | no more than | s | merged |")
    print("|---|---|---|---|---|---|---|---|")
    for trace in traces:
        for name, image_hw in SIZES.items():
            world = make_world(trace, image_hw)
            simulate(make_controller(world), replace(world, seconds=1.0))  # fills its caches
            started = time.process_time()
            run = simulate(make_controller(world), world)
            took = time.process_time() - started
            started = time.process_time()
            upper = bound(world).upper
            searched = time.process_time() - started
            both = bound(world, with_lower=True)
            assert both.lower is not None, "there is no budget"
            print(
                f"| {trace.name} | {name} | {world.seconds / took:,.0f} "
                f"| {summarise(run).in_deadline_accuracy:.4f} | {upper:.4f} "
                f"| +{upper / both.lower - 1:.2%} | {searched:.1f} | {both.merged_frames} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
