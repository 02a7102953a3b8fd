"""The real edge and cloud over recorded links, and the simulator on the same seconds of them.

    PYTHONPATH=tests python -m bench.live TRACES [--seconds 60] [--only PART] [--tc]

TRACES is a folder of recorded links with folders of families in it. One cloud (all roles, embedded
Redis) for all links, a new edge for each, the link's relay: three processes. The sample video in a
loop (768 x 576 at 10 frames a second), a deadline of 1 s, a round trip of 50 ms. `--tc`: the kernel
shapes (tests/support/edge/tc_link.py).

The simulator gets the same trace from the same second, the containers' bytes of the same frames,
and encode and cloud seconds as they were in that very run. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from slimcli.demo.cloud import CloudProcess
from slimcli.demo.command import SAMPLE_VIDEO
from slimcli.models import open_codec
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.find import DEFAULT_MODEL, shipped
from slimcontrol.controller import Controller
from slimcontrol.point import OperatingPoint
from slimcontrol.profile import build_operating_points
from slimedge import app
from slimedge.encode.calibration import guess_encode_seconds
from slimedge.link.answer import AnswerReader
from slimedge.settings import EdgeSettings
from slimlinks.shaping import ShapedLink
from slimlinks.trace import Trace, read_trace
from slimops.settings import load_settings
from slimwire.v1 import ingest_pb2 as pb
from studies.controller.live_run import LiveRun, Measured
from studies.controller.simulation.content import Content, load_street
from studies.controller.simulation.outcome import Outcome, summarise
from studies.controller.simulation.simulate import simulate
from studies.controller.simulation.world import World
from support.edge.tc_link import tc_link

# Of the reporting half, 0.2 to 2 Mbit/s over the first minute, among the most uneven of a family.
TRACES = (
    "cellular_mahimahi/ATT-LTE-driving-2016_up.txt",
    "cellular_mahimahi/TMobile-UMTS-driving_up.txt",
    "fcc_broadband/trace_806330_http---www.amazon.com_0.txt",
    "norway_3g/metro.kalbakken-jernbanetorget-report.2011-01-31_2356CET_0.txt",
    "norway_3g/train.vestby-oslo-report.2011-02-11_1530CET_960.txt",
    "oboe_sessions/trace_290.txt",
)
DEADLINE_SECONDS = 1.0
ROUND_TRIP_SECONDS = 0.050
FPS = 10.0
_SETTLE_SECONDS = 5.0
_MORE_SECONDS = 1.5  # of streaming after the window
_START_SECONDS = 60.0  # for an edge to send its first frame


@dataclass(frozen=True)
class Live:
    """One live run and what the simulator needs to repeat it."""

    live: LiveRun
    trace_offset_seconds: float  # at the window's beginning
    overhead_bytes: int  # on the link for each frame, besides its container
    greeting_seconds: float  # from Hello to Welcome, as the edge measured it


# --- the link, in a process of its own: its pace must not depend on the edge's ---


def _link_process(
    pipe: Connection, target: str, trace: Trace | None, is_tc: bool, trip: float
) -> None:
    asyncio.run(_run_link(pipe, target, trace, is_tc, trip))


async def _run_link(
    pipe: Connection, target: str, trace: Trace | None, is_tc: bool, trip: float
) -> None:
    """Tell address and start, and at the end how many bytes passed; 0 where the kernel shapes."""
    async with contextlib.AsyncExitStack() as stack:
        relay: ShapedLink | None = None
        if is_tc:
            assert trace is not None, "the kernel shapes by a trace"
            link = tc_link(target, trace, round_trip_seconds=trip)
            address = await stack.enter_async_context(link)
            started = time.monotonic()
        else:
            relay = ShapedLink(target, trace, round_trip_seconds=trip)
            await stack.enter_async_context(relay)
            started, address = time.monotonic(), relay.address
        pipe.send((address, started))
        await asyncio.to_thread(pipe.recv)
        pipe.send(0 if relay is None else relay.passed_bytes)


@contextlib.asynccontextmanager
async def link_beside(
    target: str, trace: Trace | None, is_tc: bool, round_trip_seconds: float
) -> AsyncIterator[tuple[Connection, str, float]]:
    """Give the pipe to the link's process, its address, and when its trace began (monotonic).

    Args:
        trace: None: it is only far.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, target, trace, is_tc, round_trip_seconds)
    process = context.Process(target=_link_process, args=arguments)
    process.start()
    try:
        address, started = await asyncio.to_thread(ours.recv)
        yield ours, address, started
    finally:
        await asyncio.to_thread(process.join, 5)
        process.terminate()


# --- one run each way ---


