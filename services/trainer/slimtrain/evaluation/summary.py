"""What the rows say together: BD-rates, the rate that a figure needs, and bytes saved.

Every number comes with the interval of the same bootstrap draws that the rows have: for each draw
of the pictures, fronts, rates and differences are computed again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from slimtrain.evaluation.rows import BoxFigures, EvaluatedPoint
from slimtrain.figures.bootstrap import Draws, Interval, interval
from slimtrain.figures.rate_curve import (
    BdRate,
    CurvePoint,
    NeededRate,
    bd_rate,
    needed_rate,
    saving_percent,
)

Figure = Literal["map50", "map50_frequent", "psnr_db"]
DETECTION_FIGURES: tuple[Figure, ...] = ("map50_frequent", "map50")  # the steadier one first
ANCHORS = ("jpeg", "hevc")  # the codecs that ours are held against
KEPT_SHARES = (0.7, 0.8, 0.9)  # parts of the uncompressed pictures' mAP50 whose rate is looked up
POINTS_LOST = (0.02, 0.01)  # losses of mAP50 whose rate is looked up: 0.01 is one point


@dataclass(frozen=True)
class Curve:
    """Operating points that belong together: a level of a model, all its levels, or a baseline."""

    codec: str
    level: int | None
    is_best_of_levels: bool
    points: Sequence[EvaluatedPoint]

    @property
    def label(self) -> str:
        if self.is_best_of_levels:
            return f"{self.codec}, best of levels"
        return self.codec if self.level is None else f"{self.codec}, level {self.level}"

    def drawn(self, figure: Figure, draw: int) -> list[CurvePoint]:
        """The curve of one draw of the pictures; draw 0 is the pictures themselves."""
        return [
            CurvePoint(float(p.samples["bpp"][draw]), float(p.samples[figure][draw]))
            for p in self.points
        ]


@dataclass(frozen=True)
class Comparison:
    """The BD-rate of a curve against another codec."""

    curve: str
    figure: Figure
    anchor: str
    bd_rate: BdRate
    interval: Interval | None


@dataclass(frozen=True)
class Saving:
    """Bytes saved against another codec at equal figure, in percent."""

    anchor: str
    percent: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Target:
    """A figure to reach, and what a curve needs for it."""

    curve: str
    figure: Figure
    target: str  # such as "90 % kept" or "-1 point"
    value: float
    rate: NeededRate | None  # None: never reached
    interval: Interval | None  # None too where a tenth of the draws never reach it
    savings: tuple[Saving, ...]


@dataclass(frozen=True)
class Summary:
    comparisons: list[Comparison]
    targets: list[Target]


def build_curves(points: Sequence[EvaluatedPoint]) -> list[Curve]:
    """The curves of all rows, in their order, and of each model's levels all together."""
    curves: list[Curve] = []
    for codec in dict.fromkeys(point.row.codec for point in points):
        mine = [point for point in points if point.row.codec == codec]
        levels = list(dict.fromkeys(point.row.level for point in mine))
        for level in levels:
            of_level = [point for point in mine if point.row.level == level]
            curves.append(Curve(codec, level, False, of_level))
        if len(levels) > 1:
            curves.append(Curve(codec, None, True, mine))
    return curves


def summarise(curves: Sequence[Curve], uncompressed: BoxFigures) -> Summary:
    """Every curve against the anchors that were measured."""
    anchors = [curve for curve in curves if curve.codec in ANCHORS]
    others = [curve for curve in curves if curve.codec not in ANCHORS]
    figures: tuple[Figure, ...] = (*DETECTION_FIGURES, "psnr_db")
    comparisons = [
        _compare(curve, anchor, figure)
        for figure in figures
        for curve in (*others, *anchors[1:])
        for anchor in anchors
        if anchor is not curve
    ]
    sampled = {"map50": uncompressed.sampled, "map50_frequent": uncompressed.sampled_frequent}
    targets = [
        target
        for figure in DETECTION_FIGURES
        for name, values in _targets(sampled[figure])
        for target in _needed(curves, anchors, figure, name, values)
    ]
    return Summary(comparisons, targets)


def _compare(curve: Curve, anchor: Curve, figure: Figure) -> Comparison:
    def of(draw: int) -> BdRate:
        return bd_rate(anchor.drawn(figure, draw), curve.drawn(figure, draw))

    found = of(0)
    bounds: Interval | None = None
    if found.percent is not None:
        drawn = [of(draw).percent for draw in range(1, len(curve.points[0].samples["bpp"]))]
        bounds = interval(drawn)
    return Comparison(curve.label, figure, anchor.codec, found, bounds)


def _targets(sampled: Draws) -> Iterator[tuple[str, Draws]]:
    for share in KEPT_SHARES:
        yield f"{share:.0%} kept", sampled * share
    for lost in POINTS_LOST:
        plural = "" if lost == 0.01 else "s"
        yield f"-{100 * lost:g} point{plural}", sampled - lost


def _needed(
    curves: Sequence[Curve], anchors: Sequence[Curve], figure: Figure, name: str, values: Draws
) -> Iterator[Target]:
    rates = {
        curve.label: [
            needed_rate(curve.drawn(figure, draw), float(value))
            for draw, value in enumerate(values)
        ]
        for curve in curves
    }
    for curve in curves:
        mine = rates[curve.label]
        bpp = [None if rate is None else rate.bpp for rate in mine]
        savings = tuple(
            _save(anchor.codec, mine, rates[anchor.label])
            for anchor in anchors
            if anchor is not curve
        )
        bounds = None if mine[0] is None else interval(bpp)
        yield Target(curve.label, figure, name, float(values[0]), mine[0], bounds, savings)


def _save(
    anchor: str, ours: Sequence[NeededRate | None], theirs: Sequence[NeededRate | None]
) -> Saving:
    drawn = [saving_percent(mine, other) for mine, other in zip(ours, theirs, strict=True)]
    return Saving(anchor, drawn[0], None if drawn[0] is None else interval(drawn))
