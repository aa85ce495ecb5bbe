"""What can be wrong with a model that makes good images of degraded ones: findings of the scores of each image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calotype.diagnose import sharpness
from calotype.diagnose.check import Check
from calotype.diagnose.remedy import LONGER, SHORTER, Remedy, changes, sets
from calotype.diagnose.restored import MODEL, Doubles, RestorationEvidence
from calotype.diagnose.verdict import Finding, Verdict, cannot_tell, tail
from calotype.metrics.likelihood import Gap, gap

FEWEST_LINES = 3  # of each third of a log
FEWEST = 10  # images of either kind behind a comparison of training images with unseen ones

LEAD = 0.2
"""dB by which a restorer should be better than what needs no training: less is not worth a model."""

GOOD = 48.0
"""dB of PSNR from which on a picture counts as untouched: the error of rounding to 8 bits is 59, that of one level everywhere 48."""

SLACK = 0.1  # dB that an image may lose without being worse


@dataclass(frozen=True)
class Growth:
    """How much a gap grew during training, and the standard error of that."""

    value: float
    error: float


WORSE, HARMS, DRIFTS, OVERFITTED, LEVELS = "worse-than-classical", "harm", "color-drift", "overfitting", "noise-level"
MORE = changes("more images with", "data.source")
WIDER = sets({"model.width": 64}, " (a larger network)")
OF_BASELINE = (LONGER, WIDER, MORE)
OF_HARM = (LONGER, changes("train for the damage that the images have:", "data.degrade"), MORE)
OF_BLUR = (LONGER, WIDER, sets({"model.adversarial": 0.005}))
OF_DRIFT = (LONGER, MORE)
OF_OVERFITTING = (MORE, sets({"data.rot90": True}), SHORTER, sets({"model.width": 32}, " (a smaller network)"))
OF_LEVELS = (
    LONGER,
    Remedy("train for a range of noise that holds the levels of your images, by `data.degrade`"),
    Remedy("tell it the level: `calotype restore` `sigma`"),
)


def baseline(made: Doubles, best: Doubles, name: str) -> Finding | Verdict:
    """Whether the results are better than those of the best method that needs no training.

    ``made`` and ``best`` are PSNR in dB of the same images, (N,). The effect is what is missing to a lead of ``LEAD`` dB: FAIL where
    there is no lead at all, WARN below ``LEAD``, by a paired one-sided t-test; PASS where the 95% interval of the lead is above zero.
    """
    gain = made - best
    if len(gain) < 2:
        return cannot_tell(WORSE, "One image says nothing of others.")
    mean, error = float(gain.mean()), _se(gain)
    half = _quantile(len(gain)) * error
    return Finding(
        WORSE,
        effect=max(0.0, LEAD - mean),
        warn=1e-9,
        fail=LEAD,
        p=_t_tail((LEAD - mean) / error, len(gain)),
        error=error,
        blind=math.inf if mean - half > 0 else None,
        says={
            "PASS": f"It does better than {name}, the best of the methods that need no training.",
            "WARN": f"It is hardly better than {name}, which needs no training.",
            "FAIL": f"It is no better than {name}, which needs no training.",
            "CANNOT TELL": f"Too few images to say whether it is better than {name}, which needs no training.",
        },
        evidence=f"Its PSNR is {abs(mean):.2f} dB {'above' if mean >= 0 else 'below'} that of {name} (the difference is "
        f"{mean - half:+.2f} to {mean + half:+.2f} with 95% certainty, Student's t over "
        f"{len(gain)} images).",
        measure=f"dB that are missing to a lead of {LEAD}",
        remedies=OF_BASELINE,
        data={"gain": mean, "baseline": name},
    )


def harm(made: Doubles, given: Doubles) -> Finding:
    """Whether images come out worse than they went in.

    ``made`` and ``given`` are PSNR in dB of results and of what they were made from, (N,). The effect is the share of images that lost
    more than ``SLACK`` dB, all above ``GOOD`` being alike: FAIL from a fifth, WARN from one in fifty.
    """
    lost = np.minimum(given, GOOD) - np.minimum(made, GOOD)
    worse = int((lost > SLACK).sum())
    most = f", by up to {lost.max():.1f} dB" if worse else ""
    return Finding(
        HARMS,
        effect=worse / len(lost),
        warn=0.02,
        fail=0.2,
        says={"PASS": "No image came out worse than it went in.", "FAIL": "Some images come out worse than they went in."},
        evidence=f"{worse} of {len(lost)} images lost more than {SLACK} dB of PSNR{most}.",
        measure="share of the images that lost so much",
        remedies=OF_HARM,
        data={"worse": worse, "lost": float(lost.max())},
    )


def blur(made: Doubles, best: Doubles, truth: Doubles, name: str) -> Finding:
    """Whether fine detail of the true images is missing in the results.

    Arguments are of each image, (N,): what results and the best classical method keep of the power of the truth in the top octave
    (`calotype.metrics.spectrum.kept_detail`, its first value), and that power. The effect is the share that is missing of what the
    classical method keeps: FAIL from one half, WARN from a quarter. Regression blurs what it cannot know, so that the truth itself
    would be too hard a yardstick; how far from it the results are is told beside.
    """
    total = max(float(truth.sum()), 1e-12)
    share, usual = float(made.sum()) / total, float(best.sum()) / total
    lost = usual - share
    error = max(_se((best - made) / (total / len(truth))), 1e-6)
    scale = max(usual, 0.02)  # below, there is nothing that could get lost
    return Finding(
        sharpness.BLURRED,
        effect=max(0.0, lost / scale),
        warn=0.25,
        fail=0.5,
        p=tail(lost / error),
        error=error / scale,
        blind=math.inf if lost + 2 * error < 0 else None,
        says={
            "PASS": f"It keeps as much fine detail of the true images as {name} does, or more.",
            "FAIL": f"Its results are blurred: {name}, which needs no training, keeps more fine detail.",
            "CANNOT TELL": "Too few images to judge how sharp the results are.",
        },
        evidence=f"Results hold {_percent(share)} of the fine detail of the true images, those of {name} {_percent(usual)}.",
        measure="share of the latter that is missing",
        remedies=OF_BLUR,
        data={"kept": share, "baseline": usual},
    )


def drift(shift: Doubles, usual: Doubles) -> Finding:
    """Whether results have another color or brightness than the truth.

    Arguments are the mean shift of each channel of each image in levels of 255, (N, C): of the results, and of the best classical
    method. The effect is the root mean square of the results' largest shift: WARN from 2.5 levels, FAIL from 8 where that method, which
    may know as little of the colors, drifts less.
    """
    names = ("red", "green", "blue") if shift.shape[1] == 3 else ("brightness",)
    size = np.abs(shift).max(1)
    effect, usual_effect = (float(np.sqrt((np.abs(x).max(1) ** 2).mean())) for x in (shift, usual))
    error = max(_se(size**2) / max(2 * effect, 1e-6), 1e-6)
    common = ", ".join(f"{name} {value:+.1f}" for name, value in zip(names, shift.mean(0), strict=True))
    what = "color" if len(names) == 3 else "brightness"
    return Finding(
        DRIFTS,
        effect=effect,
        warn=2.5,
        fail=8.0 if effect > usual_effect else math.inf,
        p=tail((effect - 2.5) / error),
        error=error,
        blind=20.0,
        says={
            "PASS": f"No sign that the mean {what} of the results is over 2.5 levels away from that of the true images.",
            "FAIL": f"The {what} of whole images drifts away from the truth.",
            "CANNOT TELL": f"Too few images to judge their {what}.",
        },
        evidence=f"The mean shift is {common} levels of 255. Single images shift by {effect:.1f} (root mean square, the channel that moves "
        f"most), by the best classical method {usual_effect:.1f}.",
        measure="levels of 255 by which single images shift",
        remedies=OF_DRIFT,
        data={"shift": shift.mean(0).tolist()},
    )


def overfit(found: Gap, count: int, grown: Growth | None) -> Finding:
    """Whether training images are restored better than unseen ones.

    ``found`` is the gap in what an image gains over the best classical method, dB, between ``count`` training and as many unseen images
    that are equally hard. A few photographs may differ by chance in what makes an image hard, and so the gap counts only as far as it
    grew in the log (``grown``): FAIL from 1.5 dB, WARN from .5, and no more than a WARN without a log.
    """
    more, error = found.value, max(found.error, 1e-9)
    course, effect, p = "", more, tail(more / error)
    if grown is not None:
        course = f" In the log the gap between training and held-out patches grew by {grown.value:+.2f} dB."
        effect, p = min(more, grown.value), max(p, tail(grown.value / max(grown.error, 1e-9)))
    return Finding(
        OVERFITTED,
        effect=max(0.0, effect),
        warn=0.5,
        fail=math.inf if grown is None else 1.5,
        p=p,
        error=error,
        blind=1.5,
        says={
            "PASS": "Unseen images are restored about as well as those it was trained on.",
            "FAIL": "It restores its training images better than unseen ones: it has memorized them.",
            "CANNOT TELL": "Too few images to compare training images with unseen ones.",
        },
        evidence=f"Training images gain {more:+.2f} dB more over the best classical method than unseen ones that are as hard "
        f"(standard error {error:.2f}, {found.raw:+.2f} without regard to that; {count} of each).{course}",
        measure="dB that training images gain more" + ("" if grown is None else ", no more than the gap grew in the log"),
        remedies=OF_OVERFITTING,
        data={"gap": more, "grown": None if grown is None else grown.value},
    )


def memorized(found: RestorationEvidence) -> Finding | Verdict:
    """How much more training images gain than unseen ones that the best classical method finds as hard and that hold as much detail."""
    held, training, best = found.held, found.training, found.held.best
    assert training is not None, "asked only where there are training images"
    # less is better, as with bits
    short, short_train = (m.psnr[best] - m.psnr[MODEL] for m in (held, training))
    hard, hard_train = (np.column_stack([m.psnr[best], np.log(np.maximum(m.detail, 1e-9))]) for m in (held, training))
    count = min(len(short), len(short_train))
    if count < FEWEST:
        return cannot_tell(OVERFITTED, "There are too few images to compare training images with unseen ones.")
    return overfit(gap(short, short_train, hard, hard_train, fewest=FEWEST), count, growth(found.records))


def growth(records: Sequence[Mapping[str, Any]]) -> Growth | None:
    """How much the gap in PSNR between training and held-out patches grew from the first to the last third of a log.

    None where the log holds too few lines with a ``psnr_train`` and a ``psnr_holdout``.
    """
    gaps = np.array([r["psnr_train"] - r["psnr_holdout"] for r in records if _both(r)], np.float64)
    third = len(gaps) // 3
    if third < FEWEST_LINES:
        return None
    early, late = gaps[:third], gaps[-third:]
    return Growth(float(late.mean() - early.mean()), math.hypot(_se(early), _se(late)))


def _both(record: Mapping[str, Any]) -> bool:
    return all(isinstance(record.get(name), int | float) for name in ("psnr_train", "psnr_holdout"))


def noise_level(levels: Doubles, told: Doubles, blind: Doubles) -> Finding:
    """Whether a denoiser that is not told the noise level takes out too much or too little.

    ``levels`` (L,) on the scale of 0 to 255; ``told`` and ``blind`` PSNR in dB of each image at each level, (L, N). The effect is the
    largest mean loss over the levels: FAIL from 1 dB, WARN from .3.
    """
    lost = np.minimum(told, GOOD) - np.minimum(blind, GOOD)
    means = lost.mean(1)
    worst = int(means.argmax())
    error = max(_se(lost[worst]), 1e-6)
    return Finding(
        LEVELS,
        effect=max(0.0, float(means[worst])),
        warn=0.3,
        fail=1.0,
        p=tail(means[worst] / error),
        error=error,
        says={
            "PASS": "It finds out by itself how much noise there is.",
            "FAIL": "Without being told the noise level it takes out too much or too little.",
            "CANNOT TELL": "Too few images to see whether it finds out how much noise there is.",
        },
        evidence=f"Not being told the noise level costs {means[worst]:.2f} dB at sigma {levels[worst]:g}"
        + (f", {float(np.delete(means, worst).max()):.2f} at most elsewhere." if len(levels) > 1 else "."),
        measure="dB that it costs at the worst level",
        remedies=OF_LEVELS,
        data={"levels": levels.tolist(), "lost": means.tolist()},
    )


def _percent(share: float) -> str:
    """What is kept of detail: less than nothing is nothing."""
    return f"{100 * max(0.0, share):.0f}%"


def _se(values: Doubles) -> float:
    return max(float(values.std(ddof=1)) / math.sqrt(len(values)), 1e-9) if len(values) > 1 else math.inf


def _quantile(n: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


def _t_tail(z: float, n: int) -> float:
    from scipy.stats import t

    return float(t.sf(z, n - 1))


BASELINE = Check(
    WORSE,
    question="Is it better than methods that need no training?",
    about="A model that restores images no better than methods that learn nothing.",
    of=RestorationEvidence,
    run=lambda r: [baseline(r.held.psnr[MODEL], r.held.psnr[r.held.best], r.held.best)],
    measures="PSNR against the best method that needs no training (bicubic, Wiener, non-local means, diffusion ...), paired t-test",
    limits="lead below .2 dB / none",
    remedies=OF_BASELINE,
)
HARM = Check(
    HARMS,
    question="Does it leave no image worse than it was?",
    about="Images that come out worse than they went in.",
    of=RestorationEvidence,
    run=lambda r: [harm(r.held.psnr[MODEL], r.held.psnr[r.held.given])],
    measures="share of images that lost more than .1 dB; all above 48 dB count as untouched",
    limits=".02 / .2",
    remedies=OF_HARM,
)
BLUR = Check(  # of the same name as that on generators: one question, answered by other evidence
    sharpness.BLURRED,
    question=sharpness.BLUR.question,
    about=sharpness.BLUR.about,
    of=RestorationEvidence,
    run=lambda r: [blur(r.held.kept[MODEL], r.held.kept[r.held.best], r.held.detail, r.held.best)],
    measures="power in the finest octave, against what the best classical method keeps",
    limits=sharpness.BLUR.limits,
    remedies=OF_BLUR,
)
COLOR_DRIFT = Check(
    DRIFTS,
    question="Does it keep color and brightness?",
    about="Results whose colors or brightness are not those of the truth.",
    of=RestorationEvidence,
    run=lambda r: [drift(r.held.shift[MODEL], r.held.shift[r.held.best])],
    measures="shift of the mean of a channel, levels of 255, root mean square over images",
    limits="2.5 / 8, and more than the classical method's",
    remedies=OF_DRIFT,
)
OVERFITTING = Check(
    OVERFITTED,
    question="Does it restore unseen images as well as those it was trained on?",
    about="A model that restores its training images better than images that it never saw.",
    of=RestorationEvidence,
    run=lambda r: [memorized(r)],
    applies=lambda r: r.training is not None,
    measures="gain over the classical method, training minus held-out images that are as hard, as far as the gap grew in the log",
    limits=".5 / 1.5 dB",
    remedies=OF_OVERFITTING,
    shows="log",
    curves=("psnr",),
)
NOISE_LEVEL = Check(
    LEVELS,
    question="Does it know by itself how much noise there is?",
    about="A denoiser that takes out too much or too little where nobody tells it how much noise there is.",
    of=RestorationEvidence,
    run=lambda r: [] if r.levels is None else [noise_level(r.levels.levels, r.levels.told, r.levels.blind)],
    applies=lambda r: r.levels is not None,
    measures="what not being told the noise level costs a denoiser for a range, at its worst level",
    limits=".3 / 1 dB",
    remedies=OF_LEVELS,
)
