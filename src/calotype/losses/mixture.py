"""Mixtures of discretized logistic distributions over the sub-pixels of a pixel (Salimans et al. 2017, PixelCNN++)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from calotype.losses.discretized import discretized_logistic, images_of, levels

LOG_SCALES = -7.0, 7.0  # a logistic at the lower end lies within one bin; one above the upper end would be all tails


def mixture_size(channels: int, components: int) -> int:
    """How many parameters describe the distribution of one pixel.

    >>> mixture_size(1, 10), mixture_size(3, 10)
    (30, 100)
    """
    return components * (1 + 2 * channels + channels * (channels - 1) // 2)


def mixture_log_prob(x: Tensor, parameters: Tensor) -> Tensor:
    """Log-probability in nats of whole pixels, all their sub-pixels together (Salimans et al. 2017, equations 2 and 3).

    A component is one logistic distribution for each color; the mean of green moves linearly with red, that of blue with red and
    green. Over all values of the sub-pixels the probabilities sum to one.

    Args:
        x: 8-bit pixels in [-1, 1], (..., C) with C = 1 or 3.
        parameters: (..., ``mixture_size(C, components)``).

    Returns:
        (...) float32.
    """
    x = x.float()
    weights, means, log_scales, slopes = _parted(parameters.float(), x.shape[-1])
    total = F.log_softmax(weights, dim=-1)
    for channel in range(x.shape[-1]):
        mean = _moved(means[..., channel, :], slopes, x, channel)
        log_scale = log_scales[..., channel, :]
        total = total + discretized_logistic(x[..., channel, None], mean, log_scale)
    return total.logsumexp(-1)


def mixture_sample(parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
    """Pixels drawn from the distribution whose log-probability is `mixture_log_prob`.

    Args:
        parameters: (..., ``mixture_size(C, components)``).
        uniform: numbers in [0, 1), (..., C + 1): the first chooses the component, the others the sub-pixels.
        temperature: below 1 sharpens both the choice of the component and each component.

    Returns:
        (..., C) 8-bit pixels in [-1, 1].
    """
    channels = uniform.shape[-1] - 1
    weights, means, log_scales, slopes = _parted(parameters.float(), channels)
    chosen = invert(F.softmax(weights / temperature, dim=-1), uniform[..., 0])[..., None]
    drawn = uniform.new_empty((*uniform.shape[:-1], channels))
    for channel in range(channels):
        moved = _moved(means[..., channel, :], slopes, drawn, channel)
        mean, log_scale = (t.gather(-1, chosen)[..., 0] for t in (moved, log_scales[..., channel, :]))
        value = mean + temperature * log_scale.exp() * torch.logit(uniform[..., channel + 1], eps=1e-7)
        drawn[..., channel] = images_of(levels(value))
    return drawn


def invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Categories drawn by inverting the cumulative distribution: (..., K) probabilities and (...) uniform numbers to (...) int64."""
    below = probabilities.cumsum(-1) <= uniform[..., None]
    # the sum of all may round to less than one
    return below.sum(-1).clamp(max=probabilities.shape[-1] - 1)


def spread_start(bias: Tensor, channels: int) -> None:
    """Set the biases that parameters come from in place, such that the components of a new mixture lie side by side over [-1, 1]."""
    with torch.no_grad():
        bias.zero_()
        parts = bias.view(1 + 2 * channels + channels * (channels - 1) // 2, -1)
        parts[1 : 1 + channels] = torch.linspace(-1, 1, parts.shape[1])
        parts[1 + channels : 1 + 2 * channels] = -2.0


def _parted(parameters: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(..., P) as weights (..., K), means and log-scales (..., C, K), slopes (..., C (C - 1) / 2, K)."""
    pairs = channels * (channels - 1) // 2
    parts = parameters.view(*parameters.shape[:-1], 1 + 2 * channels + pairs, -1)
    weights, means, log_scales, slopes = torch.split(parts, [1, channels, channels, pairs], dim=-2)
    return weights[..., 0, :], means, log_scales.clamp(*LOG_SCALES), slopes


def _moved(mean: Tensor, slopes: Tensor, x: Tensor, channel: int) -> Tensor:
    """The means (..., K) of a channel given the values of those before it."""
    for before in range(channel):
        slope = torch.tanh(slopes[..., channel * (channel - 1) // 2 + before, :])
        mean = mean + slope * x[..., before, None]
    return mean
