"""The reliability diagram of whatever states a probability, in the style of `calotype.report.plots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calotype.metrics.confidence import Reliability
from calotype.report.drawing import BAND, MADE, MUTED, REAL, WIDTH, calm, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability(before: Reliability, after: Reliability, fitted: str, belief: str = "mean belief", least: float = 0.0) -> str:
    """How often it is right, by how firmly it believes: on the diagonal where its probabilities are true.

    Args:
        before: what the network says by itself.
        after: what it says once calibrated.
        fitted: how that is named, such as ``calibrated``.
        belief: what is believed.
        least: the smallest belief there can be, at which the axis begins: 1/2 where the likelier of two answers is believed.
    """

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([least, 1], [least, 1], color=REAL, linewidth=1.2, zorder=1)
        total = sum(after.count)
        for low, high, count in zip(after.low, after.high, after.count, strict=True):
            axes.bar((low + high) / 2, count / total, width=high - low, color=BAND, linewidth=0, zorder=0)
        for part, color, style, name in ((before, MUTED, (0, (4, 2)), "as it learned"), (after, MADE, "-", fitted)):
            axes.plot(part.belief, part.right, color=color, linestyle=style, marker="o", markersize=4, label=name, zorder=3)
        axes.set_xlim(least, least + 1.02 * (1 - least))
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(f"{belief}; shaded: the share of the images")
        axes.set_ylabel("share that is right")
        axes.grid()
        calm(axes)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.6)

    said = "; ".join(f"{held:.2f}: {right:.2f}" for held, right in zip(after.belief, after.right, strict=True))
    return draw(f"Reliability diagram, mean belief and share that is right {fitted}. {said}", WIDTH, 330, fill)
