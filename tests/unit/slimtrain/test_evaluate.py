"""The evaluation of a codec against JPEG, on toy artifacts and real container bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slimcodec.artifact import load_codec_artifact
from slimcodec.encode import Encoder
from slimcodec.runtime import OpenVinoRuntime
from slimtrain.baseline import code_jpeg
from slimtrain.evaluate import EvaluationError, evaluate, write_profile
from support.toy_artifact import make_image, make_toy_codec, make_toy_detector

pytest.importorskip("pycocotools")

COLUMNS = [
    *("codec", "level", "quality", "pictures", "bytes", "bpp", "psnr_db", "ms_ssim", "map50"),
    *("map50_uncompressed", "encode_seconds", "decode_seconds"),
]


Models = tuple[Path, Path]  # codec, detector


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("models")
    return make_toy_codec(root), make_toy_detector(root)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, (h, w) in enumerate([(96, 128), (75, 130), (180, 180)]):
        Image.fromarray(make_image(h, w, seed=number)).save(folder / f"{number}.png")
    return folder


def test_the_table_has_a_row_for_every_operating_point(
    models: Models, images: Path, tmp_path: Path
) -> None:
    evaluation = evaluate(
        *models,
        images,
        None,
        tmp_path / "out",
        levels=[0, 3],
        qualities=[0, 5],
        jpeg_qualities=[20, 90],
        runtime=OpenVinoRuntime(num_threads=1, precision="f32"),
        show_progress=False,
    )

    rows = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [list(row) for row in rows] == [COLUMNS] * 6
    points = [(row["codec"], row["level"], row["quality"]) for row in rows]
    ours = [("toy/1", level, quality) for level in (0, 3) for quality in (0, 5)]
    assert points == [*ours, ("jpeg", None, 20), ("jpeg", None, 90)]
    by_point = dict(zip(points, rows, strict=True))
    coarse, fine = by_point["toy/1", 3, 0], by_point["toy/1", 3, 5]
    assert fine["bytes"] > coarse["bytes"]
    assert fine["psnr_db"] > coarse["psnr_db"]
    assert by_point["toy/1", 3, 5]["psnr_db"] > by_point["toy/1", 0, 5]["psnr_db"]
    assert all(row["pictures"] == 3 for row in rows)
    assert all(0 <= row["map50"] <= 1 for row in rows)
    # The stand-in labels are the uncompressed detections themselves.
    assert rows[0]["map50_uncompressed"] == pytest.approx(1.0)
    assert by_point["jpeg", None, 90]["map50"] > by_point["jpeg", None, 20]["map50"]
    text = (tmp_path / "out" / "table.md").read_text()
    assert "stand in for them" in text
    assert text.count("\n|") == 2 + len(rows)
    assert evaluation.rows[0].bpp == rows[0]["bpp"]


def test_bytes_are_those_of_real_containers_and_files(
    models: Models, images: Path, tmp_path: Path
) -> None:
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    evaluation = evaluate(
        *models,
        images,
        None,
        tmp_path / "out",
        levels=[1],
        qualities=[2],
        jpeg_qualities=[50],
        runtime=runtime,
        show_progress=False,
    )

    encoder = Encoder(load_codec_artifact(models[0]), runtime)
    pictures = [np.array(Image.open(path)) for path in sorted(images.iterdir())]
    ours = sum(len(encoder.encode(picture, 1, 2).bitstream) for picture in pictures)
    jpeg = sum(len(code_jpeg(picture, 50).bitstream) for picture in pictures)
    assert [row.bytes for row in evaluation.rows] == [ours, jpeg]
    num_pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    assert evaluation.rows[0].bpp == pytest.approx(8 * ours / num_pixels)


def test_given_labels_are_what_is_scored(models: Models, images: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "0.txt").write_text("79 0.02 0.02 0.01 0.01\n")  # nothing finds it

    evaluation = evaluate(
        *models,
        images,
        labels,
        tmp_path / "out",
        levels=[0],
        qualities=[0],
        jpeg_qualities=[],
        show_progress=False,
    )

    assert evaluation.rows[0].map50_uncompressed == pytest.approx(0.0)
    assert "given as YOLO text" in (tmp_path / "out" / "table.md").read_text()


def test_small_pictures_have_no_ms_ssim_and_large_ones_do(
    models: Models, images: Path, tmp_path: Path
) -> None:
    def similarity(limit: int) -> float | None:
        evaluation = evaluate(
            *models,
            images,
            None,
            tmp_path / "out",
            levels=[3],
            qualities=[5],
            jpeg_qualities=[],
            limit=limit,
            show_progress=False,
        )
        assert evaluation.rows[0].pictures == limit
        return evaluation.rows[0].ms_ssim

    assert similarity(2) is None
    large = similarity(3)
    assert large is not None
    assert 0.5 < large <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": [4]}, r"level 4; this codec has 0\.\.3"),
        ({"qualities": [-1]}, "quality -1"),
        ({"keep": lambda name: False}, "none of 3 pictures"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    models: Models, images: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate(*models, images, None, tmp_path / "out", show_progress=False, **arguments)


def test_labels_that_fit_no_picture_are_refused(
    models: Models, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match="holds no box"):
        evaluate(
            *models,
            images,
            tmp_path,
            tmp_path / "out",
            levels=[0],
            qualities=[0],
            jpeg_qualities=[],
            show_progress=False,
        )


def test_a_profile_is_what_the_artifact_reads(images: Path, tmp_path: Path) -> None:
    codec, detector = make_toy_codec(tmp_path), make_toy_detector(tmp_path)
    evaluation = evaluate(
        codec, detector, images, None, tmp_path / "out", jpeg_qualities=[10], show_progress=False
    )

    write_profile(evaluation, codec, "slimwire evaluate")

    profile = load_codec_artifact(codec).profile
    assert profile is not None
    assert profile.pictures == 3
    assert len(profile.points) == 24
    assert profile.points[0].bpp == pytest.approx(evaluation.rows[0].bpp, abs=1e-5)
