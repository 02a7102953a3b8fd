"""The build hook, which is no module of a package."""

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
HOOK = ROOT / "proto" / "hatch_build.py"
HAS_COMPILER = shutil.which(os.environ.get("CC", "cc")) is not None


def load_build_hook() -> ModuleType:
    """Return `proto/hatch_build.py`."""
    spec = importlib.util.spec_from_file_location("slimwire_hatch_build", HOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
