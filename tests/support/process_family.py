"""Every process that one command started, found again after their parent's death (Linux).

A process is of the family if it has the mark in its environment, or was once seen as the child of
one that is: Redis overwrites its environment with its title.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

MARK = "SLIMWIRE_TEST_MARK"


@dataclass
class ProcessFamily:
    """Processes with `MARK`=`mark` in their environment, and their descendants."""

    mark: str
    _seen: set[tuple[int, int]] = field(default_factory=set)  # pid, start time in clock ticks

    def pids(self) -> list[int]:
        """Those that run now; the more often it is asked, the less it overlooks."""
        running = _running()
        family = {
            pid
            for pid, (_, start) in running.items()
            if (pid, start) in self._seen or _has_mark(pid, self.mark)
        }
        while True:
            children = {pid for pid, (parent, _) in running.items() if parent in family} - family
            if not children:
                break
            family |= children
        self._seen |= {(pid, running[pid][1]) for pid in family}
        return sorted(family)

    def await_size(self, size: int, seconds: float) -> None:
        """Return when so many are running."""
        give_up = time.monotonic() + seconds
        while len(pids := self.pids()) < size:
            assert time.monotonic() < give_up, f"{pids} of {size} processes"
            time.sleep(0.02)

    def await_gone(self, seconds: float) -> None:
        """Return when none is left."""
        give_up = time.monotonic() + seconds
        while pids := self.pids():
            assert time.monotonic() < give_up, [_command(pid) for pid in pids]
            time.sleep(0.05)


def _running() -> dict[int, tuple[int, int]]:
    """Parent and start time of every process that is no zombie."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if fields[0] not in "ZX":
            found[int(directory.name)] = (int(fields[1]), int(fields[19]))
    return found


def _has_mark(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False  # it has ended, or is another user's
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return f"{pid}, ended"
