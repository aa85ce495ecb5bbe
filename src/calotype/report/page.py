"""The page of a report: from plain data to one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from calotype.evaluation.result import NextStep, Report
from calotype.metrics.quality import GAIN
from calotype.metrics.score import Score
from calotype.metrics.wording import number
from calotype.report import (
    page_cas,
    page_images,
    page_points,
    page_recognition,
    page_restoration,
    page_verdicts,
    plots,
    plots_models,
)
from calotype.report.compare import compare_html
from calotype.report.drawing import BETTER, text
from calotype.report.html import (
    document,
    explained,
    facts,
    figure,
    linked,
    prose,
    section,
    side_by_side,
    status_mark,
    table,
    tag,
    term,
)
from calotype.report.text import (
    cost_in_words,
    distance_in_words,
    evaluations_in_words,
    explain,
    headline,
    is_likelihood,
    main_scores,
    minutes,
    of_truth,
    sentence,
    tally,
    where,
)
from calotype.spelling import as_options

__all__ = ["compare_html", "html"]


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
    return figure(plots.classes(counts, page_verdicts.rare_classes(report)), caption)


def _spectrum(report: Report) -> str:
    if report.spectrum is None:
        return ""
    caption = "Below the band on the right: blur. Above it: noise. Peaks on the right: a checkerboard from upsampling."
    return figure(plots.spectrum(report.spectrum), caption)


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
        made += figure(plots_models.evaluations(report.evaluations), caption)
    return made


def _curves(report: Report) -> str:
    if report.curves is None or not (drawn := plots.curves(report.curves)):
        return ""
    events = report.curves.events
    listed = "".join(f"<li>step {event.step:,}: {text(as_options(event.says))}</li>" for event in events)
    return side_by_side(drawn) + (f"<h3>Events</h3><ol>{listed}</ol>" if listed else "")


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


_SECTIONS: Sequence[tuple[str, str, Callable[[Report], str]]] = (
    ("verdicts", "What was found", page_verdicts.verdicts),
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
    ("samples", "Images", page_images.samples),
    ("neighbors", "Nearest real images", page_images.neighbors),
    ("scores", "Scores", _scores),
    ("ladder", "A scale to read the scores on", _ladder),
    ("sample-size", "Number of images", _extrapolation),
    ("classes", "Classes", _classes),
    ("taught", "What its images teach a classifier", page_cas.taught),
    ("detail", "Fine detail", _spectrum),
    ("latents", "Latents", page_verdicts.latents),
    ("cost", "What it takes", _cost),
    ("training", "Training", _curves),
    ("repeat", "How this was measured", _protocol),
)
