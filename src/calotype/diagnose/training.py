"""What the log of a training tells: vanishing gradients, an overfitting discriminator, oscillation, divergence.

Records are those of ``log.jsonl``, in the order of their steps. The same rules run while the training does (`Watcher`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calotype.diagnose.check import Check
from calotype.diagnose.remedy import SHORTER, Remedy, changes, sets
from calotype.diagnose.verdict import LIKELY, OFTEN, Finding, Verdict, cannot_tell, not_applicable, tail

Record = dict[str, Any]
VANISHING, DISCRIMINATOR, DIVERGED, OSCILLATES = "vanishing-gradient", "overfitting-discriminator", "divergence", "oscillation"
R1, SLOWER = sets({"model.penalty": "r1"}), changes("a lower", "optimizer.lr")
OF_VANISHING = (
    sets({"model.loss": "non_saturating"}),
    sets({"model.loss": "relativistic_pairing", "model.penalty": "r1_r2", "model.penalty_weight": 0.1}),
    sets({"model.discriminator_lr_mult": 0.25}),
    sets({"model.instance_noise": 0.1}),
    sets({"model.smooth": 0.9}),
)
OF_DISCRIMINATOR = (
    Remedy("more training images"),
    sets({"data.flip": True}, " (not for digits or text)"),
    sets({"model.discriminator.dropout": 0.3}),
    R1,
    SHORTER,
)
OF_DIVERGENCE = (SLOWER, sets({"optimizer.clip": 1}), sets({"schedule.warmup": 0.05}), sets({"train.precision": "fp32"}))
OF_OSCILLATION = (sets({"schedule.kind": "linear"}), sets({"train.ema": 0.1}), SLOWER, sets({"optimizer.betas": (0, 0.99)}), R1)
NO_DISCRIMINATOR = "This family has no discriminator."
NO_LOG = "There is no log of the training."
GUESSING = 0.6  # right in fewer cases than these, a discriminator tells nothing: half of them are chance
SUSTAINED = 5  # log lines in a row that make a state of a moment
LATE = 0.5  # the share of the training that the verdicts on its outcome look at
HELD, FEWEST_HELD = 64, 50  # held-out images where the log does not say how many, and those that a verdict needs
DEALS = 2999  # random exchanges of images between checkpoints
QUESTIONS = 10  # that a verdict shares its error rate with, at most


@dataclass(frozen=True)
class History:
    """What is left of a training: its log, and what its model made of the same noise at some checkpoints."""

    records: Sequence[Record]
    drawn: Sequence[NDArray[np.float32]] = ()  # features (or class probabilities) (n, d) of the images of each checkpoint
    steps: Sequence[int] = ()  # of these checkpoints
    of: Literal["generator", "translator", "restorer", "classifier"] = "generator"  # what was trained

    @property
    def lines(self) -> list[Record]:
        """The log without what happened in between."""
        return [r for r in self.records if "event" not in r]


def _of_generator(history: History) -> bool:
    return history.of == "generator"


def _settling(history: History) -> Finding | Verdict:
    if not history.drawn:
        return cannot_tell(OSCILLATES, "There are no samples of earlier checkpoints.")
    return oscillation(history.drawn, history.steps)


def vanishing_gradient(records: Sequence[Record]) -> Finding | Verdict:
    """Whether the generator learned nothing because the discriminator was always right, or said the same of all images.

    Dead is a state, sustained over ``SUSTAINED`` log lines, in which the generator's gradient is below 1% of its early median while the
    discriminator is right in more than 99% of cases or in fewer than ``GUESSING``, or in which it is right and has nothing to learn itself.
    The effect is the share of the log in that state: a FAIL where the training ends in it and the discriminator is right. One that
    cannot tell images apart may have given up, or there may be nothing left to tell: that is never more than a WARN.
    """
    name = VANISHING
    rows = [
        (r["generator/gradient_norm"], r["d_accuracy"], r.get("discriminator/gradient_norm", math.nan))
        for r in records
        if _has(r, "generator/gradient_norm", "d_accuracy")
    ]
    if not rows:
        return not_applicable(name, NO_DISCRIMINATOR) if records else cannot_tell(name, NO_LOG)
    if len(rows) < 2 * SUSTAINED:
        return cannot_tell(name, f"The log has {len(rows)} lines; {2 * SUSTAINED} are needed: train longer, or with `log.every=10`.")
    gradient, accuracy, of_discriminator = np.array(rows, float).T
    early = float(np.median(gradient[: max(SUSTAINED, len(rows) // 10)]))
    gone = gradient < 0.01 * early
    right, blank = (gone | (of_discriminator == 0)) & (accuracy > 0.99), gone & (accuracy < GUESSING)
    given_up = bool(blank[-SUSTAINED:].all())
    share = float((right | blank).mean()) if _longest(right | blank) >= SUSTAINED else 0.0
    late, share_right = float(np.median(gradient[-SUSTAINED:])), 100 * accuracy[-SUSTAINED:].mean()
    return Finding(
        name,
        effect=1.0 if right[-SUSTAINED:].all() else share,
        warn=1e-9,
        fail=1.0,
        detectable=SUSTAINED / len(rows),
        says={
            "PASS": "The generator got a useful gradient all along.",
            "FAIL": "The discriminator is always right, and the generator no longer learns from it.",
            "WARN": "The discriminator says the same of all images, and the generator learns nothing from it any more: it has given up, "
            "unless generated images cannot be told from real ones."
            if given_up
            else "For a while the discriminator was always right or said the same of all images, and the generator learned nothing.",
        },
        evidence=f"The gradient of the generator is {late:.2g} at the end and was {early:.2g} early; the discriminator is right in "
        f"{share_right:.0f}% of cases at the end.",
        measure="share of the log in which the generator had nothing to learn from, 1 where the training ends so",
        remedies=(SLOWER,) if given_up else OF_VANISHING,
    )


def overfitting_discriminator(records: Sequence[Record]) -> Finding | Verdict:
    """Whether the discriminator tells training images from held-out ones, which it can only from memory.

    Over the last half of the log: the area under the curve of its logits on training against held-out images, .5 where it
    cannot tell them apart; FAIL from .65, WARN from .58 (no source; Karras et al. 2020 use the share of training images taken
    for real above .6, r_t, which is given as evidence).

    The held-out images are the same all along: besides the spread between log lines, the error holds what the choice of
    ``holdout_images`` (H, 64 where the log does not say) contributes to the area, a variance of 1/12H (Hanley & McNeil 1982).
    """
    name = DISCRIMINATOR
    rows = [r["d_auc"] for r in records if _has(r, "d_auc")]
    if not rows:
        if not records:
            return cannot_tell(name, NO_LOG)
        judged = any(_has(r, "d_accuracy") for r in records)
        return (
            cannot_tell(name, "The log does not compare training with held-out images.")
            if judged
            else not_applicable(name, NO_DISCRIMINATOR)
        )
    rows = rows[-max(1, round(LATE * len(rows))) :]
    auc = np.array(rows, float)
    held = next((int(r["holdout_images"]) for r in reversed(records) if _has(r, "holdout_images")), HELD)
    if held < FEWEST_HELD:
        return cannot_tell(name, f"There are {held} held-out images; {FEWEST_HELD} are needed: name more with `data.holdout`.")
    error = math.hypot(float(auc.std(ddof=1)) / math.sqrt(len(auc)) if len(auc) > 1 else 0.1, math.sqrt(1 / (12 * held)))
    signs = [r["d_sign"] for r in records[-len(rows) :] if _has(r, "d_sign")]
    sign = f" It takes {50 * (1 + np.mean(signs)):.0f}% of training images for real (r_t {np.mean(signs):.2f})." if signs else ""
    gap = float(auc.mean() - 0.5)
    return Finding(
        name,
        effect=max(0.0, gap),
        warn=0.08,
        fail=0.15,
        p=tail(gap / error),
        error=error,
        says={
            "PASS": "No sign that it ranks a training image above an unseen real one in more than 58% of pairs.",
            "CANNOT TELL": "Too few log lines or held-out images to see it.",
            "FAIL": "The discriminator has memorized the training images, so its advice to the generator is memory.",
        },
        evidence=f"It ranks a training image above a held-out one in {100 * auc.mean():.0f}% of pairs; chance would in 50%.{sign}",
        measure="share of such pairs beyond a half",
        remedies=OF_DISCRIMINATOR,
    )


def divergence(records: Sequence[Record]) -> Finding | Verdict:
    """How often the training had to go back because a number was not finite, and whether it ended well."""
    name = DIVERGED
    if not records:
        return cannot_tell(name, NO_LOG)
    rollbacks = [r for r in records if r.get("event") == "rollback"]
    gone = any(r.get("event") == "gave up" for r in records)
    steps = ", ".join(str(r.get("step")) for r in rollbacks[:5])
    return Finding(
        name,
        effect=2.0 if gone else float(bool(rollbacks)),
        warn=1,
        fail=2,
        says={
            "PASS": "Every loss, gradient and weight stayed finite.",
            "FAIL": "The training diverged and was given up.",
            "WARN": "The training diverged, went back to an earlier checkpoint and went on at a lower learning rate.",
        },
        evidence=f"The training {_went(len(rollbacks))} back to an earlier checkpoint" + (f", at steps {steps}." if steps else "."),
        remedies=OF_DIVERGENCE,
    )


def oscillation(drawn: Sequence[NDArray[np.float32]], steps: Sequence[int]) -> Finding | Verdict:
    """Whether what the generator makes keeps changing from checkpoint to checkpoint instead of settling.

    ``drawn`` are features (or class probabilities) (n, d) of images from the same noise at each checkpoint. The squared distance
    of the means of two neighbors, in units of what two independent samples of n would show: 1 is chance. Over the later half of
    the training, the effect is the median of these; FAIL above 3 (no source), WARN above 2. The p-value is that of the median
    where the images are dealt to the checkpoints at random, which knows how many directions they really vary in.
    """
    name = OSCILLATES
    late = [i for i, step in enumerate(steps) if step >= LATE * steps[-1]] if steps else []
    if len(late) < 3:
        return cannot_tell(name, "It takes three checkpoints in the later half of the training: keep more with `log.checkpoints`.")
    drift, chance = _drifts([drawn[i] for i in late])
    effect, critical = float(np.median(drift)), float(np.quantile(chance, 1 - LIKELY / QUESTIONS))
    return Finding(
        name,
        effect=effect,
        warn=2.0,
        fail=3.0,
        blind=6.0,
        p=float((1 + (chance >= effect).sum()) / (1 + len(chance))),
        detectable=max(2.0, critical) + OFTEN * float(chance.std()),
        says={
            "PASS": "The generator settles: the last checkpoints differ by no more than twice what chance does.",
            "CANNOT TELL": "Too few images of each checkpoint to see a swing.",
            "FAIL": "The generator swings between different kinds of images and does not settle.",
        },
        evidence=f"From checkpoint to checkpoint images of the same noise moved by {', '.join(f'{d:.1f}' for d in drift)} times what "
        "chance does.",
        measure="the median of these, 1 for chance alone",
        remedies=OF_OSCILLATION,
        data={"steps": [steps[i] for i in late], "drift": drift.tolist()},
    )


class Watcher:
    """The verdicts of a running training: says each trouble once when it begins, and once when it is over."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records = [r for r in records if "event" not in r]
        self.troubles: set[str] = set()
        self._update()

    def see(self, record: Record) -> list[Record]:
        """Take one more record; returns the events to log, each with ``event``, ``step``, ``name``, ``status`` and ``says``."""
        self.records.append(record)
        before = dict.fromkeys(self.troubles)
        found = self._update()
        step = record["step"]
        begun = [
            {"event": "verdict", "step": step, "name": n, "status": "WARN", "says": says} for n, says in found.items() if n not in before
        ]
        ended = [
            {"event": "verdict", "step": step, "name": n, "status": "PASS", "says": f"{n} is over"}
            for n in before
            if n not in self.troubles
        ]
        return begun + ended

    def _update(self) -> dict[str, str]:
        recent = self.records[-4 * SUSTAINED :]
        head = self.records[:SUSTAINED]
        found: dict[str, str] = {}
        gradient = vanishing_gradient([*head, *head, *recent]) if len(self.records) > 4 * SUSTAINED else None
        if isinstance(gradient, Finding) and gradient.effect >= 1:
            found[gradient.name] = f"{gradient.says['FAIL']} ({gradient.evidence})"
        memory = overfitting_discriminator(recent) if len(recent) == 4 * SUSTAINED else None
        if isinstance(memory, Finding) and memory.effect >= memory.fail and (memory.p or 0) < 1e-3:
            found[memory.name] = f"{memory.says['FAIL']} ({memory.evidence})"
        self.troubles = set(found)
        return found


