"""Training runs that are killed on their way, and what they must leave."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from slimtrain.loop.schedule import Schedule

NEVER, ALWAYS = 1e9, -1.0  # seconds between two checkpoints


class KilledError(BaseException):
    """Ends a run between two instructions, as SIGKILL would: nothing is saved."""


@contextmanager
def killed_at(step: int, save_every: float) -> Iterator[None]:
    """Runs in this block end when they begin this step, and save this often."""
    share = Schedule.share

    def share_or_die(self: Schedule, at: int, steps: int | None, done: float) -> float:
        if at == step:
            raise KilledError
        return share(self, at, steps, done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schedule, "share", share_or_die)
        patch.setattr("slimtrain.loop.loop.SAVE_EVERY_SECONDS", save_every)
        try:
            yield
        except KilledError:
            return
        pytest.fail(f"the run ended before step {step}")


def check_killed_run_ends_like_a_whole_one(train: Callable[[Path], object], folder: Path) -> None:
    """Weights, averages, moments and log.csv are equal, whenever the run was killed.

    Args:
        train: makes the run in a folder, or goes on with it, for at least eight steps.
    """
    whole, broken = folder / "whole", folder / "broken"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slimtrain.loop.loop.LOG_EVERY", 2)
        train(whole)
        with killed_at(3, ALWAYS):
            train(broken)
        with killed_at(7, NEVER):  # its rows of steps 4 and 6 are of a future that is lost
            train(broken)
        assert [row["step"] for row in log_of(broken)] == ["2", "4", "6"]
        train(broken)

    expected, found = tensors_of(whole), tensors_of(broken)
    assert expected.keys() == found.keys()
    assert not [name for name, value in expected.items() if not torch.equal(found[name], value)]
    assert [_but_seconds(row) for row in log_of(broken)] == [
        _but_seconds(row) for row in log_of(whole)
    ]


def log_of(run: Path, name: str = "log.csv") -> list[dict[str, str]]:
    with (run / name).open(newline="") as file:
        return list(csv.DictReader(file))


def tensors_of(run: Path) -> dict[str, Tensor]:
    """All tensors of a run's checkpoint, by their path in it."""
    return dict(_flatten("", torch.load(run / "checkpoint.pt", weights_only=True)))


def _flatten(path: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _flatten(f"{path}/{key}", each)


def _but_seconds(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name != "seconds"}
