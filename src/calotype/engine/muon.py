"""Muon (Jordan et al. 2024): each step of a hidden layer's matrix has all its singular values near one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from calotype.parallel import whole

MOMENTUM = 0.95  # share of the running mean of gradients that each step keeps
ITERATIONS = 5  # of Newton and Schulz
QUINTIC = (3.4445, -4.7750, 2.0315)  # a x + b x^3 + c x^5: takes singular values between 0 and 1 near 1, small ones fast
MATCHED = 0.2  # root mean square of a step of AdamW, relative to the learning rate (Liu et al. 2025, section 2.2)
LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def hidden(module: nn.Module) -> list[nn.Parameter]:
    """The matrices of a network's hidden layers: its convolutions, or its linear layers where it has no three convolutions.

    The first and the last of them are left to AdamW, as Jordan et al. advise, and so are the linear layers between convolutions: they embed
    and modulate, once an image and not at every pixel, and would cost more to orthogonalize than to compute.
    """
    for kind in LAYERS:
        layers = [layer for layer in module.modules() if isinstance(layer, kind)][1:-1]
        if layers:
            return [p for layer in layers for p in layer.parameters() if p.ndim > 1 and p.requires_grad]
    return []


class Muon(torch.optim.Optimizer):
    """Muon for ``hidden`` parameters, with Nesterov's momentum, and AdamW for all others.

    A convolution is a matrix with a row for each output. Steps have the root mean square of those of AdamW, so that both share a learning
    rate. Parameters stay in the order in which they are given, which names the state of each.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        hidden: Collection[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        fused: bool,
    ) -> None:
        # fused: how AdamW's counters are loaded
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "fused": fused})
        chosen = {id(p) for p in hidden}
        rest = [p for p in parameters if id(p) not in chosen]
        self.alike: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)  # by the shape of the matrix, lying
        for p in parameters:
            if id(p) in chosen:
                self.alike[_lying(p.shape)].append(p)
        self.rest = torch.optim.AdamW(rest, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused) if rest else None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter by its gradient."""
        lr, decay = self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]
        if self.rest is not None:
            self.rest.state = self.state  # one memory, whoever loaded it
            self.rest.param_groups[0] |= {"lr": lr, "betas": self.param_groups[0]["betas"]}
            self.rest.step()
        for (_, longer), parameters in self.alike.items():
            steps = orthogonal(torch.stack([_matrix(whole(g)) for g in self._ahead(parameters)]))  # no part of a matrix can be
            if decay:
                torch._foreach_mul_([*parameters], 1 - lr * decay)
            for parameter, step in zip(parameters, steps, strict=True):
                parameter.sub_(_like(parameter, step), alpha=lr * MATCHED * longer**0.5)

    def _ahead(self, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor]:
        """The means of the gradients so far, a step ahead."""
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        means = [self.state[p]["momentum_buffer"] for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        ahead: Sequence[Tensor] = torch._foreach_lerp(gradients, means, MOMENTUM)
        return ahead


def orthogonal(matrices: Tensor) -> Tensor:
    """(..., rows, columns), rows at most columns, with all singular values near 1: between .7 and 1.2 for those not far below the largest.

    Newton and Schulz apply an odd polynomial p(G) X with G = X X^T again and again. All p(G) commute, so that G alone need be followed, by
    G <- p(G) G p(G), and X is multiplied once, at the end: a third of the work where a matrix is nine times as wide as high.
    """
    a, b, c = QUINTIC
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram, product = x @ x.mT, None
    for iteration in range(ITERATIONS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
        product = polynomial if product is None else polynomial @ product
        if iteration < ITERATIONS - 1:
            gram = polynomial @ gram @ polynomial
    found: Tensor = x if product is None else product @ x
    return found


def _lying(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the matrix of a parameter, transposed where it is higher than wide."""
    rows, columns = shape[0], math.prod(shape[1:])
    return min(rows, columns), max(rows, columns)


def _matrix(tensor: Tensor) -> Tensor:
    """A row for each output, and the inputs last, as channels-last weights lie in memory; transposed where it is higher than wide."""
    matrix = tensor.movedim(1, -1).flatten(1)
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


def _like(parameter: Tensor, matrix: Tensor) -> Tensor:
    """A matrix as `_matrix` makes it, in the shape of a parameter and sharded as it is."""
    first, second, *rest = parameter.shape
    upright = matrix if len(matrix) == first else matrix.mT
    shaped = upright.reshape(first, *rest, second).movedim(-1, 1)
    if not hasattr(parameter, "full_tensor"):
        return shaped
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(shaped, parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]
