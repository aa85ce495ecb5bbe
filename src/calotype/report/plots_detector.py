"""Plots of how well a detector tells generated images from real ones, in the style of `calotype.report.plots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calotype.detect.results import Results
from calotype.metrics.confidence import Reliability
from calotype.report.drawing import BAND, MADE, MUTED, REAL, WIDTH, calm, draw

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


def reliability(before: Reliability, after: Reliability) -> str:
    """How often the answer that is believed is right, by how firmly: on the diagonal where probabilities are true."""

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0.5, 1], [0.5, 1], color=REAL, linewidth=1.2, zorder=1)
        total = sum(after.count)
        for low, high, count in zip(after.low, after.high, after.count, strict=True):
            axes.bar((low + high) / 2, count / total, width=high - low, color=BAND, linewidth=0, zorder=0)
        for part, color, style, name in ((before, MUTED, (0, (4, 2)), "as it learned"), (after, MADE, "-", "calibrated")):
            axes.plot(part.belief, part.right, color=color, linestyle=style, marker="o", markersize=4, label=name, zorder=3)
        axes.set_xlim(0.49, 1.01)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("mean belief in the likelier of real and generated; shaded: the share of the images")
        axes.set_ylabel("share that is right")
        axes.grid()
        calm(axes)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.6)

    said = "; ".join(f"{belief:.2f}: {right:.2f}" for belief, right in zip(after.belief, after.right, strict=True))
    return draw(f"Reliability diagram, mean belief and share that is right as calibrated. {said}", WIDTH, 330, fill)
