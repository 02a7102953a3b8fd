"""The loop of all trainers, with a task so small that every step can be looked at."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slimtrain.loop.checkpoint import load_checkpoint
from slimtrain.loop.log import Cell
from slimtrain.loop.loop import Loop, Task
from slimtrain.loop.processes import LoopError, Processes
from slimtrain.loop.schedule import Schedule
from support.broken_runs import check_killed_run_ends_like_a_whole_one, log_of, tensors_of

CONSTANT = Schedule(warm_up=0, last=1.0)


@dataclass
class Line(Task):
    """Fits y = 2 x + 1 through batches that depend on the step alone."""

    pictures: str = "3 (abc)"
    spoiled: frozenset[int] = frozenset()
    name: str = "line"
    begun: int = 0
    validated: list[tuple[float, float]] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.identity = {"pictures": self.pictures}
        self.kept = {"config": "a line"}
        self.trained = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1))
        self.optimizer = torch.optim.Adam(
            [{"params": list(self.trained.parameters()), "peak": 0.1}]
        )

    def begin(self) -> None:
        self.begun += 1

    def losses(self, step: int, done: float) -> Mapping[str, Tensor]:
        self.seen.append(done)
        x = torch.randn(8, 1, generator=torch.Generator().manual_seed(step))
        if step in self.spoiled:
            x[0] = math.inf
        self.trained.train()
        loss = (self.trained(x) - 2 * x - 1).square().mean()
        return {"loss": loss, "odd": loss.detach() if step % 2 else loss.new_tensor(math.nan)}

    def validate(self) -> list[dict[str, Cell]]:
        weight = self.weight
        self.validated.append(weight)
        return [{"weight": weight[0]}]

    @property
    def weight(self) -> tuple[float, float]:
        state = self.trained.state_dict()
        return float(state["1.weight"]), float(state["1.bias"])


def make_clock(seconds: float) -> Callable[[], float]:
    """A clock on which so much passes between two looks."""
    times: Iterator[int] = iter(range(10**6))
    return lambda: seconds * next(times)


def test_killed_run_ends_like_a_whole_one(tmp_path: Path) -> None:
    def train(out: Path) -> None:
        Loop(out, Schedule(4, 0.1), average=0.9, steps=11, clip=1.0).run(Line())

    check_killed_run_ends_like_a_whole_one(train, tmp_path)


def test_only_a_new_run_begins(tmp_path: Path) -> None:
    first, second = Line(), Line()

    assert not Loop(tmp_path, CONSTANT, 0.9, steps=5, seconds=0.5, clock=make_clock(1)).run(first)
    assert Loop(tmp_path, CONSTANT, 0.9, steps=5).run(second)

    assert (first.begun, second.begun) == (1, 0)
    assert [len(line.seen) for line in (first, second)] == [1, 4]


def test_what_is_shipped_is_the_average_of_the_weights(tmp_path: Path) -> None:
    line = Line()

    Loop(tmp_path, CONSTANT, average=0.5, steps=3).run(line)

    again, average = Line(), 0.0
    for step in range(3):
        before = float(again.weight[0])
        average = before if step == 0 else average
        again.losses(step, 0)["loss"].backward()  # type: ignore[no-untyped-call]
        again.optimizer.param_groups[0]["lr"] = 0.1
        again.optimizer.step()
        again.optimizer.zero_grad()
        decay = min(0.5, (2 + step) / (11 + step))
        average = decay * average + (1 - decay) * again.weight[0]
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert line.weight[0] == pytest.approx(average)
    assert float(state["line"]["1.weight"]) == pytest.approx(again.weight[0])
    assert state["average"]["steps"] == 3
    assert state["config"] == "a line"


def test_step_whose_gradient_is_not_finite_is_left_out_with_its_statistics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Loop(tmp_path / "spoiled", CONSTANT, 0.9, steps=8, clip=1.0).run(
            Line(spoiled=frozenset({3, 6}))
        )

    assert all(torch.isfinite(value).all() for value in tensors_of(tmp_path / "spoiled").values())
    (row,) = log_of(tmp_path / "spoiled")
    assert row["left_out"] == "2"
    assert math.isfinite(float(row["loss"]))
    assert "step 3: the gradient is not finite" in caplog.text


def test_run_on_something_else_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Loop(tmp_path, CONSTANT, 0.9, steps=2).run(Line())
    before = (tmp_path / "checkpoint.pt").read_bytes()

    with pytest.raises(LoopError, match=r"pictures 3 \(abc\) there, 4 \(abd\) here") as info:
        Loop(tmp_path, CONSTANT, 0.9, steps=4).run(Line(pictures="4 (abd)"))

    assert "another --out, or remove that folder" in str(info.value)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_checkpoint_of_before_identities_goes_on(tmp_path: Path) -> None:
    Loop(tmp_path, CONSTANT, 0.9, steps=2).run(Line())
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    for name in ("identity", "means", "seconds"):
        del state[name]
    torch.save(state, path)

    assert Loop(tmp_path, CONSTANT, 0.9, steps=4).run(Line())


def test_time_ends_a_schedule_as_steps_do(tmp_path: Path) -> None:
    line = Line()

    done = Loop(
        tmp_path, Schedule(1, 0.0), 0.9, steps=100, schedule_seconds=4.0, clock=make_clock(1)
    ).run(line)

    assert done
    assert line.seen == [0, 0.25, 0.5, 0.75]
    (row,) = log_of(tmp_path)
    assert (row["step"], row["seconds"]) == ("4", "4")
    again = Line()
    Loop(tmp_path, Schedule(1, 0.0), 0.9, schedule_seconds=8.0, clock=make_clock(1)).run(again)
    assert again.seen == [0.5, 0.625, 0.75, 0.875]


def test_rows_are_means_of_what_is_known(tmp_path: Path) -> None:
    line = Line()
    Loop(tmp_path / "even", CONSTANT, 0.9, steps=1).run(line)
    Loop(tmp_path / "both", CONSTANT, 0.9, steps=2).run(Line())

    assert log_of(tmp_path / "even")[0]["odd"] == ""
    (row,) = log_of(tmp_path / "both")
    first = float(log_of(tmp_path / "even")[0]["loss"])
    assert float(row["loss"]) == pytest.approx((first + float(row["odd"])) / 2, rel=1e-3)


def test_averaged_weights_are_lent_for_validation_and_stand_once_a_step(tmp_path: Path) -> None:
    line = Line()
    loop = Loop(tmp_path, CONSTANT, 0.5, steps=3, validate_every=0.5, validate_first=True)

    Loop(tmp_path, CONSTANT, 0.5, steps=3).run(Line())  # rows that the next two replace
    (tmp_path / "checkpoint.pt").unlink()
    Loop(
        tmp_path,
        CONSTANT,
        0.5,
        steps=3,
        validate_every=0.5,
        validate_first=True,
        clock=make_clock(1),
    ).run(line)
    loop.run(Line())

    assert [row["step"] for row in log_of(tmp_path, "validation.csv")] == ["0", "1", "2", "3"]
    assert line.validated[-1] == line.weight
    whole = Line()
    Loop(tmp_path / "whole", CONSTANT, 0.5, steps=3).run(whole)
    assert line.weight == whole.weight, "what was lent was given back"


def test_new_peaks_go_before_those_of_the_checkpoint(tmp_path: Path) -> None:
    Loop(tmp_path, CONSTANT, 0.9, steps=1).run(Line())
    slow = Line()
    slow.optimizer.param_groups[0]["peak"] = 1e-9
    before = load_checkpoint(tmp_path / "checkpoint.pt")

    Loop(tmp_path, CONSTANT, 0.9, steps=2).run(slow)

    after = load_checkpoint(tmp_path / "checkpoint.pt")
    torch.testing.assert_close(after["line"]["1.weight"], before["line"]["1.weight"])


def test_schedules_warm_up_and_end_where_they_say() -> None:
    at_once, waiting = Schedule(4, 0.1), Schedule(4, 0.1, waits=True)

    assert [at_once.share(step, 20, 0.0) for step in (0, 3, 4)] == [0.25, 1.0, 1.0]
    assert at_once.share(20, 20, 1.0) == pytest.approx(0.1)
    assert [waiting.share(step, 20, step / 20) for step in (0, 3, 4)] == [0.25, 1.0, 1.0]
    assert waiting.share(12, 20, 0.6) == pytest.approx(0.55)
    assert Schedule(4, 0.0, waits=True, ahead=1).share(19, 20, 0.95) == 0.0


def test_batch_divides_among_processes_or_is_refused() -> None:
    assert Processes(rank=1, world=4).part_of(8) == 2
    with pytest.raises(LoopError, match="a batch of 6 does not divide among 4"):
        Processes(rank=1, world=4).part_of(6)


WORKER = """
import sys
sys.path[:0] = {path!r}
import torch
from pathlib import Path
from torch import nn
from test_loop import CONSTANT, Line
from slimtrain.loop.loop import Loop, Task
from slimtrain.loop.processes import Processes

