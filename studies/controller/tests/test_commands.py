"""The study's commands, `simulate` and `record`: links and videos in, figures out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slimcli.exits import ExitCode
from slimcodec.model.find import DEFAULT_MODEL
from studies.controller.__main__ import run
from studies.controller.simulation.content import read_content
from support.command import Outcome

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ("--models", ROOT / "models", "--model", DEFAULT_MODEL)


Study = Callable[..., Outcome]


@pytest.fixture
def study(capsys: pytest.CaptureFixture[str]) -> Study:
    """The study's command, run in this process."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Two families of two links each."""
    for family, rate in (("slow", 0.4), ("fast", 4.0)):
        (tmp_path / "traces" / family).mkdir(parents=True)
        for name in ("x", "y"):
            lines = "".join(f"{t} {rate}\n" for t in range(10))
            (tmp_path / "traces" / family / f"{name}.txt").write_text(lines)
    return tmp_path / "traces"


def test_without_links_it_simulates_some_of_its_own(study: Study) -> None:
    outcome = study(
        "simulate", *SHIPPED, "--seconds", 10, "--no-oracle", "--processes", 1, "--json"
    )

    assert outcome.code == 0, outcome.err
    figures = [json.loads(line) for line in outcome.out.splitlines()]
    assert {"controller", "rate-based", "robust-mpc", "bola", "delay-gradient"} == {
        one["contender"] for one in figures
    }
    assert all(0 < one["accuracy"][0] < 1 for one in figures)
    assert all(one["share"][0] is None for one in figures)


def test_a_report_of_recorded_links(study: Study, traces: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    policies = ("--policy", "controller", "--policy", "fixed-0-0", "--policy", "jpeg-rate-based")
    outcome = study(
        "simulate", *SHIPPED, "--traces", traces, *policies, "--seconds", 5, "--out", out,
        "--setting", "a", "--setting", "c", "--processes", 1, "--plots",
    )  # fmt: skip

    assert outcome.code == 0, outcome.err
    assert "a fast: controller" in outcome.out
    text = (out / "report.md").read_text()
    assert "Setting c" in text
    assert "budget 60 kB/s" in text
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 4 * 3
    assert all(
        row["in_deadline_accuracy"] <= row["bound"]
        for row in rows
        if "jpeg" not in row["contender"]
    )
    for plot in ("shares-a", "shares-c", "latencies-a", "latencies-c", "timeline"):
        assert (out / f"{plot}.png").stat().st_size > 5000


def test_options_make_a_setting_of_their_own(study: Study, traces: Path) -> None:
    outcome = study(
        "simulate", *SHIPPED, "--traces", traces / "slow" / "x.txt", "--policy", "controller",
        "--size", "640x360", "--fps", 5, "--deadline", 0.4, "--budget", 20_000, "--no-oracle",
        "--seconds", 5, "--processes", 1,
    )  # fmt: skip

    assert outcome.code == 0, outcome.err
    assert "own slow: controller" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--policy", "best"), "expected one of controller"),
        (("--setting", "z"), "expected one of a, b, c"),
        (("--size", "640"), "such as 1280x720"),
        (("--half", "other"), "expected one of reported"),
        (("--plots",), "--plots needs --out"),
    ],
)
def test_wrong_options_are_refused(study: Study, arguments: tuple[str, ...], told: str) -> None:
    outcome = study("simulate", *SHIPPED, *arguments)

    assert outcome.code == ExitCode.USAGE
    assert told in outcome.err


def test_a_file_that_is_no_link_is_bad_data(study: Study, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("one two three\n")

    outcome = study("simulate", *SHIPPED, "--traces", tmp_path / "words.txt")

    assert outcome.code == ExitCode.BAD_DATA
    assert "words.txt, line 1" in outcome.err


def test_a_video_is_recorded_as_numbers(study: Study, tmp_path: Path) -> None:
    video, out = ROOT / "samples" / "street.mp4", tmp_path / "street.npz"

    outcome = study(
        "record", video, "-o", out, *SHIPPED, "--codec", "jpeg", "--frames", 2, "--threads", 1
    )

    assert outcome.code == 0, outcome.err
    content = read_content(out)
    assert content.image_hw == (576, 768)
    assert content.sizes.shape == (2, 11)
    assert (content.sizes[:, 1:] > content.sizes[:, :-1]).all()  # a finer picture is larger
