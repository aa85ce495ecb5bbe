"""What only models with latents or likelihoods can be asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.check import Check
from calotype.diagnose.remedy import SHORTER, Remedy, sets
from calotype.diagnose.verdict import Finding, Verdict, cannot_tell, tail
from calotype.metrics.likelihood import ACTIVE, Gap, active_units

Record = dict[str, Any]
NO_ENCODER = "This family has no encoder."
NO_LIKELIHOOD = "This family gives no likelihood."
LATE = 0.5  # the share of the log that tells whether the gap still widens
FEWEST_LINES = 8  # of it
FEWEST_IMAGES = 50  # behind the variance of a posterior mean


COLLAPSED, OVERFITTED = "posterior-collapse", "likelihood-overfit"
OF_COLLAPSE = (
    sets({"model.free_bits": 0.1}),
    sets({"model.warmup": 0.3}),
    sets({"model.warmup": 0.5, "model.cycles": 4}),
    sets({"model.beta": 0.5}),
)
OF_OVERFITTING = (SHORTER, sets({"model.dropout": 0.2}), sets({"optimizer.weight_decay": 0.01}), Remedy("more training images"))


@dataclass(frozen=True)
class Posterior:
    """What an encoder makes of N images."""

    means: NDArray[np.floating]  # (N, z)
    divergence: NDArray[np.floating]  # (N, z) nats from the prior


@dataclass(frozen=True)
class HeldOut:
    """How much more held-out images cost than training images."""

    gap: Gap  # bits per dimension
    count: int  # of images of either kind
    widening: bool | None = None  # whether the gap still grew in the log


def posterior_collapse(means: NDArray[np.floating], divergence: NDArray[np.floating]) -> Finding | Verdict:
    """Whether the latents carry information: units whose posterior mean varies by more than .01 over images (Burda et al. 2016).

    WARN below half of the units, FAIL below a tenth. Arguments are those that ``posterior`` of a model gives for N images: the
    posterior means (N, z), and the divergence of each latent from its prior in nats (N, z).
    """
    name = COLLAPSED
    if len(means) < FEWEST_IMAGES:
        return cannot_tell(name, f"There are {len(means)} images to encode; {FEWEST_IMAGES} are needed: name more with `holdout`.")
    if not np.isfinite(means).all():
        return cannot_tell(name, "The encoder gives numbers that are not finite.")
    active, total = int(active_units(means).sum()), means.shape[1]
    nats = float(divergence.mean(0, dtype=np.float64).sum())
    return Finding(
        name,
        effect=1 - active / total,
        warn=0.5 + 1e-9,
        fail=0.9 + 1e-9,
        says={
            "PASS": "At least half of the latents vary with the image.",
            "FAIL": "Nearly all latents are unused: the decoder ignores them.",
            "WARN": "Most latents are unused: the decoder ignores them.",
        },
        evidence=(
            f"{active:,} of {total:,} latent units vary with the image (a variance of the posterior mean over {ACTIVE:g}). Together they "
            f"say {nats:.1f} nats of an image."
        ),
        measure="share of the latent units that do not vary",
        remedies=OF_COLLAPSE,
        data={"active": active, "total": total, "nats": nats},
    )


def likelihood_overfit(found: Gap, n: int, widening: bool | None = None) -> Finding:
    """Whether held-out images cost more bits than training images: FAIL from .05 bits per dimension, WARN from .01.

    ``found`` is the gap over ``n`` images of either kind, and ``widening`` what the log says of it (`widens`): where it has stopped
    to grow, a FAIL is a WARN.
    """
    error = max(found.error, 1e-9)
    course = {None: "", True: " In the log the difference still grows.", False: " In the log it no longer grows."}[widening]
    return Finding(
        OVERFITTED,
        effect=found.value,
        warn=0.01,
        fail=math.inf if widening is False else 0.05,
        blind=0.05,
        p=tail(found.value / error),
        error=error,
        says={
            "PASS": "No sign that held-out images cost over .01 bits per dimension more than training images.",
            "CANNOT TELL": "Too few images to compare their likelihood.",
            "FAIL": "The model has memorized its training images.",
            "WARN": "The model predicts its training images better than unseen ones.",
        },
        evidence=(
            f"Held-out images cost {found.value:+.4f} bits per dimension more than training images that are as intricate (standard error "
            f"{found.error:.4f}; {found.raw:+.4f} without regard to that; {n} of each).{course}"
        ),
        measure="bits per dimension that held-out images cost more",
        remedies=OF_OVERFITTING,
    )


def widens(records: Sequence[Record]) -> bool | None:
    """Whether the gap in bits between held-out and training images grew over the later half of a log, beyond chance.

    None where the log holds too few lines with a ``bits_holdout`` and a ``bits_train``.
    """
    rows = [(float(r["step"]), gap) for r in records if (gap := _logged_gap(r)) is not None]
    rows = rows[-math.ceil(LATE * len(rows)) :] if rows else []
    if len(rows) < FEWEST_LINES:
        return None
    step, gap = np.array(rows, np.float64).T
    step -= step.mean()
    slope = float(step @ gap / (step @ step))
    left = gap - gap.mean() - slope * step
    error = math.sqrt(float(left @ left) / (len(gap) - 2) / float(step @ step))
    return slope > 2 * error


def _logged_gap(record: Record) -> float | None:
    held, train = (
        next((v for k, v in record.items() if word in k and isinstance(v, int | float)), None) for word in ("bits_holdout", "bits_train")
    )
    return None if held is None or train is None else held - train


POSTERIOR_COLLAPSE = Check(
    COLLAPSED,
    question="Does it use its latent variables?",
    about="A model with an encoder that ignores its latent variables: they say nothing of the image.",
    of=Posterior,
    run=lambda found: [posterior_collapse(found.means, found.divergence)],
    measures="latent units whose posterior mean varies with the image, by a variance over .01 (Burda et al. 2016)",
    limits="under half / under a tenth",
    remedies=OF_COLLAPSE,
    shows="latents",
)
LIKELIHOOD_OVERFIT = Check(
    OVERFITTED,
    question="Does its likelihood hold on unseen images?",
    about="A model that predicts its training images better than images that it never saw.",
    of=HeldOut,
    run=lambda found: [likelihood_overfit(found.gap, found.count, found.widening)],
    measures="bits per dimension, held-out minus training, of equally intricate images",
    limits=".01 / .05, and where the log has both, the gap must still grow for a FAIL",
    remedies=OF_OVERFITTING,
    shows="log",
    curves=("bits",),
)
