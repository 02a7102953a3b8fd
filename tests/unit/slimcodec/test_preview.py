"""Small pictures by a matrix product."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimcodec.decode import Latent
from slimcodec.errors import ModelError
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcodec.preview import PREVIEW_FILE, SHRINK, Previewer
from support.models.toy_artifact import make_toy_codec
from support.models.toy_preview import toy_previewer


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path_factory.mktemp("models")))


def make_latent(artifact: CodecArtifact, level: int, hw: tuple[int, int]) -> Latent:
    shape = (1, artifact.levels[level].latent_channels, *artifact.latent_hw(hw))
    y_hat = np.random.default_rng(3).normal(0, 2, shape).astype(np.float32)
    return Latent(y_hat, level, 2.0, hw)


@pytest.mark.parametrize("level", [0, 3])
def test_each_place_gives_its_pixels_from_itself_and_its_neighbours(
    artifact: CodecArtifact, level: int
) -> None:
    previewer, latent = toy_previewer(artifact), make_latent(artifact, level, (50, 70))
    y, size = latent.y_hat[0], artifact.manifest.latent_stride // SHRINK

    picture = previewer.preview(latent)

    assert picture.shape == (13, 18, 3)
    narrow = len(previewer.near) // 9
    padded = np.pad(y[:narrow], ((0, 0), (1, 1), (1, 1)), mode="edge")
    for row, column in ((0, 0), (1, 2), (2, 3)):
        own = y[:, row, column] @ previewer.own[: len(y)] + previewer.bias
        around = padded[:, row : row + 3, column : column + 3].transpose(1, 2, 0).ravel()
        values = 255 * (own + around @ previewer.near).reshape(3, size, size).transpose(1, 2, 0)
        found = picture[size * row : size * (row + 1), size * column : size * (column + 1)]
        np.testing.assert_allclose(found, np.clip(values, 0, 255), atol=0.51)


def test_a_saved_one_is_read_with_its_codec(artifact: CodecArtifact, tmp_path: Path) -> None:
    made = toy_previewer(artifact)
    files = {**artifact.manifest.files, PREVIEW_FILE: artifact.manifest.files["tables.npz"]}
    manifest = artifact.manifest.model_copy(update={"files": files})
    codec = replace(artifact, directory=tmp_path, manifest=manifest)
    made.save(tmp_path / PREVIEW_FILE)

    found = Previewer.of(codec)

    assert found is not None
    np.testing.assert_allclose(found.own, made.own, atol=1e-3)
    np.testing.assert_array_equal(found.bias, made.bias)
    replace(made, own=made.own[1:]).save(tmp_path / PREVIEW_FILE)
    with pytest.raises(ModelError, match="needs"):
        Previewer.of(codec)
    (tmp_path / PREVIEW_FILE).write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ModelError, match="cannot be read"):
        Previewer.of(codec)


def test_a_codec_without_one_has_none(artifact: CodecArtifact) -> None:
    assert Previewer.of(artifact) is None
