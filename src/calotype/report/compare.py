"""Several reports on one page, ranked only where the intervals allow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from calotype.diagnose.verdict import Status
from calotype.errors import UserError, printable
from calotype.evaluation.ranking import in_order, listed, obstacles, ranks, recipe_score, seed_spread, separated, shared, ties
from calotype.evaluation.result import VERDICTS, Report
from calotype.evaluation.scores import LIKELIHOOD
from calotype.metrics.score import Score
from calotype.metrics.wording import number, space_in_words
from calotype.report import compare_restoration, families, plots
from calotype.report.drawing import BETTER, text
from calotype.report.html import (
    alike,
    asked,
    document,
    explained,
    linked,
    picture,
    section,
    status_mark,
    table,
    tag,
    term,
)
from calotype.report.text import explain


def compare_html(reports: Sequence[Report]) -> str:
    """One page for several reports. It ranks nothing that intervals do not separate or that was measured under different protocols.

    Raises `UserError` for fewer than two reports.
    """
    if len(reports) < 2:
        raise UserError("nothing to compare: name two reports, runs or folders, or more")
    reports = distinct(reports)
    if any(report.restoration for report in reports):
        return compare_restoration.page(reports)
    against = obstacles(reports)
    names = shared(reports)
    body = _lead(reports, against) + families.glance(reports, ranked=not against)
    body += _verdicts(reports) + _samples(reports)
    body += _recipes(reports, names) if not against else ""
    body += "".join(_score(reports, name, ranked=not against) for name in names if name != LIKELIHOOD)
    body += families.likelihoods(reports, ranked=not against)
    body += section("words", "Words on this page", explained(body))
    title = "Comparison of " + ", ".join(report.subject for report in reports)
    who = text(listed([report.subject for report in reports]))
    head = f'<header><p class="eyebrow">Calotype comparison</p><h1>{len(reports)} models</h1><p>{who}</p>'
    return document(title, f"{head}</header><main>{body}</main>")


def distinct(reports: Sequence[Report]) -> list[Report]:
    """The same reports, with a number added to names that occur more than once."""
    seen: dict[str, int] = {}
    named = []
    for report in reports:
        seen[report.subject] = count = seen.get(report.subject, 0) + 1
        named.append(report if count == 1 else replace(report, subject=f"{report.subject} ({count})"))
    return named


def _lead(reports: Sequence[Report], against: Sequence[str]) -> str:
    if against:
        reasons = "".join(f"<li>{linked(reason)}</li>" for reason in against)
        return f'<div class="notes"><p class="lead">These models are not ranked: they were not measured alike.</p><ul>{reasons}</ul></div>'
    first = next((name for name in shared(reports) if name != LIKELIHOOD), None)
    if first is None:
        return tag("p", "These reports share no score.", kind="lead")
    named = [(r.subject, r.score(first)) for r in reports]
    return tag("p", linked(conclusion([(who, s) for who, s in named if s is not None])), kind="lead")


def told(reports: Sequence[Report]) -> list[str]:
    """What a comparison comes to, in sentences."""
    reports = [replace(report, subject=printable(report.subject)) for report in distinct(reports)]
    if any(report.restoration for report in reports):
        return compare_restoration.told(reports)
    against, first = obstacles(reports), next((name for name in shared(reports) if name != LIKELIHOOD), None)
    said = [f"not ranked: {reason}" for reason in against]
    if not against and first is not None:
        said.append(conclusion([(r.subject, s) for r in reports if (s := r.score(first)) is not None]))
    said += [] if against else families.proven(reports)
    return [*said, *filter(None, [families.incompatible(reports)]), *families.trained_alike(reports)]


def conclusion(named: Sequence[tuple[str, Score]]) -> str:
    """Who is best by one score, said only as far as the intervals allow."""
    scores = [score for _, score in named]
    standing = ranks(scores)
    top = [who for (who, _), (best, _) in zip(named, standing, strict=True) if best == 1]
    name = scores[0].name
    if len(named) == 1:
        return f"{named[0][0]} stands alone."
    if len(top) == 1:
        return f"By {name}, {top[0]} is better than all others beyond doubt."
    several = listed(top)
    if not any(separated(a, b) for i, a in enumerate(scores) for b in scores[i + 1 :]):
        return f"By {name}, {several} cannot be told apart at N = {scores[0].n:,}."
    return f"By {name}, the best is among {several}: at N = {scores[0].n:,} the intervals do not say which."


def _score(reports: Sequence[Report], name: str, ranked: bool) -> str:
    found = [(r.subject, s) for r in reports if (s := r.score(name)) is not None]
    scores = [s for _, s in found]
    standing = ranks(scores) if ranked else []
    order = in_order(scores) if ranked else range(len(found))
    rows = []
    for i in order:
        who, s = found[i]
        baseline = "" if s.baseline is None else number(s.baseline)
        span = "not known" if s.interval is None else f"{number(s.interval[0])} to {number(s.interval[1])}"
        rows.append(
            [
                text(who),
                *([_place(*standing[i])] if ranked else [f"{s.n:,}", linked(space_in_words(s.features))]),
                number(s.value),
                span,
                baseline,
            ]
        )
    head = ["Model", *(["Rank"] if ranked else ["Images", "Judged by"]), "Value", term("95% interval"), term("Real-vs-real baseline")]
    where = f" Measured by {linked(space_in_words(scores[0].features))} on {scores[0].n:,} images of each." if ranked else ""
    doubts = "".join(f"<li>{text(line)}</li>" for line in ties(found)) if ranked else ""
    return (
        f"<section><h2>{term(name)}</h2><p>{explain(scores[0])} {BETTER[scores[0].kind].capitalize()}.{where}</p>"
        + (_beside(plots.models(name, [found[i] for i in order]), table(head, rows)) if ranked else table(head, rows))
        + (f'<ul class="quiet">{doubts}</ul>' if doubts else "")
        + "</section>"
    )


def _beside(drawing: str, rows: str) -> str:
    return f'<div class="pair"><figure>{drawing}</figure><figure>{rows}</figure></div>'


def _place(best: int, worst: int) -> str:
    return str(best) if best == worst else f"{best} to {worst}"


def _recipes(reports: Sequence[Report], names: Sequence[str]) -> str:
    """Recipes that were trained with several seeds: what the luck of a seed does, apart from what few images do."""
    several = by_recipe(reports)
    if not several:
        return ""
    rows, ends = [], []
    for name in names:
        more, end = _recipe_rows(name, several)
        rows += more
        ends += end
    if not rows:
        return ""
    lead = (
        "A recipe trained again with another seed gives another model. Sampling error is what judging a model by few images leaves open; "
        "seed spread is what remains between models of one recipe. Only the mean over seeds says which recipe is better."
    )
    head = ["Score", "Recipe", "Runs", "Mean", "95% interval of the mean", "Sampling error (sd)", "Seed spread (sd)"]
    told = "".join(f"<li>{text(end)}</li>" for end in ends)
    return f"<section><h2>Recipes over several seeds</h2><p>{lead}</p>{table(head, rows)}<ul>{told}</ul></section>"


def by_recipe(reports: Sequence[Report]) -> dict[str, list[Report]]:
    """Runs that differ in nothing but their training seed, two or more, under the name of their recipe; the same run twice is one run.

    A name that stands for several settings gets the beginning of their hash.
    """
    groups: dict[str, dict[int, Report]] = {}
    for report in reports:
        if report.settings and report.train_seed is not None:
            groups.setdefault(report.settings, {}).setdefault(report.train_seed, report)
    several = {settings: list(runs.values()) for settings, runs in groups.items() if len(runs) > 1}
    names = [runs[0].recipe or "recipe" for runs in several.values()]
    return {
        name if names.count(name) == 1 else f"{name} ({settings})": runs
        for name, (settings, runs) in zip(names, several.items(), strict=True)
    }


def _recipe_rows(name: str, groups: dict[str, list[Report]]) -> tuple[list[list[str]], list[str]]:
    """The rows of one score, one for each recipe, and what follows from them."""
    rows, named = [], []
    for recipe, runs in groups.items():
        scores = [s for r in runs if (s := r.score(name)) is not None]
        if any(s.interval is None for s in scores):
            return [], []
        spread = seed_spread(scores)
        named.append((recipe, recipe_score(scores)))
        span = f"{number(spread.interval[0])} to {number(spread.interval[1])}"
        rows.append([term(name), text(recipe), str(spread.runs), number(spread.mean), span, number(spread.sampling), number(spread.seeds)])
    alike = len({s.features for _, s in named}) == 1  # likelihoods of several kinds are not
    return rows, [conclusion(named)] if len(named) > 1 and alike else []


def _verdicts(reports: Sequence[Report]) -> str:
    names = [name for name in VERDICTS if any(v.name == name for r in reports for v in r.asked)]
    if not names:
        return ""
    rows = []
    for name in names:
        found: list[Status | None] = [next((v.status for v in r.asked if v.name == name), None) for r in reports]
        rows.append(
            [
                asked(name),
                *("" if status is None else status_mark(status) for status in found),
            ]
        )
    return f"<section><h2>What was found</h2>{table(['', *(text(r.subject) for r in reports)], rows)}</section>"


def _samples(reports: Sequence[Report]) -> str:
    present = [(r, images[:32]) for r in reports if (images := r.pictures.samples) is not None and len(images)]
    cells, drawn = "", [report.cost is not None for report, _ in present]
    for (report, _), made in zip(present, alike([images for _, images in present], 8, drawn), strict=True):
        who = report.subject
        caption = f"<strong>{text(who)}</strong>: {made.shown} images, not selected."
        cells += f"<figure><figcaption>{caption}</figcaption>{picture(made, f'A grid of images generated by {who}')}</figure>"
    return f'<section><h2>Images</h2><div class="pair">{cells}</div></section>' if cells else ""
