"""The plots of a report."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from calotype.evaluation.result import ClassCounts, Extrapolation, Series, Spectrum, TrainingCurves
from calotype.metrics.score import Score
from calotype.metrics.wording import number
from calotype.report.drawing import ALERT, BAND, BETTER, INK, LINE, MADE, MUTED, OTHER, REAL, WIDTH, calm, draw, logarithmic, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 24  # rows of a class plot
MOST_PANELS = 6  # of the training curves
_BUCKETS = 120  # a longer curve is thinned to the lowest and highest value of this many stretches


def strip(score: Score) -> str:
    """One score on its own axis: a dot, its interval as a bar, and the baseline as a band."""
    said = f"{score.name} {number(score.value)}" + (f", real images {number(score.baseline)}" if score.baseline is not None else "")

    def fill(figure: Figure) -> None:
        axes = figure.add_axes((0.04, 0.4, 0.92, 0.56))
        _dots(axes, [score], size=30)
        axes.set_yticks([])
        axes.set_xlim(*_limits([score]))
        axes.locator_params(axis="x", nbins=4)
        calm(axes)

    return draw(said, 240, 48, fill)


def models(name: str, rows: Sequence[tuple[str, Score]]) -> str:
    """One score of several models: one row each, with intervals, and the baseline as a band."""

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        _dots(axes, [score for _, score in rows], size=36)
        axes.set_yticks(range(len(rows)), [short(label, 28) for label, _ in rows], color=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(*_limits([score for _, score in rows]))
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="x")
        calm(axes)
        axes.set_xlabel(f"{name} ({BETTER[rows[0][1].kind]})" if rows else name)

    said = "; ".join(f"{label}: {number(score.value)}" for label, score in rows)
    return draw(f"{name} of each model. {said}", WIDTH, 64 + 28 * len(rows), fill)


def _dots(axes: Axes, scores: Sequence[Score], size: float) -> None:
    low, high = _limits(scores)
    baselines = sorted({score.baseline for score in scores if score.baseline is not None and math.isfinite(score.baseline)})
    if baselines:
        kind = scores[0].kind
        ends = (low, baselines[-1]) if kind == "lower" else (baselines[0], high) if kind == "higher" else (baselines[0], baselines[-1])
        axes.axvspan(*ends, color=BAND, linewidth=0, zorder=0)
        for baseline in baselines:
            axes.axvline(baseline, color=REAL, linewidth=1.2, zorder=1)
    for row, score in enumerate(scores):
        if score.interval is not None and all(map(_known, score.interval)):
            axes.plot(score.interval, [row, row], color=MADE, linewidth=2.4, zorder=2)
        if _known(score.value):
            axes.scatter([score.value], [row], s=size, color=MADE, zorder=3)


def _limits(scores: Sequence[Score]) -> tuple[float, float]:
    found = [v for s in scores for v in (s.value, s.baseline, *(s.interval or ())) if v is not None and math.isfinite(v)] or [0.0, 1.0]
    low, high = min(found), max(found)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def ladder(name: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Planted failures, real images and the model on one axis, best on top; the third of a row is "real", "made" or "planted"."""
    values = [value for _, value, _ in rows if value > 0]
    wide = len(values) == len(rows) and bool(values) and max(values) > 30 * min(values)
    marks = {"real": (REAL, "D", 34), "made": (MADE, "o", 46), "planted": (MUTED, "o", 22)}

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, (_, value, kind) in enumerate(rows):
            color, marker, size = marks[kind]
            axes.axhline(row, color=LINE, linewidth=0.6, zorder=0)
            axes.scatter([value], [row], s=size, color=color, marker=marker, zorder=3)
        axes.set_yticks(range(len(rows)), [short(label, 30) for label, _, _ in rows])
        for tick, (_, _, kind) in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_color(INK if kind == "made" else MUTED)
            tick.set_fontweight("bold" if kind == "made" else "normal")
        axes.set_ylim(len(rows) - 0.4, -0.6)
        if wide:
            logarithmic(axes.set_xscale, axes.xaxis)
        axes.set_xlabel(name + (", logarithmic scale" if wide else ""))
        calm(axes)

    said = "; ".join(f"{label}: {number(value)}" for label, value, _ in rows)
    return draw(f"{name} of known failures and of this model. {said}", WIDTH, 62 + 27 * len(rows), fill)


