"""A check: one question that reports ask, with all that belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from calotype.diagnose.remedy import Remedy
from calotype.diagnose.verdict import Finding, Verdict

Findings = Sequence[Finding | Verdict]
Shows = Literal["", "classes", "copies", "spectrum", "drift", "latents", "log", "confusion", "reliability", "suspects"]
E = TypeVar("E")


def always(evidence: object) -> bool:
    """What a check applies to that says nothing else."""
    return True


@dataclass(frozen=True)
class Check(Generic[E]):
    """The entry of a verdict, beside the functions that find it.

    An effect is the larger the graver the trouble is, whatever it measures: the direction is the same for all.
    """

    name: str  # "mode-collapse"
    question: str  # that it answers with PASS where all is well
    about: str  # the trouble that it looks for, for people: the rest of its entry in the glossary
    of: type[E]  # the evidence that it looks at
    run: Callable[[E], Findings]  # findings, or verdicts where nothing can be measured; all of them under its name
    measures: str  # what is measured, in full
    limits: str  # from where on it is a WARN / a FAIL, in words
    remedies: tuple[Remedy, ...] = ()  # all that its findings may name
    of_files: tuple[Remedy, ...] = ()  # instead, for images of which nothing is known but the files
    hopeless: str = ""  # why there are no remedies, where there are none
    applies: Callable[[E], bool] = always  # where it does not, reports leave it out; one that makes no sense there is NOT APPLICABLE
    shows: Shows = ""  # the picture of a report that shows the trouble
    curves: tuple[str, ...] = ()  # the curves of the log that show it: parts of their names
