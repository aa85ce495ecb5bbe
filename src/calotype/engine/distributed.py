"""Several processes, one model: what the loop needs of PyTorch's own engine, started by ``torchrun`` or Slurm's ``srun``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int = 0
    size: int = 1
    local: int = 0  # the rank on this machine: which GPU to take

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over all processes, in one flat all-reduce."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def agree(self, value: int, device: torch.device) -> int:
        """The first process's ``value``, everywhere."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], device=device, dtype=torch.int64)
        dist.broadcast(shared, 0)
        return int(shared)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        shared = torch.tensor([float(flag)], device=device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared)


def join(device: str) -> World:
    """Join the processes that ``torchrun`` (or ``srun`` with the same variables) started; alone where there are none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        on_gpu = device != "cpu" and torch.cuda.is_available()
        dist.init_process_group("nccl" if on_gpu else "gloo")
    return World(dist.get_rank(), size, int(os.environ.get("LOCAL_RANK", "0")))


def leave() -> None:
    """Leave the group of processes, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
