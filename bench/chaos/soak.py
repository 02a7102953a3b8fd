"""A cloud and an edge for hours: memory, open files and threads of every process.

One frame a second of the sample video, and once a minute a look at the newest picture. Frames are
kept for ten minutes, so that nothing has a reason to grow after that. Each minute is a row of
SAMPLES; a slope is fitted over all but the first quarter.
"""

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.chaos.rig import edge_settings, fetch, record, running, running_cloud

RETENTION_SECONDS = 600
SAMPLE_SECONDS = 60.0
RING_FRAMES = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--samples", type=Path, default=Path("soak-samples.csv"))


def run(arguments: argparse.Namespace) -> None:
    """Sample every process once a minute, then say what grew."""
    with tempfile.TemporaryDirectory() as scratch, arguments.samples.open("w") as file:
        folder, rows = Path(scratch), []
        out = csv.writer(file)
        out.writerow(["minute", "process", "pid", "rss_mb", "files", "threads", "cpu_seconds"])
        kept = {
            "CLOUD_RETENTION_SECONDS": str(RETENTION_SECONDS),
            "CLOUD_LOG_LEVEL": "WARNING",
        }
        with running_cloud(folder, kept) as (cloud, at):
            slow = {"EDGE_MAX_FPS": "1", "EDGE_RING_FRAMES": str(RING_FRAMES)}
            settings = {**edge_settings(folder, at["grpc"]), **slow}
            with running("edge", folder / "edge.log", settings) as edge:
                processes = {"cloud": cloud.pid, "edge": edge.pid}
                (processes["redis"],) = _children(cloud.pid)
                begun, looks = time.monotonic(), 0
                for minute in range(1, arguments.minutes + 1):
                    time.sleep(max(0.0, begun + minute * SAMPLE_SECONDS - time.monotonic()))
                    looks += _look(at["http"])
                    for name, pid in processes.items():
                        rows.append((minute, name, pid, *_sample(pid)))
                        out.writerow(rows[-1])
                    file.flush()
        for name in ("cloud", "edge"):
            print(f"{name}'s last words: {(folder / f'{name}.log').read_text()[-600:]}")
    for name in processes:
        _, _, _, rss, files, threads, cpu = np.array(
            [(m, 0, p, *rest) for m, n, p, *rest in rows if n == name], float
        )[arguments.minutes // 4 :].T
        slope = 60 * np.polyfit(np.arange(len(rss)), rss, 1)[0]
        outcomes = {
            "RSS": f"{rss[0]:.1f} to {rss[-1]:.1f} MB",
            "slope": f"{slope:+.2f} MB/h",
            "files": f"{files[0]:.0f} to {files[-1]:.0f}",
            "threads": f"{threads[0]:.0f} to {threads[-1]:.0f}",
            "CPU": f"{100 * cpu[-1] / (60 * arguments.minutes):.1f} % of a core",
            "pictures looked at": looks,
        }
        record(f"soak, minutes, {name}", arguments.minutes, outcomes)


def _look(http: str) -> int:
    """Fetch the newest picture as people do; 1 if it came in time."""
    try:
        frames = json.loads(fetch(f"{http}/api/v1/frames?limit=1"))["frames"]
        for frame in frames:
            fetch(f"{http}/api/v1/frames/{frame['id']}/image")
    except OSError as exc:
        print(f"not seen: {exc}", flush=True)
        return 0
    return len(frames)


def _children(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (thread / "children").read_text().split())


def _sample(pid: int) -> tuple[float, int, int, float]:
    """Resident megabytes, open files, threads, and processor seconds until now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(stat[11]) + int(stat[12])
    files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"]), ticks / 100
