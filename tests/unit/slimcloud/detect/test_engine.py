from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimcloud.detect.engine import DetectionEngine, EngineJob
from slimcloud.settings import CloudSettings
from slimcodec.encode import Encoder
from slimcodec.errors import BitstreamError, ModelError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

RUNTIME = OpenVinoRuntime(num_threads=1, precision="f32")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_toy_codec(root)
    make_toy_detector(root)
    return root


def _engine(models: Path, labels: str | None = None) -> DetectionEngine:
    return DetectionEngine(
        load_codec_artifact(models / "toy" / "1"),
        load_detector_artifact(models / "toy-detector" / "1"),
        RUNTIME,
        CloudSettings(min_score=0.01, detect_labels=labels),
    )


@pytest.fixture
def engine(models: Path) -> Iterator[DetectionEngine]:
    engine = _engine(models)
    yield engine
    engine.close()


def _containers(models: Path, count: int) -> list[bytes]:
    encoder = Encoder(load_codec_artifact(models / "toy" / "1"), RUNTIME)
    return [encoder.encode(make_image(64, 96, seed), 3, 4).bitstream for seed in range(count)]


async def test_batch_gives_what_each_frame_gives_alone(
    models: Path, engine: DetectionEngine
) -> None:
    containers = _containers(models, 3)

    jobs = [EngineJob(container) for container in containers]
    together = await engine.detect(jobs)
    alone = [(await engine.detect([job]))[0] for job in jobs]

    assert any(result.detections for result in together)
    assert [result.detections for result in together] == [result.detections for result in alone]


async def test_only_the_wanted_labels_are_kept(models: Path, engine: DetectionEngine) -> None:
    (container,) = _containers(models, 1)
    (everything,) = await engine.detect([EngineJob(container)])
    wanted = everything.detections[0].label
    chosen = _engine(models, wanted)

    (kept,) = await chosen.detect([EngineJob(container)])
    chosen.close()

    assert {found.label for found in everything.detections} > {wanted}
    assert {found.label for found in kept.detections} == {wanted}
    # those of other labels had taken room from some of these
    assert {one for one in everything.detections if one.label == wanted} <= set(kept.detections)


def test_a_label_that_the_detector_does_not_know_is_refused(models: Path) -> None:
    with pytest.raises(ModelError, match="no class dragon"):
        _engine(models, "dragon")


async def test_bad_bytes_are_one_result_and_spare_the_others(
    models: Path, engine: DetectionEngine
) -> None:
    good = _containers(models, 2)

    results = await engine.detect([EngineJob(good[0]), EngineJob(b"JPEG"), EngineJob(good[1])])

    assert isinstance(results[1].error, BitstreamError)
    assert results[1].detections == []
    assert [result.error for result in (results[0], results[2])] == [None, None]


async def test_check_really_detects_without_a_canary(engine: DetectionEngine) -> None:
    await engine.check()


async def test_check_uses_the_artifacts_canary(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path / "models")
    canary = tmp_path / "models" / "toy" / "1" / "canary.slw"
    (container,) = _containers(models, 1)
    engine = _engine(tmp_path / "models")

    canary.write_bytes(container)
    await engine.check()

    canary.write_bytes(container[:-1])
    with pytest.raises(BitstreamError):
        await engine.check()
    engine.close()
