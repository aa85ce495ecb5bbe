"""What a report says in words: questions, explanations and numbers for people who never heard of the measures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from calotype.diagnose.verdict import RANK, Status, Verdict
from calotype.errors import printable
from calotype.evaluation.result import Cost, Evaluations, NextStep, Report, Restoration
from calotype.metrics.frechet import FD, FID
from calotype.metrics.inputs import Beliefs, Quality
from calotype.metrics.known_modes import ModeCounts
from calotype.metrics.score import Estimate, Score
from calotype.metrics.table import METRICS, metric_of
from calotype.metrics.wording import number, space_in_words
from calotype.report.drawing import BETTER
from calotype.report.glossary import LIKELIHOODS, QUESTIONS, SCORES, term_of
from calotype.report.text_recognition import accuracy_in_words, cas_lines, recognized
from calotype.spelling import as_options

SYMBOLS: dict[Status, str] = {"FAIL": "\u00d7", "WARN": "!", "CANNOT TELL": "?", "PASS": "✓", "NOT APPLICABLE": "\u2013"}
_MAIN = [metric.name for metric in sorted(METRICS, key=lambda metric: metric.first) if metric.first]


def question(verdict: Verdict) -> str:
    """The question that a verdict answers."""
    return QUESTIONS.get(verdict.name, verdict.name)


def explain(score: Score) -> str:
    """What a score means, in one sentence or two; "" for one that is not known here.

    >>> explain(Score("recall", 0.5, None, None, 10, 10, "pixels", "higher"))[:27]
    'The share of real images th'
    """
    term = term_of(score.name)
    said = "" if term is None else SCORES.get(term, "")
    kind = term_of(score.features) if said and is_likelihood(score) else None
    return f"{said} {LIKELIHOODS[kind]}" if kind in LIKELIHOODS else said


def main_scores(report: Report, most: int = 4) -> list[Score]:
    """The scores to show first: a distance, coverage, precision; others where these are missing."""
    first = [s for key in _MAIN for s in report.scores if s.name == key]
    likely = [s for s in report.scores if is_likelihood(s) and s.value < 8][:1]
    rest = [s for s in report.scores if s not in first + likely]
    return [*(first + rest)[: most - len(likely)], *likely]


def cost_in_words(cost: Cost) -> dict[str, str]:
    """What a model takes, by name."""
    rows = {"parameters": f"{cost.parameters:,}"}
    if cost.drawing is not None and cost.drawing < cost.parameters:
        rows["parameters"] += f", of which {cost.drawing:,} take part in drawing"
    if cost.steps is not None and cost.minutes is not None:
        rows["training"] = f"{minutes(cost.minutes)}, {cost.steps:,} steps" + _on(cost.train_threads)
    if cost.images_per_second is not None:
        rows["training speed"] = f"{number(cost.images_per_second)} images/s"
    machine = _on(cost.threads) if cost.device == "cpu" else f" on {cost.device}"
    if cost.seconds_per_1000 is not None:
        rows["drawing"] = f"{number(cost.seconds_per_1000)} s for 1,000 images{machine}"
    if cost.seconds_per_megapixel is not None:
        rows["speed"] = f"{number(cost.seconds_per_megapixel)} s a megapixel{machine}"
    if cost.passes is not None:
        rows["function evaluations"] = f"{number(cost.passes)} for one image; one with guidance counts once"
    return rows


def minutes(value: float) -> str:
    """A time for people.

    >>> [minutes(v) for v in (0.5, 10.04, 200)]
    ['30 s', '10.0 min', '3.3 h']
    """
    return f"{60 * value:.0f} s" if value < 1 else f"{value:.1f} min" if value < 90 else f"{value / 60:.1f} h"


def _on(threads: int | None) -> str:
    return "" if not threads else f" on {threads} thread{'s' * (threads > 1)}"


def evaluations_in_words(rows: Sequence[Evaluations]) -> str:
    """How few function evaluations score about as well as the most that were tried."""
    last = rows[-1]
    enough = next(row for row in rows if row.fd <= 1.1 * last.fd)
    if enough is last:
        return f"With fewer than {number(last.nfe)} function evaluations its images score over 10% worse."
    return f"With {number(enough.nfe)} function evaluations its images score within 10% of what they do with {number(last.nfe)}."


def value(score: Score) -> str:
    """A score with its interval."""
    span = "" if score.interval is None else f" [{number(score.interval[0])}, {number(score.interval[1])}]"
    return number(score.value) + span


def tally(report: Report) -> list[tuple[Status, int]]:
    """How often each status occurs among the verdicts that apply, worst first."""
    return [(status, count) for status in RANK if (count := sum(v.status == status for v in report.asked))]


def headline(report: Report) -> str:
    """All verdicts that apply to the family, in one or two sentences."""
    counts, total = dict(tally(report)), len(report.asked)
    if not total:
        return "No checks were made."
    failed, warned, open_ = (counts.get(status, 0) for status in RANK[:3])
    if failed:
        text = f"{failed} of {total} checks failed" + (f" and {warned} more {_verb(warned, 'gives', 'give')} a warning." if warned else ".")
    elif warned:
        text = f"No check failed; {warned} of {total} {_verb(warned, 'gives', 'give')} a warning."
    elif open_ < total:
        passed = total - open_
        rest = "the other one could not be" if open_ == 1 else f"the other {open_} could not be"
        return f"No trouble was found by {passed} of {total} checks; {rest} answered." if open_ else "No trouble was found."
    else:
        return "No check could be answered."
    return text + (f" {open_} could not be answered." if open_ else "")


def distance_in_words(report: Report) -> str:
    """The first distance, told as a multiple of what real images score, the gain of a restorer or the accuracy of a classifier.

    "" where none of them can be said.
    """
    if report.restoration is not None:
        return gain_in_words(report.restoration)
    if report.recognition is not None:
        return accuracy_in_words(report.recognition)
    score = next((s for s in main_scores(report, len(report.scores)) if s.name in (FID.name, FD.name)), None)
    if score is None or not score.baseline or score.baseline <= 0 or not math.isfinite(score.value):
        return ""
    times = score.value / score.baseline
    what = f"{score.name} {number(score.value)} where other real images have {number(score.baseline)}"
    if times < 1.25:
        return f"As a whole its images are about as close to real images as other real images are ({what})."
    return f"As a whole its images are {_times(times)} times as far from real images as other real images are ({what})."


def _times(times: float) -> str:
    return f"about {times:.2g}" if times < 100 else f"{times:,.0f}"


def measures(verdict: Verdict) -> list[str]:
    """Effect, limits, p-value and smallest detectable effect of a verdict as sentences; nothing of an effect that has no unit."""
    said, trouble = [], verdict.effect is not None and verdict.effect > 0
    if verdict.effect is not None and verdict.measure:
        value = number(verdict.effect)
        size = f"{value} ({verdict.measure})" if trouble else f"none ({verdict.measure}: {value})"
        said.append(f"Size of the trouble: {size}{_limits(verdict)}.{_unsure(verdict)}")
    if trouble and verdict.p is not None and math.isfinite(verdict.p):
        said.append(f"Were nothing wrong, as much would show {chance(verdict.p)} (p-value: p {_size(verdict.p)}).")
    if verdict.detectable is not None and math.isfinite(verdict.detectable):
        size = number(verdict.detectable)
        said.append(f"With this number of images a trouble of {size} is noticed in 9 of 10 cases; a smaller one may go unnoticed.")
    return said


def _limits(verdict: Verdict) -> str:
    """From where on the effect may be a warning and a failure, as far as these are numbers that mean something."""
    if verdict.limits is None:
        return ""
    named = zip(("a warning", "a failure"), verdict.limits, strict=True)
    told = [f"{what} from {number(at)} on" for what, at in named if math.isfinite(at) and abs(at) > 1e-6]
    return f"; {', '.join(told)}" if told else ""


def _unsure(verdict: Verdict) -> str:
    """Why an effect beyond a limit is no more than it was called."""
    warn, fail = verdict.limits or (math.inf, math.inf)
    beyond = verdict.effect is not None and verdict.effect >= (fail if verdict.status == "WARN" else warn)
    return " That is beyond the limit, but chance may explain it." if beyond and verdict.status != "FAIL" else ""


def _size(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {number(p)}"


def chance(p: float) -> str:
    """A probability as people say it.

    >>> [chance(p) for p in (0.0001, 0.02, 0.4)]
    ['less than once in 1,000 cases', 'about once in 50 cases', 'in about 40 of 100 cases']
    """
    if p < 0.001:
        return "less than once in 1,000 cases"
    return f"about once in {round(1 / p):,} cases" if p < 0.095 else f"in about {100 * p:.0f} of 100 cases"


def text(report: Report, page: str = "") -> str:
    """The short form for a terminal: verdicts worst first, the main scores, and where the page is."""
    lines = [headline(report), *(f"  note: {as_options(note)}" for note in report.notes)]
    width = max((len(v.name) for v in report.verdicts), default=0)
    for verdict in report.asked:
        lines.append(f"  {verdict.status:<11}  {verdict.name:<{width}}  {as_options(sentence(verdict.says))}")
        if verdict.status in ("FAIL", "WARN") and verdict.remedies:
            lines.append(f"  {'':<11}  {'':<{width}}  try: {verdict.remedies[0].text}")
    if idle := [v.name for v in report.verdicts if not v.asked]:
        lines.append(f"  {'':<11}  not asked, for it makes no sense here: {', '.join(idle)}")
    lines += [f"  {line}" for line in _measured(report)]
    if report.cost is not None:
        lines += [f"  {name}: {said}" for name, said in cost_in_words(report.cost).items()]
    if report.cas is not None:
        lines += [f"  {line}" for line in cas_lines(report.cas)]
    if len(report.evaluations) > 1:
        lines.append(f"  {evaluations_in_words(report.evaluations)}")
    if report.next is not None:
        lines += next_in_words(report.next)
    if page:
        lines.append(f"report: {page}")
    return "\n".join(map(printable, lines))


def _measured(report: Report) -> list[str]:
    if report.recognition is not None:
        return recognized(report.recognition)
    return _score_lines(main_scores(report)) if report.restoration is None else methods(report.restoration)


def next_in_words(step: NextStep) -> list[str]:
    """What to do next: the command, then how long it takes and what it shows."""
    takes = "" if step.minutes is None else f"about {minutes(step.minutes)}; "
    return ["do this next:", f"  {step.command}", f"  ({takes}shows {as_options(step.shows)})"]


def methods(found: Restoration) -> list[str]:
    """The model beside what needs no training, one line each, and the convention."""
    width = max(len(method.name) for method in found.methods)
    lines = []
    for method in found.methods:
        gain = "" if method.gain is None else f"  this model {signed(method.gain.value)} dB" + _between(method.gain)
        own = _between(method.psnr) if method.gain is None else ""
        lines.append(f"{method.name:<{width}}  {method.psnr.value:.2f} dB, SSIM {method.ssim.value:.4f}{own}{gain}")
    return [*lines, f"{found.degradation}, {len(found.images)} images: {found.convention}"]


def signed(value: float) -> str:
    """A difference in dB.

    >>> signed(1.234), signed(-0.5)
    ('+1.23', '-0.50')
    """
    return f"{value:+.2f}"


def _between(found: Estimate) -> str:
    return "" if found.interval is None else f" [{found.interval[0]:.2f}, {found.interval[1]:.2f}]"


def gain_in_words(found: Restoration) -> str:
    """How the results stand to those of the best classical method; "" where there is none."""
    best = found.best
    if best is None or best.gain is None:
        return ""
    how = f"{abs(best.gain.value):.2f} dB {'closer to' if best.gain.value >= 0 else 'farther from'} the truth than {best.name}"
    return f"Its results reach {found.methods[0].psnr.value:.2f} dB PSNR, {how}, the best of the methods that need no training."


def is_likelihood(score: Score) -> bool:
    """Whether a score is what a model says of real images, and its ``features`` the kind of likelihood."""
    return score.likelihood is not None


def where(score: Score) -> str:
    """What a score was measured in, and on how many images."""
    metric = metric_of(score.name)
    if metric is not None and metric.of is ModeCounts:
        return f"by {space_in_words(score.features)}: {score.n:,} samples, and as many real ones"
    if is_likelihood(score) or of_truth(score):
        return f"on {score.n:,} held-out images ({score.features})"
    return f"by {space_in_words(score.features)}: {score.n:,} generated images against {score.m:,} real ones"


def of_truth(score: Score) -> bool:
    """Whether a score compares with a known truth, and its ``features`` say how, or of what."""
    metric = metric_of(score.name)
    return metric is not None and metric.of in (Quality, Beliefs)


def sentence(words: str) -> str:
    """``words`` with a capital and a full stop.

    >>> sentence("too few images: give a larger `count`")
    'Too few images: give a larger `count`.'
    """
    return words[:1].upper() + words[1:] + ("" if not words or words.endswith((".", "!", "?")) else ".")


def _score_lines(scores: Sequence[Score]) -> list[str]:
    width = max((len(s.name) for s in scores), default=0)
    lines = []
    for place, s in enumerate(scores):
        baseline = "" if s.baseline is None else f", real images {number(s.baseline)}"
        lines.append(f"{s.name:<{width}}  {value(s)}{baseline} ({BETTER[s.kind]})")
        if place + 1 == len(scores) or where(scores[place + 1]) != where(s):
            lines.append(f"{'':<{width}}  {where(s)}")
    return lines


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
