"""Videos and ways to send them -> a row for each.

    video -read_clip-> Clip, VideoPoint -send-> CodedFrames -score_frames-> VideoResult
    rows -> video.csv; with what each frame took -> video.json

What was measured is kept in `OUT/cache`, one file for each clip and point, under a digest of
everything that decides it.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import DetectorArtifact
from slimcodec.whole_file import write_whole
from slimtrain.evaluation.baseline import BASELINES
from slimtrain.evaluation.evaluate import CodecUnderTest, choose_operating_points, open_codecs
from slimtrain.evaluation.operating_point import DETECT, ReferenceDetector
from slimtrain.evaluation.pictures import EvaluationError
from slimtrain.evaluation.video import CLASSES, Clip, TimedImage, read_clip, read_video_labels
from slimtrain.evaluation.video_point import (
    CONSTANT_RATE_FACTORS,
    STREAM_CODECS,
    UNCOMPRESSED,
    Lost,
    VideoPoint,
    sequence_point,
    still_point,
    stream_point,
)
from slimtrain.evaluation.video_rows import ClipTruth, VideoRow, score_frames

LOSS_SEED = 20230327
VIDEO_BASELINES = ("jpeg", "webp", *STREAM_CODECS)
_CACHE_FORMAT = 2


@dataclass(frozen=True)
class VideoResult:
    """A row, and what each of its frames took."""

    row: VideoRow
    num_bytes: Sequence[int]
    is_key: Sequence[bool]
    changed: Sequence[float | None]


@dataclass(frozen=True)
class VideoPlan:
    """What is done with every video."""

    points: Sequence[VideoPoint]
    detector: ReferenceDetector
    fps: Sequence[float]
    noise: Sequence[float] = (0.0,)
    lost: float = 0.0  # part of the frames, in a second row of each point
    limit: int | None = None  # frames of each clip


def choose_video_points(
    codecs: Sequence[CodecUnderTest],
    detector: DetectorArtifact,
    *,
    levels: Sequence[int] | None = None,
    qualities: Sequence[float] | None = None,
    baselines: Sequence[str] | None = None,
    key_seconds: Sequence[float],
    runtime: OpenVinoRuntime | None = None,
) -> tuple[ReferenceDetector, list[VideoPoint]]:
    """The uncut detector, and ours and theirs at all that was asked for.

    Args:
        baselines: by name, of `BASELINES` and `STREAM_CODECS`; None: JPEG, WebP and all streams.
        key_seconds: from key to key, of what has any.
        runtime: None is OpenVINO with one thread, as times are compared.

    Raises:
        EvaluationError: no such level or quality.
    """
    reference, served = open_codecs(codecs, detector, runtime or OpenVinoRuntime(num_threads=1))
    points: list[VideoPoint] = []
    for codec in served:
        has_references = codec.artifact.manifest.prior == "context"
        points += [
            sequence_point(codec, level, quality, seconds, fine_keys=fine_keys)
            for seconds in (key_seconds if has_references else [None])
            for fine_keys in ((False, True) if has_references else (False,))
            for level, quality in choose_operating_points(codec.artifact, levels, qualities)
            if codec.does(DETECT, level)
        ]
    for name in VIDEO_BASELINES if baselines is None else baselines:
        if name in BASELINES:
            points += [still_point(BASELINES[name], q, reference) for q in BASELINES[name].ladder]
            continue
        points += [
            stream_point(STREAM_CODECS[name], factor, seconds, reference)
            for seconds, factor in product(key_seconds, CONSTANT_RATE_FACTORS)
        ]
    return reference, points


def evaluate_videos(
    videos: Mapping[Path, Path | None],
    plan: VideoPlan,
    read: Callable[[Path, float], Iterable[TimedImage]],
    out: Path,
    kept: Callable[[str], AbstractContextManager[None]],
) -> list[VideoResult]:
    """Every point on every clip; writes `video.csv` and `video.json`.

    Args:
        videos: each with its labels, if it has some.
        read: gives the frames of a video, so many a second.
        kept: is entered around the work on one video, and keeps its fault from the others.

    Raises:
        EvaluationError: no video could be measured, or the detector does not know `CLASSES`.
    """
    unknown = sorted(set(CLASSES).difference(plan.detector.session.names))
    if unknown:
        raise EvaluationError(f"{plan.detector.artifact.label} has no class {', '.join(unknown)}")
    if len({video.stem for video in videos}) < len(videos):
        raise EvaluationError("two videos have one name, by which rows and labels are known")
    (out / "cache").mkdir(parents=True, exist_ok=True)
    results: list[VideoResult] = []
    clips = list(dict.fromkeys(product(plan.fps, plan.noise)))
    total = len(videos) * len(clips) * (1 + len(plan.points))
    with tqdm(total=total, unit="row", disable=None) as progress:  # None: only on a terminal
        for number, (video, labels) in enumerate(videos.items(), start=1):
            progress.set_postfix_str(video.stem)
            with kept(str(video)):
                for fps, noise in clips:
                    clip = read_clip(video.stem, read(video, fps), fps, plan.limit, noise)
                    for of_point in _evaluate_clip(clip, labels, plan, out / "cache"):
                        results += of_point
                        progress.update()
            progress.update(number * total // len(videos) - progress.n)  # what a fault left out
    if not results:
        raise EvaluationError("none of the videos could be measured")
    with (out / "video.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(VideoRow)])
        writer.writeheader()
        writer.writerows(asdict(result.row) for result in results)
    write_whole(out / "video.json", _to_json(results))
    return results


def read_results(text: str) -> list[VideoResult]:
    """What `video.json` has."""
    rows: list[dict[str, Any]] = json.loads(text)
    return [VideoResult(**{**one, "row": VideoRow(**one["row"])}) for one in rows]


def draw_losses(num_frames: int, share: float) -> Lost:
    """Which frames are lost, the same for every coder; the first one arrives."""
    lost: Lost = np.random.default_rng(LOSS_SEED).random(num_frames) < share
    lost[:1] = False
    return lost


def _evaluate_clip(
    clip: Clip, labels: Path | None, plan: VideoPlan, cache: Path
) -> Iterator[list[VideoResult]]:
    names = plan.detector.session.names
    h, w = clip.images[0].shape[:2]
    given = read_video_labels(labels, (h, w), names) if labels else None
    shares = [0.0, plan.lost] if plan.lost else [0.0]
    losses = [draw_losses(len(clip.images), share) for share in shares]
    raw = still_point(UNCOMPRESSED, 0, plan.detector)
    seen = raw.send(clip, losses[:1])[0]
    truth = ClipTruth.of(clip, seen, given, names)

    def measure(point: VideoPoint) -> list[VideoResult]:
        return [
            VideoResult(
                score_frames(point, frames, share, clip, truth),
                [frame.num_bytes for frame in frames],
                [frame.is_key for frame in frames],
                [frame.changed for frame in frames],
            )
            for frames, share in zip(point.send(clip, losses), shares, strict=True)
        ]

    yield [VideoResult(score_frames(raw, seen, 0.0, clip, truth), [], [], [])]
    for point in plan.points:
        decides = [_CACHE_FORMAT, point.name, point.setting, clip.digest, clip.fps, plan.lost]
        decides.append(given.digest if given else None)
        digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        path = cache / f"{clip.camera}-{clip.fps:g}-{point.name}-{digest[:12]}.json"
        if (known := _read(path)) is None:
            known = measure(point)
            write_whole(path, _to_json(known))
        yield known


def _read(path: Path) -> list[VideoResult] | None:
    try:
        return read_results(path.read_text())
    except (OSError, ValueError, TypeError, KeyError):
        return None  # not there, cut short, or of another format: it is only a cache


def _to_json(results: Sequence[VideoResult]) -> str:
    return json.dumps([asdict(result) for result in results])
