"""Blur and noise: is the fine detail that of real images?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.verdict import Finding, tail
from calotype.metrics.spectrum import ROUNDING

FLOOR = 4 * ROUNDING
"""Power added to that of every image: below a few times what rounding to 8 bits leaves, nothing is detail and nothing is noise."""

BLUR_REMEDIES = (
    "an adversarial recipe, such as calotype train rpgan",
    "--train.ema 0.01",
    "a longer --minutes",
)
NOISE_REMEDIES = (
    "--train.ema 0.1",
    "--schedule.kind cosine",
    "for flow matching, more sampling steps: --option steps=32",
    "a longer --minutes",
)


def blur(generated: NDArray[np.float64], real: NDArray[np.float64], other: NDArray[np.float64]) -> Finding:
    """Whether generated images lack power in the top octave.

    Arguments are the powers of each image in the top octave (`calotype.metrics.spectrum.top_octave`): generated, and two
    independent samples of real images, whose difference shows what chance does. The effect is the share of the power that is
    missing: FAIL from one half (a Gaussian blur of half a pixel), WARN from a quarter.
    """
    gap, error = _log_ratio(generated, real)
    usual = abs(_log_ratio(other, real)[0])
    lost = 1 - math.exp(gap)
    return Finding(
        "blur",
        effect=max(0.0, lost),
        warn=0.25,
        fail=0.5,
        p=tail(-gap / error),
        error=error,
        says={
            "PASS": "No sign that more than a quarter of the fine detail of real images is missing.",
            "CANNOT TELL": "Too few images to judge how sharp they are.",
            "FAIL": "The images are blurred: fine detail of real images is missing.",
        },
        evidence=f"{math.exp(gap):.2f} times the real power in the finest octave; other real images within {100 * math.expm1(usual):.0f}%",
        remedies=BLUR_REMEDIES,
        data={"power_ratio": math.exp(gap)},
    )


def grain(generated: NDArray[np.float64], real: NDArray[np.float64]) -> Finding:
    """Whether flat areas carry noise. Arguments are `calotype.metrics.spectrum.grain` of each image; FAIL from 4 levels, WARN from 1.5."""
    extra = float(generated.mean() - real.mean())
    error = max(math.hypot(_se(generated), _se(real)), 1e-6)
    return Finding(
        "noise",
        effect=max(0.0, extra),
        warn=1.5,
        fail=4.0,
        p=tail(extra / error),
        error=error,
        says={
            "PASS": "No sign of more than 1.5 levels of noise beyond that of real images.",
            "CANNOT TELL": "Too few images to look for noise in flat areas.",
            "FAIL": "The images are grainy where real ones are smooth.",
        },
        evidence=f"noise of {generated.mean():.1f} levels of 255 in flat areas, {real.mean():.1f} in real images; effect: the difference",
        remedies=NOISE_REMEDIES,
        data={"generated": float(generated.mean()), "real": float(real.mean())},
    )


def excess(generated: NDArray[np.float64], real: NDArray[np.float64]) -> Finding:
    """Whether the top octave holds more power than that of real images. Arguments as for `blur`; FAIL from twice, WARN from 1.4 times."""
    gap, error = _log_ratio(generated, real)
    return Finding(
        "noise",
        effect=max(0.0, math.expm1(gap)),
        warn=0.4,
        fail=1.0,
        p=tail(gap / error),
        error=1.4 * error,  # of the ratio where a WARN begins
        says={
            "PASS": "No sign that fine detail is more than 1.4 times as strong as in real images.",
            "CANNOT TELL": "Too few images to judge the strength of fine detail.",
            "FAIL": "There is more fine detail than in real images: noise or artifacts.",
        },
        evidence=f"{math.exp(gap):.2f} times the real power in the finest octave",
        remedies=NOISE_REMEDIES,
    )


def checkerboard(generated: NDArray[np.float64], real: NDArray[np.float64]) -> Finding:
    """Whether upsampling left its grid. Arguments are the heights of the checkerboard peaks over their surroundings, of each image."""
    gap = float(generated.mean() - real.mean())
    error = max(math.hypot(_se(generated), _se(real)), 1e-6)
    scale = max(float(real.std()), 1e-6)
    return Finding(
        "noise",
        effect=max(0.0, gap / scale),
        warn=0.75,
        fail=1.5,
        p=tail(gap / error),
        error=error / scale,
        says={
            "PASS": "No sign of a checkerboard.",
            "CANNOT TELL": "Too few images to look for a checkerboard.",
            "FAIL": "A checkerboard lies over the images, as transposed convolutions leave it.",
        },
        evidence=f"checkerboard peaks {gap / scale:+.2f} standard deviations from those of real images",
        remedies=("a network that upsamples without transposed convolutions", "--train.ema 0.1"),
    )


def _log_ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """The logarithm of the ratio of two mean powers, each over ``FLOOR``, and its standard error by the delta method."""
    means = [float(x.mean()) + FLOOR for x in (a, b)]
    error = math.hypot(*(_se(x) / mean for x, mean in zip((a, b), means, strict=True)))
    return math.log(means[0] / means[1]), max(error, 1e-9)


def _se(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
