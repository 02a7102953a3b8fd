"""A whole cloud as a process of its own, to be stopped and killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.cloud.whole_cloud import ToyModels

_PROGRAM = """
import asyncio, json, sys
from slimcloud.app import run_cloud
from slimcloud.settings import CloudSettings
from slimops.logs import configure_logging
from slimops.settings import load_settings
configure_logging()
settings = load_settings(CloudSettings, json.loads(sys.argv[1]))
asyncio.run(run_cloud(settings))
"""


class CloudProcess:
    def __init__(self, process: subprocess.Popen[str], addresses: Mapping[str, str]) -> None:
        self.process = process
        self.addresses = addresses

    def redis_pid(self) -> int:
        """Of the embedded server, the process's only child."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        (child,) = map(int, children)
        return child


@contextmanager
def cloud_process(
    models: ToyModels, state_file: Path, **overrides: object
) -> Iterator[CloudProcess]:
    """A cloud process that is ready; it is killed at the end if it still runs."""
    values = {
        "model": "toy",
        "models_root": str(models.root),
        "precision": "f32",
        "detector_threads": 1,
        "grpc_port": 0,
        "http_port": 0,
        "min_score": 0.01,
        "reclaim_idle_seconds": 0.2,
        "state_file": str(state_file),
        "data": str(state_file.with_name("data")),
        **overrides,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(values)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        with process.stderr:
            said = []
            for line in process.stderr:
                said.append(line)
                if '"ready: ' in line:
                    break
            else:
                raise AssertionError(f"it did not become ready: {''.join(said)}")
            yield CloudProcess(process, json.loads(state_file.read_text()))
    finally:
        process.kill()
        process.wait()
