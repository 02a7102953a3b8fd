"""What strangers may cost a cloud that asks for tokens: memory, connections, lines of its log."""

import argparse
import collections
import json
import socket
import tempfile
import time
from pathlib import Path

import grpc

from bench.chaos.rig import STREAM_FRAMES, fetch, record, running_cloud, token_table
from slimwire.v1 import ingest_pb2 as pb

BODY_BYTES = 150_000_000
HALF_HEADS, HALF_BODIES, IDLE = 200, 20, 1500
GIVEN_SECONDS = 60.0  # for a half-sent request to be let go
HELLO_BYTES, HELLOS, GARBAGE = 4_000_000, 60, 100
TARGET = "/api/v1/frames/c:0000000000000001:1/reviews"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # there are none


def run(_: argparse.Namespace) -> None:
    """A row for each flood."""
    with tempfile.TemporaryDirectory(prefix="floods-") as scratch:
        folder = Path(scratch)
        with running_cloud(folder, token_table(wall="viewer", gate="camera")) as (cloud, at):
            _http(cloud.pid, at["http"])
            _grpc(cloud.pid, at["grpc"], folder / "cloud.log")
            fetch(f"{at['http']}/livez")


def _http(pid: int, http: str) -> None:
    host, _, port = http.removeprefix("http://").partition(":")

    def send(head: str, body: bytes = b"") -> socket.socket:
        connection = socket.create_connection((host, int(port)), timeout=30)
        connection.sendall(head.encode())
        try:
            for start in range(0, len(body), 2**20):
                connection.sendall(body[start : start + 2**20])
        except OSError:
            pass  # refused before all of it was sent
        return connection

    post = f"POST {TARGET} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    post += f"Content-Length: {BODY_BYTES}\r\n\r\n"
    before = _rss(pid)
    with send(post, b"[" * BODY_BYTES) as connection:
        try:
            status = connection.recv(100).decode().partition("\r\n")[0]
        except OSError as exc:
            status = type(exc).__name__
    record("flood: 150 MB of body", 1, {status: 1, "RSS": f"{_rss(pid) - before:+d} MB"})

    head = f"GET /livez HTTP/1.1\r\nHost: {host}\r\nX: "
    half = [send(head) for _ in range(HALF_HEADS)]
    half += [send(post, b"[" * 10_000) for _ in range(HALF_BODIES)]
    time.sleep(GIVEN_SECONDS)
    still = sum(_is_open(connection) for connection in half)
    record("flood: half-sent requests", len(half), {"open after 60 s": still})

    idle = []
    for _ in range(IDLE):
        try:
            idle.append(socket.create_connection((host, int(port)), timeout=2))
        except OSError:
            break
    time.sleep(2)
    taken = sum(_is_open(connection) for connection in idle)
    begun = time.monotonic()
    fetch(f"{http}/livez")
    waited = f"{time.monotonic() - begun:.2f} s"
    grown = f"{_rss(pid) - before:+d} MB"
    record("flood: idle connections", IDLE, {"held": taken, "livez in": waited, "RSS": grown})
    for connection in half + idle:
        connection.close()


def _grpc(pid: int, address: str, log: Path) -> None:
    hello = pb.Hello(camera_id="gate", epoch=1, model_name="x" * HELLO_BYTES)
    large = pb.StreamFramesRequest(hello=hello).SerializeToString()
    for what, first, count in (
        ("Hellos of 4 MB", large, HELLOS),
        ("first messages of garbage", b"\xff" * 100, GARBAGE),
    ):
        before, lines = _rss(pid), len(log.read_text().splitlines())
        ends: collections.Counter[str] = collections.Counter()
        for _ in range(count):
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(address, options=options) as channel:
                try:
                    next(iter(channel.stream_stream(STREAM_FRAMES, bytes, bytes)(iter([first]))))
                except grpc.RpcError as exc:
                    ends[exc.code().name] += 1
        said = log.read_text().splitlines()[lines:]
        errors = sum(json.loads(line)["level"] == "ERROR" for line in said)
        grown = {"RSS": f"{_rss(pid) - before:+d} MB", "lines of log": len(said), "errors": errors}
        record(f"flood: {what}", count, {**ends, **grown})


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(4096) != b"" and _is_open(connection)
    except BlockingIOError:
        return True
    except OSError:
        return False


def _rss(pid: int) -> int:
    """Resident megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024
