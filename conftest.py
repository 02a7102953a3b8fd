"""What every test shares: fixed seeds for generated examples, and threads that fit the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Tests that import openvino themselves must not report it either (see
# slimcodec.graph.runtime).
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not importable

# Two workers share two cores: a pool of threads in each only makes them wait for each other.
# Set before torch is imported, which reads it once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run; how long one takes depends on the machine and is no failure.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Edges keep what encoding takes where they are told to, and not in a person's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_CACHE_FOLDER", str(tmp_path_factory.mktemp("edge-cache")))
        yield
