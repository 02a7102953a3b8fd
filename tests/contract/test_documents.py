"""What the documents tell a reader to type exists, and their links lead somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from slimcli.commands import app
from support import command_page

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *(
        page
        for folder in ("docs", "studies", "bench")
        for page in sorted((ROOT / folder).rglob("*.md"))
    ),
]

_FENCE = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:slimwire|make) [^`]+)`")
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_NAME = re.compile(r"`(slim[a-z]+(?:[.:][A-Za-z_][A-Za-z_0-9]*)+)`")
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def _typed(document: Path, program: str) -> Iterator[list[str]]:
    """Every command line of `program` in a document, split into words, comments removed."""
    text = document.read_text(encoding="utf-8")
    blocks = [block.replace("\\\n", " ") for block in _FENCE.findall(text)]
    lines = [line for block in blocks for line in block.splitlines()]
    for line in [*lines, *_INLINE.findall(text)]:
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and "=" in words[0]:  # VARIABLE=value before the command
            words.pop(0)
        if words and words[0] == program:
            yield words[1:]


def _ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_commands_and_options_exist(document: Path) -> None:
    for words in _typed(document, "slimwire"):
        command: Any = typer.main.get_command(app)  # click's own types are private to typer
        position = 0
        while hasattr(command, "commands") and position < len(words):
            if words[position] in ("...", "--help"):
                break
            assert words[position] in command.commands, f"slimwire {' '.join(words)}"
            command = command.commands[words[position]]
            position += 1
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        options = {
            word.partition("=")[0] for word in words[position:] if re.match("--?[a-z]", word)
        }
        assert options <= known, f"slimwire {' '.join(words)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_make_targets_exist(document: Path) -> None:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))

    for words in _typed(document, "make"):
        assert {word for word in words if "=" not in word} <= targets, words


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_relative_links_lead_to_files_and_headings(document: Path) -> None:
    for link, anchor in _LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        page = document.parent / link if link else document
        assert page.exists(), link
        if anchor:
            headings = _HEADING.findall(page.read_text(encoding="utf-8"))
            assert anchor in {_anchor_of(heading) for heading in headings}, f"{link}#{anchor}"


def _anchor_of(heading: str) -> str:
    """As GitHub makes it: lower case, hyphens for spaces, no other punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _exists(name: str) -> bool:
    """Is it a module, or what one holds?"""
    path, _, rest = name.partition(".")
    found: Any = importlib.import_module(path)
    for part in rest.split("."):
        path = f"{path}.{part}"
        if not hasattr(found, part) and importlib.util.find_spec(path) is not None:
            importlib.import_module(path)
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=_ids)
def test_named_code_exists(document: Path) -> None:
    for name in set(_NAME.findall(document.read_text(encoding="utf-8"))):
        if not re.match(r"slimwire\.(v\d|yaml)", name):  # the wire; the configuration file
            assert _exists(name.replace(":", ".")), name


def test_every_line_of_the_threats_is_held_by_a_test() -> None:
    page = (ROOT / "docs" / "develop" / "threats.md").read_text(encoding="utf-8")
    held = {
        name
        for module in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", module.read_text(encoding="utf-8"))
    }
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]

    assert all(re.search(r"`test_\w+`", row) for row in rows)
    assert set(re.findall(r"`(test_\w+)`", page)) <= held


def test_the_readme_shows_how_to_begin() -> None:
    assert ["demo"] in list(_typed(ROOT / "README.md", "make"))
    assert ["test"] in list(_typed(ROOT / "README.md", "make"))


@pytest.mark.parametrize("page", command_page.PAGES, ids=_ids)
def test_the_pages_of_commands_are_what_the_commands_say(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == command_page.render_page(page), command_page.__doc__


def test_users_pages_are_read_in_an_hour() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]

    assert sum(len(page.read_text(encoding="utf-8").split()) for page in pages) <= 12_000


def test_every_page_with_commands_says_what_runs_them() -> None:
    listed = (ROOT / "docs" / "develop" / "commands-run.md").read_text(encoding="utf-8")
    folders = (ROOT, ROOT / "docs", ROOT / "docs" / "develop")
    pages = {page for page in DOCUMENTS if page.parent in folders}
    with_commands = {page.stem for page in pages if _FENCE.search(page.read_text(encoding="utf-8"))}
    named = re.findall(r"^\| ([^|]+) \|", listed, re.MULTILINE)

    assert with_commands == {name.strip() for row in named[1:] for name in row.split(",")} - {""}
    for path in re.findall(r"`(tests/[^` ]+)`", listed):
        assert (ROOT / path).exists(), path
