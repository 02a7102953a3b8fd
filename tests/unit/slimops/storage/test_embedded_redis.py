from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.exceptions import OutOfMemoryError

from slimops.errors import EmbeddedRedisError
from slimops.storage.durability import Durability
from slimops.storage.embedded_redis import EmbeddedRedis
from slimops.storage.redis_connection import redis_client
from support.cloud.slow_fsync import build_slow_fsync


async def _kept(data: Path, *keys: str) -> list[object]:
    """What a new server finds in the directory."""
    server = EmbeddedRedis(data)
    server.start()
    client = redis_client(server.url)
    try:
        return list(await client.mget(keys))
    finally:
        await client.aclose()
        server.stop()


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # ended, and not yet reaped by whoever adopted it


async def test_server_keeps_what_it_is_given_and_leaves_its_data_alone(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "with a blank")
    server.start()
    directory, pid = Path(server.url.removeprefix("unix://")).parent, server.pid
    client = redis_client(server.url)

    await client.set("lamp", b"\x00\xff")
    kept = await client.get("lamp")
    policy = await client.config_get("maxmemory-policy")
    await client.aclose()
    server.stop()

    assert kept == b"\x00\xff"
    assert list(policy.values()) == ["noeviction"]
    assert not directory.exists()
    assert not _is_running(pid)
    assert await _kept(tmp_path / "with a blank", "lamp") == [b"\x00\xff"]


