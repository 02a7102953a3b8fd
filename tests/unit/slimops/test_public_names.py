from __future__ import annotations

import subprocess
import sys

import slimops


def test_every_public_name_is_there() -> None:
    assert all(hasattr(slimops, name) for name in slimops.__all__)
    assert sorted(slimops.__all__) == slimops.__all__


def test_import_of_slimops_brings_no_redis() -> None:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; import slimops; assert 'redis' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
