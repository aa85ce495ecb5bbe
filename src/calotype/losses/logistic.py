"""Logistic regression: the best linear judge of features, found at once and not by a training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ITERATIONS = 100


def logistic(features: Tensor, labels: Tensor, classes: int, decay: float, share: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weights (K, d) and biases (K,) of the linear map of features to logits with the smallest cross entropy plus penalty, by L-BFGS.

    The problem is convex, so that it has one solution whatever the start. Features are standardized within, which the result takes back.

    Args:
        features: (N, d) float32.
        labels: (N,) int64 in [0, K).
        classes: K.
        decay: half of this times the sum of the squared weights, of standardized features, is added to the mean cross entropy.
        share: (N,) of each row in the cross entropy, with a sum of 1; all alike where none are given.
    """
    x = features.detach().float()
    center, scale = x.mean(0), x.std(0, correction=0).clamp_min(1e-6)
    x = (x - center) / scale
    weight = torch.zeros(classes, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, tolerance_grad=1e-5, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = functional.linear(x, weight, bias)
        if share is None:
            entropy = functional.cross_entropy(logits, labels)
        else:
            entropy = (share * functional.cross_entropy(logits, labels, reduction="none")).sum()
        found = entropy + 0.5 * decay * weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    turned = weight.detach() / scale
    return turned, bias.detach() - turned @ center
