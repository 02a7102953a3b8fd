"""What codecs are worth: every operating point of ours and of the baselines on one set of pictures.

    pictures, models -measure-> measurements (cached) -evaluate_point-> rows -summarise-> summary
    rows, summary -report-> tables, plots, sheets, report.md, report.html

The cache is a folder with one file per operating point. Its name holds a digest of everything that
decides the results (model files, detector files, libraries and settings, precision), so a changed
model is measured anew and a baseline is measured once. Rows are known by their picture's SHA-256.
"""

import csv
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.image import load_image
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.whole_file import write_whole
from slimtrain.data.pictures import PictureEntry
from slimtrain.evaluation.baseline import BASELINES, Baseline
from slimtrain.evaluation.operating_point import (
    Measurement,
    PointUnderTest,
    ReferenceDetector,
    ServedCodec,
    baseline_point,
    uncompressed_point,
)
from slimtrain.evaluation.pictures import EvaluationError
from slimtrain.evaluation.rows import (
    BoxFigures,
    EvaluatedPoint,
    EvaluationRow,
    PictureSet,
    evaluate_point,
    score_boxes,
)
from slimtrain.evaluation.summary import Curve, Summary, build_curves, summarise
from slimtrain.figures.bootstrap import draw_pictures
from slimtrain.figures.mean_average_precision import ScoredBoxes, labels_of, pseudo_labels

CACHE_FORMAT = 3  # 1 had another MS-SSIM, 2 was in numpy's format


@dataclass(frozen=True)
class CodecUnderTest:
    """A model and the detector that its features were trained for (None: it only shows)."""

    artifact: CodecArtifact
    detector: DetectorArtifact | None


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows."""

    points: list[EvaluatedPoint]
    curves: list[Curve]
    summary: Summary
    uncompressed: BoxFigures
    pictures: list[PictureEntry]
    has_labels: bool
    detector: str
    baselines: list[Baseline]
    served: list[ServedCodec]
    reference: ReferenceDetector

    @property
    def rows(self) -> list[EvaluationRow]:
        return [point.row for point in self.points]


def evaluate(
    codecs: Sequence[CodecUnderTest],
    detector: DetectorArtifact,
    pictures: Sequence[PictureEntry],
    out: Path,
    *,
    levels: Sequence[int] | None = None,
    qualities: Sequence[float] | None = None,
    baselines: Sequence[Baseline] = tuple(BASELINES.values()),
    runtime: OpenVinoRuntime | None = None,
) -> Evaluation:
    """Measure codecs and baselines; write `table.json`, `table.csv`, `summary.json` and
    `pictures.txt`, the pictures that it is about.

    Args:
        detector: the uncut one that looks at decoded pictures.
        out: where the tables go, and the cache of measurements.
        levels: which levels; None is all. `qualities` likewise: all trained ones.
        runtime: None is OpenVINO with its own choice of threads and precision.

    Raises:
        EvaluationError: no such level or quality.
        CodecError: an artifact or a picture cannot be used.
    """
    out.mkdir(parents=True, exist_ok=True)
    reference, served = open_codecs(codecs, detector, runtime or OpenVinoRuntime())
    points: list[PointUnderTest] = [
        codec.point(level, chosen)
        for codec in served
        for level, chosen in choose_operating_points(codec.artifact, levels, qualities)
    ]
    points += [baseline_point(b, quality, reference) for b in baselines for quality in b.ladder]
    before, *measured = measure([uncompressed_point(reference), *points], pictures, out / "cache")

    sizes = [load_image(picture.path).shape[:2] for picture in pictures]
    seen = [boxes for measured in before if (boxes := measured.from_pixels) is not None]
    picture_set = PictureSet(
        labels=[
            pseudo_labels(boxes) if picture.boxes is None else labels_of(picture.boxes, (h, w))
            for picture, boxes, (h, w) in zip(pictures, seen, sizes, strict=True)
        ],
        num_pixels=np.asarray([h * w for h, w in sizes], np.int64),
        draws=draw_pictures(len(pictures)),
    )
    uncompressed = score_boxes(seen, picture_set)
    full = {
        (point.codec, point.quality): sum(m.num_bytes for m in of_point)
        for point, of_point in zip(points, measured, strict=True)
        if point.artifact and point.level == point.artifact.widest_level
    }
    evaluated = [
        evaluate_point(
            point, of_point, picture_set, uncompressed, full.get((point.codec, point.quality))
        )
        for point, of_point in zip(points, measured, strict=True)
    ]
    curves = build_curves(evaluated)
    evaluation = Evaluation(
        points=evaluated,
        curves=curves,
        summary=summarise(curves, uncompressed),
        uncompressed=uncompressed,
        pictures=list(pictures),
        has_labels=pictures[0].boxes is not None,
        detector=detector.label,
        baselines=list(baselines),
        served=served,
        reference=reference,
    )
    _write_tables(evaluation, out)
    return evaluation


def _write_tables(evaluation: Evaluation, out: Path) -> None:
    rows = [asdict(row) for row in evaluation.rows]
    with (out / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(EvaluationRow)])
        writer.writeheader()
        writer.writerows(rows)
    for name, table in (("table", rows), ("summary", asdict(evaluation.summary))):
        (out / f"{name}.json").write_text(json.dumps(table, indent=1) + "\n")
    listed = "".join(f"{p.source}/{p.path.name}\n" for p in evaluation.pictures)
    (out / "pictures.txt").write_text(listed)


def open_codecs(
    codecs: Sequence[CodecUnderTest], detector: DetectorArtifact, runtime: OpenVinoRuntime
) -> tuple[ReferenceDetector, list[ServedCodec]]:
    """The detector that looks at decoded pictures, and the codecs beside it."""
    # Of several codecs the one that pads least, so that the baselines do not depend on the others.
    narrowest = min((c.artifact for c in codecs), key=lambda a: a.manifest.pad_multiple)
    reference = ReferenceDetector.open(narrowest, detector, runtime)
    return reference, [ServedCodec.open(c.artifact, c.detector, reference) for c in codecs]


def choose_operating_points(
    artifact: CodecArtifact, levels: Sequence[int] | None, qualities: Sequence[float] | None
) -> list[tuple[int, float]]:
    """The levels and qualities that were asked for; None is all.

    Raises:
        EvaluationError: a model has no such level or quality.
    """
    last_quality = artifact.manifest.qualities - 1
    for name, asked, last in (
        ("level", levels, artifact.widest_level),
        ("quality", qualities, last_quality),
    ):
        for value in asked or ():
            if not 0 <= value <= last:
                raise EvaluationError(f"{name} {value:g}; {artifact.label} has 0..{last}")
    return [
        (level, float(quality))
        for level in sorted(set(levels or range(artifact.widest_level + 1)))
        for quality in sorted(set(qualities or range(last_quality + 1)))
    ]


def measure(
    points: Sequence[PointUnderTest],
    pictures: Sequence[PictureEntry],
    cache: Path,
) -> list[list[Measurement]]:
    """Every point on every picture, each point written to the cache when it is complete.

    Returns:
        For each point, the measurements in the order of the pictures.

    Raises:
        CodecError: an artifact or a picture cannot be used.
    """
    results: list[list[Measurement]] = []
    with tqdm(points, unit="point", disable=None) as progress:  # None: only on a terminal
        for point in progress:
            progress.set_postfix_str(point_name(point))
            results.append(_measure_point(point, pictures, cache))
    return results


def point_name(point: PointUnderTest) -> str:
    """A point's name as a file name: `slim-2-l0-q2.5`, `jpeg-q20`."""
    level = "" if point.level is None else f"-l{point.level}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{point.codec}{level}-q{point.quality:g}")


