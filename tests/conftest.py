"""What every test shares: fixed seeds for generated examples, and threads that fit the machine."""

from __future__ import annotations

import os
import sys

from hypothesis import settings

# Tests that import openvino themselves must not report it either (see slimcodec.openvino_loader).
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not importable

# Two workers share two cores: a pool of threads in each only makes them wait for each other.
# Set before torch is imported, which reads it once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run; how long one takes depends on the machine and is no failure.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")
