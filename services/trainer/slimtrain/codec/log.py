"""What a codec's training run says of itself: log.csv while it runs, validation.csv at its end."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import torch

from slimtrain.codec.loss import CodecLosses


class CodecLog:
    """log.csv, one row every few steps, and validation.csv at the end of a run."""

    def __init__(self, path: Path, levels: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        names = [
            f"{what}_{level}" for what in ("bpp", "machine", "psnr_db") for level in range(levels)
        ]
        if not path.exists():
            self._append(path, ["step", "loss", "gradient_norm", *names])

    def write(self, step: int, losses: CodecLosses, norm: float) -> str:
        psnr = -10 * torch.log10(losses.mse)
        values = torch.cat([losses.bpp, losses.machine, psnr]).tolist()
        total = losses.total.item()
        self._append(
            self.path, [step, f"{total:.5f}", f"{norm:.4f}", *(f"{v:.4f}" for v in values)]
        )
        K = len(losses.bpp)
        return (
            f"loss {total:.3f} bpp {values[0]:.3f}..{values[K - 1]:.3f} "
            f"machine {values[K]:.3f} psnr {values[-1]:.1f}"
        )

    def write_validation(self, step: int, rows: Sequence[dict[str, float]]) -> None:
        path = self.path.with_name("validation.csv")
        if not path.exists():
            self._append(path, ["step", *rows[0]])
        for row in rows:
            level, quality, *measured = row.values()
            self._append(path, [step, int(level), int(quality), *(f"{v:.4f}" for v in measured)])

    @staticmethod
    def _append(path: Path, row: Sequence[object]) -> None:
        with path.open("a", newline="") as file:
            csv.writer(file).writerow(row)
