"""The Python that the documents show runs, word for word, on the models that ship."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import pytest

from slimcodec.image import image_bytes

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(_FENCE.findall(page.read_text(encoding="utf-8")), start=1)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader would be: with a picture of their own."""
    folder = tmp_path_factory.mktemp("reader")
    with av.open(str(ROOT / "samples" / "street.mp4")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    (folder / "picture.jpg").write_bytes(image_bytes(image.astype("uint8"), ".jpg"))
    return folder


def test_the_readme_shows_python() -> None:
    assert _FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("code", SHOWN)
def test_python_of_a_document_runs(code: str, folder: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLIMWIRE_")}

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "person" in done.stdout or "print(box" not in code
