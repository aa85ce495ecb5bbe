"""Plots of whatever numbers there are: every axis says where it is, and names are shown as they are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from calotype.evaluation.result import ClassCounts, Evaluations, Event, Extrapolation, PsnrAtSigma, Series, Spectrum, TrainingCurves, Units
from calotype.report import drawing, plots, plots_models
from calotype.report.drawing import told_apart
from tests.report.test_page import fd

NAN, INF = math.nan, math.inf
ODD = {
    "equal": (3.0, 3.0, 3.0),
    "zero": (0.0, 0.0, 0.0),
    "close": (0.123456789, 0.123456791, 0.123456795),
    "close and large": (1e9 + 1, 1e9 + 2, 1e9 + 3),
    "huge": (1e-3, 5.0, 1e300),
    "tiny": (1e-300, 2e-300, 3e-300),
    "within a decade": (2.1, 2.4, 2.9),
    "within a decade and a bit": (8.0, 30.0, 70.0),
    "negative": (-3.0, -2.0, 5.0),
    "not a number": (NAN, NAN, NAN),
    "one of them": (1.0, NAN, 2.0),
    "infinite": (1.0, INF, 2.0),
    "minus infinite": (-INF, 1.0, INF),
}


def axes_of(make: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The labels along each axis of what is drawn."""
    found: list[list[str]] = []
    scaled = drawing.scaled

    def seen(figure: Figure) -> None:
        scaled(figure)
        figure.draw_without_rendering()
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high] if len(axis.get_majorticklocs()) else []
            if len(axis.get_majorticklocs()) or isinstance(axis.get_major_locator(), NullLocator):
                found.append([tick.label1.get_text() for tick in ticks])

    monkeypatch.setattr(drawing, "scaled", seen)
    made = make()
    assert made
    return found


def drawn(values: tuple[float, float, float]) -> dict[str, Callable[[], object]]:
    """Every plot there is, of these numbers."""
    a, b, c = values
    score = replace(fd(a), value=a, interval=(b, c), baseline=b)
    evaluations = tuple(Evaluations(nfe, 2, v, (b, c), v, a, 400, 1.0) for nfe, v in zip((5.0, 10.0, 20.0), values, strict=True))
    near = tuple(replace(evaluations[0], nfe=nfe, fd=v) for nfe, v in zip((9.0, 10.0, 11.0), values, strict=True))
    dots = [plots_models.Dot(f"m{i}", abs(v) if v else 1.0, v, (b, c), ((1.0, v, 5.0), (2.0, a, 10.0))) for i, v in enumerate(values)]
    log = TrainingCurves((Series("g/loss", (0, 1, 2), values), Series("d/loss", (0, 1, 2), values[::-1])), (Event(1, "x"),))
    return {
        "strip": lambda: plots.strip(score),
        "models": lambda: plots.models("FD", [("a", score), ("b", replace(score, value=c, interval=None))]),
        "ladder": lambda: plots.ladder("FD", [("blur", a, "planted"), ("real images", b, "real"), ("this model", c, "made")]),
        "extrapolation": lambda: plots.extrapolation(Extrapolation(((250, a), (500, b), (501, c)), a, b)),
        "spectrum": lambda: plots.spectrum(Spectrum((0.1, 0.2, 0.5), values, values, values, values)),
        "curves": lambda: plots.curves(log),
        "units": lambda: plots_models.units(Units(1, 3, values)),
        "evaluations": lambda: plots_models.evaluations(evaluations),
        "evaluations within a decade": lambda: plots_models.evaluations(near),
        "levels": lambda: plots_models.levels(
            [PsnrAtSigma(sigma, {"told": v}) for sigma, v in zip((5.0, 15.0, 25.0), values, strict=True)]
        ),
        "pairs": lambda: plots_models.pairs("a", "b", values, values[::-1]),
        "quality": lambda: plots_models.quality("FD", dots, b),
        "classes": lambda: plots.classes(ClassCounts(("a", "b"), (1, 0), (1, 1), ((0.5, 1.0), (0.0, 0.1)))),
    }


@pytest.mark.parametrize(("values", "plot"), list(product(ODD, drawn(ODD["equal"]))))
def test_every_axis_has_two_labels_that_differ(values: str, plot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = axes_of(drawn(ODD[values])[plot], monkeypatch)
    assert axes
    for labels in axes:
        assert len([label for label in labels if label]) >= 2, labels
        assert len(set(labels)) == len(labels), labels
        assert not any(re.search(r"nan|inf\b|\$|mathdefault", label) for label in labels)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 0.25, 0.5], ["0", "0.25", "0.5"]),
        ([1000.0, 2000.0], ["1,000", "2,000"]),
        ([0.12345, 0.12346], ["0.12345", "0.12346"]),
        ([-1.0, 0.0], ["-1", "0"]),
        ([5.0], ["5"]),
        ([2.5e-7, 5e-7], ["2.5e-07", "5e-07"]),
        ([], []),
    ],
)
def test_numbers_on_an_axis_have_the_digits_that_they_need(values: list[float], wanted: list[str]) -> None:
    assert told_apart(values) == wanted


HOSTILE = (
    "$\\frac{1}{0}",
    "$x^2$",
    "</svg><script>alert(1)</script>",
    "--><b>",
    "&lt;&amp;",
    "#010203",
    'id="a" href="#b" url(#c)',
    "'DejaVu Sans', sans-serif",
    "two\nlines\r\x1b[2K\x07",
    "👩‍🚀 emoji",
    "\u202eright to left",
    "عربي שלום",
    "\udcff half",
    "",
    " ",
    "x" * 5000,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_drawn_as_they_are(name: str) -> None:
    counts = ClassCounts((name, "plain"), (9, 1), (5, 5), ((0.5, 1.0), (0.0, 0.5)))
    made = [plots.classes(counts, [name]), plots.models("FD", [(name, fd(1.0)), ("b", fd(2.0))])]
    made.append(plots_models.quality("FD", [plots_models.Dot(name, 1.0, 1.0, None), plots_models.Dot("b", 2.0, 2.0, None)]))
    made += plots.curves(TrainingCurves((Series(f"{name}/{name}", (0, 1), (1.0, 2.0)), Series("a/x", (0, 1), (1.0, 2.0)))))
    for one in made:
        one.encode()
        assert "<script" not in one
        assert "\x1b" not in one
        assert one.count("<svg") == one.count("</svg>") == 1
    if name in ("#010203", 'id="a" href="#b" url(#c)', "'DejaVu Sans', sans-serif", "$x^2$"):
        assert f">{name[:24]}" in made[0]


def test_names_of_dots_stay_inside() -> None:
    seconds = [0.5, 2.0, 40.0]
    assert [plots_models.beside(x, seconds)[1] for x in seconds] == ["left", "left", "right"]
    assert plots_models.beside(3.0, [3.0]) == (8, "left")
