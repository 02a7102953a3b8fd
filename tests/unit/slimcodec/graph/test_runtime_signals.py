from __future__ import annotations

import os
import subprocess
import sys

_PROGRAM = """
import gc, os, signal
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
first = OpenVinoRuntime()
second = OpenVinoRuntime()
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_signal_is_handled_after_runtimes_have_come_and_gone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (0, "handled\n"), ended.stderr
