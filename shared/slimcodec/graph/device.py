"""Which device this is, as far as seconds measured on one say something about another."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple

_CPU_INFO = Path("/proc/cpuinfo")


class Device(NamedTuple):
    """A processor, and how much of it the encoder may use."""

    processor: str
    threads: int


def this_device(num_threads: int | None = None) -> Device:
    """Give the device that this process runs on.

    Args:
        num_threads: Threads of one encoding; None: as many as this process may use.
    """
    return Device(processor_name(), num_threads or _usable_processors())


def processor_name() -> str:
    """Give the processor as Linux names it, else as Python does."""
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux; a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
