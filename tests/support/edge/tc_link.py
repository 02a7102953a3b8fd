"""A link that the kernel shapes: a network namespace behind a veth pair, `tc tbf` at the near end.

    this process ─► veth ─[tbf: the trace]─► namespace: relay ─► half the round trip ─► server
                 ◄─────────────────────────────────────────── half the round trip ◄──

Needs root, `ip` and `tc`, and a kernel with veth and tbf. The delay is the relay's (`ShapedLink`
without a trace): many small kernels have no netem. Against the trace, two differences: headers of
Ethernet, IP and TCP count (about 4 % of full packets), and each change of the rate lets one packet
through at once, because tbf fills its bucket then. So rates are changed once a second at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

from slimlinks.shaping import ShapedLink
from slimlinks.trace import Trace

STEP_SECONDS = 1.0  # between two rates
_NEAR, _FAR = "10.213.77.1", "10.213.77.2"
_BURST_BYTES = 1600  # one packet
_LIMIT_BYTES = 2**20  # may wait: more than any credit window
_LEAST_BYTES_PER_SECOND = 1  # tbf knows no zero
_CLONE_NEWNET = 0x40000000


@functools.cache
def why_not() -> str:
    """Why the kernel cannot shape here; empty where it can. Tries it."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing:
        return f"needs {' and '.join(missing)} (iproute2)"
    try:
        with _namespace():
            return ""
    except subprocess.CalledProcessError as exc:
        return f"{' '.join(exc.cmd)}: {exc.stderr.strip()}"


@contextlib.asynccontextmanager
async def tc_link(
    target: str, trace: Trace, *, round_trip_seconds: float = 0.0, offset_seconds: float = 0.0
) -> AsyncIterator[str]:
    """Give the address at which `target` (host:port) is that far away, from now on."""
    with _namespace() as (name, near):
        far = _Beyond(target, name, round_trip_seconds)
        async with far:
            changing = asyncio.create_task(_replay(trace, offset_seconds, near))
            try:
                yield far.address
            finally:
                changing.cancel()
                await asyncio.gather(changing, return_exceptions=True)


class _Beyond(ShapedLink):
    """The far end: a relay that listens in the namespace and reaches the server from outside."""

    def __init__(self, target: str, namespace: str, round_trip_seconds: float) -> None:
        super().__init__(target, None, round_trip_seconds=round_trip_seconds)
        self._namespace = namespace

    def _listen(self) -> socket.socket:
        with _inside(self._namespace):
            return socket.create_server((_FAR, 0))


async def _replay(trace: Trace, offset: float, near: str) -> None:
    """Change the rate on time, for ever."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    rate: float | None = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
        for step in count():
            at = step * STEP_SECONDS
            await asyncio.sleep(started + at - loop.time())
            begin, last = offset + at, rate
            rate = trace.bytes_between(begin, begin + STEP_SECONDS) / STEP_SECONDS
            if rate == last:
                continue
            _set_rate(near, rate)
            # tbf looks at its queue when a packet comes or when its old timer ends: wake it.
            waker.sendto(b"", (_FAR, 9))


def _set_rate(near: str, bytes_per_second: float) -> None:
    bits = 8 * max(_LEAST_BYTES_PER_SECOND, round(bytes_per_second))
    _run(
        *("tc", "qdisc", "replace", "dev", near, "root", "handle", "1:", "tbf"),
        *("rate", f"{bits}bit", "burst", str(_BURST_BYTES), "limit", str(_LIMIT_BYTES)),
    )


@contextlib.contextmanager
def _namespace() -> Iterator[tuple[str, str]]:
    """A namespace of its own and the near end of the veth pair to it; removed afterwards."""
    mark = uuid.uuid4().hex[:8]
    name, near, far = f"slim-{mark}", f"sl{mark}n", f"sl{mark}f"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        for device, inside, address in ((near, (), _NEAR), (far, ("-n", name), _FAR)):
            _run("ip", *inside, "address", "add", f"{address}/30", "dev", device)
            # tbf would count a large segment once: let the stack cut them to packets.
            _run("ip", *inside, "link", "set", device, "gso_max_segs", "1")
            _run("ip", *inside, "link", "set", device, "up")
        _set_rate(near, 1e6)
        yield name, near
    finally:
        _run("ip", "netns", "del", name)


@contextlib.contextmanager
def _inside(namespace: str) -> Iterator[None]:
    """Sockets that this thread opens belong to the namespace, and stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(Path("/run/netns") / namespace, os.O_RDONLY)
    try:
        if libc.setns(there, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        try:
            yield
        finally:
            if libc.setns(home, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns back")
    finally:
        os.close(there)
        os.close(home)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