@pytest.mark.parametrize("durability", Durability)
async def test_server_killed_at_once_has_kept_what_it_answered(
    tmp_path: Path, durability: Durability
) -> None:
    server = EmbeddedRedis(tmp_path, durability=durability)
    server.start()
    client = redis_client(server.url)

    await client.set("lamp", b"lit")
    os.kill(server.pid, signal.SIGKILL)
    await client.aclose()
    server.stop()

    assert await _kept(tmp_path, "lamp") == [b"lit"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler to slow the disk")
async def test_always_keeps_what_it_answered_on_a_disk_that_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everysec the first fsync begins within a second, and what follows it waits in memory."""
    monkeypatch.setenv("LD_PRELOAD", str(build_slow_fsync(tmp_path, seconds=3.0)))
    server = EmbeddedRedis(tmp_path / "data", durability=Durability.ALWAYS)
    server.start()
    monkeypatch.delenv("LD_PRELOAD")
    client = redis_client(server.url)

    count, give_up = 0, time.monotonic() + 2.5
    while time.monotonic() < give_up:
        count = await client.incr("count")
    os.kill(server.pid, signal.SIGKILL)
    await client.aclose()
    server.stop()

    assert await _kept(tmp_path / "data", "count") == [b"%d" % count]


async def test_full_memory_refuses_instead_of_forgetting(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, max_memory_bytes=16 * 2**20)
    server.start()
    client = redis_client(server.url)

    async def fill() -> None:
        for number in range(32):
            await client.set(f"key-{number}", bytes(2**20))

    try:
        with pytest.raises(OutOfMemoryError):
            await fill()
        assert await client.exists("key-0") == 1
    finally:
        await client.aclose()
        server.stop()


@contextmanager
def _owner(data: Path) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """Another process with a server on `data`: itself, the server's id, and its socket."""
    program = (
        "import pathlib, sys, time\n"
        "from slimops.storage.embedded_redis import EmbeddedRedis\n"
        "server = EmbeddedRedis(pathlib.Path(sys.argv[1])); server.start()\n"
        "print(server.pid, server.url, flush=True)\n"
        "time.sleep(600)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(data)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    try:
        with owner.stdout:
            pid, url = owner.stdout.readline().split()
            yield owner, int(pid), Path(url.removeprefix("unix://"))
    finally:
        owner.kill()
        owner.wait()


def test_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    with _owner(tmp_path / "theirs") as (owner, pid, path):
        assert _is_running(pid)

        owner.kill()
        owner.wait()

        while _is_running(pid):  # the test's own time limit is the deadline
            os.sched_yield()
    successor = EmbeddedRedis(tmp_path / "ours")
    successor.start()
    successor.stop()
    assert not path.parent.exists()


def test_directory_of_another_process_is_refused_with_its_id(tmp_path: Path) -> None:
    with (
        _owner(tmp_path) as (owner, _, _),
        pytest.raises(EmbeddedRedisError, match=rf"process {owner.pid}: .*CLOUD_DATA"),
    ):
        EmbeddedRedis(tmp_path).start()


async def test_server_that_outlives_its_owner_is_ended_and_its_data_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimops.storage.redis_directory._ORPHAN_SECONDS", 0.1)
    with _owner(tmp_path) as (owner, pid, path):
        client = redis_client(f"unix://{path}")
        await client.set("lamp", b"lit")
        await client.aclose()
        os.kill(pid, signal.SIGSTOP)  # it cannot hear that its owner has died
        owner.kill()
        owner.wait()

        kept = await _kept(tmp_path, "lamp")

    assert kept == [b"lit"]
    assert not _is_running(pid)


async def test_process_that_the_lock_names_by_mistake_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimops.storage.redis_directory._ORPHAN_SECONDS", 0.01)
    with (
        (tmp_path / "server.lock").open("w") as lock,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander,
    ):
        lock.write(str(bystander.pid))
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(EmbeddedRedisError, match=f"process {bystander.pid}, still holds"):
            EmbeddedRedis(tmp_path).start()

        assert bystander.poll() is None


def test_directory_that_cannot_be_made_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EmbeddedRedisError, match=r"file/data: Not a directory; .*CLOUD_DATA"):
        EmbeddedRedis(tmp_path / "file" / "data").start()


def test_full_disk_is_told_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))  # no file may grow beyond
    try:
        with pytest.raises(EmbeddedRedisError, match=r"File too large; .*has room.*CLOUD_DATA"):
            EmbeddedRedis(tmp_path).start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_broken_data_are_told_and_left_as_they_are(tmp_path: Path) -> None:
    broken = b"*3\r\n$3\r\nSET\r\nthis is no log of Redis\r\n"
    (tmp_path / "appendonly.aof").write_bytes(broken)

    with pytest.raises(EmbeddedRedisError, match="(?s)redis-check-aof.*left as it is.*CLOUD_DATA"):
        EmbeddedRedis(tmp_path).start()

    assert broken in [file.read_bytes() for file in tmp_path.rglob("appendonly*") if file.is_file()]


def test_data_of_a_later_redis_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "data" / "appendonlydir").mkdir(parents=True)
    early = tmp_path / "redis-server"
    early.write_text("#!/bin/sh\necho Redis server v=6.2.14 sha=40305114:0\n")
    early.chmod(0o700)

    with pytest.raises(EmbeddedRedisError, match="written by Redis 7 or later"):
        EmbeddedRedis(tmp_path / "data", server=early).start()


async def test_end_of_the_server_is_noticed(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    try:
        watching = asyncio.create_task(server.watch())
        os.kill(server.pid, signal.SIGKILL)

        with pytest.raises(EmbeddedRedisError, match="ended with -9"):
            await watching
    finally:
        server.stop()


def test_program_that_is_no_server_is_reported_with_what_it_said(tmp_path: Path) -> None:
    impostor = tmp_path / "redis-server"
    impostor.write_text("#!/bin/sh\necho I am no server; exit 3\n")
    impostor.chmod(0o700)

    with pytest.raises(EmbeddedRedisError, match="(?s)ended with 3; .*I am no server"):
        EmbeddedRedis(tmp_path / "data", server=impostor).start()


def test_start_outside_the_main_thread_is_refused(tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedRedis(tmp_path).start()
        except EmbeddedRedisError as exc:
            raised.append(exc)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert "main thread" in str(raised[0])
