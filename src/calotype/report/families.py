"""What a comparison says of models of different families: what each takes, and likelihoods of several kinds."""

from __future__ import annotations

from collections.abc import Sequence

from calotype.evaluation.ranking import in_order, listed, ranks
from calotype.evaluation.result import Report
from calotype.evaluation.scores import LIKELIHOOD
from calotype.metrics.frechet import FD, UNBIASED
from calotype.metrics.manifold import COVERAGE, Z95
from calotype.metrics.score import LikelihoodKind, Score
from calotype.metrics.wording import number
from calotype.report import plots_models
from calotype.report.drawing import text
from calotype.report.glossary import SCORES
from calotype.report.html import linked, table, tag, term
from calotype.report.text import minutes

QUALITY = UNBIASED.name  # so that different numbers of images may share a picture
ALIKE = 1.1  # ratio of two times that count as equal


def glance(reports: Sequence[Report], ranked: bool) -> str:
    """All models in one table and one picture: how good, how likely, how large, how fast."""
    if all(r.cost is None for r in reports):
        return ""
    head = [
        "Model",
        term(FD.name),
        term(COVERAGE.name.capitalize()),
        f"{term(LIKELIHOOD)}<br>± {term('standard error')}",
        term("Parameters"),
        "Training",
        "Images/s<br>in training",
        "Seconds for<br>1,000 images",
    ]
    head.append(term("Function evaluations"))
    rows = [[text(r.subject), *(_spanned(r.score(name)) for name in (FD.name, COVERAGE.name)), _likely(r), *_costs(r)] for r in reports]
    said = "".join(tag("p", text(line)) for line in trained_alike(reports))
    return f"<section><h2>At a glance</h2>{said}{table(head, rows)}{_picture(reports) if ranked else ''}</section>"


def _spanned(score: Score | None) -> str:
    if score is None:
        return ""
    span = "" if score.interval is None else f"<br><span class='quiet'>{number(score.interval[0])} to {number(score.interval[1])}</span>"
    return number(score.value) + span


def _likely(report: Report) -> str:
    found = [f"{_with_error(s)}<br><span class='quiet'>{term(s.likelihood.name)}</span>" for s in report.scores if s.likelihood]
    return "<br>".join(found) or "<span class='quiet'>none</span>"


def _with_error(score: Score) -> str:
    """The value and its standard error."""
    error = "" if score.interval is None else f" ± {(score.interval[1] - score.interval[0]) / (2 * Z95):.1g}"
    return number(score.value) + error


def _costs(report: Report) -> list[str]:
    cost = report.cost
    if cost is None:
        return [""] * 5
    threads = f"<br><span class='quiet'>{cost.train_threads} thread{'s' * (cost.train_threads > 1)}</span>" if cost.train_threads else ""
    return [
        f"{cost.parameters:,}",
        "" if cost.minutes is None else f"{minutes(cost.minutes)}{threads}",
        "" if cost.images_per_second is None else number(cost.images_per_second),
        "" if cost.seconds_per_1000 is None else number(cost.seconds_per_1000),
        "" if cost.passes is None else number(cost.passes),
    ]


def trained_alike(reports: Sequence[Report]) -> list[str]:
    """Whether the models were given the same training: one sentence, or several where they were not."""
    known = [(r.subject, r.cost.minutes, r.cost.train_threads) for r in reports if r.cost is not None and r.cost.minutes is not None]
    said = []
    if len(known) > 1:
        times = [time for _, time, _ in known]
        if max(times) <= ALIKE * min(times):
            said.append(f"Equal training: {minutes(min(times))} to {minutes(max(times))} each.")
        else:
            said.append(
                f"Unequal training: {'; '.join(f'{who} {minutes(time)}' for who, time, _ in known)}. "
                "What is better here may only have been trained longer."
            )
        if len({threads for _, _, threads in known}) > 1:
            said.append("They were trained with different numbers of threads: a minute was not worth the same to each.")
    if strangers := [r.subject for r in reports if r.subject not in {who for who, _, _ in known}]:
        said.append(f"How long {listed(strangers)} trained is not known.")
    return said


