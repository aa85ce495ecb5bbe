"""Restoring with a model that makes images of latents (GANs, VAEs, flows): latents are sought that explain what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calotype.capabilities import HasLatents
from calotype.diffusion.measurement import Measurement
from calotype.diffusion.path import per_image
from calotype.errors import UserError
from calotype.types import Condition, Model, Noise

LR = 0.1  # of Adam at first; it falls along a cosine
LOOSE = 0.1  # standard deviation that the first search allows for what no latents make, in units of [-1, 1]


@dataclass(frozen=True)
class LatentFit:
    """How well the best latents explain each of N measurements."""

    misfit: Tensor  # (N,) standard deviation of what they leave unexplained, noise included
    classes: Tensor | None  # (N, K) probability of each class; None where there is nothing to choose


def search_latents(model: Model, measured: Measurement, noises: Sequence[Noise], steps: int, label: int | None = None) -> LatentFit:
    """The most probable latents of each image from several starts, and what they cannot explain.

    No latents make an image exactly: a posterior that took the noise for all of the difference would be far too sure of itself. A class
    that is not given is found by how well the best latents of each explain the image.

    Args:
        model: with latents.
        measured: N images.
        noises: the randomness of each start, N rows each.
        steps: of each search.
        label: the class of all images, where it is known.

    Raises:
        UserError: for a model whose latents no gradient leads to.
    """
    classes = len(model.spec.classes) if model.conditional and label is None else 1
    width = (measured.sigma.square() + LOOSE**2).sqrt()
    energies, misfits = [], []
    for number in range(classes):
        condition = _condition(model, measured, number if label is None else label)
        for noise in noises:
            z = noise.normal(*with_latents(model).latent_shape)
            center = torch.zeros_like(z)
            z = _descended(model, measured, z, center, width, condition, steps)
            image = _decoded(model, z, condition)
            energies.append(_energy(measured, image, z, center, width))
            misfits.append(measured.residual(image))
    energy = torch.stack(energies, 1)
    misfit = (torch.softmax(-energy, 1) * torch.stack(misfits, 1)).sum(1)
    best = energy.view(-1, classes, len(noises)).amin(2)
    return LatentFit(misfit, torch.softmax(-best, 1) if classes > 1 else None)


def posterior_images(
    model: Model, measured: Measurement, fit: LatentFit, noises: Sequence[Noise], steps: int, label: int | None = None
) -> Tensor:
    """Images (len(noises) N, C, H, W) of the posterior: the best latents after measurement and prior were both shifted at random.

    They minimize |y + e - A(decode(z))|^2 / misfit^2 + |z - z0|^2 with e drawn from the noise and z0 from the prior. Where
    A(decode(z)) is linear, that draws from the posterior exactly (randomized maximum likelihood, Oliver et al. 1996); elsewhere it
    is an approximation that, unlike a chain, has no memory and needs no burning in. A search that ends in a poor place counts as much
    as a good one: look at the residuals.

    Args:
        model: with latents.
        measured: N images.
        fit: of `search_latents`.
        noises: the randomness of each sample, N rows each.
        steps: of the search.
        label: the class of all images, where it is known.
    """
    count, copied = len(noises), measured.copies(len(noises))
    center = torch.cat([noise.normal(*with_latents(model).latent_shape) for noise in noises])
    width = torch.maximum(fit.misfit.repeat(count), copied.variance.flatten().sqrt())
    shift = per_image(width, copied.y) * torch.cat([noise.normal(*copied.y.shape[1:]) for noise in noises])
    condition = _condition(model, copied, label or 0)
    if fit.classes is not None:
        beliefs = fit.classes.repeat(count, 1)
        chosen = (torch.cat([noise.uniform() for noise in noises])[:, None] >= beliefs.cumsum(1)).sum(1)
        condition = Condition(label=chosen.clamp(max=beliefs.shape[1] - 1))
    seen = copied.seen(_decoded(model, center, condition))
    shifted = Measurement(copied.y + shift * seen, copied.operator, copied.sigma)
    return _decoded(model, _descended(model, shifted, center.clone(), center, width, condition, steps), condition)


def _descended(model: Model, measured: Measurement, z: Tensor, center: Tensor, width: Tensor, condition: Condition, steps: int) -> Tensor:
    """The latents after so many steps of Adam, each image by itself."""
    with torch.enable_grad():
        z = z.requires_grad_(True)
        optimizer = torch.optim.Adam([z], lr=LR)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = LR * (1 + math.cos(math.pi * step / steps)) / 2
            image = with_latents(model).decode(z, condition)
            if not image.requires_grad:
                raise UserError("no gradient leads to the latents of this model: take a diffusion model, a GAN, a VAE or a flow as prior")
            (z.grad,) = torch.autograd.grad(_energy(measured, image, z, center, width).sum(), z)
            optimizer.step()
    return z.detach()


@torch.no_grad()
def _decoded(model: Model, z: Tensor, condition: Condition) -> Tensor:
    return with_latents(model).decode(z, condition)


def _energy(measured: Measurement, image: Tensor, z: Tensor, center: Tensor, width: Tensor) -> Tensor:
    """Minus the logarithm of the posterior up to a constant, (N,)."""
    rest = (measured.y - measured.operator.forward(image)).square().flatten(1).sum(1) / width.square()
    return (rest + (z - center).square().flatten(1).sum(1)) / 2


def _condition(model: Model, measured: Measurement, label: int) -> Condition:
    return Condition(label=torch.full_like(measured.sigma, label, dtype=torch.int64) if model.conditional else None)


def with_latents(model: Model) -> HasLatents:
    """The model, if it has latents; `UserError` if not."""
    if not isinstance(model, HasLatents):
        raise UserError("this model has no latents: take a diffusion model, a GAN, a VAE or a flow as prior")
    return model
