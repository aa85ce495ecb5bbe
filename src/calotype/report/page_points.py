"""The part of a page that is about points: scatter plots beside real ones, and over time."""

from __future__ import annotations

from calotype.evaluation.result import Pixels, Report
from calotype.pictures import SAMPLE
from calotype.report.html import linked, picture, sheet, tag
from calotype.scatter import SIDE


def points(report: Report) -> str:
    """Generated points beside real ones; "" where the report is of images."""
    shown = report.pictures.points
    if shown is None:
        return ""
    lead = "Each dot is a point; the gray circles are three standard deviations around the modes. A point outside of them belongs to none."
    parts = (("Generated", "drawn from fixed noise, not selected", shown.generated, True), ("Real", "as many", shown.real, False))
    cells = "".join(
        tag("figure", f"<figcaption><strong>{what}</strong>: {how}.</figcaption>{_drawn(pixels, f'{what} points', made)}")
        for what, how, pixels, made in parts
    )
    return tag("p", linked(lead)) + tag("div", cells, kind="pair")


def over_time(report: Report) -> str:
    """How the points of the same noise moved during the training; "" where that is not known."""
    shown = report.pictures.points
    if shown is None or shown.over_time is None:
        return ""
    lead = "Points of the same noise at several checkpoints: how the modes were filled, or lost again."
    return tag("p", linked(lead)) + tag("figure", _drawn(shown.over_time, "Scatter plots over time", True))


def _drawn(pixels: Pixels, alt: str, by_model: bool) -> str:
    made = sheet(pixels[None], 1, side=max(pixels.shape), marker=SAMPLE if by_model else None)
    return picture(made, alt, width=SIDE)
