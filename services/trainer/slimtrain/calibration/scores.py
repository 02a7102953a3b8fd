"""What a model's scores mean, fitted to pictures in which everything is labelled: `scores` of its
manifest.

    pictures -look-> boxes with raw scores -match_boxes-> right or wrong -Platt-> slope, offset
                                                                  -Wilson's bound-> threshold

A class is drawn towards the line of all classes: of most there are a few dozen boxes. Its threshold
is the lowest score from which on 0.7 of its boxes are right, less one standard error: three boxes
out of three are the least that shows it. No torch.

Source: Platt, Probabilistic outputs for support vector machines, 1999; Wilson, Probable inference,
the law of succession, and statistical inference, 1927.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.detection import Detection
from slimcodec.encode import Encoder
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact, DetectorArtifact
from slimcodec.model.manifest import ClassScore
from slimdetect.detector import Detector, Tail
from slimdetect.scores import MIN_SCORE, Wanted, calibrate, logit
from slimtrain.artifact_folder import Json, new_version
from slimtrain.calibration.calibrate import CalibrationError
from slimtrain.calibration.measure import Picture, PointKey
from slimtrain.figures.mean_average_precision import ClassMatches, ScoredBoxes

PRECISION = 0.7  # of the boxes of a class that are shown
# boxes below it are nearly all wrong, and so many that they would bend the line elsewhere
LEAST_RAW = 0.05
# Standard deviations of classes' slopes and offsets. On 315 COCO pictures, fitted on one half and
# judged by log loss on the other: 0.351; twice and three times as wide 0.353 to 0.358; one line for
# all 0.350.
_SPREAD = (0.1, 0.3)
_SPREAD_OF_ALL = (1.0, 3.0)  # about the line that changes nothing; thousands of boxes outweigh it
_STEPS = 50  # of Newton's method, which needs about six


@dataclass(frozen=True)
class ClassFigures:
    """What a threshold makes of the boxes of one class that it was not fitted to."""

    shown: int
    right: int  # of these
    labels: int

    @property
    def precision(self) -> float | None:
        """Of the boxes shown; None: there are none."""
        return self.right / self.shown if self.shown else None

    @property
    def recall(self) -> float | None:
        """Of the labels; None: there are none."""
        return self.right / self.labels if self.labels else None


def look(
    codec: CodecArtifact | None,
    detector: DetectorArtifact,
    runtime: Runtime,
    pictures: Iterable[Picture],
) -> Iterator[ScoredBoxes]:
    """Give the boxes of each picture, (H, W, 3) uint8 RGB, with raw scores from `LEAST_RAW` on.

    Args:
        codec: pictures go through it, at its levels in turn and its middle quality, so that one
            threshold is for all levels, as a camera mixes them; None: the detector alone.
    """
    detect = open_detection(codec, detector, runtime)
    levels, qualities = (1, 1) if codec is None else (len(codec.levels), codec.manifest.qualities)
    for number, picture in enumerate(pictures):
        point = number % levels, qualities // 2
        yield ScoredBoxes.of(detect(picture, point, Wanted(LEAST_RAW, raw=True)))


def open_detection(
    codec: CodecArtifact | None, detector: DetectorArtifact, runtime: Runtime
) -> Callable[[Picture, PointKey, Wanted], list[Detection]]:
    """What finds the boxes wanted in a picture at a level and quality of the codec; without one,
    the detector alone, whatever the point.
    """
    if codec is None:
        alone = Tail(detector, detector, runtime)
        return lambda picture, point, wanted: alone.detect_image(picture, wanted)
    encoder, decoder = Encoder(codec, runtime), Decoder(codec, runtime)
    session = Detector(codec, detector, runtime, max_batch_size=1)

    def detect(picture: Picture, point: PointKey, wanted: Wanted) -> list[Detection]:
        container = encoder.encode(picture, *point).bitstream
        return session.detect_latents([decoder.decode_latent(container)], wanted)[0]

    return detect


def fit_scores(matches: Sequence[ClassMatches], classes: int) -> tuple[ClassScore, ...]:
    """Fit every class; one without a label has the line of all and no threshold.

    Args:
        matches: of `match_boxes`, boxes of `look`.

    Raises:
        CalibrationError: no label was found, or higher scores are no more often right.
    """
    if not any(match.is_hit.any() for match in matches):
        raise CalibrationError("the model finds nothing that is labelled in these pictures")
    raw, right = (
        np.concatenate([getattr(m, name) for m in matches]) for name in ("scores", "is_hit")
    )
    of_all = _fit_line(raw, right, (1.0, 0.0), _SPREAD_OF_ALL)
    fitted = {match.class_id: _fit_class(match, of_all) for match in matches}
    unseen = _class_score(of_all, None)
    return tuple(fitted.get(class_id, unseen) for class_id in range(classes))


def cross_validate(
    matches: Sequence[ClassMatches], halves: NDArray[np.bool_], classes: int
) -> dict[int, ClassFigures]:
    """Figures by class, each half of the pictures with what was fitted to the other.

    Args:
        halves: (images,) which half each is in.

    Raises:
        CalibrationError: as `fit_scores`, for one of the halves.
    """
    counted = {match.class_id: np.zeros(3, np.int64) for match in matches}
    for match, said, told in tell_halves(matches, halves, classes):
        shown = told >= (np.inf if said.threshold is None else said.threshold)
        counts = shown.sum(), (shown & match.is_hit).sum(), match.num_labels.sum()
        counted[match.class_id] += np.array(counts)
    return {class_id: ClassFigures(*map(int, counts)) for class_id, counts in counted.items()}


def tell_halves(
    matches: Sequence[ClassMatches], halves: NDArray[np.bool_], classes: int
) -> Iterator[tuple[ClassMatches, ClassScore, NDArray[np.float32]]]:
    """Give each half's boxes of each class, what was fitted to the other half, and the scores that
    it tells of them, (n,); arguments and errors as those of `cross_validate`.
    """
    for half in (halves, ~halves):
        fitted = fit_scores([_of(match, ~half) for match in matches], classes)
        for match in (_of(match, half) for match in matches):
            said = fitted[match.class_id]
            yield (
                match,
                said,
                calibrate(match.scores, np.float32(said.slope), np.float32(said.offset)),
            )


def write_scores(
    artifact: CodecArtifact | DetectorArtifact,
    scores: Sequence[ClassScore],
    figures: Mapping[str, ClassFigures],
    to: Path,
    *,
    pictures: int,
    command: str,
) -> None:
    """Write a version of a model with these scores, otherwise the same.

    Args:
        figures: by label, of `cross_validate`.
        to: `.../<name>/<version>`, must not exist.

    Raises:
        ArtifactFolderError: `to` exists or is of another form.
        ModelError: a file of the model is missing.
    """
    table: dict[str, Json] = {
        label: [each.shown, each.right, each.labels]
        for label, each in figures.items()
        if each.shown
    }
    changes: dict[str, Json] = {
        "scores": [said.model_dump() for said in scores],
        "figures": {
            **artifact.manifest.figures,
            "scores": {"precision": PRECISION, "shown_right_labels": table},
        },
    }
    said: dict[str, Json] = {
        "scores": {"from": artifact.label, "pictures": pictures, "command": command}
    }
    with new_version(artifact, to, changes, said, keeps_profile=True):
        pass  # its files are those of the model that it comes from


def _of(match: ClassMatches, images: NDArray[np.bool_]) -> ClassMatches:
    """What is of these images, (images,) bool."""
    boxes = images[match.image_ids]
    return replace(
        match,
        image_ids=match.image_ids[boxes],
        is_hit=match.is_hit[boxes],
        num_labels=match.num_labels * images,
        scores=match.scores[boxes],
    )


def _fit_class(match: ClassMatches, of_all: tuple[float, float]) -> ClassScore:
    line = _fit_line(match.scores, match.is_hit, of_all, _SPREAD)
    said = _class_score(line, None)
    told = calibrate(match.scores, np.float32(said.slope), np.float32(said.offset))
    right, shown = np.cumsum(match.is_hit, dtype=np.int64), np.arange(1, len(told) + 1)
    enough = np.flatnonzero(wilson_bound(right, shown) >= PRECISION)
    if not len(enough):
        return said
    least = math.floor(1e4 * told[enough[-1]]) / 1e4  # rounded down, so that the box stays
    # three benches of three are no reason to show what is right one time in ten
    return _class_score(line, max(MIN_SCORE, least))


def wilson_bound(right: NDArray[np.int64], shown: NDArray[np.int64]) -> NDArray[np.float64]:
    """The precision of `right` of `shown` boxes, less one standard error."""
    p = right / shown
    spread = np.sqrt(p * (1 - p) / shown + 1 / (4 * shown**2))
    bound: NDArray[np.float64] = (p + 1 / (2 * shown) - spread) / (1 + 1 / shown)
    return bound


def _class_score(line: tuple[float, float], threshold: float | None) -> ClassScore:
    slope, offset = (round(value, 4) for value in line)
    if slope <= 0:
        raise CalibrationError("higher scores are no more often right: these labels are of others")
    return ClassScore(slope=slope, offset=offset, threshold=threshold)


def _fit_line(
    raw: NDArray[np.float32],
    right: NDArray[np.bool_],
    expected: tuple[float, float],
    spread: tuple[float, float],
) -> tuple[float, float]:
    """Slope and offset of the likeliest line over the logit, by Newton's method.

    Args:
        expected, spread: mean and standard deviation of slope and offset, without any box.
    """
    x = np.stack([logit(raw).astype(np.float64), np.ones(len(raw))], axis=1)  # (n, 2)
    mean, certainty = np.array(expected), np.array(spread) ** -2.0
    line = np.zeros(2)  # from where it does not overshoot: there the curvature is the largest
    for _ in range(_STEPS):
        p = (1 + np.tanh(x @ line / 2)) / 2  # the logistic function, which exp would overflow in
        gradient = x.T @ (p - right) + certainty * (line - mean)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.diag(certainty)
        line -= np.linalg.solve(curvature, gradient)
    return float(line[0]), float(line[1])
