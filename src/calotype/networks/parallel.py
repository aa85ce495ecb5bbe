"""What a network takes from its batch, made equal on all processes."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def average(tensor: Tensor) -> Tensor:
    """The mean of ``tensor`` over all processes; the tensor itself where there is only one."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    mean = tensor.clone()
    dist.all_reduce(mean)
    return mean / dist.get_world_size()


def of_first(tensor: Tensor) -> Tensor:
    """The first process's ``tensor``, on all of them."""
    if not (dist.is_available() and dist.is_initialized()):
        return tensor
    shared = tensor.contiguous()
    dist.broadcast(shared, 0)
    return shared
