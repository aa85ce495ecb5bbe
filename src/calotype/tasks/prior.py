"""One trained prior, every task: images restored by a model that was trained to draw images, and never to restore any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from calotype.capabilities import Denoises
from calotype.degrade import Operator
from calotype.diffusion.measurement import Measurement
from calotype.diffusion.posterior import ddrm, guided, proximal
from calotype.diffusion.samplers import ddpm
from calotype.errors import UserError
from calotype.metrics.calibration import Calibration, calibration
from calotype.tasks.inversion import posterior_images, search_latents, with_latents
from calotype.tasks.sample import Generator
from calotype.types import Noise, mix

MethodName = Literal["auto", "ddrm", "diffpir", "dps", "inversion"]

BATCH = 64  # images that go through a model at a time
STEPS: dict[MethodName, int] = {"ddrm": 50, "diffpir": 50, "dps": 32, "inversion": 200}
SPREAD = 0.7  # standard deviation of a pixel that nothing is known of, between black (-1) and white (1)
STARTS = 4  # of the first search for latents


@dataclass(frozen=True)
class PosteriorSamples:
    """What a prior makes of N measurements."""

    mean: Tensor  # (N, C, H, W) float32 in [-1, 1]: the best single answer in the mean square
    std: Tensor  # (N, C, H, W): how far the samples are from each other
    samples: Tensor  # (N, S, C, H, W) in [-1, 1]: possible originals
    residual: Tensor  # (N, S): the root mean square of y - A x
    noise: Tensor  # (N,): what that is for the truth: the standard deviation of noise and 8-bit rounding
    method: MethodName
    steps: int

    def calibrated(self, truth: Tensor, judged: Tensor | None = None) -> Calibration:
        """The samples against the truth (N, C, H, W) in [-1, 1], over the pixels that are judged, (N, 1 or C, H, W) bool."""
        samples, true = ((x.double() + 1) * 127.5 for x in (self.samples, truth))
        where = None if judged is None else judged.expand_as(truth).flatten(1).numpy()
        return calibration(samples.flatten(2).numpy(), true.flatten(1).numpy(), where)


def joined(parts: Sequence[PosteriorSamples]) -> PosteriorSamples:
    """Several sets of images as one."""
    mean, std, samples, residual, noise = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "std", "samples", "residual", "noise")
    )
    return PosteriorSamples(mean, std, samples, residual, noise, parts[0].method, parts[0].steps)


@torch.no_grad()
def restore_with_prior(
    generator: Generator,
    y: Tensor,
    operator: Operator,
    *,
    samples: int = 20,
    steps: int | None = None,
    method: MethodName = "auto",
    sigma: float | None = None,
    seed: int = 0,
    start: int = 0,
    label: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PosteriorSamples:
    """Draw ``samples`` possible originals of each of N measurements y = A(x) + noise from the posterior of a trained prior.

    Args:
        generator: a diffusion or flow-matching model, or one whose latents a gradient leads to (GANs, VAEs, flows).
        y: (N, C', h, w) in [-1, 1] up to noise.
        operator: A, for these N images.
        samples: of each image, 2 or more.
        steps: of the sampler, or of the search for latents; those of the method where none are given.
        method: ``ddrm``, ``diffpir`` or ``dps`` (see `calotype.diffusion.posterior`), ``inversion`` (see `calotype.tasks.inversion`);
            ``auto`` is dps for diffusion models and inversion for others.
        sigma: standard deviation of the noise in units of [-1, 1]; the operator's where none is given.
        seed: sample j of image i depends on it, on j and on ``start + i`` alone.
        start: the number of the first image.
        label: the class of all images. Where none is given a diffusion model does not need one, and an inversion finds one.
        progress: told how many samples of how many are done.

    Raises:
        UserError: where model, method, operator and y do not go together.
    """
    name = _method(generator, operator, method)
    steps = STEPS[name] if steps is None else steps
    if samples < 2 or steps < 1:
        raise UserError(f"restoring by a prior takes two samples and one step or more, not {samples} and {steps}")
    _check(generator, y, operator)
    if progress:
        progress(0, samples)
    told = operator.sigma if sigma is None else torch.tensor(sigma)
    level = torch.zeros(len(y)) if told is None else told.float().cpu().expand(len(y))
    measured = Measurement(y.float().to(generator.device), operator, level.to(generator.device))
    draw = (
        _inversion(generator, measured, seed, start, steps, label)
        if name == "inversion"
        else _diffusion(generator, measured, name, steps, label)
    )
    parts: list[Tensor] = []
    for first in range(0, samples, per := max(1, BATCH // len(y))):
        noises = [Noise(len(y), mix(seed, j), start, generator.device) for j in range(first, min(first + per, samples))]
        made = measured.copies(len(noises)).kept(draw(noises)).float().clamp(-1, 1)
        if not torch.isfinite(made).all():
            raise UserError(f"{name} with {steps} steps yields images that are not finite: give more `steps`, or another `method`")
        parts.append(made.view(-1, *y.shape[:1], *made.shape[1:]))
        if progress:
            progress(first + len(noises), samples)
    drawn = torch.cat(parts)
    residual = torch.stack([measured.residual(part) for part in drawn], 1)
    drawn = drawn.transpose(0, 1).contiguous().cpu()
    noise = measured.variance.flatten().sqrt().cpu()
    return PosteriorSamples(drawn.mean(1), drawn.std(1), drawn, residual.cpu(), noise, name, steps)


DrawPosterior = Callable[[list[Noise]], Tensor]
"""One sample of each of N images for each of several noises, one set behind the other: (len(noises) * N, C, H, W)."""


def _diffusion(generator: Generator, measured: Measurement, method: MethodName, steps: int, label: int | None) -> DrawPosterior:
    model, shape = generator.model, generator.spec.shape
    assert isinstance(model, Denoises)
    if label is None and model.needs_label:
        raise UserError("this model has never drawn without a label (`model.label_dropout=0`): name the class with `label`")
    levels = model.timesteps(steps)

    def draw(noises: list[Noise]) -> Tensor:
        def normal() -> Tensor:
            return torch.cat([noise.normal(*shape) for noise in noises])

        x, copied = levels[0].sigma * normal(), measured.copies(len(noises))
        denoise = model.denoiser(None if label is None else torch.full((len(x),), label, device=x.device), clip=True)
        if method == "ddrm":
            return ddrm(denoise, x, levels, copied, normal)
        conditioned = proximal if method == "diffpir" else guided
        return ddpm(conditioned(denoise, copied, SPREAD), x, levels, normal)

    return draw


def _inversion(generator: Generator, measured: Measurement, seed: int, start: int, steps: int, label: int | None) -> DrawPosterior:
    model = generator.model
    starts = [Noise(len(measured.y), mix(seed, -j), start, generator.device) for j in range(1, STARTS + 1)]
    fit = search_latents(model, measured, starts, steps, label)
    return lambda noises: posterior_images(model, measured, fit, noises, steps, label)


def _method(generator: Generator, operator: Operator, method: MethodName) -> MethodName:
    """What ``auto`` stands for; `UserError` for what does not go together."""
    model, denoises = generator.model, isinstance(generator.model, Denoises)
    if model.from_source or not model.draws:
        raise UserError(f"a {generator.recipe} model is no prior, for it draws no images from noise: train one with calotype train")
    if method == "auto":
        method = "dps" if denoises else "inversion"
    if method == "inversion":
        if denoises:
            raise UserError("inversion is for models with latents (GANs, VAEs, flows): a diffusion model has `method=dps`")
        with_latents(model)
        return method
    if not denoises:
        raise UserError(f"{method} needs a diffusion or flow-matching model, not a {generator.recipe} one: leave `method` out")
    if method != "dps" and not operator.linear:
        raise UserError(f"{method} is for degradations that are linear: this one is not, take `method=dps`")
    if method == "ddrm" and operator.svd() is None:
        raise UserError("ddrm needs a degradation whose singular values are known: take `method=dps` or diffpir")
    return method


def _check(generator: Generator, y: Tensor, operator: Operator) -> None:
    """Whether A makes such measurements of the images that the model draws, and can be followed back to them."""
    spec = generator.spec
    with torch.enable_grad():
        made = operator.forward(torch.zeros(len(y), *spec.shape, requires_grad=True))
    if made.shape != y.shape:
        given, there = (f"{shape[3]}x{shape[2]} with {shape[1]} channel{'s' if shape[1] > 1 else ''}" for shape in (y.shape, made.shape))
        raise UserError(f"this prior makes {spec.size}x{spec.size} images, of which measurements are {there}, not {given}")
    if not made.requires_grad:
        raise UserError("this degradation has no derivative, which a prior needs: take another, or a model that was trained for this one")
