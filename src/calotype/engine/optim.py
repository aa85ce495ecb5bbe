"""From gradients to steps: optimizers, learning-rate schedules, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from calotype.config import Optimizer, Schedule, Training
from calotype.engine.device import is_statistic
from calotype.engine.muon import Muon
from calotype.losses.schedules import cosine

EMA_EVERY = 8  # steps between two updates of the averaged weights: the average hardly differs, the cost nearly vanishes


def make_optimizer(config: Optimizer, parameters: Sequence[nn.Parameter], hidden: Sequence[nn.Parameter] = ()) -> torch.optim.Optimizer:
    """The optimizer of one player, in the fused form where PyTorch has one for the device; muon is for ``hidden`` parameters."""
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
    lr, decay = config.lr, config.weight_decay
    match config.name:
        case "sgd":
            ahead = config.nesterov and config.momentum > 0
            return torch.optim.SGD(parameters, momentum=config.momentum, nesterov=ahead, fused=fused, lr=lr, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(parameters, betas=config.betas, fused=fused, lr=lr, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, betas=config.betas, fused=fused, lr=lr, weight_decay=decay)
        case "muon":
            return Muon(parameters, hidden, betas=config.betas, fused=fused, lr=lr, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, momentum=config.momentum, alpha=0.99, lr=lr, weight_decay=decay)
        case "adagrad":
            return torch.optim.Adagrad(parameters, fused=fused and parameters[0].device.type == "cpu", lr=lr, weight_decay=decay)


def memory(config: Optimizer, stepped: bool, hidden: bool = False) -> dict[str, bool]:
    """The tensors that an optimizer keeps of a parameter, before or after its first step: whether they have the parameter's shape."""
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimizer = make_optimizer(config, [parameter], [parameter] if hidden else [])
    if stepped:
        parameter.grad = torch.zeros(2, 2)
        optimizer.step()
    kept = optimizer.state_dict()["state"].get(0, {})
    return {name: t.shape == parameter.shape for name, t in kept.items() if isinstance(t, Tensor)}


def rate(schedule: Schedule, progress: float) -> float:
    """The learning rate at ``progress`` in [0, 1] of the budget, relative to its peak.

    >>> [rate(Schedule("linear", warmup=0.5), p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < schedule.warmup:
        return progress / schedule.warmup
    share = (progress - schedule.warmup) / max(1 - schedule.warmup, 1e-12)
    share = max(0.0, share - schedule.hold) / max(1 - schedule.hold, 1e-12)
    match schedule.kind:
        case "constant":
            return 1.0
        case "linear":
            shape = 1 - share
        case "cosine":
            shape = (1 + math.cos(math.pi * share)) / 2
    return schedule.final + (1 - schedule.final) * shape


def betas_at(config: Optimizer, progress: float) -> tuple[float, float]:
    """The betas of Adam at ``progress`` in [0, 1] of the budget (Huang et al. 2024 let the second rise).

    >>> betas_at(Optimizer(betas=(0.0, 0.9), beta2_end=0.99), 1.0), betas_at(Optimizer(betas=(0.0, 0.9)), 1.0)
    ((0.0, 0.99), (0.0, 0.9))
    """
    first, second = config.betas
    return first, cosine(second, config.beta2_end, progress)


def ema_share(config: Training, progress: float) -> float:
    """The half-life of the averaged weights as a share of the images seen, at ``progress`` in (0, 1] of the budget.

    Along a cosine the half-life itself, and not this share, grows as half a wave does; both ramps end at ``train.ema``.

    >>> [ema_share(Training(ema=0.2, ema_ramp=ramp), 0.5) for ramp in ("linear", "cosine")]
    [0.2, 0.2]
    >>> round(ema_share(Training(ema=0.2, ema_ramp="cosine"), 0.1), 3)
    0.049
    """
    return config.ema if config.ema_ramp == "linear" else cosine(0.0, config.ema, progress) / progress


def ema_decay(half_life_share: float, most_images: int, seen: int, fresh: int) -> float:
    """The weight that the average keeps after ``fresh`` images more.

    The half-life is a share of the images seen so far, capped at ``most_images``: an average that warms up by itself and has
    the same shape for every budget (the ramp of Karras et al. 2022, appendix F.2).
    """
    half_life = min(half_life_share * seen, most_images)
    return 0.5 ** (fresh / half_life) if half_life > 0 else 0.0


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged parameters and running statistics towards the model's; all other state is copied.

    A mean of states means something where they are means or weights themselves. Of counters it is no number of anything, and of the
    vectors of spectral normalization it has no unit length any more: the layer's largest singular value would be underestimated.
    """
    old, new = average.state_dict(), model.state_dict()
    averaged = {name for name, p in average.named_parameters(remove_duplicate=False) if p.is_floating_point()}
    averaged |= {name for name in old if is_statistic(name)}
    names = [name for name in old if name in averaged]
    torch._foreach_lerp_([old[name] for name in names], [new[name] for name in names], 1 - decay)
    for name in old.keys() - averaged:
        old[name].copy_(new[name])
