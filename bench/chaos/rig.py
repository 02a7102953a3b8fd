"""What every run of chaos needs: real processes of the product, and a row of counts at the end."""

import contextlib
import csv
import hashlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import date
from http.client import HTTPException
from pathlib import Path

ROOT = Path(__file__).parents[2]
STREAM_FRAMES = "/slimwire.v1.IngestService/StreamFrames"
RESULTS = ROOT / "studies/results/chaos.csv"
# Quick to encode and to detect: 128 pixels, the narrowest level.
SMALL = {"EDGE_MAX_EDGE": "128", "EDGE_LEVEL": "0", "EDGE_QUALITY": "1"}
START_SECONDS = 120.0
STOP_SECONDS = 20.0


def record(what: str, n: int, outcomes: Mapping[str, object], out: Path = RESULTS) -> None:
    """Print the counts of a run and add them as a row, with its command and commit."""
    said = "; ".join(f"{name}: {count}" for name, count in outcomes.items())
    print(f"{what}: n {n}; {said}", flush=True)
    command = shlex.join(["python", "-m", "bench.chaos", *sys.argv[1:]])
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True)
    is_new = not out.exists()
    with out.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(["what", "n", "outcomes", "command", "commit", "date"])
        writer.writerow([what, n, said, command, commit.strip(), date.today().isoformat()])


@contextlib.contextmanager
def running(
    command: str, log: Path, settings: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """`slimwire COMMAND` with these settings alone; it is stopped in order at the end."""
    process = start(command, log, settings)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start(command: str, log: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start `slimwire COMMAND`; what it says is added to a log."""
    ours = ("EDGE_", "CLOUD_", "SLIMWIRE_")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "slimcli", command],
            env={**rest, "OMP_NUM_THREADS": "1", **settings},
            stdout=file,
            stderr=file,
        )


@contextlib.contextmanager
def running_cloud(
    folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A cloud of all roles that is ready, with the addresses that it says; its data in `folder`."""
    state = folder / "cloud.json"
    state.unlink(missing_ok=True)
    base = {
        "CLOUD_GRPC_PORT": "0",
        "CLOUD_HTTP_PORT": "0",
        "CLOUD_STATE_FILE": str(state),
        "CLOUD_DATA": str(folder / "data"),
        "CLOUD_DETECTOR_THREADS": "1",
    }
    with running("cloud", folder / "cloud.log", {**base, **(settings or {})}) as process:
        give_up = time.monotonic() + START_SECONDS
        while not state.exists():
            if process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit((folder / "cloud.log").read_text()[-1500:])
            time.sleep(0.1)
        yield process, json.loads(state.read_text())


def edge_settings(folder: Path, cloud_address: str) -> dict[str, str]:
    """Of an edge on the sample video, small, in a loop."""
    return {
        "EDGE_SOURCE": str(ROOT / "samples/street.mp4"),
        "EDGE_LOOP": "true",
        "EDGE_CLOUD_ADDRESS": cloud_address,
        "EDGE_CACHE_FOLDER": str(folder / "cache"),
        "EDGE_SPOOL_FOLDER": str(folder / "spool"),
        "EDGE_ENCODER_THREADS": "1",
        **SMALL,
    }


def token_table(**roles: str) -> dict[str, str]:
    """Settings of a cloud that knows people by `token_of` their names."""
    lines = (
        f"{role} {name} {hashlib.sha256(token_of(name).encode()).hexdigest()}"
        for name, role in roles.items()
    )
    return {"CLOUD_TOKENS": "\n".join(lines)}


def token_of(name: str) -> str:
    """The token of a person or camera of `token_table`."""
    return name.ljust(43, "t")


def fetch(url: str, seconds: float = 10.0, name: str = "") -> bytes:
    """The body of what a GET is answered, to a person of `token_table` if one is named."""
    headers = {"Authorization": f"Bearer {token_of(name)}"} if name else {}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        body: bytes = answer.read()
        return body


def metrics(url: str) -> dict[str, float]:
    """The metrics of a process that serves them, of one camera; none while it does not answer."""
    try:
        text = fetch(f"{url}/metrics").decode()
    except (OSError, HTTPException):
        return {}
    text = re.sub(r'(slim_edge_\w+\{)camera="[^"]*",?', r"\1", text).replace("{}", "")
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
