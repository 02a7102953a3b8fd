"""The training loop of all four trainers; they differ in what a step's losses are.

    Task.losses(step) -backward, mean of the processes, clip-> Adam -> weights -average-> shipped
                                      `-> log.csv, validation.csv   `-> checkpoint.pt (resumable)

A run is its folder: started again it goes on where it stopped or was killed, on the same draws, to
the same weights bit for bit. A step whose gradient is not finite is left out. Under torchrun every
process draws its share of the batch (`slimtrain.loop.processes`).
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from slimtrain.loop.checkpoint import (
    build_average,
    load_average,
    load_checkpoint,
    save_average,
    save_checkpoint,
)
from slimtrain.loop.log import Cell, Means, StepLog
from slimtrain.loop.processes import LoopError, Processes
from slimtrain.loop.schedule import Schedule

logger = logging.getLogger(__name__)

LOG_EVERY = 50  # steps in a row of log.csv, which has their means
SAVE_EVERY_SECONDS = 60.0
_SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices: large enough to be bound by sums
_SECONDS = 0.3  # of the measurement
_SHORTEST = 10.0  # seconds of a run whose throughput means something


class Task:
    """What is trained. Draws depend on (seed of the process, step) alone: runs resume exactly."""

    name: str  # of the weights, in the checkpoint: "codec"
    trained: nn.Module
    optimizer: torch.optim.Optimizer  # each of its groups has its `peak` learning rate
    # what the run is about, for people: with another of these it would be another run
    identity: Mapping[str, str]
    kept: Mapping[str, Any] = {}  # what else a checkpoint says to those who export it

    def begin(self) -> None:
        """Set the weights that a new run begins with; asked of the first process alone."""

    def losses(self, step: int, done: float) -> Mapping[str, Tensor]:
        """Scalars of the step's batch; the first is minimised, all are logged (NaN: nothing known).

        Args:
            done: 0 to 1, how much of the schedule is over.
        """
        raise NotImplementedError

    def validate(self) -> Sequence[Mapping[str, Cell]]:
        """Rows for validation.csv, of the averaged weights, which `trained` has meanwhile."""
        return []


@dataclass(frozen=True, slots=True)
class Loop:
    """One run."""

    out: Path  # folder of checkpoint.pt, log.csv and validation.csv; a checkpoint there is resumed
    schedule: Schedule
    average: float  # decay of the weight average
    steps: int | None = None  # of the whole schedule; None: `schedule_seconds` decides
    # of the whole schedule, over all its starts; with `steps`, whichever ends first
    schedule_seconds: float | None = None
    # stop after this much time of this start, with a checkpoint; None: run to the end
    seconds: float | None = None
    clip: float | None = None  # gradient norm; None: not clipped
    validate_every: float | None = None  # seconds; None: only at the end
    validate_first: bool = False  # also before the first step
    processes: Processes = Processes()
    clock: Callable[[], float] = time.monotonic

    def run(self, task: Task) -> bool:
        """Train, or go on training; whether the schedule is at its end. `task.trained` is left
        with the averaged weights.

        Raises:
            LoopError: the checkpoint in the folder is of a run on something else.
        """
        return _Run(self, task).run()

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"


class _Run:
    """The state of a run between its steps."""

    def __init__(self, loop: Loop, task: Task) -> None:
        self.loop, self.task = loop, task
        peaks = [group["peak"] for group in task.optimizer.param_groups]
        self.parameters = [p for p in task.trained.parameters() if p.requires_grad]
        self.step, self.seconds_before = 0, 0.0
        self.means = Means()
        state: dict[str, Any] | None = None
        if loop.checkpoint.exists():
            state = load_checkpoint(loop.checkpoint, next(task.trained.parameters()).device)
            self._check(state)
            task.trained.load_state_dict(state[task.name])
        elif loop.processes.is_first:
            task.begin()
        loop.processes.equalise(task.trained)
        self.average = build_average(task.trained, loop.average)
        if state is not None:
            load_average(self.average, state["average"])
            task.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds_before = int(state["step"]), float(state.get("seconds", 0.0))
            self.means = Means(**state.get("means", {}))
        for group, peak in zip(task.optimizer.param_groups, peaks, strict=True):
            group["peak"] = peak  # this start's, not the checkpoint's
        loop.out.mkdir(parents=True, exist_ok=True)
        first = loop.processes.is_first
        self.log = StepLog(loop.out / "log.csv" if first else None, self.step)
        self.validation = StepLog(loop.out / "validation.csv" if first else None, self.step)
        self.progress = tqdm(
            total=loop.steps or round(loop.schedule_seconds or 0),
            initial=self._progress_at(self.seconds_before),
            unit="step" if loop.steps else "s",
            mininterval=2.0,
            disable=not first,
        )

    def run(self) -> bool:
        loop = self.loop
        if loop.validate_first and self.step == 0:
            self._validate()
        first, started = self.step, loop.clock()
        saved = validated = 0.0
        spent = loop.processes.furthest(0.0)
        done = self._done(spent)
        while done < 1:
            self._learn(done)
            spent = loop.processes.furthest(loop.clock() - started)
            done = self._done(spent)
            is_over = done >= 1 or (loop.seconds is not None and spent > loop.seconds)
            self.progress.update(self._progress_at(self.seconds_before + spent) - self.progress.n)
            if self.step % LOG_EVERY == 0 or done >= 1:
                self._write_log(self.seconds_before + spent)
            if is_over or spent - saved > SAVE_EVERY_SECONDS:
                self._save(self.seconds_before + spent)
                saved = spent
            if is_over:
                break
            if loop.validate_every is not None and spent - validated > loop.validate_every:
                self._validate()
                validated = loop.processes.furthest(loop.clock() - started)
        self.progress.close()
        if loop.processes.is_first:
            device = self.parameters[0].device
            said = throughput(lambda: self._losses(done), device, self.step - first, spent)
            if said is not None:
                tqdm.write(said)
            self._validate()
        self.task.trained.load_state_dict(self.average.module.state_dict())
        return done >= 1

    def _progress_at(self, seconds: float) -> int:
        """In steps or, without a number of them, in seconds."""
        return self.step if self.loop.steps else round(seconds)

    def _done(self, spent: float) -> float:
        """How much of the schedule is over, 0 to 1."""
        loop = self.loop
        parts = [0.0]
        if loop.steps is not None:
            parts.append(self.step / loop.steps)
        if loop.schedule_seconds is not None:
            elapsed = self.seconds_before + spent
            parts.append(elapsed / max(1e-3, loop.schedule_seconds))
        return min(1.0, max(parts))

    def _learn(self, done: float) -> None:
        """One step."""
        loop, optimizer = self.loop, self.task.optimizer
        share = loop.schedule.share(self.step, loop.steps, done)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share
        buffers = list(self.task.trained.buffers())
        before = [buffer.clone() for buffer in buffers]
        losses = self._losses(done)
        if loop.processes.world > 1:
            self._average(buffers, before)
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        is_finite = bool(torch.isfinite(norm))
        if is_finite:
            if loop.clip is not None:
                clip_grads_with_norm_(self.parameters, loop.clip, norm)
            optimizer.step()
        else:
            logger.warning("step %d: the gradient is not finite; left out", self.step)
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)  # statistics of the batch, perhaps, as little finite
        self.average.update_parameters(self.task.trained)
        self.means.add({**losses, "gradient_norm": norm}, is_finite)
        self.step += 1

    def _losses(self, done: float) -> Mapping[str, Tensor]:
        """Those of the step, and their gradients."""
        losses = self.task.losses(self.step, done)
        self.task.optimizer.zero_grad(set_to_none=True)
        next(iter(losses.values())).backward()  # type: ignore[no-untyped-call]  # torch's
        return losses

    @torch.no_grad()
    def _average(self, buffers: Sequence[Tensor], before: Sequence[Tensor]) -> None:
        """The processes' means of gradients, and of what the forward pass moved. No gradient counts
        as zero, since a process may draw no picture for some level.
        """
        gradients: list[Tensor] = []
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        pairs = [(b, old) for b, old in zip(buffers, before, strict=True) if b.is_floating_point()]
        moves = [buffer - old for buffer, old in pairs]
        self.loop.processes.average([*gradients, *moves])
        for (buffer, old), move in zip(pairs, moves, strict=True):
            buffer.copy_(old + move)

    def _write_log(self, seconds: float) -> None:
        group = self.task.optimizer.param_groups[0]
        row: dict[str, Cell] = {
            "seconds": round(seconds, 1),
            "learning_rate": float(group["lr"]),
            **self.means.take(),
        }
        self.log.write(self.step, [row])
        figures = [(k, v) for k, v in list(row.items())[2:6] if isinstance(v, float)]
        self.progress.set_postfix_str(" ".join(f"{name} {value:.3g}" for name, value in figures))

    def _validate(self) -> None:
        if self.loop.processes.is_first:
            with _averaged(self.task.trained, self.average):
                self.validation.write(self.step, self.task.validate())

    def _save(self, seconds: float) -> None:
        if not self.loop.processes.is_first:
            return
        task = self.task
        state = {
            "step": self.step,
            "seconds": seconds,
            "identity": dict(task.identity),
            **task.kept,
            task.name: task.trained.state_dict(),
            "average": save_average(self.average),
            "optimizer": task.optimizer.state_dict(),
            "means": dict(vars(self.means)),
        }
        save_checkpoint(self.loop.checkpoint, state)

    def _check(self, state: Mapping[str, Any]) -> None:
        """Refuse a checkpoint of something else; what an older one does not say is believed."""
        then, now = state.get("identity", {}), self.task.identity
        wrong = [
            f"{what} {then[what]} there, {now[what]} here"
            for what in now
            if then.get(what, now[what]) != now[what]
        ]
        if wrong:
            raise LoopError(
                f"{self.loop.checkpoint} is of another run: {'; '.join(wrong)}. Give this one "
                "another --out, or remove that folder to begin anew"
            )


@contextmanager
def _averaged(trained: nn.Module, average: AveragedModel) -> Iterator[None]:
    """Lend `trained` the averaged weights."""
    own = {name: value.clone() for name, value in trained.state_dict().items()}
    trained.load_state_dict(average.module.state_dict())
    try:
        yield
    finally:
        trained.load_state_dict(own)


def throughput(
    step: Callable[[], object], device: torch.device, steps: int, seconds: float
) -> str | None:
    """What a run that is over made of its device, in a line; None if it was too short to say.

    The arithmetic is that of one more step, of all that runs in it, counted where torch computes
    convolutions and matrix products; beside it, what the device makes of one product in bf16.

    Args:
        step: runs one more, forward and backward.
        steps, seconds: of this process, without loading.
    """
    if seconds < _SHORTEST:
        return None
    # a compiled graph computes what the counter does not see
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        step()
    operations: int = counter.get_total_flops()
    done, ceiling = operations * steps / seconds, measure_ceiling(device)
    return (
        f"{steps / seconds:.2f} steps/s, {done / 1e9:.1f} GFLOP/s (counted: {operations / 1e9:.2f} "
        f"GFLOP a step), {done / ceiling:.0%} of what a matrix product reaches here in bf16 "
        f"({ceiling / 1e9:.0f} GFLOP/s)"
    )


def measure_ceiling(device: torch.device) -> float:
    """Operations per second of a matrix product, two for each multiply-accumulate."""
    side = _SIDES.get(device.type, _SIDES["cpu"])
    a, b = (torch.full((side, side), 0.5, dtype=torch.bfloat16, device=device) for _ in range(2))
    timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=torch.get_num_threads())
    return 2 * side**3 / timer.blocked_autorange(min_run_time=_SECONDS).median
