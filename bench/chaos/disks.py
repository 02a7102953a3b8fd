"""Slow and full disks under a real edge, cloud and Redis; then an account of every frame.

    slow-fsync   every fsync of Redis takes long (`always`), and it is killed again and again
    full-spool   the disk of the edge's spool is filled by others, while the cloud is away and after
    full-redis   the disk of Redis' file is full for a while

The full ones mount a small tmpfs: they need root.
"""

import argparse
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.chaos.rig import record
from bench.chaos.system import System
from support.cloud.slow_fsync import build_slow_fsync

CASES = ("slow-fsync", "full-spool", "full-redis")
FSYNC_SECONDS = 0.5
PAUSE_SECONDS = 8.0  # between two kills
SPOOL_DISK = "1200k"
KEPT_FRAMES = 40
REDIS_DISK, LARGER_DISK = "500k", "50m"
FULL_SECONDS = 30.0
LEFT_BYTES = 8192  # by what fills a disk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", action="append", choices=CASES, help="default: each")
    parser.add_argument("--kills", type=int, default=6, help="of slow-fsync")


def run(arguments: argparse.Namespace) -> None:
    """A row for each case."""
    for case in arguments.case or CASES:
        with tempfile.TemporaryDirectory(prefix="disks-") as scratch:
            folder = Path(scratch)
            match case:
                case "slow-fsync":
                    _slow_fsync(folder, arguments.kills)
                case "full-spool":
                    _full_spool(folder)
                case _:
                    _full_redis(folder)


def _slow_fsync(folder: Path, kills: int) -> None:
    library = build_slow_fsync(folder, seconds=FSYNC_SECONDS)
    with _started(folder, "always", {"LD_PRELOAD": str(library)}) as system:
        for _ in range(kills):
            time.sleep(PAUSE_SECONDS)
            system.kill("redis")
            system.start("redis")
        time.sleep(PAUSE_SECONDS)
        _record(f"disk: fsync takes {FSYNC_SECONDS:g} s, kills of Redis", kills, system)


def _full_spool(folder: Path) -> None:
    with _disk(folder / "spool", SPOOL_DISK) as disk, _started(folder) as system:
        system.kill("ingest")
        system.await_edge(lambda seen: seen.get("slim_edge_spool_frames", 0) >= KEPT_FRAMES)
        _fill(disk)
        time.sleep(FULL_SECONDS)
        kept = int(system.edge_metrics().get("slim_edge_spool_frames", 0))
        system.start("ingest")
        _record("disk: the spool's is full, then the link is back", kept, system)


def _full_redis(folder: Path) -> None:
    with _disk(folder / "redis", REDIS_DISK) as disk, _started(folder) as system:
        time.sleep(3)
        _fill(disk)
        time.sleep(FULL_SECONDS)
        subprocess.run(["mount", "-o", f"remount,size={LARGER_DISK}", str(disk)], check=True)
        _record("disk: Redis' is full, s", int(FULL_SECONDS), system)


@contextlib.contextmanager
def _started(
    folder: Path, fsync: str = "everysec", redis: dict[str, str] | None = None
) -> Iterator[System]:
    system = System(folder, fsync, whole=False, redis=redis)
    try:
        system.start_all()
        yield system
    finally:
        system.stop()


def _record(what: str, n: int, system: System) -> None:
    ended = {"roles that ended": ", ".join(system.ended()) or "none"}
    account = system.account()
    record(what, n, {**account.counts(), **ended, "errors logged": system.errors()})


@contextlib.contextmanager
def _disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(disk: Path) -> None:
    """Leave next to nothing of it, as another program does."""
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    size = (disk / "ballast").stat().st_size
    with (disk / "ballast").open("r+b") as file:
        file.truncate(max(0, size - LEFT_BYTES))
