"""What a diagnosis finds, and how findings become verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from calotype.diagnose.remedy import Judged, Remedy
from calotype.metrics.diversity import holm

Status = Literal["PASS", "WARN", "FAIL", "CANNOT TELL", "NOT APPLICABLE"]
RANK: tuple[Status, ...] = ("FAIL", "WARN", "CANNOT TELL", "PASS", "NOT APPLICABLE")
"""Worst first: the order in which verdicts are shown."""

SURE, LIKELY = 0.01, 0.05
"""Corrected p-values below which a finding may be a FAIL and a WARN."""

OFTEN = 1.2815515655446004
"""Standard errors by which an effect must exceed what is asked of it to be seen in 9 of 10 samples."""


@dataclass(frozen=True)
class Verdict:
    """One answer, with all that is needed to trust or doubt it."""

    name: str  # "mode-collapse", "copying" ...
    status: Status
    says: str  # one sentence for somebody who never heard of the measure
    effect: float | None = None  # how large the trouble is
    p: float | None = None  # probability of an effect this large where there is no trouble, corrected for the number of questions
    detectable: float | None = None  # the smallest effect that this sample would have shown in 9 of 10 cases
    evidence: str = ""  # what was measured, in numbers
    remedies: tuple[Remedy, ...] = ()  # what is known to help
    data: dict[str, Any] | None = None  # what a picture of the evidence needs; plain numbers and lists
    measure: str = ""  # what ``effect`` is: "the share of coverage that is missing"
    limits: tuple[float, float] | None = None  # of the effect, from which on it may be a WARN and a FAIL

    @property
    def asked(self) -> bool:
        """Whether the question makes sense here: without a discriminator none can overfit."""
        return self.status != "NOT APPLICABLE"


@dataclass(frozen=True)
class Finding:
    """One measurement that a verdict rests on; several may share a name.

    An effect of at least ``fail`` is a FAIL and one of at least ``warn`` a WARN, provided that chance does not explain it: the
    p-value, corrected for the number of findings, must be below ``SURE`` and ``LIKELY``. A finding without a p-value counts
    things instead of estimating them.
    """

    name: str
    effect: float
    warn: float
    fail: float
    says: Mapping[Status, str]  # a sentence for PASS (no more than the threshold of a WARN) and for FAIL, which WARN takes without its own
    evidence: str  # sentences with what was measured, in numbers
    measure: str = ""  # what the effect is, in a few words
    p: float | None = None
    error: float | None = None  # standard error of the effect, in its unit: says what is detectable where nothing else does
    detectable: float | None = None  # an effect that would have been a WARN at least in 9 of 10 samples
    blind: float | None = None  # a PASS that could only have seen a larger effect than this is none; ``fail`` where nothing is given
    remedies: tuple[Remedy, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)


def cannot_tell(name: str, why: str) -> Verdict:
    """No verdict, because something is missing."""
    return Verdict(name, "CANNOT TELL", why)


def not_applicable(name: str, why: str) -> Verdict:
    """No verdict, because the question makes no sense for what is judged."""
    return Verdict(name, "NOT APPLICABLE", why)


def conclude(findings: Iterable[Finding | Verdict]) -> list[Verdict]:
    """Verdicts from all findings of one evaluation, one for each name, in the order of their first appearance.

    A finding that sees nothing although it could not have seen a grave trouble either is CANNOT TELL.
    """
    known = list(findings)
    measured = [f for f in known if isinstance(f, Finding)]
    tested = [f for f in measured if f.p is not None]
    adjusted = holm(np.array([f.p for f in tested], np.float64)).tolist() if tested else []
    corrected: dict[int, float] = dict(zip(map(id, tested), adjusted, strict=True))
    needed = NormalDist().inv_cdf(1 - LIKELY / max(1, len(tested)))  # Holm asks this of the smallest p-value, and less of the others
    verdicts: dict[str, Verdict] = {}
    for one in known:
        new = _verdict(one, corrected.get(id(one)), needed) if isinstance(one, Finding) else one
        old = verdicts.get(one.name)
        verdicts[one.name] = new if old is None else _join(old, new)
    return list(verdicts.values())


def tail(z: float) -> float:
    """The probability that a standard normal number exceeds ``z``.

    >>> round(tail(1.959964), 4)
    0.025
    """
    return 0.5 * math.erfc(z / math.sqrt(2))


def fitting(verdict: Verdict, judged: Judged) -> Verdict:
    """The verdict with those remedies alone that can be taken for what is judged."""
    return replace(verdict, remedies=tuple(remedy for remedy in verdict.remedies if remedy.fits(judged)))


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Verdicts in the order in which a reader should meet them."""
    return sorted(verdicts, key=lambda v: RANK.index(v.status))


def _verdict(found: Finding, p: float | None, needed: float) -> Verdict:
    status: Status = "PASS"
    detectable = found.detectable
    if detectable is None and found.error is not None:
        detectable = max(found.warn + OFTEN * found.error, (needed + OFTEN) * found.error)
    if found.effect >= found.fail and (p is None or p < SURE):
        status = "FAIL"
    elif found.effect >= found.warn and (p is None or p < LIKELY):
        status = "WARN"
    elif detectable is not None and detectable > (found.fail if found.blind is None else found.blind):
        status = "CANNOT TELL"
    says = {"WARN": found.says["FAIL"], "CANNOT TELL": "Too few images to see it.", **found.says}[status]
    remedies = found.remedies if status in ("WARN", "FAIL") else ()
    return Verdict(
        found.name,
        status,
        says,
        found.effect,
        p,
        detectable,
        found.evidence,
        remedies,
        found.data or None,
        measure=found.measure,
        limits=(found.warn, found.fail),
    )


def _join(a: Verdict, b: Verdict) -> Verdict:
    """The worse of two verdicts with the evidence of both, and with both sentences where both raise the same alarm.

    That one measurement could not tell does not undo what another saw, but a PASS then says what it leaves open.
    """
    order: tuple[Status, ...] = ("FAIL", "WARN", "PASS", "CANNOT TELL", "NOT APPLICABLE")
    worse, other = sorted((a, b), key=lambda v: order.index(v.status))
    data = {**(other.data or {}), **(worse.data or {})}
    both = (worse.status, other.status) in (("PASS", "CANNOT TELL"), ("FAIL", "FAIL"), ("WARN", "WARN"))
    says = f"{worse.says} {other.says}" if both and other.says not in worse.says else worse.says
    untold = other.says if other.status == "CANNOT TELL" and not other.evidence and other.says not in says else ""
    return replace(worse, says=says, evidence=" ".join(filter(None, (worse.evidence, other.evidence, untold))), data=data or None)
