"""Our rate over x264's at equal AP50, by camera and in the median; the plots."""

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from slimtrain.evaluation.evaluate_videos import VideoResult
from slimtrain.evaluation.video_rows import VideoRow
from slimtrain.figures.rate_curve import CurvePoint
from studies.video.__main__ import summarise
from studies.video.equal_accuracy import (
    MEDIAN,
    RateRatio,
    compare_rates,
    format_medians,
    median_ratio,
    rate_ratio,
)

GROWING = [CurvePoint(*point) for point in ((0.1, 20.0), (0.2, 24.0), (0.4, 28.0), (0.8, 32.0))]


def _row(coder: str, level: int | None, kbit: float, ap50: float | None, camera: str) -> VideoRow:
    return VideoRow(
        camera=camera,
        fps=1.0,
        noise=0.0,
        coder=coder,
        level=level,
        quality=1,
        key_seconds=60.0 if coder == "x264-medium" else None,
        fine_keys=False,
        lost=0.0,
        frames=3,
        kbit_per_second=kbit,
        key_share=1.0,
        changed=None,
        persons=9,
        cars=0,
        ap50_person=ap50,
        ap50_car=None,
        ap50_person_labels=None,
        ap50_car_labels=None,
        false_boxes=0.0,
        encode_seconds=0.01,
    )


def _rows() -> list[VideoRow]:
    rows = []
    for camera, ratio, best in (("a", 0.5, 1.0), ("b", 0.8, 1.0), ("c", 0.5, 0.93)):
        rows.append(_row("uncompressed", None, 9999, 1.0, camera))
        for kbit, ap50 in ((10, 0.85), (20, 0.92), (40, 0.96), (80, 1.0)):
            rows.append(_row("x264-medium", None, kbit, ap50, camera))
            if ap50 <= best:
                rows.append(_row("ours/1", 0, ratio * kbit, ap50, camera))
    return rows


def test_rates_are_compared_at_parts_of_the_uncompressed_ap50_by_camera_and_in_the_median() -> None:
    found = compare_rates(_rows())

    told = {(one.camera, one.at): one.ratio for one in found}
    everywhere = ("90%", "95%", "98%", "shared")
    assert told == {
        **{("a", at): "0.5" for at in everywhere},
        **{("b", at): "0.8" for at in everywhere},
        ("c", "90%"): "0.5",  # two of its rows are too few for what both reach
        **{("c", at): "not reached" for at in ("95%", "98%")},
        (MEDIAN, "90%"): "0.5",
        **{(MEDIAN, at): "0.8" for at in ("95%", "98%")},
        (MEDIAN, "shared"): "0.65",
    }
    assert {one.cameras for one in found if one.camera == MEDIAN} == {2, 3}
    assert "AP50 of person (detector), 90%: 0.5 (3 cameras)" in format_medians(found)


def test_the_command_writes_the_table_and_a_plot_of_each_camera(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [
        VideoResult(row, [900, 20, 30], [True, False, False], [1.0, 0.1, None])
        if row.coder != "uncompressed"
        else VideoResult(row, [], [], [])
        for row in _rows()
    ]
    (tmp_path / "video.json").write_text(json.dumps([asdict(result) for result in results]))

    summarise(tmp_path)

    table = list(csv.DictReader((tmp_path / "equal_accuracy.csv").read_text().splitlines()))
    assert [row["ratio"] for row in table] == [one.ratio for one in compare_rates(_rows())]
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {f"{kind}_{camera}.png" for kind in ("accuracy", "bytes") for camera in "abc"}
    assert "over those of x264-medium" in capsys.readouterr().out


def test_the_ratio_of_rates_is_read_where_both_reach_the_figure() -> None:
    ours = [CurvePoint(0.6 * point.bpp, point.value) for point in GROWING]

    for value in (21.0, 26.0, 32.0):
        ratio = rate_ratio(ours, GROWING, value)
        assert ratio is not None
        assert ratio.low == ratio.high == pytest.approx(0.6)
        assert str(ratio) == "0.6"


def test_the_ratio_of_rates_is_never_extrapolated() -> None:
    low, high = GROWING[:2], [CurvePoint(0.2, 25.0), CurvePoint(0.3, 33.0)]

    assert str(rate_ratio(low, GROWING, 26.0)) == "not reached"
    assert str(rate_ratio(GROWING, low, 26.0)) == "only ours reaches it"
    assert rate_ratio(low, low, 26.0) is None
    assert rate_ratio(high, high, 22.0) is None, "both are better at their cheapest"
    # theirs is better at 0.2 already, so ours needs at least so much of it; and the other way round
    assert str(rate_ratio(GROWING, high, 24.0)) == "> 1"
    assert str(rate_ratio(high, GROWING, 24.0)) == "< 1"


def test_the_median_counts_who_never_gets_there() -> None:
    exact = [RateRatio(r, r) for r in (0.5, 0.7, 0.9)]
    never, at_most = RateRatio(math.inf, math.inf), RateRatio(0.0, 0.6)

    assert str(median_ratio(exact)) == "0.7"
    assert str(median_ratio([*exact, never, never])) == "0.9"
    assert str(median_ratio([exact[0], never, never])) == "not reached"
    assert str(median_ratio([*exact[1:], at_most])) == "0.7"
    assert median_ratio([exact[0], exact[0], at_most]) == RateRatio(0.5, 0.5)
    assert str(median_ratio([exact[0], exact[2], at_most])) == "0.5 to 0.6"
