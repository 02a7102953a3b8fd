"""Several training processes under torchrun: who we are, our device, and leaving together."""

from __future__ import annotations

import os

import torch
from torch import distributed


def own_device(name: str, world: int) -> torch.device:
    """The device of this process; of several processes on CUDA each has a card of its own."""
    if world > 1 and name == "cuda":
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def join_processes() -> tuple[int, int]:
    """(rank, world size); joins the process group when torchrun started us."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return int(os.environ.get("RANK", "0")), world


def agree(stop: bool, world: int, device: torch.device) -> bool:
    """True for all processes if it is true for one: they must leave the loop together."""
    if world == 1:
        return stop
    flag = torch.tensor(int(stop), device=device)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag)
