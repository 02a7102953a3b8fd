"""The triage session: no torch, thresholds from the artifact, errors with a way out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slimcodec.decode import Decoder, Latent
from slimcodec.encode import Encoder
from slimcodec.errors import ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimdetect.scores import class_ids_of
from slimdetect.triage import TRIAGE_GRAPH, TriageSession, any_presence
from support.models.toy_artifact import make_image, make_toy_codec
from support.models.toy_triage import add_toy_triage, grey_image

RUNTIME = OpenVinoRuntime(num_threads=1, precision="f32")


@pytest.fixture
def artifact(tmp_path: Path) -> CodecArtifact:
    path = make_toy_codec(tmp_path)
    before = load_codec_artifact(path)
    assert TRIAGE_GRAPH not in before.manifest.files
    add_toy_triage(path)
    artifact = load_codec_artifact(path)
    assert artifact.fingerprint == before.fingerprint
    return artifact


def _latents(artifact: CodecArtifact) -> list[Latent]:
    """Busy and grey pictures of two sizes, and one at a wide level."""
    encoder, decoder = Encoder(artifact, RUNTIME), Decoder(artifact, RUNTIME)
    pictures = [
        (make_image(64, 96), 0),
        (grey_image(64, 96), 0),
        (make_image(32, 32), 0),
        (grey_image(32, 32), 3),
        (make_image(64, 96), 3),
    ]
    return [decoder.decode_latent(encoder.encode(x, level, 2).bitstream) for x, level in pictures]


def test_busy_pictures_are_told_from_quiet_ones_whatever_their_size_and_level(
    artifact: CodecArtifact,
) -> None:
    session = TriageSession(artifact, RUNTIME)

    presence = session.presence(_latents(artifact), range(80))

    is_busy = [value >= session.spec.threshold for value in presence]
    assert is_busy == [True, False, True, False, True]


def test_fewer_classes_of_interest_are_less_likely_to_be_there(artifact: CodecArtifact) -> None:
    session = TriageSession(artifact, RUNTIME)
    latents = _latents(artifact)[1:2]

    (one,), (all_of_them,) = session.presence(latents, [7]), session.presence(latents, range(80))

    assert 0 < one < all_of_them < 1


def test_odds_of_classes_add() -> None:
    odds = np.array([[0.1, 0.2, 0.05], [10.0, 3.0, 200.0]], np.float32)

    found = any_presence(np.log(odds))

    np.testing.assert_allclose(found, odds.sum(1) / (1 + odds.sum(1)), rtol=1e-5)


def test_codec_without_a_head_is_refused_with_what_to_do(tmp_path: Path) -> None:
    artifact = load_codec_artifact(make_toy_codec(tmp_path))

    with pytest.raises(ModelError, match="slimwire train triage"):
        TriageSession(artifact, RUNTIME)


def test_head_for_another_codec_is_refused(tmp_path: Path) -> None:
    path = make_toy_codec(tmp_path)
    add_toy_triage(path)
    spec = json.loads((path / "triage.json").read_text())
    (path / "triage.json").write_text(json.dumps(spec | {"latent_channels": 9}))
    _forget_digest(path, "triage.json")

    with pytest.raises(ModelError, match="9 latent channels"):
        TriageSession(load_codec_artifact(path), RUNTIME)


def test_labels_become_class_ids() -> None:
    names = ("person", "bicycle", "car")

    assert class_ids_of(["car", "person"], names) == [2, 0]
    with pytest.raises(ModelError, match="zebra"):
        class_ids_of(["zebra"], names)


def _forget_digest(path: Path, name: str) -> None:
    from slimtrain.artifact_folder import file_records

    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = file_records(path)[name]
    (path / "manifest.json").write_text(json.dumps(manifest))
