"""The page of a report: from plain data to one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from calotype.diagnose.check import Check, Shows
from calotype.diagnose.checks import by_name
from calotype.diagnose.verdict import Verdict
from calotype.evaluation.result import Neighbors, NextStep, Pixels, Report, Series, TrainingCurves
from calotype.metrics.quality import GAIN
from calotype.metrics.score import Score
from calotype.metrics.wording import number, space_in_words
from calotype.report import page_cas, page_points, page_recognition, page_restoration, plots, plots_models
from calotype.report.compare import compare_html
from calotype.report.drawing import BETTER, text
from calotype.report.glossary import STATUSES
from calotype.report.html import (
    alike,
    document,
    explained,
    facts,
    linked,
    picture,
    prose,
    section,
    sheet,
    shrunk,
    status_mark,
    table,
    tag,
    term,
    tone,
)
from calotype.report.text import (
    cost_in_words,
    distance_in_words,
    evaluations_in_words,
    explain,
    headline,
    is_likelihood,
    main_scores,
    measures,
    minutes,
    of_truth,
    question,
    sentence,
    tally,
    where,
)
from calotype.spelling import as_options

__all__ = ["compare_html", "html"]

_SAMPLES = 64
_NEAREST = 12
_SMALL = 64  # pixels: the side of an image in a row of neighbors


def html(report: Report) -> str:
    """The whole page: no scripts, nothing loaded from anywhere. What the report lacks is left out."""
    header = _header(report)
    sections = [(name, title, make(report)) for name, title, make in _SECTIONS]
    sections.append(("words", "Words on this page", explained(header + "".join(inside for _, _, inside in sections))))
    present = [(name, title, inside) for name, title, inside in sections if inside]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in present)
    body = "".join(section(*part) for part in present)
    nav = f'<nav aria-label="Parts of this page">{links}</nav>'
    return document(f"{report.subject}: report", f"<header>{header}{nav}</header><main>{body}</main>")


def _header(report: Report) -> str:
    said = tag("p", text(headline(report)), kind="lead")
    if far := distance_in_words(report):
        said += tag("p", linked(far), kind="lead")
    counts = "".join(f"<li>{status_mark(status)} <span>{count}</span></li>" for status, count in tally(report))
    tiles = "".join(
        f"<div><dt>{term(s.name)}</dt><dd><strong>{number(s.value)}</strong>{_beside(s)}</dd></div>" for s in main_scores(report)
    )
    notes = "".join(tag("p", prose(sentence(note))) for note in report.notes)
    return (
        f'<p class="eyebrow">Calotype report</p><h1>{text(report.subject)}</h1>{said}'
        + (f'<ul class="tally" aria-label="Verdicts">{counts}</ul>' if counts else "")
        + (f'<dl class="tiles">{tiles}</dl>' if tiles else "")
        + (f'<div class="notes">{notes}</div>' if notes else "")
        + ("" if report.next is None else _next(report.next))
    )


def _next(step: NextStep) -> str:
    """What to do next."""
    takes = "" if step.minutes is None else f"About {minutes(step.minutes)} on the machine of the training. "
    shows = tag("p", f"{takes}It shows {prose(step.shows)}.", kind="quiet")
    return f'<div class="next"><h2>Do this next</h2><pre>{text(step.command)}</pre>{shows}</div>'


def _beside(score: Score) -> str:
    lines = [] if score.interval is None else [f"between {number(score.interval[0])} and {number(score.interval[1])}"]
    lines += [] if score.baseline is None else [f"real images: {number(score.baseline)}"]
    lines += [term(score.features)] if is_likelihood(score) or score.name == GAIN.name else []
    return "<br>".join([*lines, BETTER[score.kind]])


def _verdicts(report: Report) -> str:
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
        first = next(v.name for v in report.asked if _shows(v, "spectrum"))
        if verdict.name != first:
            return tag("p", f"The picture stands with the verdict on {term(first)}.", kind="quiet")
    return _PICTURES[check.shows](report, verdict, check)


def _shows(verdict: Verdict, what: Shows) -> bool:
    check = by_name().get(verdict.name)
    return check is not None and check.shows == what


def _evidence_classes(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    found = report.classes
    return "" if found is None else _figure(plots.classes(found, _rare(report)), "How often each class comes out, against real images.")


def _evidence_spectrum(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    caption = "Strength of coarse (left) to fine (right) detail, against the band of real images."
    return "" if report.spectrum is None else _figure(plots.spectrum(report.spectrum), caption)


def _evidence_copies(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    found = report.pictures.copies
    return "" if found is None else _near(found, "The generated images closest to a training image.")


def _evidence_drift(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    if not verdict.data:
        return ""
    moved = TrainingCurves((Series("drift", tuple(verdict.data["steps"][1:]), tuple(verdict.data["drift"])),))
    return _figure(_side_by_side(plots.curves(moved)), "How far images of the same noise moved since the checkpoint before; 1 is chance.")


def _evidence_log(report: Report, verdict: Verdict, check: Check[Any]) -> str:
    drawn = [] if report.curves is None else plots.curves(report.curves, check.curves)
    return _figure(_side_by_side(drawn), "From the training log.") if drawn else ""


def _figure(drawing: str, caption: str) -> str:
    return f"<figure><figcaption>{linked(caption)}</figcaption>{drawing}</figure>"


def _side_by_side(drawings: Sequence[str]) -> str:
    if len(drawings) == 1:  # in its own size: alone it would be drawn over the whole page
        return f"<figure>{drawings[0]}</figure>"
    return '<div class="pair">' + "".join(f"<figure>{drawing}</figure>" for drawing in drawings) + "</div>"


def _samples(report: Report) -> str:
    how = "drawn from fixed noise, the first ones, not selected" if report.cost else "chosen at random, not selected"
    wanted = [
        ("Generated", how, report.pictures.samples),
        ("Real", "not selected either", report.pictures.reals),
    ]
    present = [(what, how, images[:_SAMPLES]) for what, how, images in wanted if images is not None and len(images)]
    cells = ""
    drawn = [what == "Generated" and report.cost is not None for what, _, _ in present]
    for (what, how, _), made in zip(present, alike([images for _, _, images in present], 8, drawn), strict=True):
        shown = picture(made, f"A grid of {what.lower()} images")
        cells += f"<figure><figcaption><strong>{what}</strong>: {made.shown} images, {how}.</figcaption>{shown}</figure>"
    return tag("div", cells, kind="pair") if cells else ""


def _neighbors(report: Report) -> str:
    near = report.pictures.neighbors
    made = "" if near is None else _near(near, "The first generated images, not selected.")
    told = any(_shows(v, "copies") and v.status in ("FAIL", "WARN") for v in report.verdicts)  # then they stand with the verdict
    copies = None if told else report.pictures.copies
    worst = (
        ""
        if copies is None
        else "<h3>Closest to the training set</h3>" + _near(copies, "Of all generated images, those nearest to a training image.")
    )
    if not made + worst:
        return ""
    lead = "A generator that learned, rather than copied, is as close to images it never saw as to those it was trained on."
    return tag("p", lead) + made + worst


def _near(near: Neighbors, caption: str) -> str:
    """Small figures: each generated image beside its nearest real ones, with the distances below."""
    parts: list[tuple[str, Pixels, tuple[float, ...], tuple[str, ...]]] = [("generated", near.generated, (), ())]
    for name, images, far, files in (
        ("nearest in training", near.train, near.train_distance, near.train_name),
        ("nearest held out", near.holdout, near.holdout_distance, near.holdout_name),
    ):
        if images is not None:
            parts.append((name, images, far, files))
    wide = {1: 4, 2: 8, 3: 12}[len(parts)]
    cells = ""
    for i in range(min(_NEAREST, len(near.generated))):
        row = np.stack([images[i] for _, images, _, _ in parts])
        alt = f"Generated image {i + 1}" + "".join(f", {name}" for name, *_ in parts[1:])
        shown = picture(sheet(shrunk(row, _SMALL), columns=len(row)), alt, width=16 * wide)
        labels = "".join(_below(far[i : i + 1], files[i : i + 1]) for _, _, far, files in parts)
        cells += f"<figure>{shown}<figcaption>{labels}</figcaption></figure>"
    order = ", ".join(name for name, *_ in parts)
    named = ", and the name of the file" if near.train_name else ""
    below = f" Below: the distance, as seen by {linked(space_in_words(near.features))}{named}." if near.features else ""
    lead = tag("p", f"{linked(caption)} Left to right: {linked(order)}.{below}", kind="quiet")
    return f'{lead}<div class="near" style="--wide: {wide}rem">{cells}</div>'


def _below(far: Sequence[float], files: Sequence[str]) -> str:
    """What stands below an image: its distance and its name, of a file without the folders, which are shown where the pointer rests."""
    said = "".join(number(value) for value in far)
    return f"<span>{said}" + "".join(f'<small title="{text(name)}">{_named(PurePosixPath(name))}</small>' for name in files) + "</span>"


def _named(path: PurePosixPath) -> str:
    """The name of a file, which may break anywhere but in its suffix."""
    return f'{text(path.stem)}<span class="nowrap">{text(path.suffix)}</span>' if path.suffix else text(path.name)


def _scores(report: Report) -> str:
    scores = [s for s in report.scores if report.restoration is None or not of_truth(s)]  # those have a table of their own
    if not scores:
        return ""
    rows, common = [], where(scores[0])
    for s in scores:
        span = "" if s.interval is None else f"<br><span class='quiet nowrap'>{number(s.interval[0])} to {number(s.interval[1])}</span>"
        baseline = "" if s.baseline is None else number(s.baseline)
        other = "" if where(s) == common else f" Measured {linked(where(s))}."
        kind = f"<br><span class='quiet'>{term(s.features)}</span>" if is_likelihood(s) else ""
        rows.append(
            [term(s.name) + kind, number(s.value) + span, baseline, plots.strip(s), f"{explain(s)} {BETTER[s.kind].capitalize()}.{other}"]
        )
    lead = (
        "Dot: the score. Bar: the interval in which it lies with 95% certainty. Line: the real-vs-real baseline, "
        "the same score of other real images; the shaded side is as good as real."
    )
    return tag("p", linked(f"Measured {common}, unless said otherwise. {lead}"), kind="quiet") + table(
        ["Score", "Value, 95% interval", "Real images", "", "What it says"], rows, kind="scores"
    )


def _ladder(report: Report) -> str:
    if not report.ladder:
        return ""
    names = list(dict.fromkeys(name for row in report.ladder for name in row.scores))
    known = {name: s for name in names if (s := report.score(name)) is not None}
    lead = tag("p", "Failures planted into real images, scored in the same way, show how bad a score is.")
    drawn = _ladder_plot(report, next(iter(known.values()))) if known else ""
    rows = [[text(row.name), *(number(row.scores[n]) if n in row.scores else "" for n in names)] for row in report.ladder]
    baselines = [number(s.baseline) if (s := known.get(n)) and s.baseline is not None else "" for n in names]
    if not any(_is_real(row.name) for row in report.ladder):
        rows.insert(0, ["other real images", *baselines])
    rows.append(["this model", *(number(known[n].value) if n in known else "" for n in names)])
    return lead + f'<div class="pair">{drawn}<figure>{table(["", *map(term, names)], rows, marked=len(rows) - 1)}</figure></div>'


def _ladder_plot(report: Report, score: Score) -> str:
    rows = [(r.name, r.scores[score.name], "real" if _is_real(r.name) else "planted") for r in report.ladder if score.name in r.scores]
    if score.baseline is not None and not any(kind == "real" for _, _, kind in rows):
        rows.append(("other real images", score.baseline, "real"))
    rows = sorted([*rows, ("this model", score.value, "made")], key=lambda row: row[1], reverse=score.kind == "higher")
    return f"<figure>{plots.ladder(score.name, rows)}</figure>"


def _is_real(name: str) -> bool:
    return name in ("real images", "other real images")


def _extrapolation(report: Report) -> str:
    if report.extrapolation is None or not report.extrapolation.points:
        return ""
    lead = "A Frechet distance from few images is too large. Its straight line against one over the number of images shows where it goes."
    return tag("p", lead) + f"<figure>{plots.extrapolation(report.extrapolation)}</figure>"


def _classes(report: Report) -> str:
    if report.classes is None or not report.classes.names:
        return ""
    counts, judge = report.classes, f" {sentence(report.classes.judge)}" if report.classes.judge else ""
    left_out = len(counts.names) - plots.MOST_CLASSES
    more = f" The {plots.MOST_CLASSES} that differ most are shown; {left_out} are left out." if left_out > 0 else ""
    caption = f"A bar holds the share with 95% certainty: one in twenty misses the real share, which is shaded, by chance.{judge}{more}"
    return _figure(plots.classes(counts, _rare(report)), caption)


def _rare(report: Report) -> Sequence[str]:
    """The classes that a verdict finds too rare."""
    found = next((v.data for v in report.verdicts if _shows(v, "classes") and v.status in ("FAIL", "WARN") and v.data), {})
    return tuple(found.get("rare", ()))


def _spectrum(report: Report) -> str:
    if report.spectrum is None:
        return ""
    caption = "Below the band on the right: blur. Above it: noise. Peaks on the right: a checkerboard from upsampling."
    return _figure(plots.spectrum(report.spectrum), caption)


def _latents(report: Report) -> str:
    if report.units is None:
        return ""
    caption = "What each latent unit says of an image: its divergence from the prior, largest first. Units near zero are not used."
    return _figure(plots_models.units(report.units), caption)


def _cost(report: Report) -> str:
    if report.cost is None:
        return ""
    lead = "Seconds are those of the machine and the number of threads that are named here, whatever else it did meanwhile."
    made = tag("p", lead, kind="quiet") + tag("div", facts(cost_in_words(report.cost)), kind="facts")
    if len(report.evaluations) > 1:
        caption = (
            f"{evaluations_in_words(report.evaluations)} Always the same noise; few images make all distances too large, those of "
            "real images (line) too."
        )
        made += _figure(plots_models.evaluations(report.evaluations), caption)
    return made


def _curves(report: Report) -> str:
    if report.curves is None or not (drawn := plots.curves(report.curves)):
        return ""
    events = report.curves.events
    listed = "".join(f"<li>step {event.step:,}: {text(as_options(event.says))}</li>" for event in events)
    return _side_by_side(drawn) + (f"<h3>Events</h3><ol>{listed}</ol>" if listed else "")


def _protocol(report: Report) -> str:
    rows = dict(report.about)
    if report.data is not None:
        d = report.data
        rows |= {"real images": f"{d.name}: {d.train:,} for training, {d.holdout:,} held out", "SHA-256 of these": d.fingerprint}
    if report.pictures.neighbors is not None and report.pictures.neighbors.features:
        rows |= {"features of the nearest images": report.pictures.neighbors.features}
    rows |= {name: said for name, said in report.protocol.items() if name != "reals"} | {"seed of the evaluation": str(report.seed)}
    rows |= {} if report.train_seed is None else {"seed of the training": str(report.train_seed)}
    rows |= {f"{name} version": version for name, version in report.versions.items()}
    said = "This is the short report, made at the end of a training and for comparisons. The full one:"
    said = said if report.short else "The same command gives the same page, but for the seconds:"
    repeat = f"<p>{said}</p><p><code>{text(report.command)}</code></p>" if report.command else ""
    return repeat + tag("div", facts(rows), kind="facts")


_PICTURES: Mapping[Shows, Callable[[Report, Verdict, Check[Any]], str]] = {
    "classes": _evidence_classes,
    "spectrum": _evidence_spectrum,
    "copies": _evidence_copies,
    "drift": _evidence_drift,
    "latents": lambda report, verdict, check: _latents(report),
    "log": _evidence_log,
    "confusion": lambda report, verdict, check: page_recognition.confusion(report),
    "reliability": lambda report, verdict, check: page_recognition.reliability(report),
    "suspects": lambda report, verdict, check: page_recognition.suspects(report),
}
"""How a check shows its trouble."""

_SECTIONS: Sequence[tuple[str, str, Callable[[Report], str]]] = (
    ("verdicts", "What was found", _verdicts),
    ("labels-only", "What images without labels are worth", page_recognition.labels_only),
    ("by-class", "Class by class", page_recognition.classes),
    ("confusion", "What is taken for what", page_recognition.confusion),
    ("reliability", "How far its probabilities are true", page_recognition.reliability),
    ("mistakes", "Most firmly wrong", page_recognition.mistakes),
    ("suspects", "Doubtful labels", page_recognition.suspects),
    ("before-after", "Before and after", page_restoration.before_after),
    ("methods", "Beside what needs no training", page_restoration.methods),
    ("levels", "By noise level", page_restoration.levels),
    ("points", "Points", page_points.points),
    ("over-time", "Points over time", page_points.over_time),
    ("samples", "Images", _samples),
    ("neighbors", "Nearest real images", _neighbors),
    ("scores", "Scores", _scores),
    ("ladder", "A scale to read the scores on", _ladder),
    ("sample-size", "Number of images", _extrapolation),
    ("classes", "Classes", _classes),
    ("taught", "What its images teach a classifier", page_cas.taught),
    ("detail", "Fine detail", _spectrum),
    ("latents", "Latents", _latents),
    ("cost", "What it takes", _cost),
    ("training", "Training", _curves),
    ("repeat", "How this was measured", _protocol),
)
