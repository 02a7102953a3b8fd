"""Several training processes under torchrun: who we are, our device, and keeping step."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import distributed, nn

from slimtrain.loop.errors import ProcessesError


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
    def join(cls, device: str) -> Processes:
        """Those that torchrun started, or this one alone; of several on CUDA each has a card of
        its own.
        """
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        own = torch.device(device)
        if world > 1:
            if device == "cuda":
                own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            if not distributed.is_initialized():
                distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
        return cls(rank, world, own)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part_of(self, batch: int) -> int:
        """Pictures of a batch that are this process's.

        Raises:
            ProcessesError: the batch cannot be divided.
        """
        if batch % self.world:
            raise ProcessesError(f"a batch of {batch} does not divide among {self.world} processes")
        return batch // self.world

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

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """The mean over the processes, in one exchange; no gradient counts as zero, since a
        process may draw no picture for some level.
        """
        if self.world == 1:
            return
        given = list(parameters)
        for parameter in given:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in given if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients]) / self.world
        distributed.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def leave(self) -> None:
        """The run is over."""
        if self.world > 1:
            distributed.destroy_process_group()


def best_device() -> str:
    """cuda where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def refuse_processes(what: str) -> None:
    """Several of them would each train the whole, and write the same files.

    Raises:
        ProcessesError: torchrun started more than one process.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        raise ProcessesError(
            f"{what} trains in one process, torchrun started {world}; start it without torchrun "
            "(`train codec` is the one that divides its batch)"
        )
