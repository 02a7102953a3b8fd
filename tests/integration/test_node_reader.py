"""A reader in JavaScript, written from docs/develop/container.md alone, agrees on every vector."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from support.conformance import KIT, Line, read_lines

READER = Path(__file__).with_name("node_client") / "read_container.js"

if shutil.which("node") is None:
    pytest.skip("no node on this machine", allow_module_level=True)


@pytest.fixture(scope="module")
def said() -> dict[str, Line]:
    paths = [KIT / "codec", KIT / "vectors.jsonl", KIT / "refused.jsonl"]
    done = subprocess.run(["node", READER, *paths], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return read_lines(done.stdout)


def test_symbols_and_digests_are_those_of_the_kit(said: dict[str, Line]) -> None:
    vectors = read_lines((KIT / "vectors.jsonl").read_text())

    for name, line in vectors.items():
        symbols = zlib.decompress(base64.b64decode(line["symbols"]))
        assert said[name] == {
            "name": name,
            "digest": line["digest"],
            "depth": line["depth"],
            "shape": line["shape"],
            "symbols": hashlib.sha256(symbols).hexdigest(),
        }


def test_what_none_may_read_is_refused(said: dict[str, Line]) -> None:
    refused = read_lines((KIT / "refused.jsonl").read_text())

    assert len(refused) > 30
    assert [name for name in refused if "refused" not in said[name]] == []
