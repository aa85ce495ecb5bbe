"""Mode collapse: does the generator reach everything that the real images hold?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.check import Check, Findings
from calotype.diagnose.generated import Generated
from calotype.diagnose.remedy import LONGER, Remedy, changes, sets, trains
from calotype.diagnose.verdict import OFTEN, Finding, Verdict, cannot_tell, tail
from calotype.errors import UserError
from calotype.metrics.classes import Shares, class_shares
from calotype.metrics.diversity import different_bins, holm
from calotype.metrics.kinds import RARE as RARELY
from calotype.metrics.kinds import Kinds, rare_kinds
from calotype.metrics.manifold import COVERAGE, DENSITY, PRECISION, RECALL, Z95, radii
from calotype.metrics.repeats import first_of_each
from calotype.metrics.score import Estimate

NAME = "mode-collapse"
APART = 3  # the nearest other image to whose distance an image's own is compared
VARIED = 0.9  # of the distances between real images, from which generated ones do not repeat each other
USUAL = 0.1  # coverage of real images by real images below which nothing can be measured by it
RARE = 0.002  # p-value of an estimated share: stricter than elsewhere, because classes that look alike are taken for each other
DOUBT, LOWER = 0.025, 0.005  # corrected p-values of counts: of a share under the half, and of one that is lower at all
CLUSTERS = 10  # stand for classes where no network tells them apart
UNLIKE = "Its classes cannot be told: no mixture of the real classes looks like the generated images."
CONDITIONAL = replace(sets({"model.conditional": True}), harms=("projected",))
IN_NORMS = replace(sets({"model.generator.condition": "norm"}), given={"model.conditional": True})
MALFORMED = (IN_NORMS, LONGER, changes("a larger", "model.width"), changes("a larger", "model.generator.width"), CONDITIONAL)
SOFTLY = replace(
    sets({"model.label_scale": 0.07}),
    given={"model.conditional": True, "model.label_scale": 1.0, "model.generator.network": "modern"},  # where it was tried by itself
)
REMEDIES = (
    IN_NORMS,
    SOFTLY,
    sets({"model.discriminator.minibatch_std": True}),
    trains("rpgan", small_gray=True),
    sets({"model.penalty": "r1", "model.penalty_weight": 0.1}),
    sets({"model.discriminator.spectral": True, "model.discriminator.norm": "none"}),
    CONDITIONAL,
)


def mode_collapse(made: Generated) -> Findings:
    """All that is found of missing modes: too little covered, repeated images, classes that are missing or rare."""
    return [covered(made), *_repeats(made), _classes(made)]


def covered(made: Generated) -> Finding | Verdict:
    """`coverage`, where there are enough images to have neighbors."""
    if not all(COVERAGE.name in part for part in (*made.made, *made.real)):
        return cannot_tell(NAME, "There are too few different real images to say how much of them it reaches.")
    return coverage(typical(made.made), typical(made.real), made.once(apart))


def apart(made: Generated) -> float:
    """The `spread` of generated images beside that of the baseline, the mean over all spaces."""
    rows, baseline = made.against.even(len(made.pixels)), made.against.baseline
    spaces = zip(made.drawn, baseline.features, strict=True)
    return float(np.mean([spread(drawn[rows].features, real[baseline.once].features) for drawn, real in spaces]))


def spread(generated: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """How far generated images (N, d) are from their nearest others, relative to as many real ones (M, d): medians of the third nearest.

    A generator that makes the same few images again and again is far below 1, whatever these look like. Of different numbers of images
    the larger set is cut to the size of the other, on which distances depend; real ones should be different ones.
    """
    n = min(len(generated), len(real))
    of_generated, of_real = (float(np.median(radii(x[:n], APART)[:, -1])) for x in (generated, real))
    return of_generated / of_real if of_real else 1.0


def typical(parts: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """The mean of each score over several spaces with the mean of its intervals: for comparing two sets in the same spaces."""
    found = {}
    for name in parts[0]:
        several = [part[name] for part in parts]
        ends = np.mean([e.interval or (e.value, e.value) for e in several], axis=0)
        found[name] = Estimate(float(np.mean([e.value for e in several])), (float(ends[0]), float(ends[1])))
    return found


def _repeats(made: Generated) -> list[Finding]:
    """Whether generated images repeat each other, beside as many real ones: the more there are, the more repeat others.

    Nothing where they do not: that they differ says little of how much.
    """
    pixels, real, rng = made.pixels, made.against.train.images.pixels, np.random.default_rng([made.seed, 5])
    n = min(len(pixels), len(real))
    some, beside = (x[np.sort(rng.permutation(len(x))[:n])] for x in (pixels, real))
    found = repeated(n, len(first_of_each(some)), len(first_of_each(beside)))
    return [found] if found.effect > 0 else []


def classes_known(made: Generated) -> bool:
    """Whether the network of the features tells the classes apart."""
    told = made.drawn[0].probabilities is not None and made.against.train.features[0].probabilities is not None
    return told and bool(made.against.spaces[0].classes)


def estimated_shares(made: Generated) -> Shares | None:
    """Shares of the classes among generated images by all features together; None where they are counted, without labels or with few."""
    train = made.against.train
    if classes_known(made) or train.images.labels is None or len(train.images.classes) < 2:
        return None
    x, y = (np.concatenate([e.features for e in parts], 1) for parts in ((*made.drawn, made.confirm), (*train.features, train.confirm)))
    try:
        return class_shares(x, y, train.images.labels, len(train.images.classes))
    except UserError:
        return None


def _classes(made: Generated) -> Finding | Verdict:
    """Missing classes where a network tells them apart or labels let one learn to, else missing clusters of the real images."""
    drawn, against, shares = made.drawn, made.against, made.once(estimated_shares)
    classes, beliefs = against.spaces[0].classes, against.train.features[0].probabilities
    if drawn[0].probabilities is not None and beliefs is not None and classes:
        generated, real = (np.bincount(p.argmax(1), minlength=len(classes)) for p in (drawn[0].probabilities, beliefs))
        return dropped(classes, generated, real)
    if shares is not None and shares.possible:
        labels, names = against.train.images.labels, against.train.images.classes
        counts = np.bincount(labels, minlength=len(names)) if labels is not None else np.zeros(len(names), np.int64)
        return thinned(names, shares, counts, len(drawn[0]))
    if against.spaces[0].network:
        return _rarely(made)
    if shares is not None:
        return cannot_tell(NAME, UNLIKE)
    if len(against.reference.once) < 4 * CLUSTERS:
        return cannot_tell(NAME, "There are too few different real images to divide them into kinds.")
    bins = different_bins(drawn[0].features, against.reference.features[0].features, bins=CLUSTERS, seed=made.seed)
    return dropped([f"cluster {i + 1}" for i in range(bins.bins)], bins.generated, bins.real)


def _rarely(made: Generated) -> Finding | Verdict:
    """`rarely`, where there are enough images: of features that see content, without a name for what they see."""
    x, y = made.drawn[0].features, made.against.train.features[0].features
    try:
        found = rare_kinds(x, y, made.seed)
    except UserError as error:
        return cannot_tell(NAME, f"{str(error).capitalize()}.")
    known = all(COVERAGE.name in part for part in (*made.made, *made.real))
    malformed, reached = _malformed(typical(made.made), typical(made.real)) if known else (False, False)
    return rarely(found, len(x), malformed, reached)


def rarely(found: Kinds, n: int, malformed: bool = False, reached: bool = False) -> Finding:
    """Kinds of images that come out too rarely, where nothing names them (`calotype.metrics.kinds.rare_kinds`).

    FAIL where they are 8% of the real images, WARN from 2% (no source: ``calotype selftest`` measures what they do). Malformed images fall
    into other clusters, too: nothing worse than a WARN is said of such that ``reached`` all that real images reach.
    """
    badly = "Whole kinds of images come out too rarely, or too badly to be recognized."
    return Finding(
        NAME,
        effect=found.share,
        warn=0.02,
        fail=math.inf if reached else 0.08,
        p=found.p,
        error=found.error,
        blind=0.15,
        says={
            "PASS": "No kind of image is clearly too rare.",
            "CANNOT TELL": "Too few images to say whether kinds of them are missing.",
            "FAIL": badly if malformed else "Whole kinds of images are missing, or come out too rarely.",
        },
        evidence=f"Kinds that hold {100 * found.share:.0f}% of the real images come out at less than {RARELY} of their share, beyond what "
        f"chance makes of it (clusters of {n:,} generated and of real images, p = {found.p:.2g}).",
        measure="share of the real images whose kind comes out too rarely",
        remedies=MALFORMED if malformed else REMEDIES,
    )


def _malformed(generated: Mapping[str, Estimate], baseline: Mapping[str, Estimate], distance: float = 0.0) -> tuple[bool, bool]:
    """Whether images are malformed, by density or precision, and whether they nevertheless are of all kinds, by recall or `spread`.

    Speckles are far apart, too: `spread` counts where a third of what real images reach is reached.
    """
    malformed = any(generated[name].value < 0.95 * baseline[name].value for name in (DENSITY.name, PRECISION.name))
    reached = generated[RECALL.name].value / max(baseline[RECALL.name].value, 1e-9)
    return malformed, malformed and (reached > 0.9 or (distance > VARIED and reached > 1 / 3))


def coverage(generated: Mapping[str, Estimate], baseline: Mapping[str, Estimate], distance: float | None = None) -> Finding | Verdict:
    """The share of real images that the generator comes near to, relative to what as many real images come near to.

    Arguments hold ``coverage``, ``density``, ``precision`` and ``recall`` of generated and of real images; ``distance`` is their `spread`.
    A FAIL below .9 and a WARN below .95 of real-vs-real; these thresholds have no source, and ``calotype selftest`` measures what they do.
    Malformed images cover little too: where density or precision tells of them, and recall is that of real images or they are as far apart
    as these, nothing worse than a WARN is said.
    """
    made, real = generated[COVERAGE.name], baseline[COVERAGE.name]
    if real.value < USUAL:
        return cannot_tell(NAME, "Even real images hardly cover other real ones: too few, or too unlike each other, to measure by.")
    ratio = made.value / real.value
    error = max(math.hypot(_error(made), _error(real) * ratio) / real.value, 1e-9)
    malformed, varied = _malformed(generated, baseline, distance or 0.0)
    says = "The generator leaves out a part of what the data hold, and repeats itself elsewhere."
    if malformed:
        part = "Large parts" if ratio < 0.7 else "Some parts"
        says = f"{part} of the data have no generated image near them: left out, or made too badly to be recognized."
    return Finding(
        NAME,
        effect=1 - ratio,
        warn=0.05,
        fail=math.inf if varied else 0.1,
        p=tail((1 - ratio) / error),
        error=error,
        blind=0.1,
        says={
            "PASS": "No sign that more than 5% of what the data hold is left out.",
            "CANNOT TELL": "Too few images to say how much of the data it reaches.",
            "FAIL": says,
        },
        evidence=f"The coverage is {made.value:.3f}; as many real images reach {real.value:.3f}. The density is "
        f"{generated[DENSITY.name].value:.2f}; of real images {baseline[DENSITY.name].value:.2f}."
        + ("" if distance is None else f" The images are {distance:.2f} times as far apart as real ones."),
        measure="share of the coverage of real images that is missing",
        remedies=MALFORMED if malformed else REMEDIES,
        data={"coverage": made.value, "coverage_baseline": real.value},
    )


def repeated(n: int, made: int, real: int) -> Finding:
    """Whether generated images are the same, pixel by pixel, as others that were generated.

    Among ``n`` generated images are ``made`` different ones, among as many real ones ``real``. The effect is the share that repeats
    another, beyond that of real images: FAIL from 5%, WARN from 1% (no source), by Fisher's exact test.
    """
    from scipy.stats import hypergeom

    again, usual = n - made, n - real
    return Finding(
        NAME,
        effect=max(0.0, (again - usual) / n),
        warn=0.01,
        fail=0.05,
        p=float(hypergeom.sf(again - 1, 2 * n, again + usual, n)),
        says={
            "PASS": "Its images repeat each other no more than real ones do.",
            "FAIL": f"{again:,} of {n:,} generated images repeat others pixel by pixel.",
        },
        evidence=f"{made:,} of {n:,} generated images are different ones; of as many real images {real:,}.",
        measure="share of the generated images that repeat others, beyond that of real images",
        remedies=REMEDIES,
        data={"different": made, "different_real": real},
    )


def dropped(
    names: Sequence[str],
    generated: NDArray[np.int64],
    real: NDArray[np.int64],
    outside: tuple[int, int] = (0, 0),
    remedies: tuple[Remedy, ...] = REMEDIES,
) -> Finding:
    """Classes (or clusters) that come out at less than half of their share in the real images.

    ``generated`` and ``real`` are counts in the order of ``names``, both of samples; ``outside`` are those that belong to none. A FAIL
    where twice the generated share is beyond doubt below the real one: of all images of a class, given their number, the generated ones are
    binomial, with the odds n/2 : m where the shares are as 1 : 2 (exact for rare classes, cautious for others). A WARN where the count is
    less than half of what is expected and Fisher's exact test says that the share is lower. The effect is the real share of all such
    classes.
    """
    from scipy.stats import binom, hypergeom

    n, m, tests = int(generated.sum()) + outside[0], int(real.sum()) + outside[1], len(names)
    expected, both = real / max(1, m), generated + real
    p_values = holm(np.asarray(hypergeom.cdf(generated, n + m, both, n), np.float64))
    under_half = holm(np.asarray(binom.cdf(generated, both, n / (n + 2 * max(1, m))), np.float64)) < DOUBT
    few = generated < 0.5 * expected * n
    missing = [i for i in range(tests) if few[i] and under_half[i]]
    thin = [i for i in range(tests) if i not in missing and few[i] and p_values[i] < LOWER]
    unseen = [names[i] for i in range(tests) if real[i] and hypergeom.cdf(0, n + m, real[i], n) * tests >= LOWER]
    counts = [f"{names[i]} ({generated[i]} of {n}, expected {expected[i] * n:.0f})" for i in range(tests)]
    return _of_classes(
        names,
        missing,
        thin,
        expected,
        p_values,
        seen=bool(m) and not unseen,
        passes="No class is missing.",
        cannot=f"Too rare to judge: {_listed(unseen)}." if m else "There are no real images to compare with.",
        evidence=_rare(counts, missing, thin) or f"None of {tests} kinds of images is clearly under half of its share.",
        data={"names": list(names), "generated": generated.tolist(), "real": real.tolist()},
        remedies=remedies,
    )


def thinned(names: Sequence[str], found: Shares, real: NDArray[np.int64], n: int) -> Finding:
    """Classes that come out at less than half of their share, where shares are estimated (`calotype.metrics.classes.class_shares`).

    Against the shares among the ``real`` images, which are counts: a FAIL where even the upper bound, for all classes together, is
    under the half, a WARN where the estimate is and chance does not explain it.
    """
    tests, m = len(names), max(1, int(real.sum()))
    expected = real / m
    sure, spread = _quantile(1 - 0.025 / tests), np.sqrt(expected * (1 - expected) / m)
    error, of_half = np.hypot(found.error, spread), np.hypot(found.error, 0.5 * spread)
    z = (expected - found.share) / np.maximum(error, 1e-9)
    p_values = holm(np.array([tail(float(value)) for value in z]))
    missing = [i for i in range(tests) if found.share[i] + sure * of_half[i] < 0.5 * expected[i]]
    thin = [i for i in range(tests) if i not in missing and found.share[i] < 0.5 * expected[i] and p_values[i] < RARE]
    unseen = [names[i] for i in range(tests) if expected[i] <= (sure + OFTEN) * error[i]]
    shares = [f"{names[i]} ({100 * found.share[i]:.0f}%, expected {100 * expected[i]:.0f}%)" for i in range(tests)]
    return _of_classes(
        names,
        missing,
        thin,
        expected,
        p_values,
        seen=not unseen,
        passes="No class is missing, as far as a weak classifier can tell.",
        cannot=f"Too rare, or too hard to recognize, to be judged: {_listed(unseen)}.",
        evidence=(_rare(shares, missing, thin) or "No class is clearly under half of its share.")
        + f" The shares are estimates from {n:,} images by a linear classifier that is right for {100 * found.accuracy:.0f}% of real ones.",
        data={"names": list(names), "share": found.share.tolist(), "error": found.error.tolist(), "real": expected.tolist()},
    )


def _of_classes(
    names: Sequence[str],
    missing: Sequence[int],
    thin: Sequence[int],
    expected: NDArray[np.float64],
    p_values: NDArray[np.float64],
    *,
    seen: bool,
    passes: str,
    cannot: str,
    evidence: str,
    data: dict[str, Any],
    remedies: tuple[Remedy, ...] = REMEDIES,
) -> Finding:
    """The finding on classes that are ``missing`` beyond doubt and likely too ``thin``; ``seen``: whether any missing one would show."""
    return Finding(
        NAME,
        effect=float(expected[missing].sum() + 0.5 * expected[thin].sum()),
        warn=1e-9,
        fail=1e-9 if missing else 1.0,
        p=float(p_values.min(initial=1.0)),
        detectable=float(np.min(expected[expected > 0])) if seen else 1.0,
        blind=0.99,
        says={
            "PASS": passes,
            "CANNOT TELL": cannot,
            "FAIL": f"The generator hardly makes: {', '.join(names[i] for i in (*missing, *thin)[:6])}.",
            "WARN": f"The generator makes too few of: {', '.join(names[i] for i in thin[:6])}.",
        },
        evidence=evidence,
        measure="share that the kinds which are too rare have among real images, half of it where that is only likely",
        remedies=remedies,
        data=data | {"rare": [names[i] for i in (*missing, *thin)]},
    )


def _rare(told: Sequence[str], missing: Sequence[int], thin: Sequence[int]) -> str:
    return f"Too rare: {', '.join(told[i] for i in (*missing, *thin))}." if missing or thin else ""


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _quantile(p: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(p))


def _error(estimate: Estimate) -> float:
    if estimate.interval is None:
        return 0.0
    low, high = estimate.interval
    return (high - low) / (2 * Z95)


MODE_COLLAPSE = Check(
    NAME,
    question="Does it make every kind of image?",
    about="A generator that leaves out kinds of images, or makes the same ones again and again. Looked for by coverage, by the shares of "
    "classes, and by images that repeat each other pixel by pixel.",
    of=Generated,
    run=mode_collapse,
    measures="coverage relative to that of as many other real images; classes under half of their share, by an exact two-sample test. "
    "Without a network that tells classes, their shares are estimated from labels, and without labels k-means clusters stand for them: in "
    "features of a pretrained network, the share of real images in clusters that come out at less than .6 of theirs, by random labelings. "
    "Images that repeat others pixel by pixel, beyond as many real ones",
    limits="coverage below .95 / .9; a class likely / surely under half; rare kinds 2% / 8%; repeats 1% / 5%",
    remedies=(*REMEDIES, *MALFORMED),
    of_files=(Remedy("draw them with less guidance or truncation, or by a model that was trained for longer"),),
    shows="classes",
)
