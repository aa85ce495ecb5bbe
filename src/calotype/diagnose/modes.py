"""Mode collapse: does the generator reach everything that the real images hold?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.verdict import SEES, Finding, tail
from calotype.metrics.classes import Shares
from calotype.metrics.diversity import holm
from calotype.metrics.score import Estimate

NAME = "mode-collapse"
RARE = 0.002  # p-value of an estimated share: stricter than elsewhere, because classes that look alike are taken for each other
REMEDIES = (
    "--model.minibatch-std True",
    "calotype train rpgan",
    "--model.penalty r1 --model.penalty-weight 0.1",
    "--model.spectral True --model.discriminator-norm none",
    "--model.conditional True",
)


def coverage(generated: Mapping[str, Estimate], floor: Mapping[str, Estimate]) -> Finding:
    """The share of real images that the generator comes near to, relative to what as many real images come near to.

    Arguments hold ``coverage``, ``density`` and ``recall`` of generated and of real images. A FAIL below .9 and a WARN below .95
    of real-vs-real; these thresholds have no source, and ``calotype selftest`` measures what they do. Malformed images cover
    little too: where density tells of them and recall is that of real images, nothing worse than a WARN is said.
    """
    made, real = generated["coverage"], floor["coverage"]
    ratio = made.value / max(real.value, 1e-9)
    spread = max(math.hypot(_error(made), _error(real) * ratio) / max(real.value, 1e-9), 1e-9)
    malformed = generated["density"].value < 0.8 * floor["density"].value
    reached = malformed and generated["recall"].value > 0.9 * floor["recall"].value
    says = "The generator leaves out a part of what the data hold, and repeats itself elsewhere."
    if malformed:
        part = "Large parts" if ratio < 0.7 else "Some parts"
        says = f"{part} of the data have no generated image near them: left out, or made too badly to be recognized."
    return Finding(
        NAME,
        effect=1 - ratio,
        warn=0.05,
        fail=math.inf if reached else 0.1,
        p=tail((1 - ratio) / spread),
        detectable=SEES * spread,
        blind=0.1,
        says={"PASS": "Whatever kinds of images the data hold, the generator makes them too.", "FAIL": says},
        evidence=f"coverage {made.value:.3f} where as many real images reach {real.value:.3f} (density {generated['density'].value:.2f}, "
        f"real {floor['density'].value:.2f}); effect: share of it missing",
        remedies=("a longer --minutes", "a larger --model.width", *REMEDIES) if malformed else REMEDIES,
        data={"coverage": made.value, "coverage_floor": real.value},
    )


def dropped(names: Sequence[str], generated: NDArray[np.int64], real: NDArray[np.int64]) -> Finding:
    """Classes (or clusters) that come out at less than half of their share in the real images, by exact binomial bounds.

    ``generated`` and ``real`` are counts in the order of ``names``. The effect is the real share of all such classes together.
    """
    from scipy.stats import beta, binom

    n, expected = int(generated.sum()), real / max(1, real.sum())
    p_values = holm(np.asarray(binom.cdf(generated, n, expected), np.float64))
    tests = len(names)
    upper = beta.ppf(1 - 0.025 / tests, generated + 1, np.maximum(n - generated, 1e-9))
    missing = [i for i in range(tests) if expected[i] > 0 and upper[i] < 0.5 * expected[i]]
    thin = [i for i in range(tests) if i not in missing and generated[i] < 0.5 * expected[i] * n and p_values[i] < 0.01]
    rare = [f"{names[i]} ({generated[i]} of {n}, expected {expected[i] * n:.0f})" for i in (*missing, *thin)]
    share = float(expected[missing].sum() + 0.5 * expected[thin].sum())
    smallest = float(np.min(expected[expected > 0], initial=1.0))
    seen = bool(beta.ppf(1 - 0.025 / tests, 1, n) < 0.5 * smallest)
    return Finding(
        NAME,
        effect=share,
        warn=1e-9,
        fail=1e-9 if missing else 1.0,
        p=float(p_values.min(initial=1.0)),
        detectable=smallest if seen else 1.0,
        blind=0.99,
        says={
            "PASS": "All classes come out.",
            "FAIL": f"The generator hardly makes: {', '.join(names[i] for i in (*missing, *thin)[:6])}.",
            "WARN": f"The generator makes too few of: {', '.join(names[i] for i in thin[:6])}.",
        },
        evidence=f"too rare: {', '.join(rare)}"
        if rare
        else f"each of {tests} classes reaches at least half of its share, within the interval",
        remedies=REMEDIES,
        data={"names": list(names), "generated": generated.tolist(), "real": real.tolist()},
    )


def thinned(names: Sequence[str], found: Shares, expected: NDArray[np.float64], n: int) -> Finding:
    """Classes that come out at less than half of their share, where shares are estimated (`calotype.metrics.classes.class_shares`).

    Against ``expected``, the shares in the real images: a FAIL where even the upper bound, for all classes together, is under the
    half, a WARN where the estimate is and chance does not explain it.
    """
    tests = len(names)
    sure = _quantile(1 - 0.025 / tests)
    z = (expected - found.share) / np.maximum(found.error, 1e-9)
    p_values = holm(np.array([tail(float(value)) for value in z]))
    missing = [i for i in range(tests) if found.share[i] + sure * found.error[i] < 0.5 * expected[i]]
    thin = [i for i in range(tests) if i not in missing and found.share[i] < 0.5 * expected[i] and p_values[i] < RARE]
    rare = [f"{names[i]} ({100 * found.share[i]:.0f}%, expected {100 * expected[i]:.0f}%)" for i in (*missing, *thin)]
    seen = (expected > (sure + 1.28) * found.error).all()
    return Finding(
        NAME,
        effect=float(expected[missing].sum() + 0.5 * expected[thin].sum()),
        warn=1e-9,
        fail=1e-9 if missing else 1.0,
        blind=0.99,
        p=float(p_values.min(initial=1.0)),
        detectable=float(expected.min()) if seen else 1.0,
        says={
            "PASS": "No class is missing, as far as a weak classifier can tell.",
            "FAIL": f"The generator hardly makes: {', '.join(names[i] for i in (*missing, *thin)[:6])}.",
            "WARN": f"The generator makes too few of: {', '.join(names[i] for i in thin[:6])}.",
        },
        evidence=(f"too rare: {', '.join(rare)}" if rare else "no class is beyond doubt under half of its share")
        + f"; estimated from {n} images by a linear classifier that is right in {100 * found.accuracy:.0f}%",
        remedies=REMEDIES,
        data={"names": list(names), "share": found.share.tolist(), "error": found.error.tolist(), "real": expected.tolist()},
    )


def _quantile(p: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(p))


def _error(estimate: Estimate) -> float:
    if estimate.interval is None:
        return 0.0
    low, high = estimate.interval
    return (high - low) / (2 * 1.96)
