"""Does what a camera sees say what a point is worth? See docs/decisions/0017-profile.md.

    python -m bench.scene FOLDER... [--video FILE --every N --frames N] [--fit N]

Utility of each (level, quality), pooled or conditioned on what is found in the picture at (level
0, quality 1), is fitted on training pictures and judged on validation pictures: by the error of
what it predicts for each picture, and by the F1 of a policy argmax U - lambda * bytes at equal
bytes. A video is judged on its second half, by the utility of those stills and by that of its
first half. Prints Markdown. Measuring takes about two seconds a picture on two cores; `--keep DIR`
keeps it.
"""

from __future__ import annotations

import argparse
import math
import pickle
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.image import load_image
from slimcodec.model.find import DEFAULT_MODEL, find_model
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcontrol.profile import smooth_monotone
from slimedge.capture.source import open_source
from slimtrain.calibration.measure import PicturePoints, measure_pictures
from slimtrain.data.pictures import POSITIVE_CONFIDENCE, index_pictures
from slimtrain.figures.mean_average_precision import (
    PSEUDO_LABEL_SCORE,
    Labels,
    ScoredBoxes,
    labels_of,
    match_boxes,
    pseudo_labels,
)

ANSWERED = (0, 1)  # the point at which the edge is thought to have sent
ANSWER_SCORE = 0.25  # of boxes that come back
TIMES_LEAST = np.array([1.1, 1.25, 1.5, 2, 3])  # bytes at which policies are compared
OWN_WEIGHT = 8  # pictures of a group that weigh as much as the pooled fit
DRAWS = 300
PERSON, VEHICLES = 0, (2, 5, 7)

Array = NDArray[np.float64]
Group = Callable[[PicturePoints], int]


@dataclass(frozen=True)
class Seen:
    """Pictures, scored: (pictures, levels, qualities) each."""

    points: list[PicturePoints]
    f1: Array
    num_bytes: Array

    def part(self, chosen: slice) -> Seen:
        return Seen(self.points[chosen], self.f1[chosen], self.num_bytes[chosen])

    @property
    def pixels(self) -> Array:
        return np.asarray([math.prod(points.image_hw) for points in self.points], np.float64)

    @property
    def bpp(self) -> Array:
        """(levels, qualities)"""
        bpp: Array = 8 * self.num_bytes.sum(axis=0) / self.pixels.sum()
        return bpp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--video", action="append", default=[], type=Path)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--fit", type=int, default=150, help="training pictures, drawn at random")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--keep", type=Path, help="for measurements")
    options = parser.parse_args()

    entries = index_pictures(options.folders)
    training = [entry for entry in entries if not entry.is_validation]
    random.Random(0).shuffle(training)
    judged = [entry for entry in entries if entry.is_validation]
    sets = {"fit": training[: options.fit], "judge": judged}
    stills = {
        name: measured(options, name, (load_image(entry.path) for entry in chosen))
        for name, chosen in sets.items()
    }
    print(
        "| truth | conditioned on | error of U | of its differences | change of F1, 95 % of draws |"
    )
    print("|---|---|---|---|---|")
    for truth in ("uncompressed", "labels"):
        fit, judge = (
            score(
                stills[name],
                None
                if truth == "uncompressed"
                else [
                    labels_of(entry.boxes, points.image_hw)
                    for entry, points in zip(chosen, stills[name], strict=True)
                    if entry.boxes is not None
                ],
            )
            for name, chosen in sets.items()
        )
        for name, group in groups(fit).items():
            print(f"| {truth} | {name} | {compare(fit, judge, group)} |")
    empty = [
        entry.boxes is not None and bool((entry.boxes[:, -1] >= POSITIVE_CONFIDENCE).any())
        for name, chosen in sets.items()
        for entry, points in zip(chosen, stills[name], strict=True)
        if not answered(points).any()
    ]
    print(f"\n{len(empty)} stills where nothing came back; {sum(empty)} of them hold labels")
    fit = score(stills["fit"], None)
    for video in options.video:
        frames = read_video(video, options.every, options.frames)
        seen = score(measured(options, video.stem, iter(frames)), None)
        judge_video(video.name, fit, seen)


