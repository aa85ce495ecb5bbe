"""What keeps the players of a GAN honest: penalties on gradients and on weights, clipped weights, noise on what a discriminator sees.

Images are (N, C, H, W) float32 (any shape with the batch first will do) and logits (N,) float32. A penalty is an unweighted
scalar whose own gradient can be taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

Critic = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Lazy:
    """Lazy regularization (Karras et al. 2020, section 3.1): a part of a player's loss that is computed at every k-th step only.

    There it counts k times, so that it weighs the same on average. A player owns its parameters alone: such a part is no player of its own.
    """

    weight: float
    every: int = 1  # k

    def due(self, step: int) -> bool:
        """Whether it is computed at this step of the loop."""
        return step % self.every == 0

    def of(self, penalty: Tensor) -> Tensor:
        """What the loss grows by where it is."""
        return self.weight * self.every * penalty


def squared_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """(N,) squared norms of the gradients of the logits by their images, which must have required gradients before the forward pass."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def r1(logits: Tensor, real: Tensor) -> Tensor:
    """Half the mean squared gradient at real images (Mescheder et al. 2018, eq. 9); multiply by gamma."""
    return 0.5 * squared_gradient(logits, real).mean()


def r2(logits: Tensor, fake: Tensor) -> Tensor:
    """Half the mean squared gradient at generated images (Mescheder et al. 2018, eq. 10); multiply by gamma."""
    return 0.5 * squared_gradient(logits, fake).mean()


def r1_r2(on_real: Tensor, real: Tensor, on_fake: Tensor, fake: Tensor) -> Tensor:
    """``r1 + r2`` in one backward pass, for a discriminator that judges each image by itself or both kinds apart."""
    of_real, of_fake = torch.autograd.grad(on_real.sum() + on_fake.sum(), (real, fake), create_graph=True)
    return 0.5 * (of_real.square().sum() / len(real) + of_fake.square().sum() / len(fake))


def gradient_penalty(
    critic: Critic, real: Tensor, fake: Tensor, rng: torch.Generator, *, one_sided: bool = False, coarseness: float = 1.0
) -> Tensor:
    """Mean squared distance of the gradient's norm from 1, at random points between real and generated images.

    Gulrajani et al. 2017, eq. 3. ``one_sided`` punishes only norms above 1 (Petzka et al. 2018). Of a critic that takes the means of
    so many pixels a side, the norm is that by these means, which is ``coarseness`` times as large.
    """
    share = torch.rand(_per_image(real), generator=rng, device=real.device)
    return _norm_penalty(critic, fake + share * (real - fake), one_sided, coarseness)


def dragan(critic: Critic, real: Tensor, rng: torch.Generator, *, scale: float = 0.5) -> Tensor:
    """Mean squared distance of the gradient's norm from 1, around the real images (Kodali et al. 2017, eq. 1).

    Each real image moves a random share of the way to itself plus uniform noise of ``scale`` standard deviations of the batch.
    """
    share = torch.rand(_per_image(real), generator=rng, device=real.device)
    noise = torch.rand(real.shape, generator=rng, device=real.device)
    return _norm_penalty(critic, real + share * noise * (scale * real.std()), False)


def path_lengths(images: Tensor, latents: Tensor, rng: torch.Generator) -> Tensor:
    """(N,) lengths of J^T y: how far generated images move in a random direction y when their latents do (Karras et al. 2020, eq. 4).

    J is the Jacobian of a generator that makes each image by itself; y is normal, and images of any size have lengths alike. The latents
    (N, z) must have required gradients before the forward pass; of latents for each of several layers, (N, layers, z), it is the root of
    the mean square of their lengths. Path length regularization punishes the distance from the running mean.
    """
    direction = torch.randn(images.shape, generator=rng, device=images.device) / math.sqrt(images[0, 0].numel())
    (gradient,) = torch.autograd.grad((images * direction).sum(), latents, create_graph=True)
    squares = gradient.square().sum(-1)
    return ((squares.mean(1) if squares.ndim > 1 else squares) + 1e-12).sqrt()


def orthogonality(module: nn.Module, exempt: Iterable[nn.Module] = ()) -> Tensor:
    """How far the rows of a module's weights are from being orthogonal to each other; multiply by beta (1e-4 in the paper).

    Half the sum of |W W^T o (1 - I)|^2 over all weights but vectors (Brock et al. 2019, eq. 3), with W as (out, -1) and its rows of any
    length; the gradient is 2 (W W^T o (1 - I)) W. Weights of the modules ``exempt`` do not count, such as embeddings of classes. Of
    weights that a parametrization changes the trained ones count, as in the paper.
    """
    spared = {id(weight) for one in exempt for weight in one.parameters()}
    weights = [weight for weight in module.parameters() if weight.ndim > 1 and weight[0].numel() > 1 and id(weight) not in spared]
    if not weights:
        return torch.zeros(())
    with torch.autocast(weights[0].device.type, enabled=False):
        return 0.5 * torch.stack([_products(weight.flatten(1)) for weight in weights]).sum()


def instance_noise(images: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """The images with Gaussian noise of the given standard deviation (Sønderby et al. 2017); the images themselves stay as they are."""
    return images + strength * torch.randn(images.shape, generator=rng, device=images.device)


def clip_weights(module: nn.Module, limit: float) -> None:
    """Clamp every parameter that is trained to [-limit, limit] in place (Arjovsky et al. 2017, algorithm 1)."""
    with torch.no_grad():
        weights: list[Tensor] = [p for p in module.parameters() if p.requires_grad]
        torch._foreach_clamp_min_(weights, -limit)
        torch._foreach_clamp_max_(weights, limit)


def _products(rows: Tensor) -> Tensor:
    """The sum of the squared inner products of all pairs of different rows."""
    if len(rows) > rows.shape[1]:  # |W W^T| = |W^T W|, which is the smaller matrix: layers of many outputs would need gigabytes
        return (rows.T @ rows).square().sum() - rows.square().sum(1).square().sum()
    gram = rows @ rows.T
    return (gram - gram.diagonal().diag()).square().sum()


def _norm_penalty(critic: Critic, points: Tensor, one_sided: bool, coarseness: float = 1.0) -> Tensor:
    points = points.detach().requires_grad_()
    # the small term keeps the root differentiable where the gradient is zero
    excess = coarseness * (squared_gradient(critic(points), points) + 1e-12).sqrt() - 1
    return (relu(excess) if one_sided else excess).square().mean()


def _per_image(images: Tensor) -> tuple[int, ...]:
    return (len(images),) + (1,) * (images.ndim - 1)
