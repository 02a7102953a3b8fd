from __future__ import annotations

from pathlib import Path

import pytest

from slimops.user_folder import user_folder


def test_the_folder_is_where_the_xdg_standard_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    configured = user_folder("XDG_CACHE_HOME", ".cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    default = user_folder("XDG_CACHE_HOME", ".cache")

    assert configured == tmp_path / "cache" / "slimwire"
    assert default == tmp_path / ".cache" / "slimwire"