def measured(
    options: argparse.Namespace, name: str, pictures: Iterable[NDArray[np.uint8]]
) -> list[PicturePoints]:
    kept = None if options.keep is None else options.keep / f"{name}.pickle"
    if kept is not None and kept.exists():
        known: list[PicturePoints] = pickle.loads(kept.read_bytes())
        return known
    codec = load_codec_artifact(find_model("codec", options.model))
    named = codec.manifest.detector
    assert named is not None
    detector = load_detector_artifact(find_model("detector", f"{named.name}/{named.version}"))
    points = list(measure_pictures(codec, detector, OpenVinoRuntime(), pictures))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(points))
    return points


def read_video(path: Path, every: int, frames: int) -> list[NDArray[np.uint8]]:
    pictures = open_source(str(path), 1.0).pictures()
    return [picture.image for picture in islice(pictures, 0, every * frames, every)]


def score(points: list[PicturePoints], labels: Sequence[Labels] | None) -> Seen:
    """`labels` None: the uncompressed pictures' boxes."""
    truth = labels or [pseudo_labels(p.uncompressed) for p in points if p.uncompressed is not None]
    keys = sorted(points[0].found)
    shape = (len(points), keys[-1][0] + 1, keys[-1][1] + 1)
    f1 = [[picture_f1(p.found[key], t) for key in keys] for p, t in zip(points, truth, strict=True)]
    num_bytes = [[p.num_bytes[key] for key in keys] for p in points]
    return Seen(
        points, np.asarray(f1).reshape(shape), np.asarray(num_bytes, np.float64).reshape(shape)
    )


def picture_f1(found: ScoredBoxes, truth: Labels) -> float:
    """1 where nothing is there and nothing is found."""
    sure = found.scores >= PSEUDO_LABEL_SCORE
    found = ScoredBoxes(found.boxes_xyxy[sure], found.scores[sure], found.class_ids[sure])
    matches = match_boxes([found], [truth])
    hits = sum(int(match.is_hit.sum()) for match in matches)
    wrong = sum(int((~match.is_hit).sum()) for match in matches)
    wrong += int((~np.isin(found.class_ids, truth.class_ids)).sum())
    there = int((~truth.is_ignored).sum())
    return 2 * hits / (there + hits + wrong) if there + hits + wrong else 1.0


def answered(points: PicturePoints) -> NDArray[np.bool_]:
    return points.found[ANSWERED].scores >= ANSWER_SCORE


def groups(fit: Seen) -> dict[str, Group]:
    """By name; thresholds are medians of the fitting pictures."""
    counts = [int(answered(p).sum()) for p in fit.points]
    sizes = [size for p in fit.points if (size := median_size(p)) is not None]
    many, large = np.median([c for c in counts if c]), np.median(sizes)

    def by_scene(points: PicturePoints) -> int:
        count = int(answered(points).sum())
        return 0 if count == 0 else 1 + int(count >= many)

    def by_class(points: PicturePoints) -> int:
        classes = points.found[ANSWERED].class_ids[answered(points)]
        if len(classes) == 0:
            return 0
        people, vehicles = np.mean(classes == PERSON), np.mean(np.isin(classes, VEHICLES))
        return 1 if people >= 0.5 else 2 if vehicles >= 0.5 else 3

    def by_size(points: PicturePoints) -> int:
        size = median_size(points)
        return 0 if size is None else 1 + int(size >= large)

    return {
        f"scene, crowded from {many:g} boxes": by_scene,
        "class of most boxes": by_class,
        f"median size of boxes, {large:.0f} pixels": by_size,
    }


def median_size(points: PicturePoints) -> float | None:
    boxes = points.found[ANSWERED].boxes_xyxy[answered(points)]
    return (
        float(np.median(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))))
        if len(boxes)
        else None
    )