async def run_live(cloud_address: str, trace: Trace, seconds: float, is_tc: bool) -> Live:
    """Stream over the link for the window and a little more."""
    live, stop = LiveRun(), asyncio.Event()
    beside = link_beside(cloud_address, trace, is_tc, ROUND_TRIP_SECONDS)
    async with beside as (pipe, address, trace_started):
        settings = load_settings(
            EdgeSettings,
            {
                "camera_id": trace.name[:40].translate(str.maketrans("-_", "..")).strip("."),
                "source": str(shipped(SAMPLE_VIDEO)),
                "loop": True,
                "model": DEFAULT_MODEL,
                "deadline_seconds": DEADLINE_SECONDS,
                "expire_seconds": 10,
                "max_fps": FPS,
                "cloud_address": address,
                "allow_plaintext": is_tc,
            },
        )
        greetings = hear_greetings()
        edge = asyncio.create_task(app.run_edge(settings, live, stop=stop))
        give_up = time.monotonic() + _START_SECONDS
        while live.started_at is None and time.monotonic() < give_up and not edge.done():
            await asyncio.sleep(0.05)
        started = live.started_at
        if started is None:
            await edge
            raise SystemExit("the edge sent nothing")
        await asyncio.sleep(started + seconds + _MORE_SECONDS - time.monotonic())
        give_up = time.monotonic() + _SETTLE_SECONDS
        while not _is_settled(live, seconds) and time.monotonic() < give_up:
            await asyncio.sleep(0.1)
        pipe.send("end")
        passed_bytes = await asyncio.to_thread(pipe.recv)
        stop.set()
        await edge
    sent = [f.encoded.bitstream_bytes for f in live.frames.values() if f.sent_at and f.encoded]
    overhead = max(0, passed_bytes - sum(sent)) / len(sent) if passed_bytes else 160
    return Live(live, started - trace_started, round(overhead), greetings[0])


def hear_greetings() -> list[float]:
    """Give a list that the next edge's greetings are put into; no event tells them."""
    greetings: list[float] = []

    class ListeningReader(AnswerReader):
        def begin(self, welcome: pb.Welcome, round_trip_seconds: float) -> None:
            greetings.append(round_trip_seconds)
            super().begin(welcome, round_trip_seconds)

    app.AnswerReader = ListeningReader  # type: ignore[attr-defined]  # where edges are put together
    return greetings


def _is_settled(live: LiveRun, seconds: float) -> bool:
    return all(f.detected_at is not None for f in live.window(seconds) if f.sent_at is not None)


@dataclass(frozen=True)
class MeasuredWorld(World):
    """A world in which every frame costs what it cost in a live run."""

    measured: Measured | None = None
    lateness: tuple[float, ...] = ()

    def receive_delay(self, frame: int) -> float:
        return self.lateness[frame]

    def encode_time(self, frame: int, level: int) -> float:
        assert self.measured is not None
        return self.encode_seconds[level] * self.measured.encode_factors[frame]

    def service_time(self, frame: int) -> float:
        assert self.measured is not None
        return self.measured.service_seconds[frame]


def lateness_of(of: Live, trace: Trace, seconds: float) -> tuple[float, ...]:
    """What relay, ingest and edge took for each frame until its Ack was here."""
    return of.live.lateness(
        seconds, trace, of.trace_offset_seconds, of.overhead_bytes, ROUND_TRIP_SECONDS
    )


def run_simulated(
    of: Live,
    trace: Trace,
    content: Content,
    points: tuple[OperatingPoint, ...],
    measured: Measured,
    seconds: float,
) -> Outcome:
    """The simulator in that run's place."""
    frames = of.live.window(seconds)
    first = frames[0].number - 1  # the video's frames repeat
    pixels = content.image_hw[0] * content.image_hw[1]
    world = MeasuredWorld(
        trace=trace,
        content=content.from_frame(first),
        points=points,
        encode_seconds=measured.encode_seconds,
        seconds=len(frames) / FPS,
        trace_offset_seconds=of.trace_offset_seconds,
        fps=FPS,
        deadline_seconds=DEADLINE_SECONDS,
        round_trip_seconds=ROUND_TRIP_SECONDS,
        greeting_seconds=of.greeting_seconds,
        cloud_delay_seconds=measured.delay_seconds,
        overhead_bytes=of.overhead_bytes,
        measured=measured,
        lateness=lateness_of(of, trace, seconds),
    )
    controller = Controller(
        points,
        {level: each / pixels for level, each in measured.encode_seconds.items()},
        deadline_seconds=DEADLINE_SECONDS,
        frame_seconds=1 / FPS,
    )
    return summarise(simulate(controller, world))


# --- the table ---


def first_guess(codec: CodecArtifact, pixels: int) -> dict[int, float]:
    """Encode seconds by level: of the model's profile, else in proportion to multiplications."""
    calibration = None if codec.profile is None else codec.profile.calibration
    guesses = {}
    for level in codec.levels:
        known = None if calibration is None else calibration.encode_seconds(level.level, pixels)
        guesses[level.level] = known or guess_encode_seconds(level.kmac_per_pixel) * pixels
    return guesses


