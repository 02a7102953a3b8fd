"""The runs of `bench.chaos` in little: a hundred kills, a cut link, some thousand mutants."""

import asyncio
import random
import tempfile
from pathlib import Path

import pytest

from bench.chaos.containers import decode_mutants
from bench.chaos.fuzz import TARGETS
from bench.chaos.kills import kill
from bench.chaos.proxy import RECOVERY_SECONDS, measure
from bench.chaos.streams import read_mutants
from bench.chaos.system import System

KILLS = 100
MUTANTS = 2000
STREAMS = 100
PICTURES = 1000
MESSAGES = 45
CUTS = 2


@pytest.mark.timeout(900)  # on a busy machine
def test_a_hundred_kills_lose_double_and_hide_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:  # a short path, for a socket
        system = System(Path(scratch), whole=False)
        victims = ("edge", "ingest", "detect", "redis")
        kills, account = kill(system, victims, KILLS, 0.25, random.Random(1))

    assert kills.total() == KILLS, "each lived until it was killed"
    assert len(account.told) > 0
    assert account.referring > 0
    assert account.missing == set()
    assert account.untold == set()
    assert (account.doubled, account.waiting, account.kept) == (0, 0, 0)


def test_a_cut_link_heals_and_loses_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="proxy-") as scratch:
        recoveries, account, _ = asyncio.run(measure("cut", CUTS, 1, Path(scratch)))

    assert len(recoveries) == CUTS
    assert max(recoveries) < RECOVERY_SECONDS, "it was waited for no longer"
    assert len(account.told) > 0
    assert (account.missing, account.untold) == (set(), set())
    assert (account.doubled, account.waiting) == (0, 0)


def test_mutated_containers_are_refused_or_decoded() -> None:
    ends, _ = decode_mutants(MUTANTS, seed=1)

    assert [end for end in ends if end.startswith("FAULT")] == []
    assert ends["decoded"] > 0
    assert ends["DamagedContainerError"] > 0


def test_mutated_streams_are_read_as_far_as_they_are_whole() -> None:
    ends, _ = read_mutants(STREAMS, seed=1)

    assert [end for end in ends if end.startswith("FAULT")] == []
    assert {"decoded", "MissingReferenceError", "passed over"} <= ends.keys()


def test_mutated_pictures_are_refused_or_read() -> None:
    ends = TARGETS["pictures"](random.Random(1), PICTURES)

    assert ends.keys() == {"read", "ImageError"}


def test_mutated_messages_end_their_stream_only() -> None:
    ends = TARGETS["wire"](random.Random(1), MESSAGES)

    assert ends.total() > 0
    assert [end for end in ends if end.startswith("FAULT")] == []