class Half(Line):
    def losses(self, step, done):
        g = torch.Generator().manual_seed(step)
        x = torch.randn(8, 1, generator=g)[4 * processes.rank : 4 * processes.rank + 4]
        return {{"loss": (self.trained(x) - 2 * x - 1).square().mean()}}

    def begin(self):
        nn.init.constant_(self.trained[1].weight, 0.5)

with Processes.join("cpu") as processes:
    line = Half()
    line.trained[0] = nn.Identity()
    line.optimizer = torch.optim.SGD([{{"params": list(line.trained.parameters()), "peak": 0.1}}])
    Loop(Path({out!r}), CONSTANT, 0.9, steps=4, processes=processes).run(line)
"""


def test_two_processes_share_a_batch_and_end_like_one(tmp_path: Path) -> None:
    script, out = tmp_path / "worker.py", tmp_path / "run"
    script.write_text(WORKER.format(path=[str(Path(__file__).parent), *sys.path], out=str(out)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]

    done = subprocess.run(
        [*command, "--nproc-per-node=2", str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    line = Line()
    weight = torch.full((1, 1), 0.5)  # which the first one begins with
    bias = line.trained.state_dict()["1.bias"]
    for step in range(4):
        x = torch.randn(8, 1, generator=torch.Generator().manual_seed(step))
        error = weight * x + bias - 2 * x - 1
        weight, bias = weight - 0.2 * (error * x).mean(), bias - 0.2 * error.mean()
    trained = tensors_of(out)
    torch.testing.assert_close(trained["/line/1.weight"], weight)
    torch.testing.assert_close(trained["/line/1.bias"], bias)
