"""Drawing from a trained generator: latents near the middle, and statistics of batches made for them (Brock et al. 2019)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from calotype.types import Noise, mix

SMALLEST = 0.01  # limit of a truncated normal distribution: below it nearly every number has to be drawn hundreds of times


def truncated_normal(noise: Noise, limit: float, *shape: int) -> Tensor:
    """Standard normal numbers of which those beyond the limit are drawn again until none is, (n, *shape) float32 in [-limit, limit].

    Numbers within the limit are those of ``noise.normal``, and so is whatever is drawn afterwards, such as labels: an image stays the
    same image at every limit, as far as it can.

    Raises:
        ValueError: for a limit below 0.01.
    """
    if limit < SMALLEST:
        raise ValueError(f"a limit of {limit:g} leaves nothing to draw: give at least {SMALLEST}")

    def draw(rng: torch.Generator) -> Tensor:
        numbers = torch.randn(shape, generator=rng)
        again = torch.Generator().manual_seed(mix(int(torch.randint(1 << 62, (), generator=rng.clone_state()))))
        while (beyond := numbers.abs() > limit).any():
            numbers[beyond] = torch.randn(int(beyond.sum()), generator=again)
        return numbers

    return noise.each(draw)


@torch.no_grad()
def standing_statistics(
    generator: nn.Module,
    latent: int,
    classes: int = 0,
    *,
    limit: float | None = None,
    seed: int = 0,
    passes: int = 16,
    batch: int = 64,
) -> dict[str, Tensor]:
    """Means and variances for batch normalization: those of ``passes`` batches that the weights of today make, averaged.

    Running statistics belong to latents without a limit and, in averaged weights, to weights that were. The generator stays as it is: draw
    with ``torch.func.functional_call(generator, statistics, (latents, labels))`` in evaluation mode.

    Args:
        generator: (N, latent) and, with ``classes``, labels (N,) to images.
        latent: numbers that an image is made from.
        limit: of the latents; None for normal ones.
        seed: of latents and labels, which are drawn uniformly.
        batch: images of a pass.

    Returns:
        The buffers by their names in the generator; empty where nothing normalizes batches.
    """
    copied = copy.deepcopy(generator).eval()
    norms = {name: layer for name, layer in copied.named_modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d)}
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all passes
        norm.train()
    device = next(copied.parameters()).device
    for done in range(passes if norms else 0):
        noise = Noise(batch, seed, start=done * batch, device=device)
        z = noise.normal(latent) if limit is None else truncated_normal(noise, limit, latent)
        copied(z, (noise.uniform() * classes).long().clamp(max=classes - 1) if classes else None)
    return {f"{name}.{kind}": getattr(norm, kind) for name, norm in norms.items() for kind in ("running_mean", "running_var")}