def extrapolation(found: Extrapolation, name: str = "FD") -> str:
    """The Frechet distance against 1 / N with the line that meets the axis at its value for infinitely many images."""

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        inverse = [1 / n for n, _ in found.points]
        end = max(inverse, default=1.0) * 1.08
        axes.plot([0, end], [found.infinite, found.infinite + found.slope * end], color=MUTED, linewidth=1, zorder=1)
        axes.scatter(inverse, [value for _, value in found.points], s=26, color=MADE, zorder=3)
        axes.scatter([0], [found.infinite], s=46, facecolor="none", edgecolor=MADE, linewidth=1.8, zorder=3, clip_on=False)
        axes.annotate(number(found.infinite), (0, found.infinite), (10, 14), textcoords="offset points", fontsize=12)
        axes.set_xlim(0, end)
        ticks = _roomy([n for n, _ in found.points], end)
        axes.set_xticks([0, *(1 / n for n in ticks)], ["infinite", *(f"{n:,}" for n in ticks)])
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.set_xlabel("number of images, on a scale of 1 / N")
        axes.set_ylabel(name)
        axes.grid(axis="y")
        calm(axes)

    return draw(f"{name} against one over the number of images; for infinitely many {number(found.infinite)}", WIDTH, 290, fill)


def _roomy(places: Sequence[int], end: float) -> list[int]:
    """Those N whose labels on an axis of 1 / N up to ``end`` do not run into each other, smallest N first."""
    kept: list[int] = []
    for n in sorted(places):
        if 1 / n > 0.16 * end and (not kept or 1 / kept[-1] - 1 / n > 0.14 * end):
            kept.append(n)
    return kept


def classes(counts: ClassCounts, rare: Collection[str] = ()) -> str:
    """The share of each class among generated images, with its interval, against the real share; ``rare`` ones stand out."""
    made, real = sum(counts.generated) or 1, sum(counts.real) or 1
    gap = [abs(g / made - r / real) for g, r in zip(counts.generated, counts.real, strict=True)]
    chosen = sorted(sorted(range(len(gap)), key=lambda i: (counts.names[i] not in rare, -gap[i]))[:MOST_CLASSES])

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = range(len(chosen))
        axes.barh(rows, [100 * counts.real[i] / real for i in chosen], color=BAND, height=0.72, zorder=1, label="real images")
        for row, i in zip(rows, chosen, strict=True):
            low, high = counts.interval[i]
            color = ALERT if counts.names[i] in rare else MADE
            axes.plot([100 * low, 100 * high], [row, row], color=color, linewidth=2.2, zorder=2)
            axes.scatter([100 * counts.generated[i] / made], [row], s=28, color=color, zorder=3)
        axes.scatter([], [], s=28, color=MADE, label="generated, 95% interval")
        if rare:
            axes.scatter([], [], s=28, color=ALERT, label="too rare")
        axes.set_yticks(rows, [short(counts.names[i], 24) for i in chosen], color=INK)
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("share of all images, %")
        axes.grid(axis="x")
        calm(axes)
        figure.legend(loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.6)

    shares = ((counts.names[i], 100 * counts.generated[i] / made, 100 * counts.real[i] / real) for i in chosen)
    said = "; ".join(f"{name} {a:.1f}% of generated, {b:.1f}% of real" for name, a, b in shares)
    return draw(f"Classes. {said}", WIDTH, 88 + 26 * len(chosen), fill)


