"""The evaluation of videos: rows, figures, losses, faults, on a toy model and real streams."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimcodec.decode import Decoder, Latent
from slimcodec.detection import Detection
from slimcodec.errors import ImageError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimdetect.scores import Wanted
from slimtrain.evaluation.baseline import BASELINES
from slimtrain.evaluation.evaluate import CodecUnderTest
from slimtrain.evaluation.evaluate_videos import (
    VideoPlan,
    VideoResult,
    choose_video_points,
    draw_losses,
    evaluate_videos,
    read_results,
)
from slimtrain.evaluation.operating_point import ReferenceDetector, ServedCodec
from slimtrain.evaluation.pictures import EvaluationError
from slimtrain.evaluation.video import Clip, Image, TimedImage, VideoLabels, read_clip
from slimtrain.evaluation.video_point import (
    STREAM_CODECS,
    CodedFrame,
    Lost,
    VideoPoint,
    sequence_point,
    still_point,
    stream_point,
)
from slimtrain.evaluation.video_rows import ClipTruth, VideoRow, score_frames
from slimtrain.figures.mean_average_precision import Labels, ScoredBoxes
from support.models.toy_artifact import make_image, make_toy_codec, make_toy_detector

NAMES = ("person", "bicycle", "car")
FRAMES = 12
_SIDE = 32  # of what is seen, pixels


def _read(video: Path, fps: float = 2.0) -> Iterator[TimedImage]:
    """Two frames a second, of a white person and a black car that move; one video is broken."""
    if "broken" in video.name:
        raise ImageError("cannot be played")
    background = make_image(96, 128, seed=3) // 4 + 90
    for n in range(FRAMES):
        image = background.astype(np.uint8)
        for top, left, grey in ((8, 8 * n, 255), (56, 90 - 7 * n, 0)):
            image[top : top + _SIDE, left : left + _SIDE] = grey
        yield (n + 1, n / 2, image)


def _kept(source: str) -> AbstractContextManager[None]:
    return nullcontext()


class GreyDetector:
    """Sees what is white as a person and what is black as a car, in pictures and toy latents."""

    names = NAMES

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def detect_image(self, image: Image, wanted: Wanted) -> list[Detection]:
        found = []
        grey = image.mean(axis=2)
        for class_id, mask in ((0, grey > 190), (2, grey < 60)):
            rows, columns = (np.flatnonzero(mask.sum(axis) > _SIDE / 2) for axis in (1, 0))
            if len(rows) and len(columns):
                box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
                found.append(Detection(tuple(map(float, box)), 0.9, class_id))  # type: ignore[arg-type]  # four of them
        return found

    def detect_latents(self, latents: Sequence[Latent], wanted: Wanted) -> list[list[Detection]]:
        images = map(self._decoder.decode_image, latents)
        return [self.detect_image(image, wanted) for image in images]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[CodecArtifact, DetectorArtifact]:
    root = tmp_path_factory.mktemp("models")
    codec = load_codec_artifact(make_toy_codec(root))
    return codec, load_detector_artifact(make_toy_detector(root))


@pytest.fixture(scope="module")
def plan(
    models: tuple[CodecArtifact, DetectorArtifact], tmp_path_factory: pytest.TempPathFactory
) -> VideoPlan:
    codec, artifact = models
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    opened = ReferenceDetector.open(codec, artifact, runtime)
    sees: Any = GreyDetector(Decoder(codec, runtime))
    reference = replace(opened, session=sees)
    served = replace(ServedCodec.open(codec, None, reference), detector=sees)
    context = load_codec_artifact(
        make_toy_codec(tmp_path_factory.mktemp("context"), prior="context")
    )
    sees_context: Any = GreyDetector(Decoder(context, runtime))
    in_context = replace(ServedCodec.open(context, None, reference), detector=sees_context)
    x264 = STREAM_CODECS["x264-medium"]
    points = [
        *(sequence_point(served, level, quality) for level in (0, 3) for quality in (0, 3)),
        sequence_point(in_context, 3, 3, key_seconds=3.0),
        sequence_point(in_context, 1, 0, key_seconds=3.0, fine_keys=True),
        still_point(BASELINES["jpeg"], 5, reference),
        *(stream_point(x264, factor, 3.0, reference) for factor in (26, 50)),
    ]
    return VideoPlan(points, reference, [2.0], lost=0.3)


@pytest.fixture(scope="module")
def results(plan: VideoPlan, tmp_path_factory: pytest.TempPathFactory) -> list[VideoResult]:
    out = tmp_path_factory.mktemp("out")
    results = evaluate_videos({Path("street.mp4"): None}, plan, _read, out, _kept)
    table = list(csv.DictReader((out / "video.csv").read_text().splitlines()))
    assert [row["coder"] for row in table] == [result.row.coder for result in results]
    assert read_results((out / "video.json").read_text()) == results
    return results


def test_the_points_are_all_that_was_asked_for(
    models: tuple[CodecArtifact, DetectorArtifact],
) -> None:
    codec, artifact = models
    asked: dict[str, Any] = {"levels": [0, 3], "qualities": [1.5], "key_seconds": [10.0, 60.0]}

    _, points = choose_video_points([CodecUnderTest(codec, artifact)], artifact, **asked)

    names = [point.name for point in points]
    assert names[:3] == ["toy-1-l0-q1.5", "toy-1-l3-q1.5", "jpeg-q5"]
    assert names[-1] == "x265-veryfast-q50-key60"
    assert len(set(names)) == len(names)
    assert sum(name.startswith("x264-medium-") for name in names) == 2 * 7
    with pytest.raises(EvaluationError, match=r"level 4; toy/1 has 0\.\.3"):
        choose_video_points([CodecUnderTest(codec, artifact)], artifact, **{**asked, "levels": [4]})
    plan = VideoPlan(points, ReferenceDetector.open(codec, artifact, OpenVinoRuntime()), [1.0])
    with pytest.raises(EvaluationError, match="toy-detector/1 has no class car, person"):
        evaluate_videos({}, plan, _read, Path("nowhere"), _kept)


def test_every_point_has_a_row_without_and_with_loss(results: list[VideoResult]) -> None:
    rows = [result.row for result in results]

    told = [(row.coder, row.level, row.quality, row.key_seconds, row.lost) for row in rows]
    expected = [
        *(("toy/1", level, quality, None) for level in (0, 3) for quality in (0, 3)),
        ("toy/1", 3, 3, 3),
        ("toy/1", 1, 0, 3),
        ("jpeg", None, 5, None),
        *(("x264-medium", None, factor, 3) for factor in (26, 50)),
    ]
    both = [(*point, lost) for point in expected for lost in (0, 0.3)]
    assert told == [("uncompressed", None, 0, None, 0), *both]
    assert all(row.frames == FRAMES for row in rows)
    by_point = dict(zip(told, rows, strict=True))
    fine, coarse = by_point["toy/1", 3, 3, None, 0], by_point["toy/1", 3, 0, None, 0]
    assert fine.kbit_per_second > coarse.kbit_per_second
    assert fine.key_share == 1
    assert by_point["x264-medium", None, 26, 3, 0].key_share < 0.9
    lossy = by_point["toy/1", 3, 3, None, 0.3]
    assert fine.kbit_per_second == lossy.kbit_per_second, "what is lost was sent"
    assert lossy.persons < fine.persons == FRAMES


def test_a_stream_suffers_from_lost_frames_and_what_refers_to_arrived_ones_does_not(
    results: list[VideoResult],
) -> None:
    by_point = {(r.row.coder, r.row.quality, r.row.key_seconds, r.row.lost): r for r in results}

    for key_seconds in (None, 3):
        assert by_point["toy/1", 3, key_seconds, 0].row.ap50_person == 1
        assert by_point["toy/1", 3, key_seconds, 0.3].row.ap50_person == 1
    assert by_point["x264-medium", 26, 3, 0].row.ap50_person == 1
    hurt = by_point["x264-medium", 26, 3, 0.3].row.ap50_person
    assert hurt is not None
    assert hurt < 0.9
    referring = by_point["toy/1", 3, 3, 0]
    assert [n for n, is_key in enumerate(referring.is_key) if is_key] == [0, 6]
    assert referring.changed[0] == 1
    assert referring.row.changed is not None
    assert 0 < referring.row.changed < 0.8
    fine = by_point["toy/1", 0, 3, 0]
    assert fine.row.fine_keys
    assert fine.num_bytes[0] > referring.num_bytes[0] > max(fine.num_bytes[1:6])
    alone = by_point["toy/1", 3, None, 0].row.kbit_per_second
    assert referring.row.kbit_per_second < 0.8 * alone
    assert by_point["toy/1", 3, 3, 0.3].num_bytes != referring.num_bytes, "other references"


def test_the_uncompressed_frames_agree_with_themselves(results: list[VideoResult]) -> None:
    row = results[0].row

    assert row.persons == row.cars == FRAMES
    assert row.ap50_person == row.ap50_car == 1
    assert row.false_boxes == 0
    assert row.kbit_per_second == pytest.approx(8 * 3 * 96 * 128 * 2 / 1000)


def test_bytes_are_those_that_were_sent(plan: VideoPlan, results: list[VideoResult]) -> None:
    clip = read_clip("street", _read(Path("street.mp4")), 2.0)
    nothing = np.zeros(FRAMES, np.bool_)

    for point in plan.points:
        [frames] = point.send(clip, [nothing])
        of_point = [
            r
            for r in results
            if (r.row.coder, r.row.level, r.row.quality, r.row.key_seconds)
            == (point.coder, point.level, point.quality, point.key_seconds)
        ]
        assert len(of_point) == 2
        assert [frame.num_bytes for frame in frames] == of_point[0].num_bytes


def test_a_second_run_takes_everything_from_the_cache(plan: VideoPlan, tmp_path: Path) -> None:
    video: dict[Path, Path | None] = {Path("street.mp4"): None}
    first = evaluate_videos(video, plan, _read, tmp_path, _kept)

    def send(clip: Clip, losses: Sequence[Lost]) -> list[list[CodedFrame]]:
        raise AssertionError("sent again")

    known = replace(plan, points=[replace(point, send=send) for point in plan.points])
    again = evaluate_videos(video, known, _read, tmp_path, _kept)

    assert again[1:] == first[1:]
    with pytest.raises(AssertionError, match="sent again"):
        evaluate_videos(video, replace(known, lost=0.5), _read, tmp_path, _kept)


def test_a_broken_video_is_told_and_the_others_go_on(plan: VideoPlan, tmp_path: Path) -> None:
    told: list[str] = []

    @contextmanager
    def kept(source: str) -> Iterator[None]:
        try:
            yield
        except ImageError as error:
            told.append(f"{source}: {error}")

    two = replace(plan, points=plan.points[:1])
    videos: dict[Path, Path | None] = {Path("a/broken.mp4"): None, Path("street.mp4"): None}
    results = evaluate_videos(videos, two, _read, tmp_path, kept)

    assert told == ["a/broken.mp4: cannot be played"]
    assert {result.row.camera for result in results} == {"street"}
    with pytest.raises(EvaluationError, match="none of the videos"):
        evaluate_videos({Path("broken.mp4"): None}, two, _read, tmp_path, kept)


def test_losses_are_the_same_for_all_and_the_first_frame_arrives() -> None:
    lost = draw_losses(1000, 0.1)

    assert np.array_equal(lost, draw_losses(1000, 0.1))
    assert 70 < lost.sum() < 130
    assert not any(draw_losses(n, 0.99)[0] for n in range(1, 5))
    assert not draw_losses(1000, 0).any()


def _point(key_seconds: float | None = None) -> VideoPoint:
    return VideoPoint("ours/1", 2, "", lambda clip, losses: [], 0, key_seconds)


def _boxes(*rows: tuple[float, float, int]) -> ScoredBoxes:
    """Boxes of ten pixels at x, with a score, of a class."""
    return ScoredBoxes(
        np.asarray([(x, 0, x + 10, 10) for x, _, _ in rows], np.float32).reshape(-1, 4),
        np.asarray([score for _, score, _ in rows], np.float32),
        np.asarray([class_id for _, _, class_id in rows], np.int64),
    )


def _score(
    frames: Sequence[CodedFrame],
    seen: Sequence[ScoredBoxes],
    given: VideoLabels | None = None,
    key_seconds: float | None = None,
) -> VideoRow:
    images = [np.zeros((20, 200, 3), np.uint8)] * len(frames)
    clip = Clip("street", 1.0, 0.0, range(1, len(frames) + 1), images)
    raw = [CodedFrame(1, True, 0.0, boxes) for boxes in seen]
    truth = ClipTruth.of(clip, raw, given, NAMES)
    return score_frames(_point(key_seconds), frames, 0.0, clip, truth)


def test_the_rate_is_that_of_a_stream_with_one_key_an_interval() -> None:
    sizes = [1000, 100, 100, 100, 500, 100]
    frames = [CodedFrame(size, size > 400, 0.0, _boxes()) for size in sizes]
    seen = [_boxes()] * 6

    alone = _score(frames, seen)
    minute = _score(frames, seen, key_seconds=60.0)
    four = _score(frames, seen, key_seconds=4.0)

    assert alone.kbit_per_second == pytest.approx(8 * sum(sizes) / 6 / 1000, abs=1e-3)
    assert alone.key_share == 1
    # the key that came in between is paid as often as it came
    assert minute.kbit_per_second == pytest.approx(8 * (1000 + 59 * 180) / 60 / 1000, abs=1e-3)
    assert minute.key_share == pytest.approx(1000 / (1000 + 59 * 180), abs=1e-4)
    assert four.kbit_per_second == pytest.approx(8 * (750 + 3 * 100) / 4 / 1000, abs=1e-3)


def test_frames_that_were_lost_are_not_scored() -> None:
    seen = [_boxes((0, 0.9, 0), (50, 0.5, 0), (90, 0.3, 0))] * 10
    right = [CodedFrame(1, True, 0.0, boxes) for boxes in seen]
    wrong = [replace(frame, boxes=_boxes()) for frame in right[:4]]
    lost = [replace(frame, boxes=None) for frame in right[:4]]

    assert _score(right, seen).ap50_person == 1.0
    assert _score(right, seen).persons == 20, "0.3 is not sure"
    assert _score([*wrong, *right[4:]], seen).ap50_person == pytest.approx(0.6, abs=0.01)
    assert _score([*lost, *right[4:]], seen).ap50_person == 1.0
    assert _score([*lost, *right[4:]], seen).persons == 12
    assert _score(right, seen).ap50_car is None


def test_given_boxes_are_met_by_the_frame_number() -> None:
    def labels(x: float) -> Labels:
        return Labels(_boxes((x, 1, 0)).boxes_xyxy, np.zeros(1, np.int64), np.zeros(1, np.bool_))

    seen = [_boxes((0, 0.9, 0), (50, 0.5, 2))] * 10
    frames = [CodedFrame(1, True, 0.0, boxes) for boxes in seen]
    given = {number: labels(0 if number > 5 else 90) for number in range(1, 11)}

    row = _score(frames, seen, VideoLabels("gt.txt", given, frozenset({0}), True))
    partial = _score(
        frames,
        seen,
        VideoLabels("gt.jsonl", {n: given[n] for n in range(6, 11)}, frozenset({0}), False),
    )

    assert row.ap50_person == 1.0
    assert row.ap50_person_labels == pytest.approx(0.25, abs=0.01), "half of them, half right"
    assert row.ap50_car_labels is None, "nobody looked for cars"
    assert row.false_boxes == 0.5
    assert partial.false_boxes == 0
    assert partial.ap50_person_labels is None, "five boxes are too few"


def test_what_is_seen_where_nothing_is_counts_as_false() -> None:
    seen = [_boxes()] * 4
    frames = [CodedFrame(9, True, 0.0, _boxes((0, 0.9, 0), (0, 0.2, 2))) for _ in seen]

    row = _score(frames, seen)

    assert row.false_boxes == 1
    assert row.ap50_person is None
