"""What the verdicts on a training see and miss: logs, checkpoints, latents and likelihoods made up to fail in a known way.

They have the noise that real ones have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.checks import answers, asked_of
from calotype.diagnose.likelihood import HeldOut, Posterior
from calotype.diagnose.training import History
from calotype.diagnose.verdict import Verdict, conclude
from calotype.metrics.likelihood import Gap, gap

Rng = np.random.Generator
OF_TRAINING = tuple(name for kind in (History, Posterior, HeldOut) for name in asked_of(kind))
"""The verdicts on a training, and on what a model knows after it, that something can be made up for."""

LINES = 80  # of the log
BATCH = 64  # images behind each line, of a kind
CHECKPOINTS = 10
DIMENSIONS = 10  # of the features of the images at a checkpoint
UNITS = 40  # latents
IMAGES = 500  # that likelihoods are asked of, of either kind
SPREAD, LEFT = 0.4, 0.06  # standard deviation of bits per dimension over images, and what their intricacy leaves of it
D_PRIME = 1.35  # how far the discriminator sees real images above generated ones, in standard deviations: right in 3 of 4 cases


@dataclass(frozen=True)
class Course:
    """How a made-up training goes."""

    vanish: float | None = None  # share of the log after which the gradient vanishes
    auc: float = 0.5  # of the discriminator on training against held-out images, at the end
    rollbacks: int = 0
    swing: float = 0.0  # how far the images move between checkpoints, in standard deviations of their features
    active: float = 1.0  # share of the latents that vary with the image
    gap: float = 0.0  # bits per dimension that held-out images cost more


COURSES: Mapping[str, Course] = {
    "healthy training": Course(),
    "gradient vanishes": Course(vanish=0.6),
    "overfitted discriminator (AUC .65)": Course(auc=0.65),
    "rollbacks": Course(rollbacks=2),
    "generator swings": Course(swing=0.5),
    "latents collapse (a third is used)": Course(active=0.33),
    "overfitted likelihood (.05 bits/dim)": Course(gap=0.05),
}
"""Every made-up training by name."""


def of_course(course: Course, rng: Rng) -> list[Verdict]:
    """The verdicts on one training that goes this way."""
    history = History(log(course, rng), checkpoints(course, rng), [100 * i for i in range(1, CHECKPOINTS + 1)])
    known = (history, Posterior(*posterior(course, rng)), HeldOut(likelihoods(course, rng), IMAGES))
    return conclude(found for evidence in known for found in answers(evidence))


def log(course: Course, rng: Rng) -> list[dict[str, Any]]:
    """A training log: judgements of ``BATCH`` images of each kind, and gradients that drift and scatter as those of real trainings do."""
    records: list[dict[str, Any]] = []
    wander = np.cumsum(rng.normal(0, 0.05, LINES))  # of the logarithm of the gradient, from line to line
    for i in range(LINES):
        done = i / (LINES - 1)
        dead = 0.0 if course.vanish is None else float(np.clip((done - course.vanish) / 0.1, 0, 1))  # it takes a tenth of the training
        memory = sqrt(2) * NormalDist().inv_cdf(0.5 + (course.auc - 0.5) * min(1.0, 2 * done))
        train, held = rng.normal(D_PRIME + memory, 1, BATCH), rng.normal(D_PRIME, 1, BATCH)
        made = rng.normal(-8 * dead, 1, BATCH)
        middle = (D_PRIME - 8 * dead) / 2
        gradient = float(np.exp(-1.2 * done + wander[i] + rng.normal(0, 0.3) - 7 * dead))
        records.append(
            {
                "step": 50 * (i + 1),
                "generator/gradient_norm": gradient,
                "d_accuracy": float(((train > middle).mean() + (made < middle).mean()) / 2),
                "d_auc": float((train[:, None] > held).mean()),
                "d_sign": float(np.sign(train - middle).mean()),
            }
        )
    for place in sorted(rng.choice(LINES, course.rollbacks, replace=False).tolist(), reverse=True):
        step = records[place]["step"]
        records.insert(place + 1, {"event": "rollback", "step": step, "to": max(0, step - 400), "lr_scale": 0.5})
    return records


def checkpoints(course: Course, rng: Rng) -> list[NDArray[np.float32]]:
    """Features of what the same noise becomes at each checkpoint: settling, and moved all together by ``swing`` where it does not."""
    settled = rng.standard_normal((BATCH, DIMENSIONS))
    drawn = []
    for i in range(CHECKPOINTS):
        loose = 1 - i / CHECKPOINTS  # early images still change a lot
        direction = rng.standard_normal(DIMENSIONS)
        moved = course.swing * sqrt(DIMENSIONS) * direction / np.linalg.norm(direction)
        drawn.append((settled + loose * rng.standard_normal(settled.shape) + moved).astype(np.float32))
    return drawn


def posterior(course: Course, rng: Rng) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Posterior means and divergences (N, units): those of unused units tremble without meaning."""
    used = np.arange(UNITS) < round(course.active * UNITS)
    scale = np.where(used, rng.uniform(0.3, 1.0, UNITS), 0.03)
    means = rng.standard_normal((IMAGES, UNITS)) * scale
    return means, np.where(used, 1.0, 0.001) * rng.uniform(0.5, 1.5, means.shape)


def likelihoods(course: Course, rng: Rng) -> Gap:
    """The gap between bits of held-out and of training images, most of whose spread the images explain."""
    known = [rng.standard_normal((IMAGES, 1)) for _ in range(2)]
    held, train = (SPREAD * x[:, 0] + LEFT * rng.standard_normal(IMAGES) for x in known)
    return gap(held + course.gap, train, *known)
