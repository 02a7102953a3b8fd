"""Capture to detection over slow and far links, and what each process holds in memory.

    PYTHONPATH=tests python -m bench.links links [--seconds 40]
    PYTHONPATH=tests python -m bench.links memory [--minutes 10]

The real edge and the real cloud (all roles, embedded Redis) on this machine, the sample video at 10
frames a second, between them a relay that passes bytes towards the cloud at a rate and everything
after half the round trip. `links` has one cloud for all links and a new edge for each; `memory` is
one run at 1 Mbit/s and 20 ms. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from slimcli.demo.cloud import CloudProcess
from slimcli.demo.command import SAMPLE_VIDEO
from slimcli.demo.summary import percentile
from slimcli.demo.tally import Tally, Totals
from slimcodec.model.find import DEFAULT_MODEL, shipped
from slimedge.app import run_edge
from slimedge.settings import EdgeSettings
from slimlinks.shaping import ShapedLink
from slimlinks.trace import constant_trace
from slimops.settings import load_settings

KBITS = (64, 1_000, 20_000)
ROUND_TRIPS = (0.020, 0.200)  # seconds
_SETTLE_SECONDS = 5.0
_MEMORY_EVERY = 5.0  # seconds


async def stream(cloud_address: str, camera: str, seconds: float) -> Totals:
    """Run an edge that long, let the last results come, and give its totals."""
    settings = load_settings(
        EdgeSettings,
        {
            "camera_id": camera,
            "source": str(shipped(SAMPLE_VIDEO)),
            "loop": True,
            "deadline_seconds": 1,
            "expire_seconds": 10,
            "cloud_address": cloud_address,
        },
    )
    tally, stop = Tally(), asyncio.Event()
    edge = asyncio.create_task(run_edge(settings, tally, stop=stop))
    await asyncio.sleep(seconds)
    tally.close()
    give_up = time.monotonic() + _SETTLE_SECONDS
    while not tally.is_settled and time.monotonic() < give_up:
        await asyncio.sleep(0.1)
    stop.set()
    await edge
    return tally.totals


# --- the two benches ---


async def bench_links(cloud: CloudProcess, seconds: float) -> None:
    """Latency over every rate and round trip."""
    address, _ = await cloud.ready()
    print("| uplink, round trip | captured, sent, detected | bpp | p50, p95, p99 | late |")
    print("|---|---|---|---|---|")
    for kbit, round_trip in product(KBITS, ROUND_TRIPS):
        trace = constant_trace(1000 * kbit / 8)
        async with ShapedLink(address, trace, round_trip_seconds=round_trip) as link:
            camera = f"at-{kbit}-{round_trip * 1000:.0f}"
            totals = await stream(link.address, camera, seconds)
        latencies = totals.latencies_seconds
        points = [percentile(latencies, percent) for percent in (50, 95, 99)] if latencies else []
        shown = ", ".join(f"{each:.2f} s" for each in points) or "-"
        late = sum(each > 1.0 for each in latencies)
        print(
            f"| {kbit:,} kbit/s, {round_trip * 1000:.0f} ms | {totals.frames_captured}, "
            f"{totals.frames_sent}, {totals.frames_detected} | {totals.bpp_mean or 0:.3f} | "
            f"{shown} | {late} |",
            flush=True,
        )


async def bench_memory(cloud: CloudProcess, minutes: float) -> None:
    """Resident memory of every process, over one run."""
    address, _ = await cloud.ready()
    seen: dict[str, list[float]] = {}

    async def sample() -> None:
        while True:
            for name, megabytes in _resident():
                seen.setdefault(name, []).append(megabytes)
            await asyncio.sleep(_MEMORY_EVERY)

    async with ShapedLink(address, constant_trace(125_000), round_trip_seconds=0.020) as link:
        sampling = asyncio.create_task(sample())
        totals = await stream(link.address, "memory", 60 * minutes)
        sampling.cancel()
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
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores\n")
    with CloudProcess(DEFAULT_MODEL, None) as cloud:
        if args.bench == "links":
            asyncio.run(bench_links(cloud, args.seconds))
        else:
            asyncio.run(bench_memory(cloud, args.minutes))


if __name__ == "__main__":
    main()
