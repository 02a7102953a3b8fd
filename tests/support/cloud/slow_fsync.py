"""A disk that takes long to say that it has something: a library for LD_PRELOAD."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = """
#include <unistd.h>
int fsync(int file) { usleep(MICROSECONDS); return 0; }
int fdatasync(int file) { usleep(MICROSECONDS); return 0; }
"""


def build_slow_fsync(folder: Path, *, seconds: float) -> Path:
    """The library, whose every fsync takes so long; needs a C compiler."""
    source, library = folder / "slow_fsync.c", folder / "slow_fsync.so"
    source.write_text(_SOURCE)
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-DMICROSECONDS={seconds * 1e6:.0f}", "-o", library, source],
        check=True,
    )
    return library
