"""Several file cameras in one edge process, or in a process each: memory, processor time, shares.

    PYTHONPATH=tests python -m bench.cameras [--cameras 8] [--fps 1] [--seconds 120] [--separate]
                                             [--max-edge PIXELS] [VIDEO ...]

VIDEOs in loops, the sample where none is given, to a cloud that answers at once: so each camera has
the points of the most worth. Memory is the peak (VmHWM), and what the process has for itself at the
end (Pss); counting begins when each camera has sent a frame. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.chaos.rig import ROOT, free_port, running
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact
from support.edge.fake_cloud import FakeCloud

_SERIES = re.compile(
    r'slim_edge_(\w+)\{camera="([^"]+)"(?:,(?:reason|width_level)="(\w+)")?\} (.+)'
)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Seen:
    """Of all processes, at a moment."""

    at: float  # monotonic seconds
    peak_mb: int
    own_mb: int
    processor_seconds: float
    series: Mapping[tuple[str, str, str], float]  # name, camera, other label

    def of(self, name: str, camera: str) -> float:
        return sum(v for (n, c, _), v in self.series.items() if (n, c) == (name, camera))


def look(pids: Sequence[int], ports: Sequence[int]) -> Seen:
    """Read what the kernel and the processes themselves tell."""
    peak = own = 0
    processor = 0.0
    series: dict[tuple[str, str, str], float] = {}
    for pid, port in zip(pids, ports, strict=True):
        proc = Path(f"/proc/{pid}")
        peak += _kilobytes(proc / "status", "VmHWM")
        own += _kilobytes(proc / "smaps_rollup", "Pss")
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        processor += (int(fields[11]) + int(fields[12])) / _TICKS
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            found = _SERIES.findall(answer.read().decode())
        series |= {(name, camera, label): float(value) for name, camera, label, value in found}
    return Seen(time.monotonic(), peak // 1024, own // 1024, processor, series)


async def measure(args: argparse.Namespace, folder: Path) -> None:
    videos = [str(video.resolve()) for video in args.video] or [str(ROOT / "samples/street.mp4")]
    cameras = [
        {"id": f"camera-{n}", "source": videos[n % len(videos)]} for n in range(args.cameras)
    ]
    lists = [[camera] for camera in cameras] if args.separate else [cameras]
    ports = [free_port() for _ in lists]
    codec = load_codec_artifact(find_model("codec", DEFAULT_MODEL))
    async with FakeCloud(codec.fingerprint, max_reference_depth=8) as cloud:
        with contextlib.ExitStack() as stack:
            pids = []
            for number, (listed, port) in enumerate(zip(lists, ports, strict=True)):
                path = folder / f"{number}.yml"
                path.write_text(yaml.safe_dump({"cameras": listed}))
                settings = {
                    "EDGE_CAMERAS": str(path),
                    "EDGE_CLOUD_ADDRESS": cloud.address,
                    "EDGE_LOOP": "true",
                    "EDGE_MAX_FPS": str(args.fps),
                    "EDGE_CACHE_FOLDER": str(folder),
                    "EDGE_HTTP_PORT": str(port),
                    "EDGE_MAX_EDGE": str(args.max_edge or ""),
                    "EDGE_RING_BYTES": str(2**28 // len(lists)),
                }
                process = running("edge", folder / "edge.log", settings)
                pids.append(stack.enter_context(process).pid)
            while len({hello.camera_id for hello in cloud.hellos}) < args.cameras:
                await asyncio.sleep(0.5)
            names = [str(camera["id"]) for camera in cameras]
            begin = await asyncio.to_thread(look, pids, ports)
            while not all(begin.of("frames_sent_total", name) for name in names):
                await asyncio.sleep(0.5)
                begin = await asyncio.to_thread(look, pids, ports)
            await asyncio.sleep(args.seconds)
            report(args, begin, await asyncio.to_thread(look, pids, ports))


def report(args: argparse.Namespace, begin: Seen, end: Seen) -> None:
    """Print a table of it."""
    seconds, cameras = end.at - begin.at, sorted({camera for _, camera, _ in end.series})
    processor = (end.processor_seconds - begin.processor_seconds) / seconds
    processes = args.cameras if args.separate else 1
    print(f"{args.cameras} cameras, {processes} processes, load {os.getloadavg()[0]:.1f}: ", end="")
    print(f"peak {end.peak_mb} MB, own {end.own_mb} MB, {processor:.2f} cores\n")
    print("| camera | sent/s | seconds of encoding a second | latency, mean, s | levels |")
    print("|---|---|---|---|---|")
    for camera in cameras:
        gain = {n: end.of(n, camera) - begin.of(n, camera) for n in _COUNTED}
        latency = gain["latency_seconds_sum"] / max(1, gain["latency_seconds_count"])
        counts = {
            level: round(value - begin.series.get((name, camera, level), 0.0))
            for (name, of, level), value in end.series.items()
            if (name, of) == ("encode_seconds_count", camera)
        }
        print(
            f"| {camera} | {gain['frames_sent_total'] / seconds:.2f} | "
            f"{gain['encode_seconds_sum'] / seconds:.3f} | {latency:.3f} | {counts} |"
        )


_COUNTED = (
    "frames_sent_total",
    "encode_seconds_sum",
    "latency_seconds_sum",
    "latency_seconds_count",
)


def _kilobytes(path: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    assert found is not None, "a kernel of Linux"
    return int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("video", type=Path, nargs="*")
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--fps", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=120.0, help="of counting")
    parser.add_argument("--max-edge", type=int, help="pictures are scaled down to, pixels")
    parser.add_argument("--separate", action="store_true", help="a process for each")
    with tempfile.TemporaryDirectory(prefix="slimwire-bench-") as folder:
        asyncio.run(measure(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
