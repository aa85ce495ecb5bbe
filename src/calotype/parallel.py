"""What several processes that train one model must have in common, made equal on all of them; alone, tensors stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from calotype.errors import LostError


def total(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all processes; the tensor itself where there is only one."""
    if processes() == 1:
        return tensor
    total = tensor.clone()
    with together():
        dist.all_reduce(total)
    return total


def average(tensor: Tensor) -> Tensor:
    """The mean of ``tensor`` over all processes; the tensor itself where there is only one."""
    return total(tensor) / processes() if processes() > 1 else tensor


def of_first(tensor: Tensor) -> Tensor:
    """The first process's ``tensor``, on all of them."""
    if processes() == 1:
        return tensor
    shared = tensor.clone(memory_format=torch.contiguous_format)
    with together():
        dist.broadcast(shared, 0)
    return shared


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that ``torch.distributed.fsdp.fully_shard`` may have sharded."""
    found: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return found


def processes() -> int:
    """How many processes train the same model."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def together() -> Iterator[None]:
    """Where processes wait for each other: `LostError` where one of them is no longer there, which every backend says in its own words."""
    try:
        yield
    except RuntimeError as error:
        raise LostError("a process of this training ended without a word, or cannot be reached") from error
