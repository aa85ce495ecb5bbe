"""What goes wrong where images are translated into others: nothing changes, light becomes dark, information is hidden, all come out alike.

Everything is measured on held-out pictures. A p-value is the probability of an effect this large where the true one is no more than
the threshold of a WARN. The thresholds have no source; planted failures and honest translators lie on their two sides (see the tests).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from calotype.diagnose.check import Check
from calotype.diagnose.remedy import LONGER, Remedy, changes, sets, trains
from calotype.diagnose.translated import (
    FEWEST,
    LEVEL,
    Translated,
    best_map,
    chroma,
    correlations,
    error_of,
    in_channels,
    luma,
    nearest_distance,
    rms,
    sums,
)
from calotype.diagnose.verdict import OFTEN, Finding, Status, Verdict, cannot_tell, tail
from calotype.metrics.quality import psnr
from calotype.types import Noise

UNSEEN = 4.0  # levels of error that nobody minds
TINY = 2.0  # levels of the noise that nobody sees, added between the two halves of a cycle
MOST = 80.0  # decibels: pictures that are equal
_QUANTILE = 2.326  # of the p-value that Holm's correction asks of the smallest of five
UNCHANGED, INVERTED, HIDES, COLLAPSED, MISSES = (
    *("identity-collapse", "color-inversion", "hidden-information"),
    *("collapsed-translation", "paired-error"),
)
AGAIN, FORWARD = changes("another", "train.seed"), trains("cut", ", which has no way back")
LESS_CYCLE = sets({"model.cycle_weight": 5})
OF_IDENTITY = (sets({"model.identity_weight": 0}), LESS_CYCLE, LONGER)
OF_INVERSION = (AGAIN, sets({"model.identity_weight": 0.5}))
OF_HIDDEN = (LESS_CYCLE, sets({"model.noise": 0.02}), FORWARD)
OF_CARRIED = (LESS_CYCLE, sets({"model.noise": 0.1}), FORWARD)
OF_COLLAPSE = (sets({"model.cycle_weight": 10}), LONGER, AGAIN)
OF_ERROR = (LONGER, AGAIN, trains("pix2pix", ", which learns from pairs"))


def identity(found: Translated) -> Finding | Verdict:
    """``identity-collapse``: does the output repeat the input?

    Where the truth is known, the effect is the share of the way from the source to the truth that was not gone:
    1 - <made - source, truth - source> / |truth - source|^2 over all images, 1 for a model that returns its input.
    Where it is not, the effect is 1 - sqrt(1 - R^2), with R^2 of the best single linear map of the input's colors to the output's: a
    FAIL where the output is the input as it is, no more than a WARN where its colors are changed by one map that is the same everywhere.
    """
    name = UNCHANGED
    source, made, image = found.source.double(), found.made.double(), found.image.double()
    seen = in_channels(source, made.shape[1])
    if found.paired:
        way = image - seen
        if float(way.square().mean()) < (2 * LEVEL) ** 2:
            return cannot_tell(name, "The truth is the source itself in other channels: there is nothing to change.")
        along, length = sums((made - seen) * way), sums(way.square())
        gone = float(along.sum() / length.sum())
        error = float(np.sqrt(np.square(along - gone * length).sum()) / length.sum())
        return _finding(
            name,
            1 - gone,
            error,
            limits=(0.75, 0.9),
            passes="The translator does change its input towards the truth.",
            fails="The output is nearly the input: hardly anything is translated.",
            evidence=f"The output goes {f'{100 * gone:.0f}% of the way from the source to' if gone >= 0 else 'from the source away from'} "
            f"the truth, over {len(made)} held-out pictures.",
            measure="share of the way from source to truth that is not gone",
            remedies=OF_IDENTITY,
            data={"gone": gone},
        )
    if made.shape[1] < source.shape[1]:
        return cannot_tell(name, "Dropping the color of a picture is a translation already: only a known truth could tell more.")
    rest, spread = sums((made - best_map(source, made)).square()), sums((made - made.mean((0, 2, 3), keepdim=True)).square())
    share = float(rest.sum() / max(spread.sum(), 1e-12))
    error = float(np.sqrt(np.square(rest - share * spread).sum()) / max(spread.sum(), 1e-12))
    kept = math.sqrt(max(share, 1e-12))
    as_it_is = 1 - math.sqrt(float((made - seen).square().sum()) / max(float(spread.sum()), 1e-12)) >= 0.9
    return _finding(
        name,
        1 - kept,
        error / (2 * max(kept, 1e-3)),
        limits=(0.9, 0.95 if as_it_is else math.inf),
        passes="The output is more than the input in other colors.",
        fails="The output is the input: nothing is translated."
        if as_it_is
        else "The output is the input in other colors, the same ones everywhere: right only where the two sides differ by that alone.",
        evidence=f"One change of colors, the same everywhere, makes the output of the input up to {100 * kept:.1f}% of its contrast.",
        measure="share of the contrast of the output that is so explained",
        remedies=OF_IDENTITY,
        data={"unexplained": kept},
    )


def inversion(found: Translated) -> Finding | Verdict:
    """``color-inversion``: are light and dark, or colors and their opposites, exchanged?

    The effect is minus the mean correlation, over the pixels of each picture, of the output's lightness with the truth's, or with the
    source's where there is no truth; with a truth in color, that of the chroma counts as well, and the worse of the two is told.
    """
    name = INVERTED
    reference = found.image if found.paired else found.source
    planes = [("lightness", luma(found.made.double()), luma(reference.double()))]
    if found.paired and found.made.shape[1] == 3:
        planes.append(("color", chroma(found.made.double()), chroma(reference.double())))
    told = [(what, r) for what, a, b in planes if len(r := correlations(a, b)) >= FEWEST]
    if not told:
        return cannot_tell(name, "Too few of the pictures have any contrast.")
    what, r = min(told, key=lambda one: float(one[1].mean()))
    error, beside = error_of(r), "the truth" if found.paired else "the source"
    own = ""
    if found.paired and len(between := correlations(luma(found.source.double()), luma(reference.double()))) >= FEWEST:
        own = f" The lightness of source and truth themselves: {between.mean():+.2f}."
    unsure = "" if found.paired else " Right only where that is what the two sides differ in."
    return _finding(
        name,
        -float(r.mean()),
        error,
        limits=(0.2, 0.5),
        passes=f"Light stays light, compared with {beside}.",
        fails=("Light and dark have changed places." if what == "lightness" else "Colors have become their opposites.") + unsure,
        evidence=f"The {what} of the output goes with that of {beside} by a correlation of {r.mean():+.2f} ± {1.96 * error:.2f} (mean of "
        f"{len(r)} pictures; 1 for the same, -1 for the opposite).{own}",
        measure="minus that correlation",
        remedies=OF_INVERSION,
        data={"correlation": float(r.mean()), "of": what},
    )


def hidden(found: Translated, seed: int = 0) -> Finding:
    """``hidden-information``: does the way back live on what nobody sees (Chu, Zhmoginov and Sandler 2017, "steganography")?

    Noise of two levels is added to the outputs before they are translated back. An honest translator passes it on about as it came;
    one that reads a hidden message amplifies it. The effect is how many times the noise has grown, over what the contrast of the two
    sides alone explains. No more than a WARN where the cycle's error does not grow by a quarter.
    """
    assert found.back is not None, "only a translator of two directions has a cycle"
    made, source = found.made.float(), found.source.float()
    straight, rounded = found.back(made), found.back((made / LEVEL).round() * LEVEL)
    noise = TINY * LEVEL * Noise(len(made), seed, device=made.device).normal(*made.shape[1:])
    noisy = found.back(made + noise)
    before, after_rounding, after = (float(rms(x - source).mean()) for x in (straight, rounded, noisy))
    natural = max(1.0, float(source.std() / found.image.float().std().clamp(min=LEVEL)))
    growth = np.log(np.maximum(rms(noisy - straight) / (rms(noise) * natural), 1e-6))
    effect = float(np.exp(growth.mean()))
    worse = after / max(before, LEVEL / 4)
    return _finding(
        HIDES,
        effect,
        effect * error_of(growth),
        limits=(3.0, 6.0 if worse >= 1.25 else math.inf),
        passes="The way back needs nothing that is hidden in the pictures.",
        fails="The output carries a hidden copy of the input, from which the way back is made: a small cycle loss then says nothing.",
        evidence=f"Translated there and back, pictures miss themselves by {before / LEVEL:.1f} levels; by {after_rounding / LEVEL:.1f} "
        f"where outputs are rounded to 8 bits, by {after / LEVEL:.1f} where noise of {TINY:g} levels is added to them, which nobody sees.",
        measure="how many times that noise grows on the way back, beyond what contrast explains",
        remedies=OF_HIDDEN,
        data={"growth": effect, "cycle": before / LEVEL, "cycle_rounded": after_rounding / LEVEL, "cycle_noisy": after / LEVEL},
    )


def carried(found: Translated) -> Finding:
    """``hidden-information`` where the truth is known: does the way back know what no true picture of the other side could tell?

    The source is predicted pixel by pixel from its truth (colors and their squares) and from what the way back makes, of that truth or
    of the output. The effect is the share of the squared error that only the output takes away: zero for a translator that writes
    nothing into its output, one for an output that holds all that the truth leaves open, in a pattern that eyes may well see.
    """
    assert found.back is not None, "only a translator of two directions has a cycle"
    source, truth = found.source.double(), found.image.double()
    own, true = (
        sums((source - best_map(torch.cat([truth, truth.square(), found.back(x.float()).double()], 1), source)).square())
        for x in (found.made, found.image)
    )
    unseen = source[0].numel() * (UNSEEN * LEVEL) ** 2  # the same in both: what is that small counts for nothing
    left, all_of_it = own + unseen, true + unseen
    share = float(left.sum() / all_of_it.sum())
    error = float(np.sqrt(np.square(left - share * all_of_it).sum()) / all_of_it.sum())
    rms = [float(np.sqrt(x.sum() / source.numel())) / LEVEL for x in (true, own)]
    return _finding(
        HIDES,
        1 - share,
        error,
        limits=(0.1, 0.2),
        passes="The way back needs nothing that is hidden in the pictures.",
        fails="The output carries a hidden copy of the input, from which the way back is made: a small cycle loss then says nothing.",
        evidence=f"On the way back {rms[0]:.1f} levels of the source stay unknown when it starts from the truth, {rms[1]:.1f} from the "
        "output.",
        measure="share of the squared error that only the output takes away",
        remedies=OF_CARRIED,
        data={"carried": 1 - share},
    )


def collapse(found: Translated) -> Finding:
    """``collapsed-translation``: do outputs differ as real pictures of the other side do?

    The effect is 1 minus the ratio of two geometric means: the distance of each output to the one most like it, over the same of as many
    real pictures of the other side. A translator that makes one picture, or a few, whatever it is given, is near 1.
    """
    made, real = np.log(nearest_distance(found.made)), np.log(nearest_distance(found.image))
    ratio = float(np.exp(made.mean() - real.mean()))
    error = ratio * math.hypot(error_of(made), error_of(real))
    return _finding(
        COLLAPSED,
        1 - ratio,
        error,
        limits=(0.6, 0.8),
        passes="Different pictures become different ones.",
        fails="Different pictures become nearly the same one.",
        evidence=f"An output differs from the one most like it {ratio:.2f} times as much as real pictures do ({len(made)} of each).",
        measure="how much less than real pictures outputs differ from each other, as a share",
        remedies=OF_COLLAPSE,
        data={"ratio": ratio},
    )


def paired_error(found: Translated) -> Finding:
    """``paired-error``: is the output closer to the truth than what can be had without translating?

    The effect is how many decibels are missing to a PSNR one decibel above the better of two: the untouched source (unless in other
    channels it is the truth already), and one flat picture in the mean color of all truths.
    """
    truth = found.image.double()
    seen, flat = in_channels(found.source.double(), truth.shape[1]), truth.mean((0, 2, 3), keepdim=True).expand_as(truth)
    plain = {"one flat color": flat}
    if float((seen - truth).square().mean()) >= (2 * LEVEL) ** 2:
        plain["the untouched source"] = seen
    without = {name: psnr(x, truth).clamp(max=MOST).numpy() for name, x in plain.items()}
    beside = max(without, key=lambda name: float(without[name].mean()))
    reached = psnr(found.made.clamp(-1, 1), truth).clamp(max=MOST).numpy()
    base = without[beside]
    gain, error, own = float((reached - base).mean()), error_of(reached - base), error_of(reached)
    interval = (float(reached.mean()) - 1.96 * own, float(reached.mean()) + 1.96 * own)
    others = ", ".join(f"{name} {values.mean():.2f} dB" for name, values in without.items())
    return _finding(
        MISSES,
        1 - gain,
        error,
        limits=(0.0, 0.75),
        passes=f"The output is closer to the truth than {beside}.",
        fails=f"The output is no closer to the truth than {beside}.",
        evidence=f"The output has a PSNR of {reached.mean():.2f} dB with the truth (95% interval {interval[0]:.2f} to {interval[1]:.2f}), "
        f"{others} ({len(reached)} held-out pictures).",
        measure="dB short of a gain of 1",
        remedies=OF_ERROR,
        data={"psnr": float(reached.mean()), "interval": list(interval), "before": float(base.mean())},
    )


def _finding(
    name: str,
    effect: float,
    error: float,
    *,
    limits: tuple[float, float],
    passes: str,
    fails: str,
    evidence: str,
    measure: str,
    remedies: tuple[Remedy, ...],
    data: dict[str, Any],
) -> Finding:
    warn, fail = limits
    error = max(error, 1e-6)
    says: dict[Status, str] = {"PASS": passes, "FAIL": fails, "CANNOT TELL": "Too few held-out pictures to tell."}
    blind = fail if math.isfinite(fail) else 2 * abs(warn)
    if effect + _QUANTILE * error < warn:  # what the sample was too small to see is not there all the same
        blind = math.inf
    return Finding(
        name,
        effect,
        warn,
        fail,
        says,
        evidence,
        measure,
        p=tail((effect - warn) / error),
        detectable=warn + (_QUANTILE + OFTEN) * error,
        blind=blind,
        remedies=remedies,
        data=data,
    )


def _enough(found: Translated) -> bool:
    return len(found.made) >= FEWEST


TRANSLATION = Check(
    "translation",
    question="Does it translate?",
    about="A model that turns images of one kind into another, and too few held-out pictures to judge it by.",
    of=Translated,
    run=lambda found: [cannot_tell("translation", f"Fewer than {FEWEST} held-out pictures.")],
    applies=lambda found: not _enough(found),
    measures="nothing, where there are too few held-out pictures to judge a translator by",
    limits="never",
    hopeless="it finds no trouble",
)
IDENTITY_COLLAPSE = Check(
    UNCHANGED,
    question="Does it change its input at all?",
    about="A translator that returns its input nearly as it was.",
    of=Translated,
    run=lambda found: [identity(found)],
    applies=_enough,
    measures="share of the way from source to truth that is not gone; without a truth, how much of the output one map of the input's "
    "colors explains",
    limits=".75 / .9; without a truth .9 / .95, FAIL only where the output is the input as it is",
    remedies=OF_IDENTITY,
)
COLOR_INVERSION = Check(
    INVERTED,
    question="Does light stay light, and dark dark?",
    about="A translator that makes light dark, or turns colors into their opposites.",
    of=Translated,
    run=lambda found: [inversion(found)],
    applies=_enough,
    measures="minus the correlation of lightness (and of color, with a truth) with the truth, or with the source",
    limits=".2 / .5",
    remedies=OF_INVERSION,
)
HIDDEN_INFORMATION = Check(
    HIDES,
    question="Does the way back do without hidden marks?",
    about="A translator that hides a copy of its input in its output, in differences that eyes do not see, and reads it on the way back.",
    of=Translated,
    run=lambda found: [hidden(found), *([carried(found)] if found.paired else [])],
    applies=lambda found: _enough(found) and found.back is not None,
    measures="how many times noise of two levels, added between the halves of the cycle, grows more than contrast explains (steganography, "
    "Chu et al. 2017); where the truth is known also the share of the way back's squared error that starting from the output instead of "
    "the truth takes away",
    limits="3 / 6, FAIL only where the cycle's error grows by a quarter; .1 / .2",
    remedies=tuple(dict.fromkeys((*OF_HIDDEN, *OF_CARRIED))),
)
COLLAPSED_TRANSLATION = Check(
    COLLAPSED,
    question="Do different pictures become different ones?",
    about="A translator that makes nearly the same picture of all inputs.",
    of=Translated,
    run=lambda found: [collapse(found)],
    applies=_enough,
    measures="one minus the distance of outputs to the nearest other output, over that of real pictures",
    limits=".6 / .8",
    remedies=OF_COLLAPSE,
)
PAIRED_ERROR = Check(
    MISSES,
    question="Does it come closer to the truth than no translation does?",
    about="A translator whose output is no closer to the truth than what can be had without it.",
    of=Translated,
    run=lambda found: [paired_error(found)],
    applies=lambda found: _enough(found) and found.paired,
    measures="decibels short of a PSNR one above the better of the untouched source and one flat color, where a truth is known",
    limits="0 / .75",
    remedies=OF_ERROR,
)
