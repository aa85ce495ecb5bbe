"""How likely an image is under what a decoder says of its pixels."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from calotype.losses.discretized import HALF_BIN, discretized_logistic, log1mexp

LikelihoodName = Literal["bernoulli", "gaussian", "discretized_logistic"]

LEAST_LOG_SCALE = -7.0  # a thousandth, an eighth of a bin: below it a narrower distribution gains nothing
START_LOG_SCALE = -2.0  # where a decoder that puts out zero begins


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy, in nats and negated, between gray values and Bernoulli probabilities, of any shape.

    For binary images this is a log-likelihood. For gray ones it is not the likelihood of anything: a share of ink is not an outcome
    of a coin (Loaiza-Ganem & Cunningham 2019).
    """
    return -F.binary_cross_entropy_with_logits(logits.float(), x.float() * 0.5 + 0.5, reduction="none")


def discretized_gaussian(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-probability in nats of 8-bit pixels under a normal distribution integrated over the bin of each value.

    The first bin reaches down to minus infinity and the last one up to infinity, so that the 256 probabilities sum to one. A density
    at the pixel's value would exceed any bound where the scale shrinks; a probability cannot.

    Args:
        x: 8-bit pixel values in [-1, 1], of any shape.
        mean: of the distribution, broadcastable to ``x``.
        log_scale: logarithm of its standard deviation, broadcastable to ``x``.

    Returns:
        One log-probability for each element, float32.
    """
    x, mean, log_scale = x.float(), mean.float(), log_scale.float()
    inverse = torch.exp(-log_scale)
    centered = x - mean
    # mirrored to the lower tail, where the logarithm of the distribution function keeps its digits
    distance = -centered.abs()
    upper, lower = torch.special.log_ndtr(inverse * (distance + HALF_BIN)), torch.special.log_ndtr(inverse * (distance - HALF_BIN))
    exact = upper + log1mexp((upper - lower).clamp(min=1e-6))
    # where the bin is narrow the two ends share too many digits: the density at the middle, right to a millionth
    width, at = 2 * HALF_BIN * inverse, inverse * centered
    narrow = width.log() - 0.5 * at.square() - 0.5 * math.log(2 * math.pi)
    inside = torch.where(width * at.abs().clamp(min=1) < 0.01, narrow, exact)
    # an outermost bin is all that lies beyond its inner end, seen from a mean within the image or from one beyond the bin
    outer = (x.abs() > 1 - HALF_BIN) & (x * centered >= 0), (x.abs() > 1 - HALF_BIN) & (x * centered < 0)
    return torch.where(outer[0], upper, torch.where(outer[1], log1mexp(-lower), inside))


DENSITIES = {"gaussian": discretized_gaussian, "discretized_logistic": discretized_logistic}


class Observation:
    """What the numbers that a decoder puts out say of the pixels: a distribution for each, independent given the latents.

    A decoder puts out (N, outputs * C, H, W) numbers. With one component these are a mean and the logarithm of a scale; with
    several, also the logit of each component, of a mixture for each sub-pixel (Salimans et al. 2017). Zeros mean components spread
    evenly over [-1, 1], of scale e^-2.

    Args:
        name: of the likelihood.
        components: distributions mixed for each sub-pixel.
    """

    def __init__(self, name: LikelihoodName, components: int = 1) -> None:
        self.name = name
        self.components = components
        self.outputs = 1 if name == "bernoulli" else 2 if components == 1 else 3 * components

    @property
    def is_probability(self) -> bool:
        """Whether ``log_prob`` is that of the 8-bit image."""
        return self.name != "bernoulli"

    def log_prob(self, image: Tensor, out: Tensor) -> Tensor:
        """Nats (N,) float32 of 8-bit images (N, C, H, W) in [-1, 1]."""
        if self.name == "bernoulli":
            return bernoulli(image, out).flatten(1).sum(1)
        mean, log_scale, log_weight = self._parts(out)
        nats = DENSITIES[self.name](image[:, None], mean, log_scale)
        nats = nats.squeeze(1) if log_weight is None else torch.logsumexp(nats + log_weight, dim=1)
        return nats.flatten(1).sum(1)

    def mean(self, out: Tensor) -> Tensor:
        """The expected image (N, C, H, W) float32 in [-1, 1]."""
        if self.name == "bernoulli":
            return out.float().sigmoid() * 2 - 1
        mean, _, log_weight = self._parts(out)
        mean = mean.clamp(-1, 1)
        return mean.squeeze(1) if log_weight is None else (log_weight.exp() * mean).sum(1)

    def _parts(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Means, logarithms of scales, and of weights, each (N, components, C, H, W)."""
        parts = out.float().view(out.shape[0], -1, self.components, out.shape[1] // self.outputs, *out.shape[2:]).unbind(1)
        log_scale = (parts[1] + START_LOG_SCALE).clamp(min=LEAST_LOG_SCALE)
        if self.components == 1:
            return parts[0], log_scale, None
        spread = torch.linspace(-1, 1, self.components, device=out.device)[:, None, None, None]
        return parts[0] + spread, log_scale, parts[2].log_softmax(1)
