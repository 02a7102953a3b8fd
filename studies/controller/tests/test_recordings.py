"""Recorded links of a folder, and the half of them that a policy may be tuned on."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimlinks.errors import TraceError
from studies.controller.simulation.recordings import find_traces, is_for_tuning


def write(folder: Path, text: str, name: str = "link.txt") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_folder_is_searched_by_family_and_name(tmp_path: Path) -> None:
    write(tmp_path, "0 1\n", "tram/b.txt")
    write(tmp_path, "0 1\n", "tram/a.txt")
    write(tmp_path, "1\n2\n", "lte/up.up")
    write(tmp_path, "what these are", "SOURCES.md")
    write(tmp_path, "\n", ".hidden")

    found = find_traces(tmp_path)

    assert [(t.family, t.name) for t in found] == [
        ("lte", "up.up"),
        ("tram", "a.txt"),
        ("tram", "b.txt"),
    ]


def test_folder_without_traces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no trace"):
        find_traces(tmp_path)


def test_a_name_decides_which_half_a_trace_is_in() -> None:
    names = [f"trace_{n}.txt" for n in range(1000)]

    share = sum(is_for_tuning(name) for name in names) / len(names)

    assert is_for_tuning("trace_0.txt") is False  # its MD5 is odd
    assert 0.45 < share < 0.55
