"""The evaluation of codecs against baselines, on toy artifacts and real bytes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcodec.model.manifest import Calibration, EncodeTiming, Profile, ProfilePoint
from slimtrain.data.split import is_validation
from slimtrain.evaluation.baseline import BASELINES, Baseline
from slimtrain.evaluation.evaluate import CodecUnderTest, Evaluation, evaluate
from slimtrain.evaluation.pictures import EvaluationError, choose_pictures
from slimtrain.evaluation.rows import write_evaluated_profile
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

SIZES = ((96, 128), (75, 130), (180, 180))
JPEG_50 = Baseline(**{**vars(BASELINES["jpeg"]), "ladder": (50,)})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_toy_codec(root)
    make_toy_detector(root)
    return root


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, (h, w) in enumerate(SIZES):
        Image.fromarray(make_image(h, w, seed=number)).save(folder / f"{number}.png")
    return folder


def _runtime() -> OpenVinoRuntime:
    return OpenVinoRuntime(num_threads=1, precision="f32")


def _under_test(models: Path, tasks: Sequence[Any] | None = None) -> CodecUnderTest:
    folder = models / "toy/1"
    if tasks is not None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        path.write_text(json.dumps({**manifest, "tasks": tasks}))
    detector = load_detector_artifact(models / "toy-detector/1")
    return CodecUnderTest(load_codec_artifact(folder), detector)


def _evaluate(models: Path, images: Path, out: Path, **options: Any) -> Evaluation:
    codec = _under_test(models)
    detector = codec.detector
    assert detector is not None
    chosen = {"levels": [0, 3], "qualities": [0, 5], "baselines": [JPEG_50], **options}
    pictures = chosen.pop("pictures", None) or choose_pictures([images])
    return evaluate([codec], detector, pictures, out, runtime=_runtime(), **chosen)


def test_there_is_a_row_for_every_operating_point(
    models: Path, images: Path, tmp_path: Path
) -> None:
    jpeg = Baseline(**{**vars(BASELINES["jpeg"]), "ladder": (20, 90)})
    evaluation = _evaluate(models, images, tmp_path, baselines=[jpeg])

    rows = json.loads((tmp_path / "table.json").read_text())
    points = [(row["codec"], row["level"], row["quality"]) for row in rows]
    ours = [("toy/1", level, quality) for level in (0, 3) for quality in (0, 5)]
    assert points == [*ours, ("jpeg", None, 20), ("jpeg", None, 90)]
    by_point = dict(zip(points, rows, strict=True))
    coarse, fine = by_point["toy/1", 3, 0], by_point["toy/1", 3, 5]
    assert fine["bytes"] > coarse["bytes"]
    assert fine["psnr_db"] > coarse["psnr_db"] > 10
    assert fine["psnr_db"] > by_point["toy/1", 0, 5]["psnr_db"]
    assert fine["kmac_per_pixel"] > by_point["toy/1", 0, 5]["kmac_per_pixel"] > 0
    assert all(row["pictures"] == len(SIZES) for row in rows)
    # The stand-in labels are the uncompressed detections themselves.
    assert not evaluation.has_labels
    assert rows[0]["map50_uncompressed"] == pytest.approx(1.0)
    assert by_point["jpeg", None, 90]["map50"] > by_point["jpeg", None, 20]["map50"]
    assert by_point["jpeg", None, 90]["map50_pixels"] == by_point["jpeg", None, 90]["map50"]
    assert by_point["toy/1", 3, 5]["map50_pixels"] != by_point["toy/1", 3, 5]["map50"]
    csv_lines = (tmp_path / "table.csv").read_text().splitlines()
    assert len(csv_lines) == 1 + len(rows)
    assert csv_lines[0] == ",".join(rows[0])


def test_bytes_are_lengths_of_files(models: Path, images: Path, tmp_path: Path) -> None:
    baselines = [
        Baseline(**{**vars(codec), "ladder": (codec.ladder[len(codec.ladder) // 2],)})
        for codec in BASELINES.values()
    ]
    evaluation = _evaluate(
        models, images, tmp_path / "out", levels=[1, 3], qualities=[2], baselines=baselines
    )

    files = tmp_path / "files"
    files.mkdir()
    encoder = Encoder(load_codec_artifact(models / "toy/1"), _runtime())
    pictures = [np.array(Image.open(path)) for path in sorted(images.iterdir())]
    for number, picture in enumerate(pictures):
        base = encoder.encode(picture, 1, 2).bitstream
        (files / f"{number}.base").write_bytes(base)
        (files / f"{number}.rest").write_bytes(encoder.enhance(picture, base).bitstream)
        (files / f"{number}.full").write_bytes(encoder.encode(picture, 3, 2).bitstream)
        for codec in baselines:
            name = files / f"{number}.{codec.name}"
            name.write_bytes(codec.code(picture, codec.ladder[0]).bitstream)

    def on_disk(suffix: str) -> int:
        return sum(path.stat().st_size for path in files.glob(f"*.{suffix}"))

    base_row, full_row, *others = evaluation.rows
    assert base_row.bytes == on_disk("base")
    assert base_row.enhancement_bytes == on_disk("rest")
    assert full_row.bytes == on_disk("full")
    assert full_row.enhancement_bytes is None
    then_view = (on_disk("base") + on_disk("rest")) / on_disk("full")
    assert base_row.detect_then_view == pytest.approx(then_view)
    assert [(row.codec, row.bytes) for row in others] == [
        (codec.name, on_disk(codec.name)) for codec in baselines
    ]
    num_pixels = sum(h * w for h, w in SIZES)
    assert base_row.bpp == pytest.approx(8 * on_disk("base") / num_pixels)


def test_what_is_known_is_not_measured_again(models: Path, images: Path, tmp_path: Path) -> None:
    two = choose_pictures([images], limit=2)

    first = _evaluate(models, images, tmp_path, pictures=two)
    again = _evaluate(models, images, tmp_path, pictures=two)
    more = _evaluate(models, images, tmp_path)

    assert again.rows == first.rows  # the durations too, so nothing was timed anew
    assert {row.pictures for row in more.rows} == {3}
    assert more.rows[0].bytes > first.rows[0].bytes


def test_another_model_of_the_same_name_is_measured_anew(images: Path, tmp_path: Path) -> None:
    rows = []
    for seed in (0, 1):
        root = tmp_path / str(seed)
        make_toy_codec(root, seed=seed)
        make_toy_detector(root)
        rows.append(_evaluate(root, images, tmp_path / "out", baselines=[]).rows)

    assert [row.bytes for row in rows[0]] != [row.bytes for row in rows[1]]


@pytest.mark.parametrize(
    ("tasks", "detects", "shows"),
    [
        ([["detect"]] * 4, [True, True], [False, False]),
        ([["detect"]] * 3 + [["view"]], [True, False], [False, True]),
    ],
)
def test_a_model_has_no_figures_of_what_it_is_not_made_for(
    images: Path, tmp_path: Path, tasks: list[Any], detects: list[bool], shows: list[bool]
) -> None:
    make_toy_codec(tmp_path)
    make_toy_detector(tmp_path)
    _under_test(tmp_path, tasks)

    rows = _evaluate(tmp_path, images, tmp_path / "out", qualities=[3], baselines=[]).rows

    assert [row.map50 is not None for row in rows] == [bool(does) for does in detects]
    assert [row.psnr_db is not None for row in rows] == [bool(does) for does in shows]
    assert [row.map50_pixels is not None for row in rows] == [bool(does) for does in shows]


def test_only_pictures_of_the_split_are_evaluated(images: Path, tmp_path: Path) -> None:
    make_toy_codec(tmp_path)
    make_toy_detector(tmp_path)
    folder = tmp_path / "set/images"
    labels = tmp_path / "set/labels"
    folder.mkdir(parents=True)
    labels.mkdir()
    for number in range(30):
        Image.fromarray(make_image(64, 64, seed=number)).save(folder / f"{number}.png")
        (labels / f"{number}.txt").write_text(f"{number} 0.5 0.5 0.2 0.2\n")
    pictures = choose_pictures([folder.parent], keep=is_validation)

    evaluation = _evaluate(
        tmp_path, images, tmp_path / "out", pictures=pictures, levels=[0], qualities=[0]
    )

    listed = (tmp_path / "out/pictures.txt").read_text().splitlines()
    kept = [f"{number}.png" for number in range(30) if is_validation(f"{number}.png")]
    assert 0 < len(kept) < 30
    assert sorted(listed) == sorted(f"set/{name}" for name in kept)
    assert evaluation.rows[0].pictures == len(kept)
    assert {int(p.boxes[0, 0]) for p in pictures if p.boxes is not None} == {
        int(Path(name).stem) for name in kept
    }


def test_given_labels_are_what_is_scored(models: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text("79 0.02 0.02 0.01 0.01\n")  # nothing finds it
    pictures = choose_pictures([images], labels=tmp_path)

    evaluation = _evaluate(models, images, tmp_path / "out", pictures=pictures)

    assert evaluation.has_labels
    assert evaluation.rows[0].map50_uncompressed == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"levels": [4]}, r"level 4; toy/1 has 0\.\.3"), ({"qualities": [5.5]}, "quality 5.5")],
)
def test_points_that_the_codec_does_not_have_are_refused(
    models: Path, images: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        _evaluate(models, images, tmp_path, **options)


def test_a_profile_is_what_the_artifact_reads(images: Path, tmp_path: Path) -> None:
    make_toy_codec(tmp_path)
    make_toy_detector(tmp_path)
    evaluation = _evaluate(tmp_path, images, tmp_path / "out", levels=None, baselines=[])

    write_evaluated_profile(evaluation.rows, "toy/1", tmp_path / "toy/1", "slimwire evaluate")

    profile = load_codec_artifact(tmp_path / "toy/1").profile
    assert profile is not None
    assert profile.pictures == 3
    assert [(p.level, p.quality) for p in profile.points] == [
        (level, quality) for level in range(4) for quality in (0, 5)
    ]
    assert profile.points[0].bpp == pytest.approx(evaluation.rows[0].bpp, abs=1e-5)


@pytest.mark.parametrize(("frequent", "worth"), [(0.8, 0.8), (None, 1.2)])
def test_a_profile_trusts_the_classes_with_enough_labels(
    frequent: float | None, worth: float, images: Path, tmp_path: Path
) -> None:
    make_toy_codec(tmp_path)
    make_toy_detector(tmp_path)
    evaluation = _evaluate(tmp_path, images, tmp_path / "out", levels=[0], baselines=[])
    rows = [
        replace(row, map50_relative=1.2, map50_frequent_relative=frequent)
        for row in evaluation.rows
    ]

    write_evaluated_profile(rows, "toy/1", tmp_path / "toy/1", "slimwire evaluate")

    profile = load_codec_artifact(tmp_path / "toy/1").profile
    assert profile is not None
    assert {point.map50_relative for point in profile.points} == {worth}


def test_a_profile_keeps_what_calibration_measured(images: Path, tmp_path: Path) -> None:
    folder = make_toy_codec(tmp_path)
    make_toy_detector(tmp_path)
    evaluation = _evaluate(tmp_path, images, tmp_path / "out", levels=[0], baselines=[])
    timing = EncodeTiming(level=0, height=64, width=96, encode_seconds=0.5)
    calibrated = Profile(
        points=(ProfilePoint(level=0, quality=0, bpp=0.1, utility=0.7),),
        pictures=2,
        utility_source="uncompressed",
        utility_pictures=2,
        calibration=Calibration(device="a processor", timings=(timing,), pictures=2),
    )
    (folder / "profile.json").write_text(calibrated.model_dump_json())

    write_evaluated_profile(evaluation.rows, "toy/1", folder, "slimwire evaluate")

    profile = load_codec_artifact(folder).profile
    assert profile is not None
    assert [point.utility for point in profile.points] == [0.7, None]
    assert (profile.utility_source, profile.utility_pictures) == ("uncompressed", 2)
    assert profile.calibration is not None
    assert (profile.calibration.timings, profile.calibration.pictures) == ((timing,), 0)
