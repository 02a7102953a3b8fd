"""How much faster than real time the simulator is, and how tight the oracle's bound.

    python -m bench.simulator [FOLDER OF TRACES] [--limit N]

Processor time of one process. Settings a and b of the study (`studies.controller`), encode
seconds of the model's profile. Without a folder: a link of 1 Mbit/s that stands still for 4 s of
every 20.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact
from slimlinks.trace import Trace
from studies.controller.bound.oracle import bound
from studies.controller.comparison.codec_figures import MODEL, CodecFigures, model_figures
from studies.controller.comparison.contender import CONTROLLER, Contender
from studies.controller.comparison.setting import SETTING_A, SETTING_B, make_world
from studies.controller.simulation.content import load_street
from studies.controller.simulation.outcome import summarise
from studies.controller.simulation.recordings import find_traces
from studies.controller.simulation.simulate import simulate

HOLES = Trace("holes", "made", (0.0, 16.0), (125_000.0, 0.0), 20.0)


def load_figures() -> CodecFigures:
    """The model's points, bytes and seconds."""
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL))
    return model_figures(codec.levels, codec.manifest.qualities, codec.profile, load_street())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--limit", type=int, default=5, help="links, evenly among those found")
    arguments = parser.parse_args()
    traces = (HOLES,) if arguments.folder is None else find_traces(arguments.folder)
    traces = traces[:: max(1, len(traces) // arguments.limit)][: arguments.limit]
    figures, contender = load_figures(), Contender(CONTROLLER, MODEL, CONTROLLER)
    print("| link | setting | simulated s per s | accuracy | bound | no more than | s | merged |")
    print("|---|---|---|---|---|---|---|---|")
    for trace in traces:
        for setting in (SETTING_A, SETTING_B):
            world = make_world(setting, trace, figures)
            simulate(contender.build(world, setting.name), world)  # fills its caches
            started = time.process_time()
            run = simulate(contender.build(world, setting.name), world)
            took = time.process_time() - started
            started = time.process_time()
            upper = bound(world).upper
            searched = time.process_time() - started
            both = bound(world, with_lower=True)
            assert both.lower is not None, "there is no budget"
            print(
                f"| {trace.name} | {setting.name} | {world.seconds / took:,.0f} "
                f"| {summarise(run).in_deadline_accuracy:.4f} | {upper:.4f} "
                f"| +{upper / both.lower - 1:.2%} | {searched:.1f} | {both.merged_frames} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
