"""`__init__.py` only re-exports, and `__all__` is complete."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    path.parent.name: path
    for pattern in ("shared/*/__init__.py", "services/*/*/__init__.py")
    for path in sorted(ROOT.glob(pattern))
}


def _imported_names(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }


def test_every_package_is_found() -> None:
    assert set(PACKAGES) == {
        "slimcli",
        "slimcloud",
        "slimcodec",
        "slimcontrol",
        "slimdetect",
        "slimedge",
        "slimlinks",
        "slimnets",
        "slimops",
        "slimtrain",
        "slimwire",
    }


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_init_only_documents_and_re_exports(package: str) -> None:
    tree = ast.parse(PACKAGES[package].read_text(encoding="utf-8"))

    assert ast.get_docstring(tree), "a package says what it is for"
    for node in tree.body[1:]:
        is_all = isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" in ast.unparse(node)
        assert is_all or isinstance(node, ast.ImportFrom), ast.unparse(node)


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_all_names_everything_that_is_re_exported(package: str) -> None:
    tree = ast.parse(PACKAGES[package].read_text(encoding="utf-8"))

    declared = getattr(importlib.import_module(package), "__all__", [])

    assert set(declared) == _imported_names(tree)
    assert len(declared) == len(set(declared))


def test_only_faces_say_what_is_public() -> None:
    """In a module a leading underscore says it; a list beside that would say it twice."""
    roots = [path.parent for path in PACKAGES.values()]

    lists = [
        path.name
        for root in roots
        for path in root.rglob("*.py")
        if path.name != "__init__.py"
        and re.search(r"^__all__\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]

    assert lists == []


_THIRD_PERSON = re.compile(
    r"(Adds|Asks|Builds|Checks|Counts|Draws|Fits|Gets|Gives|Goes|Keeps|Loads|Makes|Measures|Opens"
    r"|Prints|Puts|Raises|Reads|Removes|Returns|Runs|Saves|Says|Sends|Sets|Shows|Starts|Stops"
    r"|Takes|Tells|Trains|Waits|Writes|Yields)\b"
)


def test_a_docstring_says_what_a_function_gives_or_bids_it_do() -> None:
    """A noun or an imperative, as ruff's rules cannot ask: D401 refuses the nouns."""
    third_person = [
        f"{path.name}:{node.lineno}"
        for package in PACKAGES.values()
        for path in package.parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and _THIRD_PERSON.match(ast.get_docstring(node) or "")
    ]

    assert third_person == []
