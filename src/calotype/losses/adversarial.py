"""Adversarial losses, one function each, which serves both players.

Every function takes whose loss it is, the logits of the generated images ``fake`` (N,) and those of the real ones ``real`` (M,),
float32 and unbounded, and returns the scalar to minimize, a mean over the batch. In the generator's loss ``real`` may be missing
unless ``LOSSES`` says that the loss needs it. Everything is computed from logits with ``softplus``, which stays finite at any logit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import relu, softplus

Role = Literal["discriminator", "generator"]


def minimax(role: Role, fake: Tensor, real: Tensor | None = None, *, target: float = 1.0) -> Tensor:
    """The original game (Goodfellow et al. 2014, eq. 1), in which the generator minimizes log(1 - D(G(z))).

    Its gradient vanishes where the discriminator is sure; kept to show why nobody trains with it.
    ``target`` is the label of real images in the discriminator's loss (one-sided smoothing, Salimans et al. 2016).
    """
    if role == "generator":
        return -softplus(fake).mean()
    return _cross_entropy(fake, _given(real), target)


def non_saturating(role: Role, fake: Tensor, real: Tensor | None = None, *, target: float = 1.0) -> Tensor:
    """Cross entropy; the generator maximizes log D(G(z)) (Goodfellow et al. 2014, section 3).

    ``target`` is the label of real images in the discriminator's loss (one-sided smoothing, Salimans et al. 2016).
    """
    if role == "generator":
        return softplus(-fake).mean()
    return _cross_entropy(fake, _given(real), target)


def least_squares(role: Role, fake: Tensor, real: Tensor | None = None, *, target: float = 1.0) -> Tensor:
    """Squared distance to the labels 0 and 1, half of each term (Mao et al. 2017, eq. 9).

    ``target`` is the label of real images in the discriminator's loss.
    """
    if role == "generator":
        return 0.5 * (fake - 1).square().mean()
    return 0.5 * ((_given(real) - target).square().mean() + fake.square().mean())


def hinge(role: Role, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Hinge loss (Lim and Ye 2017; Miyato et al. 2018, eq. 16 and 17)."""
    if role == "generator":
        return -fake.mean()
    return relu(1 - _given(real)).mean() + relu(1 + fake).mean()


def wasserstein(role: Role, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Difference of the critic's means (Arjovsky et al. 2017, eq. 2); the critic must be kept Lipschitz by other means."""
    if role == "generator":
        return -fake.mean()
    return fake.mean() - _given(real).mean()


def relativistic_pairing(role: Role, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """softplus of the difference between the two logits of a pair (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2).

    ``fake`` and ``real`` have the same length: row i of one is paired with row i of the other.
    """
    margin = _given(real) - fake
    return softplus(-margin if role == "discriminator" else margin).mean()


def relativistic_average(role: Role, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Cross entropy of each logit relative to the mean of the other kind (Jolicoeur-Martineau 2018, RaSGAN)."""
    real = _given(real)
    real_over_fake = real - fake.mean()
    fake_over_real = fake - real.mean()
    if role == "generator":
        real_over_fake, fake_over_real = -real_over_fake, -fake_over_real
    return softplus(-real_over_fake).mean() + softplus(fake_over_real).mean()


@dataclass(frozen=True)
class Adversarial:
    """A loss and what a model must know of it."""

    function: Callable[..., Tensor]
    needs_real: bool = False  # whether the generator's loss needs the logits of real images
    smooths: bool = False  # whether it takes ``target``, the smoothed label of real images
    log_odds: bool = False  # whether sigmoid(logit) is the discriminator's belief that an image is real
    boundary: float | None = None  # the logit above which an image counts as real, if the loss knows one


LossName = Literal["minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic_pairing", "relativistic_average"]

LOSSES: dict[LossName, Adversarial] = {
    "minimax": Adversarial(minimax, smooths=True, log_odds=True, boundary=0.0),
    "non_saturating": Adversarial(non_saturating, smooths=True, log_odds=True, boundary=0.0),
    "least_squares": Adversarial(least_squares, smooths=True, boundary=0.5),
    "hinge": Adversarial(hinge, boundary=0.0),
    "wasserstein": Adversarial(wasserstein),
    "relativistic_pairing": Adversarial(relativistic_pairing, needs_real=True),
    "relativistic_average": Adversarial(relativistic_average, needs_real=True),
}


def ranked_above(above: Tensor, below: Tensor) -> Tensor:
    """The share of pairs in which a logit of the first kind, (N,) or (N, K), is the larger one; ties count half."""
    above, below = (logits.flatten(1).mean(1) if logits.ndim > 1 else logits for logits in (above, below))
    gap = above[:, None] - below[None, :]
    return 0.5 * (1 + gap.sign().mean())


def _cross_entropy(fake: Tensor, real: Tensor, target: float) -> Tensor:
    # -[t log s(r) + (1 - t) log(1 - s(r))] = softplus(-r) + (1 - t) r
    of_real = softplus(-real).mean()
    if target != 1.0:
        of_real = of_real + (1 - target) * real.mean()
    return of_real + softplus(fake).mean()


def _given(real: Tensor | None) -> Tensor:
    if real is None:
        raise ValueError("this loss needs the logits of real images")
    return real
