"""Blur and noise: is the fine detail that of real images?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.check import Check, Findings
from calotype.diagnose.generated import Generated
from calotype.diagnose.remedy import LONGER, Remedy, changes, sets, trains
from calotype.diagnose.verdict import Finding, Status, Verdict, tail
from calotype.metrics import spectrum
from calotype.metrics.repeats import first_of_each

FLOOR = 4 * spectrum.ROUNDING
"""Power added to that of every image: below a few times what rounding to 8 bits leaves, nothing is detail and nothing is noise."""

BLURRED, NOISY = "blur", "noise"
BLUR_REMEDIES = (
    LONGER,
    trains("rpgan", small_gray=True),
    trains("projected", small_gray=False),
    sets({"train.ema": 0.01}),
    changes("a larger", "model.width"),
)
AVERAGED = sets({"train.ema": 0.1})
NOISE_REMEDIES = (
    AVERAGED,
    sets({"schedule.kind": "cosine"}),
    Remedy("`calotype sample` `option=steps=32`, which draws in more steps", option="steps"),
    LONGER,
)
CHECKERBOARD_REMEDIES = (LONGER, AVERAGED, trains("flow-matching", ", which has no transposed convolutions"))
BOTH = (
    "That is no contradiction to the blur: the fine detail that real images have, at edges and in textures, is missing, and areas that are "
    "flat in real images are not."
)
"""What a reader must know where images are blurred and noisy."""


Powers = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _different(made: Generated) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Generated and real images that are not the same: one that is there again and again says no more than once."""
    reference = made.against.reference
    return made.pixels[first_of_each(made.pixels)], reference.images.pixels[reference.once]


def _octaves(made: Generated) -> Powers:
    """The power of each image in the top octave: of generated, of real and of other real ones."""
    pixels, reference = made.once(_different)
    return spectrum.top_octave(pixels), spectrum.top_octave(reference), spectrum.top_octave(made.against.baseline.images.pixels)


def large(made: Generated) -> bool:
    """Whether the images have enough pixels for a spectrum."""
    return bool(min(made.pixels.shape[1:3]) >= spectrum.SMALLEST)


def blurred(made: Generated) -> Findings:
    """What is missing of fine detail."""
    return [blur(*made.once(_octaves))]


def noisy(made: Generated) -> Findings:
    """Too much fine detail, a checkerboard, and noise in flat areas; the latter alone where images are too small for a spectrum."""
    pixels, reference = made.once(_different)
    found = [grain(spectrum.grain(pixels), spectrum.grain(reference))]
    if not large(made):
        return found
    board, real_board = (spectrum.checkerboard(p).max(1) for p in (pixels, reference))
    return [excess(*made.once(_octaves)[:2]), checkerboard(board, real_board), *found]


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
        BLURRED,
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
        evidence=f"Fine detail is {math.exp(gap):.2f} times as strong as in real images; other real images differ by "
        f"{100 * math.expm1(usual):.0f}%.",
        measure="share of the strength of fine detail that is missing",
        remedies=BLUR_REMEDIES,
        data={"power_ratio": math.exp(gap)},
    )


