"""kill -9 of one process after the other, then an account of every frame.

An edge with a spool, ingest, detect workers and a Redis that writes its file, each a process of its
own, with the toy models of the tests; or with `--victims edge,all` the cloud in one process and its
Redis. A victim is drawn every few seconds and started again at once or a little later. At the end
the spool is sent and the queue done; then what the edge was told is compared with the store.
"""

import argparse
import collections
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.chaos.account import Account
from bench.chaos.rig import record
from bench.chaos.system import System


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--victims", default="edge,ingest,detect,redis", help="or: edge,all")
    parser.add_argument("--fsync", default="everysec", help="of Redis: everysec or always")
    parser.add_argument("--seconds", type=float, default=5.0, help="between two kills at most")


def run(arguments: argparse.Namespace) -> None:
    """Kill, settle, account."""
    victims = arguments.victims.split(",")
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        system = System(Path(scratch), arguments.fsync, whole="all" in victims)
        dice = random.Random(arguments.seed)
        kills, account = kill(system, victims, arguments.kills, arguments.seconds, dice)
        errors = system.errors()
    said = {**{f"killed {name}": n for name, n in sorted(kills.items())}, **account.counts()}
    record(f"kills, fsync {arguments.fsync}", arguments.kills, {**said, "errors logged": errors})
    if account.missing:
        print(f"told and gone: {sorted(account.missing)[:20]}")


def kill(
    system: System, victims: Sequence[str], times: int, seconds: float, dice: random.Random
) -> tuple[collections.Counter[str], Account]:
    """Kill at random, at most so many seconds apart; who was, and what became of the frames."""
    kills: collections.Counter[str] = collections.Counter()
    try:
        system.start_all()
        for _ in range(times):
            time.sleep(dice.uniform(0.2 * seconds, seconds))
            victim = dice.choice(victims)
            kills[victim] += system.kill(victim)
            time.sleep(seconds * dice.choice((0, 0, 0.1, 0.5)))
            system.start(victim)
        return kills, system.account()
    finally:
        system.stop()
