"""The table of an evaluation: rows, files for machines and for people, the codec's profile."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class EvaluationRow:
    """One operating point over all pictures; `level` is None for JPEG."""

    codec: str
    level: int | None
    quality: int
    pictures: int
    bytes: int  # of all pictures together
    bpp: float  # bits of all pictures over pixels of all pictures
    psnr_db: float  # mean over pictures
    ms_ssim: float | None  # mean over pictures large enough for it; None if none is
    map50: float | None  # None where nothing is labelled
    map50_uncompressed: float | None
    encode_seconds: float  # mean per picture
    decode_seconds: float  # mean per picture, container to pixels


@dataclass(frozen=True)
class Evaluation:
    """The table, and what its labels are."""

    rows: list[EvaluationRow]
    labelled_by: str


def write_tables(evaluation: Evaluation, out: Path) -> None:
    """Writes `table.json`, a list of rows, and `table.md` for people."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [asdict(row) for row in evaluation.rows]
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    (out / "table.md").write_text(format_table(evaluation))


def format_table(evaluation: Evaluation) -> str:
    """The table as Markdown, with how to read it."""
    first = evaluation.rows[0]
    lines = [
        f"Labels: {evaluation.labelled_by}. {first.pictures} pictures; mAP50 of the uncompressed "
        f"pictures {_number(first.map50_uncompressed, 3)}. Bytes are of whole files, bpp their "
        "bits over all pixels; PSNR and MS-SSIM are means over pictures; seconds are means per "
        "picture, decoding up to pixels. Detections of ours come from the latent, those of JPEG "
        "from the decoded picture, through the same detector.",
        "",
        "| codec | level | quality | bytes | bpp | PSNR, dB | MS-SSIM | mAP50 | of uncompressed "
        "| encode, s | decode, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in evaluation.rows:
        cells = [
            row.codec,
            "" if row.level is None else str(row.level),
            str(row.quality),
            str(row.bytes),
            _number(row.bpp, 4),
            _number(row.psnr_db, 2),
            _number(row.ms_ssim, 4),
            _number(row.map50, 3),
            _number(relative_map50(row), 3),
            _number(row.encode_seconds, 4),
            _number(row.decode_seconds, 4),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_profile(evaluation: Evaluation, codec: Path, command: str) -> None:
    """Writes our points as the codec's `profile.json`, which the edge's controller reads."""
    ours = [row for row in evaluation.rows if row.level is not None]
    points = [
        {
            "level": row.level,
            "quality": row.quality,
            "bpp": round(row.bpp, 5),
            "map50_relative": relative_map50(row),
            "psnr_db": round(row.psnr_db, 3),
        }
        for row in ours
    ]
    profile = {"points": points, "pictures": ours[0].pictures, "command": command}
    (codec / "profile.json").write_text(json.dumps(profile, indent=1) + "\n")


def relative_map50(row: EvaluationRow) -> float | None:
    """What part of the uncompressed pictures' mAP50 is left, or None where there is none."""
    if row.map50 is None or not row.map50_uncompressed:
        return None
    return round(row.map50 / row.map50_uncompressed, 4)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
