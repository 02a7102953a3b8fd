"""The report folder, from a real evaluation of toy artifacts."""

import re
from pathlib import Path

import pytest
from PIL import Image

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimtrain.evaluation.baseline import BASELINES, Baseline
from slimtrain.evaluation.evaluate import CodecUnderTest, Evaluation, evaluate
from slimtrain.evaluation.pictures import EvaluationError, choose_pictures
from slimtrain.reporting.report import render_page, write_report
from slimtrain.reporting.sheets import choose_shown
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

COMMAND = "slimwire evaluate --images <pictures>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def evaluation(folder: Path) -> Evaluation:
    (folder / "pictures").mkdir()
    for number, (h, w) in enumerate([(192, 256), (180, 200), (176, 208)]):
        image = Image.fromarray(make_image(h, w, seed=number))
        image.save(folder / "pictures" / f"{number}.png")
    codec = load_codec_artifact(make_toy_codec(folder))
    detector = load_detector_artifact(make_toy_detector(folder))
    result = evaluate(
        [CodecUnderTest(codec, detector)],
        detector,
        choose_pictures([folder / "pictures"]),
        folder / "out",
        levels=[0, 3],
        qualities=[0, 2, 5],
        baselines=[
            Baseline(**{**vars(BASELINES[name]), "ladder": BASELINES[name].ladder[1:9:2]})
            for name in ("jpeg", "hevc")
        ],
        runtime=OpenVinoRuntime(num_threads=1, precision="f32"),
    )
    write_report(result, folder / "out", COMMAND, shown=["1.png"])
    return result


def test_the_report_has_every_row_and_every_section(evaluation: Evaluation, folder: Path) -> None:
    text = (folder / "out/report.md").read_text()

    table = text.partition("## Every operating point")[2].partition("## Pictures")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + len(evaluation.rows)
    first = [cell.strip() for cell in lines[2].strip("|").split("|")]
    row = evaluation.rows[0]
    assert first[:5] == [row.codec, "0", "0", str(row.bytes), f"{row.bpp:.4f}"]
    assert COMMAND in text
    assert "stand in for them" in text
    for heading in ("What a figure costs", "BD-rate", "Detect first, view later", "Plots"):
        assert f"## {heading}" in text
    for name in re.findall(r"\]\(([^)]+\.(?:png|jpg))\)", text):
        with Image.open(folder / "out" / name) as picture:
            assert picture.width > 600


def test_the_page_needs_no_other_file(evaluation: Evaluation, folder: Path) -> None:
    page = (folder / "out/report.html").read_text()

    sources = re.findall(r'src="([^"]+)"', page)
    assert len(sources) == 5  # three plots, the boxes, one picture by level and quality
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r'href="(?!#)|<script|@import|url\(', page)
    assert page.count("<tr>") >= 2 + len(evaluation.rows)


def test_what_was_typed_cannot_break_the_page(tmp_path: Path) -> None:
    page = render_page("```sh\nslimwire <script>\n```\n\nmodel <script>alert(1)</script>", tmp_path)

    assert "<script>" not in page
    assert "slimwire &lt;script&gt;" in page


def test_curves_are_by_level_and_together(evaluation: Evaluation) -> None:
    labels = [curve.label for curve in evaluation.curves]

    assert labels == ["toy/1, level 0", "toy/1, level 3", "toy/1, best of levels", "jpeg", "hevc"]
    psnr = {
        (c.curve, c.anchor): c.bd_rate
        for c in evaluation.summary.comparisons
        if c.figure == "psnr_db"
    }
    against_hevc = psnr["jpeg", "hevc"] if ("jpeg", "hevc") in psnr else psnr["hevc", "jpeg"]
    assert against_hevc.percent is not None
    assert against_hevc.percent < 0  # HEVC needs less than JPEG
    for target in evaluation.summary.targets:
        before = evaluation.uncompressed.map50 or 0.0
        assert target.value < before


def test_pictures_to_show_are_named_or_chosen(evaluation: Evaluation) -> None:
    assert [p.path.name for p in choose_shown(evaluation.pictures, ["2.png"])] == ["2.png"]
    assert len(choose_shown(evaluation.pictures)) == 1  # one of each folder
    with pytest.raises(EvaluationError, match=r"none\.png: not among"):
        choose_shown(evaluation.pictures, ["none.png"])


def test_a_report_of_no_detection_at_all_is_a_report(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir(parents=True)
    Image.fromarray(make_image(176, 192)).save(tmp_path / "set/images/0.png")
    (tmp_path / "set/labels/0.txt").write_text("1 0.5 0.5 0.01 0.01\n")
    codec = load_codec_artifact(make_toy_codec(tmp_path))
    detector = load_detector_artifact(make_toy_detector(tmp_path))

    result = evaluate(
        [CodecUnderTest(codec, detector)],
        detector,
        choose_pictures([tmp_path / "set"]),
        tmp_path / "out",
        levels=[0],
        qualities=[3],
        baselines=[Baseline(**{**vars(BASELINES["jpeg"]), "ladder": (50,)})],
        runtime=OpenVinoRuntime(num_threads=1, precision="f32"),
    )
    page = write_report(result, tmp_path / "out", COMMAND)

    assert {row.map50 for row in result.rows} == {0.0}
    assert page.exists()
