"""Several training processes under torchrun: who we are, our device, and keeping step."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, distributed, nn

_SEEDS = 1 << 16  # between the draws of two processes


class LoopError(ValueError):
    """What stops a run before its first step: another run's folder, or too many processes."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run; the default is a run alone.

    Each draws its own part of every batch. Weights begin equal, gradients are averaged and every
    decision that a clock takes is taken together, so all of them hold the same weights; the first
    writes the files.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")

    @classmethod
    @contextmanager
    def join(cls, device: str | None, threads: int | None = None) -> Iterator[Self]:
        """Be one of those that torchrun started, or alone, until the block ends.

        Args:
            device: None: cuda where there is one; of several processes each has a card of its own.
            threads: of torch on the CPU; None: torch's choice.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        own = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            yield cls(device=own)
            return
        if own.type == "cuda":
            own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        is_member = distributed.is_initialized()
        if not is_member:
            distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
        try:
            yield cls(distributed.get_rank(), world, own)
        finally:
            if not is_member:
                distributed.destroy_process_group()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part_of(self, batch: int) -> int:
        """Pictures of a batch that are this process's.

        Raises:
            LoopError: the batch cannot be divided.
        """
        if batch % self.world:
            raise LoopError(f"a batch of {batch} does not divide among {self.world} processes")
        return batch // self.world

    def seed_of(self, seed: int) -> int:
        """Of this process's own draws."""
        return seed + self.rank * _SEEDS

    def furthest(self, value: float) -> float:
        """The greatest of all processes: of clocks, the one that all of them go by."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, device=self.device, dtype=torch.float64)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return float(shared)

    def equalise(self, module: nn.Module) -> None:
        """Give every process the first one's weights."""
        if self.world > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Put the mean over the processes in the place of each, in one exchange."""
        given = list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in given]) / self.world
        distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in given])
        for tensor, part in zip(given, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def is_first_process() -> bool:
    """Whether it is this process that writes results and speaks; of a run alone it is."""
    return int(os.environ.get("RANK", "0")) == 0
