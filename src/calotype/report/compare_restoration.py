"""Several restorers on one page: the same degraded images, and differences image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calotype.diagnose.restored import MODEL
from calotype.errors import UserError
from calotype.evaluation.ranking import listed
from calotype.evaluation.result import Crop, Report, Restoration
from calotype.metrics.quality import PSNR, SSIM
from calotype.metrics.score import Estimate, Score
from calotype.metrics.wording import number
from calotype.report import plots
from calotype.report.drawing import text
from calotype.report.html import asked, document, explained, linked, section, status_mark, table, tag, term
from calotype.report.page_restoration import piece, spanned
from calotype.report.text import minutes, signed


def page(reports: Sequence[Report]) -> str:
    """The page. Raises `UserError` for reports that are not all of restorers of the same images."""
    found = _alike(reports)
    order = sorted(range(len(reports)), key=lambda i: -found[i].methods[0].psnr.value)
    first = found[0]
    lead = "".join(tag("p", linked(said), kind="lead") for said in told(reports))
    lead += tag("p", f"Damage: <code>{text(first.degradation)}</code>. Scores: {text(first.convention)}.", kind="quiet")
    pieces = "".join(piece(_median(reports[i]), reports[i].subject) for i in order if reports[i].pictures.crops)
    body = lead + f"<section><h2>Scores</h2>{_scores(reports, found, order)}</section>"
    body += f"<section><h2>What was found</h2>{_verdicts(reports)}</section>"
    body += f"<section><h2>Before and after</h2>{pieces}</section>" if pieces else ""
    body += section("words", "Words on this page", explained(body))
    title = "Comparison of " + ", ".join(report.subject for report in reports)
    who = text(listed([report.subject for report in reports]))
    head = f'<header><p class="eyebrow">Calotype comparison</p><h1>{len(reports)} restorers</h1><p>{who}</p>'
    return document(title, f"{head}</header><main>{body}</main>")


def told(reports: Sequence[Report]) -> list[str]:
    """Which restorer is best, said as far as the differences image by image allow."""
    found = _alike(reports)
    means = [one.methods[0].psnr.value for one in found]
    best = int(np.argmax(means))
    said = []
    for i, report in enumerate(reports):
        if i == best:
            continue
        gap = difference(found[best], found[i])
        sure = gap.interval is not None and gap.interval[0] > 0
        how = f"{gap.value:.2f} dB" + ("" if gap.interval is None else f" ({signed(gap.interval[0])} to {signed(gap.interval[1])})")
        verb = "is better than" if sure else "cannot be told from"
        said.append(f"{reports[best].subject} {verb} {report.subject}: {how} PSNR, paired over {len(found[best].images)} images.")
    return said


def difference(a: Restoration, b: Restoration) -> Estimate:
    """Mean difference in PSNR of the same images, dB, with Student's t interval."""
    return Estimate.mean(np.array(a.psnr[MODEL]) - np.array(b.psnr[MODEL]))


def _alike(reports: Sequence[Report]) -> list[Restoration]:
    found = [report.restoration for report in reports if report.restoration is not None]
    if len(found) < len(reports):
        raise UserError("restorers and generators are judged by different scores: compare one kind at a time")
    first = found[0]
    for report, one in zip(reports, found, strict=True):
        if one.degradation != first.degradation:
            raise UserError(
                f"{report.subject} restores from {one.degradation}, {reports[0].subject} from {first.degradation}: "
                "compare models that were trained for the same damage"
            )
        common = [name for name in one.psnr if name in first.psnr and name != MODEL]
        if one.images != first.images or any(not np.allclose(one.psnr[name], first.psnr[name], atol=0.005) for name in common):
            raise UserError(f"{report.subject} and {reports[0].subject} were judged on different images: name some for both with `data`")
    return found


def _scores(reports: Sequence[Report], found: Sequence[Restoration], order: Sequence[int]) -> str:
    best = found[order[0]]
    rows = []
    for i in order:
        gap, cost = difference(best, found[i]), reports[i].cost
        behind = "" if i == order[0] else _signed(gap)
        own = found[i].methods[0]
        takes = ["", "", ""] if cost is None else [f"{cost.parameters:,}", number(cost.seconds_per_megapixel), _training(cost.minutes)]
        rows.append([text(reports[i].subject), spanned(own.psnr, 2), spanned(own.ssim, 4), behind, *takes])
    for method in best.methods[1:]:
        gain = method.gain or Estimate(0.0)
        rows.append([term(method.name), spanned(method.psnr, 2), spanned(method.ssim, 4), _signed(gain), "", "", ""])
    head = [
        "Method",
        term(f"{PSNR.name}, dB"),
        term(SSIM.name),
        "The best is better by, dB",
        term("Parameters"),
        "s a megapixel",
        "Training",
    ]
    count = len(best.images)
    named = [(reports[i].subject, found[i].methods[0].psnr) for i in order]
    shown = [(who, Score(PSNR.name, e.value, e.interval, None, count, count, "", PSNR.kind)) for who, e in named]
    lead = (
        f"Intervals: 95%, Student's t over {count} images. The means differ by less than their intervals suggest, for the images are the "
        "same: the differences are taken image by image."
    )
    return tag("p", lead, kind="quiet") + table(head, rows, marked=0) + f"<figure>{plots.models(PSNR.name, shown)}</figure>"


def _signed(found: Estimate) -> str:
    span = found.interval
    return signed(found.value) + ("" if span is None else f"<br><span class='quiet nowrap'>{signed(span[0])} to {signed(span[1])}</span>")


def _training(spent: float | None) -> str:
    return "" if spent is None else minutes(spent)


def _median(report: Report) -> Crop:
    crops = report.pictures.crops
    return crops[len(crops) // 2]


def _verdicts(reports: Sequence[Report]) -> str:
    names = list(dict.fromkeys(v.name for report in reports for v in report.asked))
    by = [{v.name: v for v in report.asked} for report in reports]
    rows = [
        [
            asked(name),
            *(status_mark(found[name].status) if name in found else "" for found in by),
        ]
        for name in names
    ]
    return table(["", *(text(report.subject) for report in reports)], rows)
