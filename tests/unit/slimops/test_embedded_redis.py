from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from redis.exceptions import OutOfMemoryError

from slimops.embedded_redis import EmbeddedRedis
from slimops.errors import EmbeddedRedisError
from slimops.redis_connection import redis_client


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # ended, and not yet reaped by whoever adopted it


async def test_server_keeps_what_it_is_given_and_leaves_nothing_behind() -> None:
    server = EmbeddedRedis()
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


async def test_full_memory_refuses_instead_of_forgetting() -> None:
    server = EmbeddedRedis(max_memory_bytes=16 * 2**20)
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


def test_server_dies_with_a_killed_parent() -> None:
    program = (
        "import sys, time\n"
        "from slimops.embedded_redis import EmbeddedRedis\n"
        "server = EmbeddedRedis(); server.start()\n"
        "print(server.pid, server.url, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid, url = parent.stdout.readline().split()
        assert _is_running(int(pid))

        parent.send_signal(signal.SIGKILL)
        parent.wait()

    while _is_running(int(pid)):  # the test's own time limit is the deadline
        os.sched_yield()
    directory = Path(url.removeprefix("unix://")).parent
    successor = EmbeddedRedis()
    successor.start()
    successor.stop()
    assert not directory.exists()


async def test_end_of_the_server_is_noticed() -> None:
    server = EmbeddedRedis()
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
        EmbeddedRedis(server=impostor).start()


def test_start_outside_the_main_thread_is_refused() -> None:
    raised: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedRedis().start()
        except EmbeddedRedisError as exc:
            raised.append(exc)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert "main thread" in str(raised[0])