def _measure_point(
    point: PointUnderTest, pictures: Sequence[PictureEntry], cache: Path
) -> list[Measurement]:
    setting = hashlib.sha256(f"{CACHE_FORMAT}\n{point.setting}".encode()).hexdigest()
    path = cache / f"{point_name(point)}-{setting[:12]}.json.gz"
    known = _read(path)
    missing = {p.digest: p for p in pictures if p.digest not in known}
    if missing:
        for digest, picture in missing.items():
            known[digest] = point.measure(load_image(picture.path))
        _write(path, known)
    return [known[picture.digest] for picture in pictures]


def _read(path: Path) -> dict[str, Measurement]:
    if not path.exists():
        return {}
    try:
        rows = json.loads(gzip.decompress(path.read_bytes()))
        return {digest: _measurement(row) for digest, row in rows.items()}
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        return {}  # cut short or of another format: it is only a cache


def _write(path: Path, known: Mapping[str, Measurement]) -> None:
    rows = {digest: asdict(measured) for digest, measured in known.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, gzip.compress(json.dumps(rows, default=np.ndarray.tolist).encode()))


def _measurement(row: dict[str, Any]) -> Measurement:
    for name in ("from_features", "from_pixels"):
        if (boxes := row[name]) is not None:
            row[name] = ScoredBoxes(
                np.asarray(boxes["boxes_xyxy"], np.float32).reshape(-1, 4),
                np.asarray(boxes["scores"], np.float32),
                np.asarray(boxes["class_ids"], np.int64),
            )
    return Measurement(**row)
