"""A training run's weights in small float16 files, and back.

average of weights -float16, parts of at most 15 MB-> export/ -assemble_export-> Darknet
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from slimnets.darknet.detector import CfgSection, Darknet, format_cfg, parse_cfg
from slimtrain.loop.checkpoint import load_checkpoint

PART_BYTES = 15 * 10**6
"""Small enough for places that take files of at most 16 MiB."""


def export_average(
    out: Path, state: Mapping[str, Tensor], sections: Sequence[CfgSection]
) -> list[Path]:
    """Writes the averaged weights as float16 parts of at most 15 MB, the best ones too, with cfg
    and log.
    """
    folder = out / "export"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / "detector.cfg").write_text(format_cfg(sections))
    if (out / "log.csv").exists():
        (folder / "log.csv").write_bytes((out / "log.csv").read_bytes())
    written = _write_parts(folder, "average", state)
    best = load_checkpoint(out / "best.pt", torch.device("cpu"))
    if best is not None and any(
        not torch.equal(best["state"][name], tensor.cpu()) for name, tensor in state.items()
    ):
        written += _write_parts(folder, "best", best["state"])
    return written


def assemble_export(folder: Path, name: str = "average") -> Darknet:
    """The detector of an `export/` folder; `name` is "average" (the end of the run) or "best"."""
    parts = sorted(folder.glob(f"{name}.pt.*"))
    if not parts:
        raise FileNotFoundError(f"{folder}: has no {name}.pt.00")
    data = b"".join(part.read_bytes() for part in parts)
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    model = Darknet(parse_cfg((folder / "detector.cfg").read_text()))
    model.load_state_dict(
        {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    )
    return model.eval()


def _write_parts(folder: Path, name: str, state: Mapping[str, Tensor]) -> list[Path]:
    # Statistics and biases stay float32: a variance may leave float16's range.
    halved = {
        key: value.detach().cpu().half() if value.ndim == 4 else value.detach().cpu()
        for key, value in state.items()
    }
    stream = io.BytesIO()
    torch.save({key: value.contiguous() for key, value in halved.items()}, stream)
    data = stream.getvalue()
    written: list[Path] = []
    for number, start in enumerate(range(0, len(data), PART_BYTES)):
        path = folder / f"{name}.pt.{number:02d}"
        path.write_bytes(data[start : start + PART_BYTES])
        written.append(path)
    return written
