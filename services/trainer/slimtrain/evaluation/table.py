"""The rows of a report, as files for machines, and a codec's profile."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class EvaluationRow:
    """One operating point over all pictures. None: the codec does not do that, or nothing is known.

    `map50` is of the boxes that a user gets: from features for our models, from the decoded picture
    for the others. "low" and "high" bound the middle 95 % of a bootstrap over the pictures.
    """

    codec: str
    level: int | None  # None for codecs without levels
    quality: float
    pictures: int
    bytes: int  # of all pictures together
    bpp: float  # bits of all pictures over pixels of all pictures
    map50: float | None
    map50_low: float | None
    map50_high: float | None
    map50_uncompressed: float | None
    map50_relative: float | None  # to the uncompressed pictures'
    map50_change: float | None  # in mAP, against the uncompressed pictures; paired
    map50_change_low: float | None
    map50_change_high: float | None
    map50_frequent: float | None  # over classes with enough labels
    map50_frequent_relative: float | None
    map50_frequent_change: float | None
    map50_frequent_change_low: float | None
    map50_frequent_change_high: float | None
    map: float | None  # mAP50:95
    map_relative: float | None
    map50_pixels: float | None  # boxes from the decoded picture, by the uncut detector
    map50_pixels_relative: float | None
    psnr_db: float | None  # mean over pictures
    ms_ssim: float | None  # mean over pictures large enough for it
    kmac_per_pixel: float | None  # of g_a, at the edge
    encode_seconds: float  # mean per picture
    decode_seconds: float | None  # mean per picture, file to pixels
    enhancement_bytes: int | None  # what a viewer needs after this stream, of all pictures
    detect_then_view: float | None  # this stream and its enhancement, over the full stream alone
    training_steps: int | None


def write_table(rows: Sequence[EvaluationRow], out: Path) -> None:
    """Write `table.json`, a list of rows, and `table.csv` with the same columns."""
    out.mkdir(parents=True, exist_ok=True)
    plain = [asdict(row) for row in rows]
    (out / "table.json").write_text(json.dumps(plain, indent=1) + "\n")
    with (out / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(EvaluationRow)])
        writer.writeheader()
        writer.writerows(plain)


def write_profile(rows: Sequence[EvaluationRow], label: str, codec: Path, command: str) -> None:
    """Write a model's rows as its `profile.json`, which the edge's controller reads.

    What a point is worth to the detector is read off the classes with enough labels, where there
    are any: the mean over all classes is mostly noise on some dozens of pictures.

    Args:
        label: the model, as `name/version`.
        codec: its folder.
    """
    ours = [row for row in rows if row.codec == label]
    points = [
        {
            "level": row.level,
            "quality": int(row.quality) if row.quality.is_integer() else row.quality,
            "bpp": round(row.bpp, 5),
            "map50_relative": (
                row.map50_relative
                if row.map50_frequent_relative is None
                else row.map50_frequent_relative
            ),
            "psnr_db": None if row.psnr_db is None else round(row.psnr_db, 3),
        }
        for row in ours
    ]
    profile = {"points": points, "pictures": ours[0].pictures, "command": command}
    path = codec / "profile.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    utility = {(p["level"], p["quality"]): p.get("utility") for p in before.get("points", ())}
    for point in points:  # what `slimwire calibrate` measured stays true
        if (kept := utility.get((point["level"], point["quality"]))) is not None:
            point["utility"] = kept
    profile |= {key: value for key, value in before.items() if key.startswith("utility_")}
    if before.get("calibration") is not None:
        profile["calibration"] = {**before["calibration"], "pictures": 0}
    path.write_text(json.dumps(profile, indent=1) + "\n")