def _picture(reports: Sequence[Report]) -> str:
    dots, baselines = [], []
    for r in reports:
        score = r.score(QUALITY)
        if score is None or r.cost is None or r.cost.seconds_per_1000 is None:
            continue
        curve = tuple((row.seconds_per_1000, row.unbiased, row.nfe) for row in r.evaluations)
        dots.append(plots_models.Dot(r.subject, r.cost.seconds_per_1000, score.value, score.interval, curve))
        baselines += [score.baseline] if score.baseline is not None else []
    if len(dots) < 2:
        return ""
    lines = any(len(dot.curve) > 1 for dot in dots)
    caption = "Down is better, left is faster. Bars: 95% intervals." + (
        " Lines: the same model with other numbers of function evaluations, the fewest and the most named." if lines else ""
    )
    drawn = plots_models.quality(QUALITY, dots, max(baselines, default=None))
    return f"<figure><figcaption>{caption}</figcaption>{drawn}</figure>"


def likelihoods(reports: Sequence[Report], ranked: bool) -> str:
    """Bits per dimension, each kind of likelihood ranked by itself."""
    found = of_kinds(reports)
    if not found:
        return ""
    rows = []
    for kind, named in found.items():
        scores = [s for _, s in named]
        standing = ranks(scores)
        for i in in_order(scores):
            who, s = named[i]
            best, worst = standing[i]
            place = "" if not ranked or len(named) < 2 else str(best) if best == worst else f"{best} to {worst}"
            span = "not known" if s.interval is None else f"{number(s.interval[0])} to {number(s.interval[1])}"
            rows.append([text(who), term(str(kind)), place, number(s.value), span, f"{s.n:,}"])
    said = "".join(tag("p", text(line)) for line in (incompatible(reports), *(proven(reports) if ranked else ())) if line)
    lead = tag("p", linked(f"{SCORES[LIKELIHOOD]} Lower is better."))
    head = ["Model", "Kind", "Rank within the kind", "Value", term("95% interval"), term("Held-out images")]
    return f"<section><h2>{term(LIKELIHOOD)}</h2>{lead}{said}{table(head, rows)}</section>"


def of_kinds(reports: Sequence[Report]) -> dict[LikelihoodKind, list[tuple[str, Score]]]:
    """The bits per dimension of all reports under their kinds."""
    found: dict[LikelihoodKind, list[tuple[str, Score]]] = {}
    for r in reports:
        for s in r.scores:
            if s.likelihood is not None:
                found.setdefault(s.likelihood, []).append((r.subject, s))
    return found


def incompatible(reports: Sequence[Report]) -> str:
    """Why likelihoods of several kinds are not ranked against each other; "" where there is one kind."""
    found = of_kinds(reports)
    if len(found) < 2 or len({who for named in found.values() for who, _ in named}) < 2:
        return ""
    told = all(kind.class_given for kind in found)  # then it makes no difference
    kinds = "; ".join(f"{kind.name if told else kind}: {listed([who for who, _ in named])}" for kind, named in found.items())
    return (
        f"Numbers of different kinds are not ranked against each other ({kinds}). A bound is only a lower limit of the likelihood, and "
        "nobody knows how far below the truth it lies: two bounds do not say which model is better, nor does a bound that is worse than "
        "an exact number."
    )


def proven(reports: Sequence[Report]) -> list[str]:
    """What bounds do prove: a model whose bound is already better than the exact number of another one."""
    said = []
    scores = [(r.subject, s.likelihood, s, s.interval) for r in reports for s in r.scores if s.likelihood and s.interval]
    for who, kind, a, span in scores:
        for other, exact, b, other_span in scores:
            bounded = kind.accuracy == "lower bound" and exact.accuracy == "exact" and kind.class_given == exact.class_given
            if bounded and who != other and span[1] < other_span[0]:
                said.append(
                    f"The bound of {who} ({number(a.value)}, {kind}) is below the exact number of {other} ({number(b.value)}): {who} "
                    "predicts unseen images better, whatever its own exact number is."
                )
    return said