def row(name: str, which: str, outcome: Outcome) -> str:
    return (
        f"| {name} | {which} | {outcome.in_deadline_accuracy:.3f} | "
        f"{100 * outcome.late_share:.1f} % | {100 * outcome.skipped_share:.1f} % | "
        f"{outcome.latency_p50:.2f}, {outcome.latency_p95:.2f}, {outcome.latency_p99:.2f} s | "
        f"{outcome.sent_bytes / 1000:,.0f} kB | {outcome.switches_per_minute:.0f} |"
    )


def difference(name: str, live: Outcome, simulated: Outcome) -> str:
    fields = ("in_deadline_accuracy", "latency_p50", "latency_p95", "sent_bytes")
    parts = (f"{100 * (getattr(simulated, f) / getattr(live, f) - 1):+.1f} %" for f in fields)
    return f"| {name} | " + " | ".join(parts) + " |"


async def bench(cloud: CloudProcess, args: argparse.Namespace) -> None:
    codec = open_codec(DEFAULT_MODEL, None)
    points = build_operating_points(codec.levels, codec.manifest.qualities, codec.profile)
    by_name = {(point.level, point.quality): point for point in points}
    content = load_street()
    pixels = content.image_hw[0] * content.image_hw[1]
    address, _ = await cloud.ready()
    rows, differences, notes = [], [], []
    for path in TRACES:
        if args.only not in path:
            continue
        trace = read_trace(args.traces / path)
        name = path.partition(".txt")[0].replace("_", "\\_")
        loads = [os.getloadavg()[0]]
        run = await run_live(address, trace, args.seconds, args.tc)
        loads.append(os.getloadavg()[0])
        measured = run.live.measured(args.seconds, first_guess(codec, pixels))
        live = summarise(
            run.live.outcome(args.seconds, DEADLINE_SECONDS, ROUND_TRIP_SECONDS, by_name)
        )
        simulated = run_simulated(run, trace, content, points, measured, args.seconds)
        rows += [row(name, "live", live), row("", "simulated", simulated)]
        differences.append(difference(name, live, simulated))
        encode = ", ".join(f"{1000 * s:.0f}" for _, s in sorted(measured.encode_seconds.items()))
        late = 1000 * np.percentile(lateness_of(run, trace, args.seconds), (50, 90))
        offset = run.trace_offset_seconds
        mean = trace.bytes_between(offset, offset + args.seconds) / args.seconds / 125_000
        notes.append(
            f"| {name} | {mean:.2f} | {offset:.1f} s | {encode} ms | "
            f"{1000 * float(np.median([s for s in measured.service_seconds if s])):.0f}, "
            f"{1000 * max(measured.service_seconds):.0f} ms | "
            f"{1000 * measured.delay_seconds:.0f} ms | "
            f"{late[0]:.0f}, {late[1]:.0f} ms | {1000 * run.greeting_seconds:.0f} ms | "
            f"{run.overhead_bytes} | {size_error(run, content, args.seconds):.3f} % | "
            f"{loads[0]:.1f}, {loads[1]:.1f} |"
        )
        print("\n".join(rows[-2:]), differences[-1], notes[-1], sep="\n", flush=True)
    print("\n| link | | accuracy | late | skipped | p50, p95, p99 | bytes | switches/min |")
    print("|---|---|---|---|---|---|---|---|", *rows, sep="\n")
    print("\n| simulated against live | accuracy | p50 | p95 | bytes |\n|---|---|---|---|---|")
    print(*differences, sep="\n")
    print(
        "\n| link | Mbit/s in the window | window begins at | encode by level | cloud is busy, "
        "median, most | cloud delays besides | Acks late, p50, p90 | greeting | "
        "overhead, bytes a frame | container bytes, recorded against live | load |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|", *notes, sep="\n")


def size_error(run: Live, content: Content, seconds: float) -> float:
    """Mean absolute difference of recorded and live containers that decode alone, percent."""
    errors = []
    for frame in run.live.window(seconds):
        if frame.encoded is None or frame.encoded.kind != "intra":
            continue
        level, quality = frame.encoded.level, frame.encoded.quality
        recorded = content.size_bytes(frame.number - 1, level, quality)
        errors.append(abs(recorded / frame.encoded.bitstream_bytes - 1))
    return 100 * float(np.mean(errors))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("traces", type=Path, help="folder of recorded links")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each link")
    parser.add_argument("--only", default="", help="traces whose path holds this")
    parser.add_argument("--tc", action="store_true", help="the kernel shapes; needs root")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores\n")
    with CloudProcess(DEFAULT_MODEL, None) as cloud:
        asyncio.run(bench(cloud, args))


if __name__ == "__main__":
    main()
