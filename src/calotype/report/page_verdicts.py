"""The part of a report's page about what was found, with the pictures that show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from calotype.diagnose.check import Check, Shows
from calotype.diagnose.checks import by_name
from calotype.diagnose.verdict import Verdict
from calotype.evaluation.result import Report, Series, TrainingCurves
from calotype.report import page_recognition, plots, plots_models
from calotype.report.drawing import text
from calotype.report.glossary import STATUSES
from calotype.report.html import figure, linked, prose, side_by_side, status_mark, tag, term, tone
from calotype.report.page_neighbors import near
from calotype.report.text import measures, question, sentence, tally


def verdicts(report: Report) -> str:
    """All that was found, each with its evidence and what to try."""
    if not report.verdicts:
        return ""
    present = [status for status, _ in tally(report)]
    key = "".join(f"<li>{status_mark(status)} {STATUSES[status]}</li>" for status in present)
    idle = [v.name for v in report.verdicts if not v.asked]
    rest = tag("p", f"Not asked, for it makes no sense here: {', '.join(map(term, idle))}.", kind="quiet") if idle else ""
    return f'<ul class="key quiet">{key}</ul>' + "".join(_verdict(report, v) for v in report.asked) + rest


def _verdict(report: Report, verdict: Verdict) -> str:
    grave = verdict.status in ("FAIL", "WARN")
    inside = tag("p", prose(sentence(verdict.evidence))) if verdict.evidence else ""
    inside += "".join(tag("p", linked(said), kind="quiet") for said in measures(verdict))
    if verdict.remedies and verdict.status != "PASS":
        options = f", as options of {prose(f'`calotype train {report.recipe}`')} where nothing else is said" if report.recipe else ""
        inside += f"<h4>What to try{options}</h4><ul>" + "".join(f"<li>{prose(remedy.says)}</li>" for remedy in verdict.remedies) + "</ul>"
    if grave:
        inside += _evidence(report, verdict)
    top = f'{status_mark(verdict.status)}<h3>{text(question(verdict))}</h3><span class="more"></span><p>{prose(sentence(verdict.says))}</p>'
    if not inside:
        return f'<details class="verdict {tone(verdict.status)}" open><summary>{top.replace("more", "none")}</summary></details>'
    inside += tag("p", f"Known to programs as {term(verdict.name)}", kind="quiet")
    opened = " open" if grave else ""
    return f'<details class="verdict {tone(verdict.status)}"{opened}><summary>{top}</summary><div class="inside">{inside}</div></details>'


def _evidence(report: Report, verdict: Verdict) -> str:
    """The picture that shows the trouble, where the report holds one; a picture that shows several stands with the first."""
    check = by_name().get(verdict.name)
    if check is None or not check.shows:
        return ""
    if check.shows == "spectrum" and report.spectrum is not None:
        first = next(v.name for v in report.asked if shows(v, "spectrum"))
        if verdict.name != first:
            return tag("p", f"The picture stands with the verdict on {term(first)}.", kind="quiet")
    return _PICTURES[check.shows](report, verdict, check)


def _evidence_classes(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    found = report.classes
    caption = "How often each class comes out, against real images."
    return "" if found is None else figure(plots.classes(found, rare_classes(report)), caption)


def _evidence_spectrum(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    caption = "Strength of coarse (left) to fine (right) detail, against the band of real images."
    return "" if report.spectrum is None else figure(plots.spectrum(report.spectrum), caption)


def _evidence_copies(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    found = report.pictures.copies
    return "" if found is None else near(found, "The generated images closest to a training image.")


def _evidence_drift(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    if not verdict.data:
        return ""
    moved = TrainingCurves((Series("drift", tuple(verdict.data["steps"][1:]), tuple(verdict.data["drift"])),))
    return figure(side_by_side(plots.curves(moved)), "How far images of the same noise moved since the checkpoint before; 1 is chance.")


def _evidence_log(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    drawn = [] if report.curves is None else plots.curves(report.curves, check.curves)
    return figure(side_by_side(drawn), "From the training log.") if drawn else ""


def shows(verdict: Verdict, what: Shows) -> bool:
    """Whether a verdict has such evidence."""
    check = by_name().get(verdict.name)
    return check is not None and check.shows == what


def rare_classes(report: Report) -> Sequence[str]:
    """The classes that a verdict finds too rare."""
    found = next((v.data for v in report.verdicts if shows(v, "classes") and v.status in ("FAIL", "WARN") and v.data), {})
    return tuple(found.get("rare", ()))


def latents(report: Report) -> str:
    """What each unit of a latent code says of an image."""
    if report.units is None:
        return ""
    caption = "What each latent unit says of an image: its divergence from the prior, largest first. Units near zero are not used."
    return figure(plots_models.units(report.units), caption)


_PICTURES: Mapping[Shows, Callable[[Report, Verdict, Check[Any]], str]] = {
    "classes": _evidence_classes,
    "spectrum": _evidence_spectrum,
    "copies": _evidence_copies,
    "drift": _evidence_drift,
    "latents": lambda report, verdict, check: latents(report),
    "log": _evidence_log,
    "confusion": lambda report, verdict, check: page_recognition.confusion(report),
    "reliability": lambda report, verdict, check: page_recognition.reliability(report),
    "suspects": lambda report, verdict, check: page_recognition.suspects(report),
}
"""How a check shows its trouble."""
