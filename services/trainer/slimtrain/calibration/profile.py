"""A codec's `profile.json`: what its points cost and are worth, for the edge's controller.

Two commands measure it, and each keeps what only the other one knows: `slimwire evaluate --profile`
the points' accuracy, `slimwire calibrate` this device's seconds and what the points are worth on a
person's own pictures.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slimcodec.model.manifest import Calibration, Profile, ProfilePoint
from slimcodec.whole_file import write_whole
from slimtrain.calibration.measure import PointKey, Utilities

PROFILE = "profile.json"


class CalibrationError(Exception):
    """Nothing to keep the measurement in."""


def merge_calibration(
    before: Profile | None,
    bpp: Mapping[PointKey, float],
    utilities: Utilities | None,
    calibration: Calibration,
) -> Profile:
    """The profile with what was calibrated now; whatever else it says is as it was.

    Raises:
        CalibrationError: there was none, and no bits per pixel were measured either.
    """
    if not bpp:
        if before is None:
            raise CalibrationError(
                "the model has no profile yet, and seconds alone make none; measure the bytes of "
                "pictures, too"
            )
        known = before.calibration
        pictures = 0 if known is None else known.pictures  # the points' bpp stay as they are
        return before.model_copy(
            update={"calibration": calibration.model_copy(update={"pictures": pictures})}
        )
    old = {(point.level, point.quality): point for point in (before.points if before else ())}
    worth = {} if utilities is None else utilities.by_point
    new = []
    for key, value in bpp.items():
        measured: dict[str, float] = {"bpp": round(value, 5)}
        if key in worth:
            measured["utility"] = round(worth[key], 4)
        point = old.pop(key, ProfilePoint(level=key[0], quality=key[1], bpp=value))
        new.append(point.model_copy(update=measured))
    profile = before or Profile(
        points=(), pictures=calibration.pictures, command=calibration.command
    )
    update: dict[str, object] = {"points": (*new, *old.values()), "calibration": calibration}
    if utilities is not None:
        update |= {
            "utility_source": utilities.source,
            "utility_pictures": calibration.pictures,
            "utility_command": calibration.command,
        }
    return profile.model_copy(update=update)


def merge_evaluation(
    before: Profile | None, points: Sequence[ProfilePoint], pictures: int, command: str
) -> Profile:
    """The profile of these points; what was calibrated stays true, but is of other bits."""
    before = before or Profile(points=(), pictures=pictures, command=command)
    utility = {(point.level, point.quality): point.utility for point in before.points}
    known = before.calibration
    return before.model_copy(
        update={
            "points": tuple(
                point.model_copy(update={"utility": utility.get((point.level, point.quality))})
                for point in points
            ),
            "pictures": pictures,
            "command": command,
            "calibration": None if known is None else known.model_copy(update={"pictures": 0}),
        }
    )


def write_profile(folder: Path, profile: Profile) -> Path:
    """Replace the profile of a codec's folder in one step."""
    path = folder / PROFILE
    write_whole(path, profile.model_dump_json(indent=1) + "\n")
    return path
