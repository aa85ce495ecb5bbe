"""The gradient of a player's loss with respect to its own parameters: neither computed nor kept for those of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from calotype.engine.device import trainable
from calotype.engine.muon import hidden
from calotype.errors import TrainingError

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


class Owned:
    """The parameters of one player, whole or sharded over processes by ``torch.distributed.fsdp.fully_shard``.

    A sharded parameter takes no part in a computation: what its module computes with is gathered from all processes, and the gradient
    of that is reduced to the shard by hooks, which only ``backward`` runs (``torch.autograd.grad`` of the shard sees nothing).
    ``twice`` says that a loss differentiates gradients: then what was gathered stays until the player has taken its step.
    """

    def __init__(self, name: str, module: nn.Module, *, twice: bool = False) -> None:
        self.name = name
        self.parameters = trainable(module)
        self.sharded = any(_is_sharded(p) for p in self.parameters)
        self.hidden = hidden(module)
        self._shards = _shards(module) if self.sharded else []
        self._leaves: Sequence[Tensor] = _gathered(module, self._shards) if self.sharded else self.parameters
        self._kept = self._shards if twice else []
        for part in self._kept:  # or the first gradient frees what the gradient of the gradient is computed with
            part.set_reshard_after_backward(False)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a scalar to what `gradients` returns."""
        loss.backward(inputs=self._leaves)  # type: ignore[no-untyped-call]

    def gradients(self) -> list[Tensor]:
        """One gradient for each parameter, zeros where the losses do not depend on it.

        Raises:
            TrainingError: where they depend on none of them.
        """
        if all(p.grad is None for p in self.parameters):
            raise TrainingError(f"the loss of {self.name} does not depend on its parameters")
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [p.grad for p in self.parameters if p.grad is not None]

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None
        for part in self._kept:  # what was gathered is that of before the step
            part.reshard()


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")  # asked this way, because importing what answers it properly takes longer than a step


def _shards(module: nn.Module) -> list[FSDPModule]:
    """The parts of a module whose parameters are sharded."""
    from torch.distributed.fsdp import FSDPModule

    return [part for part in module.modules() if isinstance(part, FSDPModule)]


def _gathered(module: nn.Module, shards: Sequence[FSDPModule]) -> list[Tensor]:
    """What the modules compute with in place of their shards; the same tensors in every step."""
    for part in shards:
        part.unshard()
    leaves: list[Tensor] = [*trainable(module)]
    for part in shards:
        part.reshard()
    return leaves


def norm_of(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of several tensors taken as one vector, as a scalar tensor."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return norm.full_tensor() if _is_sharded(norm) else norm  # type: ignore[attr-defined]
