"""What every test shares: fixed seeds for generated examples, and threads that fit the machine."""

from __future__ import annotations

import os

from hypothesis import settings

# Two workers share two cores: a pool of threads in each only makes them wait for each other.
# Set before torch is imported, which reads it once.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run; how long one takes depends on the machine and is no failure.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")
