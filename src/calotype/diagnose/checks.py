"""The table of verdicts: all that reports ask, in the order in which they name it.

A new verdict is its function, its `Check` beside it, and its line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from calotype.diagnose import copies, known_modes, likelihood, modes, recognition, restoration, sharpness, training, translation
from calotype.diagnose.check import Check
from calotype.diagnose.verdict import Finding, Status, Verdict

CHECKS: tuple[Check[Any], ...] = (
    modes.MODE_COLLAPSE,
    known_modes.KNOWN_MODES,
    training.OSCILLATION,
    training.VANISHING_GRADIENT,
    training.OVERFITTING_DISCRIMINATOR,
    copies.COPYING,
    sharpness.BLUR,
    sharpness.NOISE,
    likelihood.POSTERIOR_COLLAPSE,
    likelihood.LIKELIHOOD_OVERFIT,
    training.DIVERGENCE,
    restoration.BASELINE,
    restoration.HARM,
    restoration.BLUR,
    restoration.COLOR_DRIFT,
    restoration.OVERFITTING,
    restoration.NOISE_LEVEL,
    translation.TRANSLATION,
    translation.IDENTITY_COLLAPSE,
    translation.COLOR_INVERSION,
    translation.COLLAPSED_TRANSLATION,
    translation.HIDDEN_INFORMATION,
    translation.PAIRED_ERROR,
    recognition.OVERFITTING,
    recognition.MISCALIBRATION,
    recognition.UNPREDICTED,
    recognition.LABEL_NOISE,
)


def by_name() -> Mapping[str, Check[Any]]:
    """The checks under the names of their verdicts, in their order; of two with one name the first."""
    found: dict[str, Check[Any]] = {}
    for check in CHECKS:
        found.setdefault(check.name, check)
    return found


def answers(evidence: object) -> list[Finding | Verdict]:
    """What all checks of this kind of evidence find in it."""
    asked = (check for check in CHECKS if isinstance(evidence, check.of) and check.applies(evidence))
    return [found for check in asked for found in check.run(evidence)]


def asked_of(kind: type) -> list[str]:
    """The names of the verdicts on one kind of evidence."""
    return [check.name for check in CHECKS if check.of is kind]


def unanswered(kind: type, status: Status, why: str) -> list[Verdict]:
    """One answer to all that would be asked of evidence which is not there: CANNOT TELL or NOT APPLICABLE."""
    return [Verdict(name, status, why) for name in asked_of(kind)]


def table(*kinds: type) -> str:
    """The verdicts on some kinds of evidence as a table in Markdown, as docs/report.md has them."""
    rows = [f"| `{c.name}` | {c.measures} | {c.limits} |" for kind in kinds for c in CHECKS if c.of is kind and c.remedies]
    return "\n".join(["| verdict | what is measured | WARN / FAIL |", "|---|---|---|", *rows]) + "\n"


def of_files(verdict: Verdict) -> Verdict:
    """The verdict on images of which nothing is known but the files, with what can be done about these."""
    return replace(verdict, remedies=by_name()[verdict.name].of_files if verdict.remedies else ())
