"""The runs of `bench.chaos` in little: a hundred kills, some thousand mutants."""

import random
import tempfile
from pathlib import Path

import pytest

from bench.chaos.containers import decode_mutants
from bench.chaos.kills import kill
from bench.chaos.system import System

KILLS = 100
MUTANTS = 2000


@pytest.mark.timeout(900)  # on a busy machine
def test_a_hundred_kills_lose_double_and_hide_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:  # a short path, for a socket
        system = System(Path(scratch), whole=False)
        victims = ("edge", "ingest", "detect", "redis")
        kills, account = kill(system, victims, KILLS, 0.25, random.Random(1))

    assert kills.total() == KILLS, "each lived until it was killed"
    assert len(account.told) > 0
    assert account.missing == set()
    assert account.untold == set()
    assert (account.doubled, account.waiting, account.kept) == (0, 0, 0)


def test_mutated_containers_are_refused_or_decoded() -> None:
    ends, _ = decode_mutants(MUTANTS, seed=1)

    assert [end for end in ends if end.startswith("FAULT")] == []
    assert ends["decoded"] > 0
    assert ends["DamagedContainerError"] > 0
