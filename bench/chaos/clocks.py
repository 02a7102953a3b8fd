"""The wall clock is set: of an edge in an outage by days, there and back, and of a whole cloud.

The processes run with a library that adds an offset to the real-time clock; Redis too.
"""

import argparse
import json
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.chaos.rig import (
    edge_settings,
    fetch,
    free_port,
    metrics,
    record,
    running,
    running_cloud,
)

DAY = 86_400
EDGE_STEP, CLOUD_STEP = 4 * DAY, 25 * 3600  # beyond the spool's age, and beyond retention
KEPT_FRAMES = 30
STEP_SECONDS = 2.05  # between two
SWEEP_SECONDS = 12.0  # retention has looked twice
PATIENCE_SECONDS = 180.0
_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static long long offset(void) {
  static volatile long long *shared;
  if (!shared) {
    int file = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY);
    shared = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
  }
  return *shared;
}
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, t);
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) t->tv_sec += offset();
  return code;
}
int gettimeofday(struct timeval *t, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *t) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (t) *t = now.tv_sec;
  return now.tv_sec;
}
"""


class Clock:
    """The wall clock of the processes that run with `settings`."""

    def __init__(self, folder: Path) -> None:
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(_SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self._file = folder / "offset"
        self.step(0)
        self.settings: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "CLOCK_OFFSET_FILE": str(self._file),
        }

    def step(self, seconds: int) -> None:
        """Set it so many seconds ahead of this machine's."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("<q", seconds))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=20, help="of the edge's clock")


def run(arguments: argparse.Namespace) -> None:
    """Two rows: the edge, the cloud."""
    for measure in (_edge, _cloud):
        with tempfile.TemporaryDirectory(prefix="clocks-") as scratch:
            measure(Path(scratch), Clock(Path(scratch)), arguments.steps)


def _edge(folder: Path, clock: Clock, steps: int) -> None:
    probes = f"127.0.0.1:{free_port()}"
    settings = {
        **edge_settings(folder, f"127.0.0.1:{free_port()}"),  # nobody is there
        **clock.settings,
        "EDGE_HTTP_PORT": probes.partition(":")[2],
        "EDGE_SPOOL_FPS": "5",
    }

    def spooled() -> float:
        return metrics(f"http://{probes}").get("slim_edge_spool_frames", -1)

    emptied, most = 0, 0.0
    with running("edge", folder / "edge.log", settings):
        _await(lambda: spooled() >= KEPT_FRAMES)
        for number in range(steps):
            clock.step(0 if number % 2 else EDGE_STEP)
            time.sleep(STEP_SECONDS)
            now = spooled()
            emptied, most = emptied + (now < most), max(now, most)
        seen = metrics(f"http://{probes}")
    clock.step(EDGE_STEP)  # it was off meanwhile
    with running("edge", folder / "edge.log", settings):
        _await(lambda: spooled() > 0)
        again = spooled()
    gaps = {name: int(n) for name, n in seen.items() if name.startswith("slim_edge_gaps_total")}
    outcomes = {
        "steps told": int(seen.get("slim_edge_clock_steps_total", 0)),
        "kept": int(most),
        "times fewer": emptied,
        "kept after a start 4 days ahead": int(again),
        "gaps": json.dumps(gaps),
    }
    record("clock: an edge's, in an outage, 4 days there and back", steps, outcomes)


def _cloud(folder: Path, clock: Clock, _: int) -> None:
    with running_cloud(folder, {**clock.settings, "CLOUD_SWEEP_SECONDS": "1"}) as (_process, at):

        def stored() -> int:
            return len(json.loads(fetch(f"{at['http']}/api/v1/frames?limit=200"))["frames"])

        with running("edge", folder / "edge.log", edge_settings(folder, at["grpc"])):
            _await(lambda: stored() >= KEPT_FRAMES)
        before = stored()
        clock.step(CLOUD_STEP)
        time.sleep(SWEEP_SECONDS)
        ahead = stored()
        clock.step(0)
        time.sleep(SWEEP_SECONDS)
        outcomes = {"stored": before, "25 h ahead": ahead, "back again": stored()}
    record("clock: a cloud's, and its Redis', 25 h there and back", 2, outcomes)


def _await(wanted: object) -> None:
    assert callable(wanted)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not wanted():
        if time.monotonic() > give_up:
            raise SystemExit("it did not come so far")
        time.sleep(0.5)
