"""The parts of a report's page that show images: those that were drawn, and real ones that are near to them."""

from __future__ import annotations

from calotype.evaluation.result import Report
from calotype.report.html import alike, picture, tag
from calotype.report.page_neighbors import near
from calotype.report.page_verdicts import shows

_SAMPLES = 64


def samples(report: Report) -> str:
    """Generated images beside real ones."""
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


def neighbors(report: Report) -> str:
    """Generated images beside the real ones that are nearest to them."""
    found = report.pictures.neighbors
    made = "" if found is None else near(found, "The first generated images, not selected.")
    told = any(shows(v, "copies") and v.status in ("FAIL", "WARN") for v in report.verdicts)  # then they stand with the verdict
    copies = None if told else report.pictures.copies
    worst = (
        ""
        if copies is None
        else "<h3>Closest to the training set</h3>" + near(copies, "Of all generated images, those nearest to a training image.")
    )
    if not made + worst:
        return ""
    lead = "A generator that learned, rather than copied, is as close to images it never saw as to those it was trained on."
    return tag("p", lead) + made + worst
