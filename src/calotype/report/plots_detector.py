"""Plots of how well a detector tells generated images from real ones, in the style of `calotype.report.plots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calotype.detect.results import Results
from calotype.report.drawing import MADE, REAL, WIDTH, calm, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def roc(found: Results) -> str:
    """The share of generated images that is found, by the share of real ones that is called generated with them."""
    row = found.overall

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=REAL, linewidth=1.2, zorder=1)
        axes.plot([x for x, _ in found.curve], [y for _, y in found.curve], color=MADE, zorder=3, drawstyle="steps-post")
        alarms, hits = row.real.generated, row.generated.generated
        axes.plot(alarms.interval, [hits.share] * 2, color=MADE, linewidth=1)
        axes.plot([alarms.share] * 2, hits.interval, color=MADE, linewidth=1)
        axes.plot([alarms.share], [hits.share], color=MADE, marker="o", markersize=6, zorder=4, linestyle="none")
        axes.annotate("answered GENERATED", (alarms.share, hits.share), (10, -14), textcoords="offset points", fontsize=11)
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        axes.set_xlabel("share of real images (false alarms)")
        axes.set_ylabel("share of generated images found")
        axes.grid()
        calm(axes)

    return draw(f"ROC curve. AUC {row.area:.3f}, between {row.interval[0]:.3f} and {row.interval[1]:.3f}", WIDTH, 360, fill)
