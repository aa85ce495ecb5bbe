"""Plots of what a classifier takes images for, in the style of `calotype.report.plots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calotype.evaluation.recognized import Recognition
from calotype.report.drawing import ALERT, INK, LINE, MADE, calm, draw, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 20  # classes of a confusion matrix
_CELL = 26  # CSS pixels


def shown_classes(found: Recognition) -> list[int]:
    """The classes of the matrix: all, or those with the most mistakes, in their order."""
    table = np.array(found.confusion)
    if len(table) <= MOST:
        return list(range(len(table)))
    wrong = table.sum(0) + table.sum(1) - 2 * np.diag(table)
    return sorted(np.argsort(-wrong, kind="stable")[:MOST].tolist())


def confusion(found: Recognition) -> str:
    """The confusion matrix: each row is a class, shaded by the share of its images that were taken for the class of the column."""
    chosen = shown_classes(found)
    table: NDArray[np.int64] = np.array(found.confusion)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    names = [short(found.classes[k].name, 16) for k in chosen]
    side = len(chosen)

    def fill(figure: Figure) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        for row, truth in enumerate(chosen):
            for column, named in enumerate(chosen):
                share = float(shares[truth, named])
                if not table[truth, named]:
                    continue
                color, depth = (MADE, 0.75 * share) if truth == named else (ALERT, min(0.75, 0.12 + 1.5 * share))
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=color, alpha=depth, linewidth=0))
                axes.text(column, row, f"{table[truth, named]:,}", ha="center", va="center", fontsize=9.5 if side > 12 else 11, color=INK)
        axes.set_xticks(range(side), names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(side), names)
        axes.set_xlim(-0.5, side - 0.5)
        axes.set_ylim(side - 0.5, -0.5)
        axes.set_xlabel("taken for")
        axes.set_ylabel("class")
        for at in np.arange(0.5, side - 0.5):
            axes.axhline(at, color=LINE, linewidth=0.4)
            axes.axvline(at, color=LINE, linewidth=0.4)
        calm(axes)

    said = "; ".join(f"{found.classes[k].name} {table[k, k]:,} of {table[k].sum():,}" for k in chosen)
    return draw(f"Confusion matrix. Right: {said}", 150 + (_CELL + 8) * max(side, 4), 120 + _CELL * max(side, 4), fill)
