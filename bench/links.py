"""Capture to detection over slow, far and recorded links, and what each process holds in memory.

    PYTHONPATH=tests python -m bench.links links [--traces DIR] [--seconds 40] [--to F.csv]
        [--video VIDEO [--labels MOT]] [--every 2] [--free] [--only NAME]
    PYTHONPATH=tests python -m bench.links memory [--minutes 10]

The real edge and the real cloud (all roles, embedded Redis) on this machine, the sample video at 10
frames a second, between them a relay that passes bytes towards the cloud at a rate and everything
after half the round trip. `links` has one cloud that allows no references and one that does, for
all links, and for each of them a new edge on every link: so a row where each frame is coded alone
stands before one where frames refer to frames. `--traces`: six recorded links (`bench.live`) after
those of one rate; `--free`: a link without limits in place of all. `--every N` makes of the video
one of every N-th frame, at an N-th of the rate, without loss. `memory` is one run at 1 Mbit/s
and 20 ms. Prints Markdown.

Rows begin with the first frame that is encoded for the wire. AP50 is that of the boxes that came
back to the edge, as the model shows them, against what the uncut detector is sure of in the same
frames of the video; where it is said to be in time, frames without a result by the deadline count
as empty. Late of the link: it would be so, too, if encoder and cloud had taken what they take in
the median. Socket bytes are those of IP packets, as the kernel tells them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice, product
from pathlib import Path

import av
from av.video.frame import PictureType

from bench.judged import Judge, SentFrame, Watch
from bench.live import TRACES, link_beside
from slimcli.demo.cloud import CloudProcess
from slimcli.demo.command import SAMPLE_VIDEO
from slimcli.demo.summary import percentile
from slimcli.demo.tally import Tally
from slimcodec.model.find import DEFAULT_MODEL, shipped
from slimedge.app import run_edge
from slimedge.event import EdgeObserver
from slimedge.settings import EdgeSettings
from slimlinks.shaping import ShapedLink
from slimlinks.trace import Trace, constant_trace, read_trace
from slimops.settings import load_settings
from slimtrain.figures.mean_average_precision import ScoredBoxes

KBITS = (64, 1_000, 20_000)
ROUND_TRIPS = (0.020, 0.200)  # seconds
RECORDED_ROUND_TRIP_SECONDS = 0.050
DEADLINE_SECONDS = 1.0
ALONE, REFERENCES = "alone", "references"  # how frames are coded
_START_SECONDS = 60.0  # for an edge to send its first frame
_SETTLE_SECONDS = 5.0
_MEMORY_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class Link:
    """One link, as a row names it."""

    name: str
    trace: Trace | None  # None: without limits
    round_trip_seconds: float


@dataclass(frozen=True)
class Row:
    """An edge on a link."""

    link: str
    round_trip_seconds: float
    frames: str  # ALONE or REFERENCES
    seconds: float
    load: float  # of the machine, when it began
    captured: int
    sent: int
    keys: int
    in_time: int
    late: int  # of those sent: after the deadline, or never
    late_of_link: int
    latency_p50: float | None  # seconds, capture to result
    latency_p95: float | None
    computing_p50: float | None  # of it, in encoder and cloud
    usual_point: str  # level and quality of most frames, but for keys
    container_bytes: int
    socket_bytes_out: int
    socket_bytes_in: int
    ap50_person: float | None  # of frames with a result
    ap50_car: float | None
    ap50_person_in_time: float | None  # of all captured
    ap50_car_in_time: float | None
    ap50_person_labels: float | None  # of frames with a result, against boxes that were drawn


def find_links(args: argparse.Namespace) -> Iterator[Link]:
    """The links to run on."""
    if args.free:
        yield Link("no limit", None, ROUND_TRIPS[0])
        return
    for kbit, round_trip in product(KBITS, ROUND_TRIPS):
        yield Link(f"{kbit} kbit/s", constant_trace(1000 * kbit / 8), round_trip)
    for path in TRACES if args.traces else ():
        trace = read_trace(args.traces / path)
        yield Link(path.partition(".txt")[0], trace, RECORDED_ROUND_TRIP_SECONDS)


async def run_until(
    stop: asyncio.Event, cloud_address: str, camera: str, observer: EdgeObserver, **more: object
) -> None:
    """Run an edge on a video in a loop."""
    settings = load_settings(
        EdgeSettings,
        {
            "camera_id": camera,
            "source": str(shipped(SAMPLE_VIDEO)),
            "loop": True,
            "deadline_seconds": DEADLINE_SECONDS,
            "expire_seconds": 10,
            "cloud_address": cloud_address,
            **more,
        },
    )
    await run_edge(settings, observer, stop=stop)


@contextlib.asynccontextmanager
async def edge_over(link: Link, cloud_address: str, **more: object) -> AsyncIterator[Watch]:
    """An edge that streams over a link, from its first frame on."""
    watch, stop, trip = Watch(), asyncio.Event(), link.round_trip_seconds
    camera = "".join(c if c.isalnum() else "." for c in f"{link.name}.{1000 * trip:.0f}")[-40:]
    async with link_beside(cloud_address, link.trace, False, trip) as (pipe, address, _):
        running = asyncio.create_task(run_until(stop, address, camera.strip("."), watch, **more))
        give_up = time.monotonic() + _START_SECONDS
        while watch.begun is None and time.monotonic() < give_up and not running.done():
            await asyncio.sleep(0.02)
        if watch.begun is None:
            raise SystemExit("the edge sent nothing")
        try:
            yield watch
        finally:
            stop.set()
            await running
            pipe.send("end")
            await asyncio.to_thread(pipe.recv)


async def run_link(
    link: Link, cloud_address: str, frames: str, judge: Judge, args: argparse.Namespace
) -> Row:
    """Stream for some seconds, let the last results come, and sum up."""
    load = os.getloadavg()[0]
    async with edge_over(link, cloud_address, source=str(args.video)) as watch:
        await asyncio.sleep(args.seconds)
        assert watch.begun is not None, "it streams"
        watch.is_open, seconds = False, time.monotonic() - watch.begun
        give_up = time.monotonic() + _SETTLE_SECONDS
        while not watch.is_settled and time.monotonic() < give_up:
            await asyncio.sleep(0.1)
    boxes = {f.number: ScoredBoxes.of(f.detections) for f in watch.sent if f.latency_seconds}
    in_time = {f.number for f in watch.sent if _is_in_time(f)}
    nothing = ScoredBoxes.of(())
    person, car = judge.ap50(boxes)
    person_in_time, car_in_time = judge.ap50(
        {n: boxes[n] if n in in_time else nothing for n in watch.captured}
    )
    latencies = [f.latency_seconds for f in watch.sent if f.latency_seconds is not None]
    usual = statistics.median([f.computing_seconds for f in watch.sent if f.latency_seconds] or [0])
    points = Counter(f.point for f in watch.sent if not f.is_key or frames == ALONE)
    return Row(
        link=link.name,
        round_trip_seconds=link.round_trip_seconds,
        frames=frames,
        seconds=seconds,
        load=load,
        captured=len(watch.captured),
        sent=len(watch.sent),
        keys=sum(frame.is_key for frame in watch.sent),
        in_time=len(in_time),
        late=len(watch.sent) - len(in_time),
        late_of_link=sum(not _is_in_time(f, usual) for f in watch.sent),
        latency_p50=percentile(latencies, 50) if latencies else None,
        latency_p95=percentile(latencies, 95) if latencies else None,
        computing_p50=usual,
        usual_point="; ".join(f"{n}, {q:g}" for (n, q), _ in points.most_common(1)),
        container_bytes=sum(frame.bitstream_bytes for frame in watch.sent),
        socket_bytes_out=watch.socket_bytes_out,
        socket_bytes_in=watch.socket_bytes_in,
        ap50_person=person,
        ap50_car=car,
        ap50_person_in_time=person_in_time,
        ap50_car_in_time=car_in_time,
        ap50_person_labels=judge.ap50_of_given_persons(boxes),
    )


def _is_in_time(frame: SentFrame, usual_seconds: float | None = None) -> bool:
    """Whether its result came by the deadline, or would have if computing had taken so long."""
    if frame.latency_seconds is None:
        return False
    spared = 0.0 if usual_seconds is None else max(0.0, frame.computing_seconds - usual_seconds)
    return frame.latency_seconds - spared <= DEADLINE_SECONDS


def thin(video: Path, every: int, to: Path) -> Path:
    """Write every so many-th frame of a video, at a rate that is as much lower, without loss."""
    with av.open(video) as source, av.open(to, "w") as target:
        own = source.streams.video[0]
        assert own.average_rate is not None, "a video of a constant rate"
        rate = own.average_rate / every
        stream = target.add_stream("libx264", rate)
        stream.options = {"qp": "0", "preset": "ultrafast"}
        stream.width, stream.height, stream.pix_fmt = own.width, own.height, own.pix_fmt
        for number, frame in enumerate(islice(source.decode(own), 0, None, every)):
            frame.pts, frame.time_base = number, 1 / rate
            frame.pict_type = PictureType.NONE
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return to


# --- the two benches ---


async def bench_links(clouds: dict[str, CloudProcess], args: argparse.Namespace) -> None:
    """Each frame alone, and with references, over every link."""
    judge, rows = Judge(args.video, args.labels, args.every), []
    addresses = {frames: (await cloud.ready())[0] for frames, cloud in clouds.items()}
    names = [field.name for field in fields(Row)]
    print(f"| {' | '.join(names)} |\n|{len(names) * '---|'}", flush=True)
    for link in find_links(args):
        if args.only not in link.name:
            continue
        for frames, address in addresses.items():
            row = asdict(await run_link(link, address, frames, judge, args))
            rows.append({name: _shown(value) for name, value in row.items()})
            print(f"| {' | '.join(map(str, rows[-1].values()))} |", flush=True)
            if args.to is not None:
                with args.to.open("w", newline="") as file:
                    writer = csv.DictWriter(file, names, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows)


def _shown(value: object) -> object:
    return "" if value is None else round(value, 3) if isinstance(value, float) else value


async def bench_memory(cloud: CloudProcess, minutes: float) -> None:
    """Resident memory of every process, over one run."""
    address, _ = await cloud.ready()
    seen: dict[str, list[float]] = {}

    async def sample() -> None:
        while True:
            for name, megabytes in _resident():
                seen.setdefault(name, []).append(megabytes)
            await asyncio.sleep(_MEMORY_EVERY)

    tally, stop = Tally(), asyncio.Event()
    async with ShapedLink(address, constant_trace(125_000), round_trip_seconds=0.020) as link:
        sampling = asyncio.create_task(sample())
        edge = asyncio.create_task(run_until(stop, link.address, "memory", tally))
        await asyncio.sleep(60 * minutes)
        tally.close()
        stop.set()
        await edge
        sampling.cancel()
    totals = tally.totals
    print(f"{totals.frames_sent} frames sent in {minutes:.0f} minutes\n")
    print("| process | resident, MB: after a tenth of the time, at the end, most |")
    print("|---|---|")
    for name, values in seen.items():
        early = statistics.median(values[len(values) // 10 :][:3])
        print(f"| {name} | {early:.0f}, {statistics.median(values[-3:]):.0f}, {max(values):.0f} |")


def _resident() -> Iterator[tuple[str, float]]:
    """Name and resident megabytes of this process and all that it started."""
    parents, rows = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines = (folder / "status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines if ":" in line)
            command = (folder / "cmdline").read_text().replace("\0", " ")
            pid = int(folder.name)
            parents[pid] = int(status["PPid"])
            rows[pid] = (command, int(status.get("VmRSS", "0 kB").split()[0]) / 1024)
    ours = os.getpid()
    for pid, (command, megabytes) in rows.items():
        ancestors, parent = {pid}, parents[pid]
        while parent in parents and parent not in ancestors:
            ancestors.add(parent)
            parent = parents[parent]
        if pid == ours:
            yield "edge (with the relay of this bench)", megabytes
        elif ours in ancestors and "slimcli cloud" in command:
            yield "cloud, all roles", megabytes
        elif ours in ancestors and "redis" in command:
            yield "Redis", megabytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bench", choices=("links", "memory"))
    parser.add_argument("--seconds", type=float, default=40.0, help="of each link")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the run for memory")
    parser.add_argument("--traces", type=Path, help="folder of recorded links")
    parser.add_argument("--video", type=Path, default=shipped(SAMPLE_VIDEO), help="in a loop")
    parser.add_argument("--labels", type=Path, help="boxes of persons in it, MOT")
    parser.add_argument("--every", type=int, default=1, help="of its frames, one of so many")
    parser.add_argument("--free", action="store_true", help="one link without limits")
    parser.add_argument("--only", default="", help="links whose name holds this")
    parser.add_argument("--to", type=Path, help="a CSV for the rows")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores\n")
    depths = {ALONE: 0, REFERENCES: 8} if args.bench == "links" else {REFERENCES: 8}
    clouds = {}
    with contextlib.ExitStack() as stack:
        for frames, depth in depths.items():
            os.environ["CLOUD_MAX_REFERENCE_DEPTH"] = str(depth)  # the child begins with it
            clouds[frames] = stack.enter_context(CloudProcess(DEFAULT_MODEL, None))
        if args.bench == "links":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            args.video = thin(args.video, args.every, folder / "video.mkv")
            asyncio.run(bench_links(clouds, args))
        else:
            asyncio.run(bench_memory(clouds[REFERENCES], args.minutes))


if __name__ == "__main__":
    main()
