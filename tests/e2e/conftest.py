"""Models and pictures that the tests of the command share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from slimcli.app import run
from support.command import Outcome, Slimwire
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with the toy codec and its detector."""
    root = tmp_path_factory.mktemp("models")
    make_toy_codec(root)
    make_toy_detector(root)
    return root


@pytest.fixture
def slimwire(
    toy_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Slimwire:
    """The command, run in this process on the toy models."""
    monkeypatch.setenv("SLIMWIRE_MODELS", str(toy_models))
    monkeypatch.setenv("SLIMWIRE_MODEL", "toy")
    monkeypatch.delenv("SLIMWIRE_DEBUG", raising=False)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of 96 x 64 pixels."""
    path = tmp_path / "picture.png"
    Image.fromarray(make_image(64, 96)).save(path)
    return path