def together(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of a report, that on noise with how it can stand beside one on blur, where there are both."""
    grave = {v.name for v in verdicts if v.status in ("WARN", "FAIL")}
    return [replace(v, says=f"{v.says} {BOTH}") if v.name == NOISY and {BLURRED, NOISY} <= grave else v for v in verdicts]


def grain(generated: NDArray[np.float64], real: NDArray[np.float64]) -> Finding:
    """Whether flat areas carry noise. Arguments are `calotype.metrics.spectrum.grain` of each image; FAIL from 4 levels, WARN from 1.5."""
    extra, error = _difference(generated, real)
    return _noise(
        extra,
        extra / error,
        error,
        limits=(1.5, 4.0),
        passes="No sign of more than 1.5 levels of noise beyond that of real images.",
        unseen="Too few images to look for noise in flat areas.",
        fails="The images are grainy where real ones are smooth.",
        evidence=f"Flat areas hold noise of {generated.mean():.1f} levels of 255, those of real images {real.mean():.1f}.",
        measure="levels of noise in flat areas beyond those of real images",
        data={"generated": float(generated.mean()), "real": float(real.mean())},
    )


def excess(generated: NDArray[np.float64], real: NDArray[np.float64]) -> Finding:
    """Whether the top octave holds more power than that of real images. Arguments as for `blur`; FAIL from twice, WARN from 1.4 times."""
    gap, error = _log_ratio(generated, real)
    return _noise(
        math.expm1(gap),
        gap / error,
        1.4 * error,  # of the ratio where a WARN begins
        limits=(0.4, 1.0),
        passes="No sign that fine detail is more than 1.4 times as strong as in real images.",
        unseen="Too few images to judge the strength of fine detail.",
        fails="There is more fine detail than in real images: noise or artifacts.",
        evidence=f"Fine detail is {math.exp(gap):.2f} times as strong as in real images.",
        measure="strength of fine detail beyond that of real images, relative to it",
    )


def checkerboard(generated: NDArray[np.float64], real: NDArray[np.float64]) -> Finding:
    """Whether upsampling left its grid. Arguments are the heights of the checkerboard peaks over their surroundings, of each image."""
    gap, error = _difference(generated, real)
    scale = max(float(real.std()), 1e-6)
    return _noise(
        gap / scale,
        gap / error,
        error / scale,
        limits=(0.75, 1.5),
        passes="No sign of a checkerboard.",
        unseen="Too few images to look for a checkerboard.",
        fails="A checkerboard lies over the images, such as transposed convolutions leave.",
        evidence=f"The trace of a checkerboard is {gap / scale:+.2f} standard deviations from that in real images.",
        measure="height of the trace of a checkerboard over that of real images, in standard deviations",
        remedies=CHECKERBOARD_REMEDIES,
    )


def _noise(
    effect: float,
    z: float,
    error: float,
    *,
    limits: tuple[float, float],
    passes: str,
    unseen: str,
    fails: str,
    evidence: str,
    measure: str,
    remedies: tuple[Remedy, ...] = NOISE_REMEDIES,
    data: dict[str, Any] | None = None,
) -> Finding:
    """One of the findings behind the verdict on noise; ``z`` is the effect in standard errors, ``error`` that of the effect."""
    says: dict[Status, str] = {"PASS": passes, "CANNOT TELL": unseen, "FAIL": fails}
    warn, fail = limits
    effect = max(0.0, effect)
    return Finding(NOISY, effect, warn, fail, says, evidence, measure, p=tail(z), error=error, remedies=remedies, data=data or {})


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """The difference of two means and its standard error."""
    return float(a.mean() - b.mean()), max(math.hypot(_se(a), _se(b)), 1e-6)


def _log_ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """The logarithm of the ratio of two mean powers, each over ``FLOOR``, and its standard error by the delta method."""
    means = [float(x.mean()) + FLOOR for x in (a, b)]
    error = math.hypot(*(_se(x) / mean for x, mean in zip((a, b), means, strict=True)))
    return math.log(means[0] / means[1]), max(error, 1e-9)


def _se(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


BLUR = Check(
    BLURRED,
    question="Are its images as sharp as real ones?",
    about="Fine detail that real images have and generated ones lack.",
    of=Generated,
    run=blurred,
    applies=large,
    measures="power in the finest octave of the spectrum against real images",
    limits="a quarter / a half is missing",
    remedies=BLUR_REMEDIES,
    of_files=(
        Remedy(
            "where they were enlarged after they were drawn, judge them at the size that they were drawn in: `calotype evaluate` `size`"
        ),
    ),
    shows="spectrum",
)
NOISE = Check(
    NOISY,
    question="Are its images as clean as real ones?",
    about="Fine detail that real images do not have: noise, grain in flat areas, a checkerboard.",
    of=Generated,
    run=noisy,
    measures="the same power in excess; noise in flat areas; checkerboard peaks",
    limits="1.4 / 2 times; 1.5 / 4 levels of 255; .75 / 1.5 standard deviations",
    remedies=tuple(dict.fromkeys((*NOISE_REMEDIES, *CHECKERBOARD_REMEDIES))),
    of_files=(Remedy("where they were saved as JPEG, save them as PNG: compression leaves artifacts"),),
    shows="spectrum",
)
