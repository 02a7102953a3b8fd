"""A detector of one's own: import it, train a codec against it, export, serve, evaluate."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import pytest
from PIL import Image

from slimcli.exits import ExitCode
from slimcodec.model.find import DEFAULT_MODEL
from support.command import Slimwire
from support.models.toy_artifact import make_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PLAIN_VIDEO = ROOT / "tests/vectors/inputs/plain.mp4"

_CONVOLUTION = """
[convolutional]
batch_normalize=1
filters={filters}
size=3
stride=2
pad=1
activation=leaky
"""
_HEAD = """
[convolutional]
filters=21
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=0,1,2
anchors=10,13, 30,61, 116,90
classes=2
num=3
"""


@pytest.fixture
def darknet_files(tmp_path: Path) -> dict[str, Path]:
    """A detector of two classes as Darknet keeps it, with random weights."""
    torch = pytest.importorskip("torch")
    from slimnets.darknet.cfg import parse_cfg
    from slimnets.darknet.detector import Darknet
    from slimnets.darknet.weights import save_darknet_weights

    cfg = "[net]\nchannels=3\nwidth=64\nheight=64\n" + _HEAD.join(
        ["".join(_CONVOLUTION.format(filters=n) for n in (8, 16, 16, 16, 32)), ""]
    )
    files = {suffix: tmp_path / f"mine.{suffix}" for suffix in ("cfg", "weights", "names")}
    files["cfg"].write_text(cfg)
    files["names"].write_text("cat\ndog\n")
    torch.manual_seed(0)
    save_darknet_weights(Darknet(parse_cfg(cfg)), files["weights"])
    return files


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures" / "images"
    folder.mkdir(parents=True)
    for number in range(30):  # three of these names are for validation
        Image.fromarray(make_image(96, 128, seed=number)).save(folder / f"p{number:02d}.png")
    return folder.parent


def test_a_detector_of_ones_own_gets_a_codec_that_serves(
    slimwire: Slimwire, darknet_files: dict[str, Path], pictures: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    where = ("--models", models)
    run, container = tmp_path / "run", tmp_path / "a.slim"
    files = [part for suffix, path in darknet_files.items() for part in (f"--{suffix}", path)]
    training = ["--detector", "mine", *where, "--images", pictures, "--out", run]
    training += ["--batch", 2, "--crop", 64]

    outcomes = [
        slimwire("detector", "import", *files, "--to", models / "mine/1"),
        slimwire("train", "codec", *training, "--steps", 2),
        slimwire("train", "codec", *training, "--steps", 3),  # goes on
        slimwire(
            *("export", run / "checkpoint.pt", "--images", pictures, "--detector", "mine"),
            *("--to", models / "slim-mine/1", *where),
        ),
        slimwire(
            *("encode", pictures / "images/p01.png", "-o", container, "--level", 3),
            *("--model", "slim-mine", *where),
        ),
        slimwire("detect", container, "--json", "--model", "slim-mine", *where),
        slimwire("levels", "--json", "--model", "slim-mine", *where),
    ]

    for outcome in outcomes:
        assert outcome.code == 0, outcome.err
    assert "27 pictures to train on, 3 for validation" in outcomes[1].out
    assert "codec after 3 steps" in outcomes[3].out
    assert set(json.loads(outcomes[5].out)) == {"file", "bytes", "detections"}
    levels = json.loads(outcomes[6].out)
    costs = [row["kmac_per_pixel"] for row in levels["levels"]]
    manifest = json.loads((models / "slim-mine/1/manifest.json").read_text())
    # counted from the graph here, by hooks on the network there
    assert costs == pytest.approx([level["kmac_per_pixel"] for level in manifest["levels"]])
    assert costs[0] <= 1
    assert costs[-1] <= 20


def save_rival(path: Path) -> Path:
    """A model of CompressAI with random weights."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its import
        zoo = pytest.importorskip("compressai.zoo")
    torch.manual_seed(0)
    net = zoo.image.model_architectures["bmshj2018-factorized"](8, 12)
    net.update()
    torch.save(net.state_dict(), path)
    return path


def test_evaluate_writes_a_report(slimwire: Slimwire, pictures: Path, tmp_path: Path) -> None:
    rival = save_rival(tmp_path / "rival.pth")
    arguments = ["--images", pictures, "--out", tmp_path / "out", "--limit", 2]
    points = ["--level", 1, "--quality", 0, "--quality", 5, "--baseline", "jpeg"]
    points += ["--rival", f"compressai:bmshj2018-factorized:1={rival}"]

    outcome = slimwire("evaluate", *arguments, *points)

    assert outcome.code == 0, outcome.err
    rows = json.loads((tmp_path / "out/table.json").read_text())
    ours = [row for row in rows if row["codec"] == "toy/1"]
    assert [(row["level"], row["quality"]) for row in ours] == [(1, 0), (1, 5)]
    assert {row["codec"] for row in rows} == {"toy/1", "jpeg", "bmshj2018-factorized"}
    (theirs,) = [row for row in rows if row["codec"] == "bmshj2018-factorized"]
    assert theirs["bytes"] > 2 * 14, "of two pictures, each more than its header"
    assert theirs["psnr_db"] is not None
    assert "```sh\nslimwire" in (tmp_path / "out/report.md").read_text()
    assert (tmp_path / "out/report.html").exists()
    assert "| toy/1, level 1 |" in outcome.out


def test_too_few_pictures_are_refused_before_training(
    slimwire: Slimwire, toy_models: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    Image.fromarray(make_image(64, 64)).save(tmp_path / "one.png")

    outcome = slimwire("train", "codec", "--detector", "toy-detector", "--images", tmp_path)

    assert outcome.code == ExitCode.BAD_DATA
    assert "give more pictures" in outcome.err


def test_evaluate_measures_videos_and_tells_of_those_that_cannot_be_played(
    slimwire: Slimwire, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    (tmp_path / "plain.txt").write_text("1,1,10,10,20,40,1,-1,-1,-1\n")
    videos = ["--video", broken, "--video", PLAIN_VIDEO, "--labels", tmp_path / "plain.txt"]
    points = ["--level", 0, "--quality", 1, "--baseline", "x264-medium", "--key-interval", 5]

    outcome = slimwire(
        *("evaluate", *videos, "--fps", 5, "--limit", 4, "--out", tmp_path / "out"),
        *("--models", ROOT / "models", "--model", DEFAULT_MODEL, *points),
    )

    assert outcome.code == ExitCode.NO_INPUT
    assert f"error: {broken}: cannot be played" in outcome.err
    with (tmp_path / "out/video.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["camera"] for row in rows} == {"plain"}
    assert rows[0]["coder"] == "uncompressed"
    ours = [row["coder"] for row in rows if row["coder"].startswith(f"{DEFAULT_MODEL}/")]
    assert len(ours) >= 2
    assert {row["coder"] for row in rows[1 + len(ours) :]} == {"x264-medium"}
    assert all(row["frames"] == "4" for row in rows)
    assert "video.csv" in outcome.out
    wrong = slimwire("evaluate", "--out", tmp_path / "out")
    assert wrong.code == ExitCode.USAGE
    assert "--images or --video" in wrong.err
