"""Plots of what a model takes and of what its latents say, in the style of `calotype.report.plots`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from calotype.evaluation.result import Evaluations, PsnrAtSigma, Units
from calotype.metrics.score import Interval
from calotype.metrics.wording import number
from calotype.report.drawing import ALERT, BAND, INK, LINE, MADE, MUTED, OTHER, REAL, WIDTH, calm, draw, logarithmic, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = 1e-9  # seconds: what takes less is no time at all
_MARKS = (MADE, OTHER, REAL, ALERT, MUTED)


def units(found: Units) -> str:
    """How much each latent says of an image: bars from the largest to the smallest."""

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        share = [100 * (i + 0.5) / len(found.nats) for i in range(len(found.nats))]
        axes.bar(share, found.nats, width=100 / len(found.nats), color=MADE, linewidth=0, zorder=2)
        used = 100 * found.active / max(1, found.total)
        if used < 100:
            axes.axvspan(used, 100, color=BAND, linewidth=0, zorder=0)
            axes.axvline(used, color=REAL, linewidth=1.2, zorder=1)
        axes.set_xlim(0, 100)
        axes.set_xlabel(f"share of the {found.total:,} latent units, %; shaded: as many as do not vary")
        axes.set_ylabel("nats of an image")
        axes.grid(axis="y")
        calm(axes)

    return draw(f"What each latent unit says of an image; {found.active} of {found.total} vary with the image", WIDTH, 250, fill)


def evaluations(rows: Sequence[Evaluations]) -> str:
    """The Frechet distance against the number of function evaluations."""

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        baseline = rows[0].baseline
        if math.isfinite(baseline):
            axes.axhspan(0, baseline, color=BAND, linewidth=0, zorder=0)
            axes.axhline(baseline, color=REAL, linewidth=1.2, zorder=1)
        _bars(axes, [row.nfe for row in rows], [row.fd for row in rows], [row.interval for row in rows], MADE)
        axes.plot([row.nfe for row in rows], [row.fd for row in rows], color=MADE, linewidth=1, zorder=2)
        axes.set_xlim(min(row.nfe for row in rows) / 1.2, 1.2 * max(row.nfe for row in rows))
        logarithmic(axes.set_xscale, axes.xaxis)
        axes.set_xticks([row.nfe for row in rows], [number(row.nfe) for row in rows])
        axes.set_ylim(0, None if any(math.isfinite(row.fd) for row in rows) else 1)
        axes.set_xlabel("function evaluations for one image, logarithmic scale")
        axes.set_ylabel(f"FD, N = {rows[0].n:,}")
        axes.grid(axis="y")
        calm(axes)

    said = "; ".join(f"{number(row.nfe)}: {number(row.fd)}" for row in rows)
    return draw(f"FD against function evaluations. {said}", WIDTH, 270, fill)


def levels(rows: Sequence[PsnrAtSigma]) -> str:
    """PSNR against the noise level, a line for each method."""
    names = list(dict.fromkeys(name for row in rows for name in row.psnr))

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        for order, name in enumerate(names):
            found = [(row.sigma, row.psnr[name]) for row in rows if name in row.psnr]
            own = name in ("told", "not told")
            look = (MADE, "-" if name == "told" else (0, (4, 2))) if own else ((REAL, OTHER, MUTED, ALERT)[order % 4], "-")
            axes.plot(*zip(*found, strict=True), color=look[0], linestyle=look[1], linewidth=1.8 if own else 1.2, label=short(name, 24))
        axes.set_xlabel("sigma of the noise, levels of 255")
        axes.set_ylabel("PSNR, dB")
        axes.grid(axis="y")
        axes.legend(loc="best", handlelength=1.6)
        calm(axes)

    said = "; ".join(f"sigma {number(row.sigma)}: " + ", ".join(f"{n} {number(v)}" for n, v in row.psnr.items()) for row in rows)
    return draw(f"PSNR against the noise level. {said}", WIDTH, 270, fill)


def pairs(first: str, second: str, made: Sequence[float], other: Sequence[float]) -> str:
    """One dot an image: PSNR of a model against that of another method; above the line the model is better."""

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        known = [value for value in (*made, *other) if math.isfinite(value)] or [0.0]
        low, high = min(known), max(known)
        room = 0.05 * (high - low) or 1.0
        ends = (low - room, high + room)
        axes.fill_between(ends, ends, ends[1], color=BAND, linewidth=0, zorder=0)
        axes.plot(ends, ends, color=REAL, linewidth=1.2, zorder=1)
        axes.scatter(other, made, s=22, color=MADE, zorder=3, linewidth=0)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_xlabel(f"{short(second, 30)}, dB")
        axes.set_ylabel(f"{short(first, 30)}, dB")
        axes.grid()
        calm(axes)

    better = sum(a > b for a, b in zip(made, other, strict=True))
    return draw(f"PSNR of each image, {first} against {second}: {better} of {len(made)} are better", WIDTH, 270, fill)


@dataclass(frozen=True)
class Dot:
    """One model in the picture of quality against time."""

    name: str
    seconds: float  # for 1,000 images
    value: float
    interval: Interval | None
    curve: tuple[tuple[float, float, float], ...] = ()  # (seconds for 1,000 images, value, function evaluations)


def quality(name: str, dots: Sequence[Dot], baseline: float | None = None) -> str:
    """A score against the time that drawing takes: one dot a model, and a line through other numbers of function evaluations."""
    dots = [dot for dot in dots if math.isfinite(dot.value) and LEAST < dot.seconds < math.inf]
    values = [v for dot in dots for v in (dot.value, *(point[1] for point in dot.curve)) if math.isfinite(v)] or [0.0]
    wide = min(values) > 0 and max(values) > 12 * min(values)

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        if baseline is not None and math.isfinite(baseline) and (baseline > 0 or not wide):
            axes.axhline(baseline, color=REAL, linewidth=1.2, zorder=1)
            axes.annotate(
                "real images",
                (1, baseline),
                (-2, 3),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                fontsize=11,
                color=MUTED,
            )
        for order, dot in enumerate(dots):
            color = _MARKS[order % len(_MARKS)]
            _bars(axes, [dot.seconds], [dot.value], [dot.interval], color, size=46)
            if len(dot.curve) > 1:
                seconds, along, _ = zip(*dot.curve, strict=True)
                axes.plot(seconds, along, color=color, linewidth=1, marker="o", markersize=3, zorder=2)
                for x, y, count in (dot.curve[0], dot.curve[-1]):
                    axes.annotate(number(count), (x, y), (0, 6), textcoords="offset points", fontsize=10, color=MUTED, ha="center")
            place, side = beside(dot.seconds, [other.seconds for other in dots])
            axes.annotate(
                short(dot.name, 24), (dot.seconds, dot.value), (place, 6), textcoords="offset points", fontsize=12, color=INK, ha=side
            )
        logarithmic(axes.set_xscale, axes.xaxis)
        if wide:
            logarithmic(axes.set_yscale, axes.yaxis)
        else:
            axes.set_ylim(bottom=min(0.0, *values))
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.18)  # room for the names
        axes.set_xlabel("seconds for 1,000 images, logarithmic scale")
        axes.set_ylabel(name + (", logarithmic scale" if wide else ""))
        axes.grid(axis="both", color=LINE)
        calm(axes)

    said = "; ".join(f"{dot.name}: {number(dot.value)} in {number(dot.seconds)} s" for dot in dots)
    return draw(f"{name} against the seconds that 1,000 images take. {said}", 1.6 * WIDTH, 380, fill)


def beside(x: float, all_x: Sequence[float]) -> tuple[int, Literal["left", "right"]]:
    """Where the name of a dot begins or ends on a logarithmic axis: to its left in the right half, where it would run over the edge."""
    low, high = math.log(min(all_x)), math.log(max(all_x))
    return (-8, "right") if high > low and (math.log(x) - low) / (high - low) > 0.5 else (8, "left")


def _bars(axes: Axes, x: Sequence[float], y: Sequence[float], spans: Sequence[Interval | None], color: str, size: float = 30) -> None:
    for at, value, span in zip(x, y, spans, strict=True):
        if span is not None and all(map(math.isfinite, span)):
            axes.plot([at, at], span, color=color, linewidth=2.2, zorder=3)
        axes.scatter([at], [value], s=size, color=color, zorder=4)
