"""`slimwire demo` with real processes: what it prints, and that nothing is left when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.process_family import MARK, ProcessFamily

pytestmark = pytest.mark.slow

# A hang must fail; how fast a demo starts and ends is not asserted: the machine may be busy.
STREAMING_SECONDS = 150.0
GONE_SECONDS = 60.0
DEMO_SECONDS = 280.0  # of one that ends by itself


@dataclass
class Demo:
    """A demo in a child process."""

    process: subprocess.Popen[str]
    family: ProcessFamily
    errors: Path

    def await_streaming(self) -> None:
        """Return when a frame has come back from the cloud."""
        give_up = time.monotonic() + STREAMING_SECONDS
        while "frame " not in self.errors.read_text():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < give_up, self.errors.read_text()
            time.sleep(0.1)


@pytest.fixture
def environment(toy_models: Path) -> dict[str, str]:
    return os.environ | {"SLIMWIRE_MODELS": str(toy_models), "SLIMWIRE_MODEL": "toy"}


@pytest.fixture
def endless(environment: dict[str, str], tmp_path: Path) -> Iterator[Demo]:
    """A demo that runs until it is told to stop."""
    mark = uuid.uuid4().hex
    errors = tmp_path / "errors.txt"
    with errors.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "slimcli", "demo", "--seconds", "0", "--json"],
            env=environment | {MARK: mark},
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            start_new_session=True,
        )
    demo = Demo(process, ProcessFamily(mark), errors)
    try:
        yield demo
    finally:
        for pid in demo.family.pids():
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def test_a_demo_of_a_few_seconds_ends_with_one_json_line(environment: dict[str, str]) -> None:
    done = subprocess.run(
        # level 0: there is a rest for the camera to send, however fast this machine is
        [sys.executable, "-m", "slimcli", "demo", "--seconds", "4", "--level", "0", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEMO_SECONDS,
    )

    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    seen = json.loads(line)
    assert seen["frames_captured"] >= seen["frames_sent"] > 0
    assert seen["frames_detected"] == seen["frames_acked"] == seen["frames_sent"]
    assert seen["bytes_total"] > 0
    assert seen["bpp_mean"] == pytest.approx(
        8 * seen["bytes_total"] / (seen["frames_sent"] * 768 * 576)
    )
    assert 0 < seen["latency_p50_seconds"] <= seen["latency_p95_seconds"]
    assert seen["detections"]
    assert all(count > 0 for count in seen["detections"].values())
    assert seen["view_psnr_db"]["after"] > seen["view_psnr_db"]["before"] > 10
    assert seen["view_bytes"]["enhancement"] > 0
    assert done.stderr.splitlines()[0].startswith(f"{seen['page']} ")


def test_a_recorded_link_is_replayed_and_what_it_cost_is_summed_up(
    environment: dict[str, str], tmp_path: Path
) -> None:
    trace = tmp_path / "village.txt"
    trace.write_text("0 1.2\n2 0\n3 0.6\n")

    done = subprocess.run(
        [sys.executable, "-m", "slimcli", "demo", "--seconds", "5", "--link", str(trace), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEMO_SECONDS,
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["link"] == str(trace)
    assert seen["uplink_kbit_per_second"] is None
    assert 0 <= seen["frames_skipped"] == seen["frames_captured"] - seen["frames_sent"]
    assert 0 <= seen["frames_late"] <= seen["frames_sent"]
    assert "village.txt" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--link", "nowhere"], 64, "steps, hole, drive"),
        (["--link", "hole", "--uplink", "500"], 64, "--uplink"),
        (["--level", "9"], 64, "toy/1 has levels 0 to 3"),
        (["--source", "nowhere.mp4"], 66, "nowhere.mp4"),
        (["--source", "/dev/video77"], 66, "/dev/video77: no such camera"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_before_anything_starts(
    environment: dict[str, str], options: list[str], code: int, told: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slimcli", "demo", *options],
        env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEMO_SECONDS,
    )

    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout
    assert not list(tmp_path.glob("slimwire-demo-*"))


def test_ctrl_c_ends_every_process_and_still_sums_up(endless: Demo) -> None:
    endless.await_streaming()
    endless.family.await_size(3, GONE_SECONDS)  # demo with its edge, cloud, Redis

    endless.process.send_signal(signal.SIGINT)
    out, _ = endless.process.communicate(timeout=GONE_SECONDS)

    endless.family.await_gone(GONE_SECONDS)
    assert endless.process.returncode == 0
    seen = json.loads(out)
    assert seen["frames_detected"] > 0
    assert seen["view_psnr_db"] is None


def test_a_killed_demo_leaves_no_process(endless: Demo) -> None:
    endless.await_streaming()
    endless.family.await_size(3, GONE_SECONDS)

    endless.process.kill()
    endless.process.wait()

    endless.family.await_gone(GONE_SECONDS)


def test_ctrl_c_before_the_cloud_is_up_leaves_no_process(endless: Demo) -> None:
    endless.family.await_size(2, STREAMING_SECONDS)

    endless.process.send_signal(signal.SIGINT)
    endless.process.communicate(timeout=GONE_SECONDS)

    endless.family.await_gone(GONE_SECONDS)