def compare(fit: Seen, judge: Seen, group: Group) -> str:
    of_fit = np.asarray([group(p) for p in fit.points])
    pooled = smooth(fit.f1.mean(axis=0))
    by_group = {
        g: smooth((fit.f1[of_fit == g].sum(axis=0) + OWN_WEIGHT * pooled)
                  / ((of_fit == g).sum() + OWN_WEIGHT))
        for g in set(of_fit.tolist())
    }  # fmt: skip
    same = np.stack([pooled] * len(judge.points))
    other = np.stack([by_group.get(group(p), pooled) for p in judge.points])
    error, differences = [], []
    for utility in (same, other):
        error.append(rms(judge.f1 - utility))
        of_best = (judge.f1 - judge.f1[:, -1:, -1:]) - (utility - utility[:, -1:, -1:])
        differences.append(rms(of_best))
    choices = [choose(utility, judge, fit.bpp) for utility in (same, other)]
    everyone = np.arange(len(judge.points))
    least = max(at(judge, chosen, everyone)[0].min() for chosen in choices)
    change = gain(judge, choices, everyone, least * TIMES_LEAST)
    rng = np.random.default_rng(0)
    draws = [
        gain(judge, choices, rng.integers(0, len(everyone), len(everyone)), least * TIMES_LEAST)
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    changes = ", ".join(
        f"{c:+.3f} ({a:+.3f} to {b:+.3f})" for c, a, b in zip(change, low, high, strict=True)
    )
    return (
        f"{error[0]:.3f}, {error[1]:.3f} | {differences[0]:.4f}, {differences[1]:.4f} | {changes}"
    )


def judge_video(name: str, stills: Seen, video: Seen) -> None:
    half = len(video.points) // 2
    own, rest = video.part(slice(half)), video.part(slice(half, None))
    utilities = [smooth(stills.f1.mean(axis=0)), smooth(own.f1.mean(axis=0))]
    truth = rest.f1.mean(axis=0)
    errors = [rms((truth - truth[-1, -1]) - (u - u[-1, -1])) for u in utilities]
    everyone = np.arange(len(rest.points))
    choices = [
        choose(np.stack([utility] * len(rest.points)), rest, bpp)
        for utility, bpp in zip(utilities, (stills.bpp, own.bpp), strict=True)
    ]
    least = max(at(rest, chosen, everyone)[0].min() for chosen in choices)
    f1 = [np.interp(least * TIMES_LEAST, *at(rest, chosen, everyone)) for chosen in choices]
    print(f"\n{name}: error of differences by stills {errors[0]:.3f}, by itself {errors[1]:.3f}")
    print(f"F1 by stills {np.round(f1[0], 3)}, by itself {np.round(f1[1], 3)}")
    missed = [
        len(pseudo_labels(now.uncompressed).class_ids) > 0
        for before, now in zip(video.points, video.points[1:], strict=False)
        if now.uncompressed is not None and not answered(before).any()
    ]
    print(f"after a frame with no answer: {len(missed)}; {sum(missed)} of them hold boxes")


def smooth(utility: Array) -> Array:
    return np.asarray(smooth_monotone(utility.tolist()))


def choose(utility: Array, judge: Seen, bpp: Array) -> NDArray[np.intp]:
    """(lambdas, pictures): the chosen point's index."""
    expected = bpp * judge.pixels[:, None, None] / 8
    lambdas = np.geomspace(1e-8, 1e-4, 150)
    flat = [(utility - price * expected).reshape(len(expected), -1) for price in lambdas]
    return np.stack([values.argmax(axis=1) for values in flat])


def at(judge: Seen, chosen: NDArray[np.intp], draw: NDArray[np.intp]) -> tuple[Array, Array]:
    """Mean bytes and mean F1 of each lambda, by bytes."""
    flat_bytes = judge.num_bytes.reshape(len(judge.points), -1)
    flat_f1 = judge.f1.reshape(len(judge.points), -1)
    num_bytes = flat_bytes[draw, chosen[:, draw]].mean(axis=1)
    f1 = flat_f1[draw, chosen[:, draw]].mean(axis=1)
    order = np.argsort(num_bytes, kind="stable")
    return num_bytes[order], f1[order]


def gain(
    judge: Seen, choices: Sequence[NDArray[np.intp]], draw: NDArray[np.intp], num_bytes: Array
) -> Array:
    pooled, other = (np.interp(num_bytes, *at(judge, chosen, draw)) for chosen in choices)
    change: Array = other - pooled
    return change


def rms(errors: Array) -> float:
    return float(np.sqrt(np.mean(errors**2)))


if __name__ == "__main__":
    main()