def _drifts(drawn: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The drift between neighbors, and its median where the images are dealt at random, ``DEALS`` times."""
    points = np.concatenate(drawn).astype(np.float64)
    points -= points.mean(0)
    squares, home = np.square(points).sum(1), np.repeat(np.arange(len(drawn)), [len(x) for x in drawn])
    rng = np.random.default_rng(0)

    def between(homes: NDArray[np.int64]) -> NDArray[np.float64]:
        """(deals, images) of checkpoints -> (deals, checkpoints - 1) of drifts."""
        of = (homes[:, None] == np.arange(len(drawn))[:, None]).astype(np.float64)  # (deals, checkpoints, images)
        count = of.sum(2)
        means = of @ points / count[..., None]
        variance = (of @ squares / count - np.square(means).sum(2)) / np.maximum(count - 1, 1)
        moved = np.square(np.diff(means, axis=1)).sum(2)
        drift: NDArray[np.float64] = moved / np.maximum(variance[:, 1:] + variance[:, :-1], 1e-12)
        return drift

    dealt = [np.median(between(rng.permuted(np.tile(home, (100, 1)), axis=1)), axis=1) for _ in range(-(-DEALS // 100))]
    return between(home[None])[0], np.concatenate(dealt)[:DEALS]


def _went(count: int) -> str:
    return {0: "never went", 1: "went once"}.get(count, f"went {count} times")


def _longest(flags: NDArray[np.bool_]) -> int:
    best = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


def _has(record: Record, *names: str) -> bool:
    return all(isinstance(record.get(n), int | float) for n in names)


OSCILLATION = Check(
    OSCILLATES,
    question="Did it settle on what to make?",
    about="A generator that swings between kinds of images instead of settling. Looked for by how far images of the same noise move "
    "between checkpoints.",
    of=History,
    run=lambda history: [_settling(history)],
    applies=_of_generator,
    measures="how far images of fixed noise move between the later checkpoints, in units of sampling noise",
    limits="2 / 3",
    remedies=OF_OSCILLATION,
    shows="drift",
)
VANISHING_GRADIENT = Check(
    VANISHING,
    question="Did the generator keep learning?",
    about="A generator that gets nothing to learn from any more, because its discriminator is always right or says the same of all images.",
    of=History,
    run=lambda history: [vanishing_gradient(history.lines)],
    applies=_of_generator,
    measures="over five log lines, the generator's gradient under 1% of its early median while the discriminator is right in over 99% or "
    "under 60%, or no gradient of a discriminator that is right in over 99%",
    limits="happened / at the end, and right",
    remedies=OF_VANISHING,
    shows="log",
    curves=("gradient", "accuracy"),
)
OVERFITTING_DISCRIMINATOR = Check(
    DISCRIMINATOR,
    question="Did the discriminator overfit?",
    about="A discriminator that has memorized the training images: it tells them from held-out images, which are as real.",
    of=History,
    run=lambda history: [overfitting_discriminator(history.lines)],
    applies=lambda history: history.of not in ("restorer", "classifier"),
    measures="how often it ranks a training image above a held-out one, in the later half",
    limits="58% / 65%",
    remedies=OF_DISCRIMINATOR,
    shows="log",
    curves=("d_real", "d_fake", "d_holdout", "accuracy"),
)
DIVERGENCE = Check(
    DIVERGED,
    question="Did training stay stable?",
    about="A training whose numbers stopped being finite, so that it had to go back to an earlier checkpoint.",
    of=History,
    run=lambda history: [divergence(history.records)],
    measures="rollbacks after numbers that were not finite",
    limits="one / gave up",
    remedies=OF_DIVERGENCE,
    shows="log",
    curves=("loss", "gradient"),
)