def spectrum(found: Spectrum) -> str:
    """Power by spatial frequency: the generated images against the band in which real ones lie."""

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        tiny = min((v for v in found.median if v > 0), default=1.0) * 1e-6
        low, median, high, made = (np.maximum(np.asarray(v, float), tiny) for v in (found.low, found.median, found.high, found.generated))
        axes.fill_between(found.frequency, low, high, color=BAND, linewidth=0, label="most real images")
        axes.plot(found.frequency, median, color=REAL, linewidth=1.2, label="median real")
        axes.plot(found.frequency, made, color=MADE, label="median generated")
        logarithmic(axes.set_yscale, axes.yaxis)
        axes.set_xlabel("fine detail (cycles per pixel)")
        axes.set_ylabel("power")
        calm(axes)
        figure.legend(loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.6)

    return draw("Power by spatial frequency, generated images against the band of real images", WIDTH, 290, fill)


def curves(found: TrainingCurves, wanted: Sequence[str] = ()) -> list[str]:
    """The training log, one drawing for each quantity, with the events as numbered lines.

    ``wanted`` keeps the series whose name contains one of these words.
    """
    drawn = []
    for name, lines in panels_of(found, wanted).items():

        def fill(figure: Figure, name: str = name, lines: Sequence[Series] = lines) -> None:
            axes = figure.add_subplot()
            _panel(axes, name, lines)
            _events(axes, found)

        drawn.append(draw(f"{name} during training, against the step", WIDTH, 215, fill))
    return drawn


_TOGETHER = {  # the panel of a series, and its name there
    "d_real": ("d", "real"),
    "d_fake": ("d", "generated"),
    "d_holdout": ("d", "held out"),
    "psnr_train": ("psnr", "training images"),
    "psnr_holdout": ("psnr", "held-out images"),
    "bits_train": ("bits", "training images"),
    "bits_holdout": ("bits", "held-out images"),
}
_TITLES = {"d": "what the discriminator says of images", "bits": "bits per dimension", "psnr": "PSNR of patches, dB"}
_TITLES |= {"d_accuracy": "accuracy of the discriminator"}


def panels_of(found: TrainingCurves, wanted: Sequence[str] = ()) -> dict[str, list[Series]]:
    """Series that belong on one pair of axes, each named by what tells it from the others: "loss" holds those of all players.

    What is known for the averaged weights is not shown again for each step of a player.
    """
    panels: dict[str, list[Series]] = {}
    whole = {series.name for series in found.series}
    for series in found.series:
        player, _, quantity = series.name.rpartition("/")
        if len(series.step) < 2 or (wanted and not any(word in series.name for word in wanted)) or (player and quantity in whole):
            continue
        panel, name = _TOGETHER.get(series.name, (quantity, player or quantity))
        panels.setdefault(_TITLES.get(panel, panel.replace("_", " ")), []).append(replace(series, name=name))
    return dict(list(panels.items())[:MOST_PANELS])


def _panel(axes: Axes, name: str, lines: Sequence[Series]) -> None:
    look = [(MADE, "-"), (REAL, "-"), (OTHER, "-"), (MUTED, (0, (4, 2)))]
    for order, series in enumerate(lines[:4]):
        color, style = look[order]
        axes.plot(*_thin(series), color=color, linestyle=style, linewidth=1.2, label=short(series.name, 22))
    values = np.array([v for s in lines for v in s.value], float)
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 100 * values.min():
        logarithmic(axes.set_yscale, axes.yaxis)
    axes.set_title(short(name, 44), color=INK)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("step")
    axes.grid(axis="y")
    calm(axes)
    if len(lines) > 1:
        axes.legend(loc="best", handlelength=1.2)


def _events(axes: Axes, found: TrainingCurves) -> None:
    for order, event in enumerate(found.events, 1):
        axes.axvline(event.step, color=ALERT, linewidth=1, linestyle=(0, (3, 2)))
        if len(found.events) <= 9:
            place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(str(order), (event.step, 1), (3, -11), fontsize=11, color=ALERT, **place)


def _thin(series: Series) -> tuple[Any, Any]:
    step, value = np.asarray(series.step), np.asarray(series.value, float)
    if len(step) <= 2 * _BUCKETS:
        return step, value
    keep: set[int] = set()
    for part in np.array_split(np.arange(len(step)), _BUCKETS):
        seen = np.where(np.isfinite(value[part]), value[part], 0.0)
        keep |= {int(part[seen.argmin()]), int(part[seen.argmax()])}
    order = sorted(keep)
    return step[order], value[order]


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
