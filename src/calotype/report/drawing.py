"""How a plot becomes a part of a page: inline SVG whose axes always say where they are.

Colors are names of CSS variables and text stays text, so that one drawing serves light, dark and paper. The same numbers
give the same bytes.
"""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from calotype.errors import printable
from calotype.metrics.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# drawn in colors that nothing else uses, each then replaced by the variable it stands for
INK, MUTED, LINE, REAL, MADE, OTHER, ALERT, BAND = (f"#0{i}0{i + 1}0{i + 2}" for i in range(8))
_VARIABLES = dict(
    zip(
        (INK, MUTED, LINE, REAL, MADE, OTHER, ALERT, BAND),
        ("ink", "muted", "line", "real", "made", "other", "alert", "band"),
        strict=True,
    )
)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called "$1 bills$"
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "legend.frameon": False,
    "legend.fontsize": 11.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
BETTER = {"lower": "lower is better", "higher": "higher is better", "match": "closest to real images is best"}
"""What the kind of a score means."""

WIDTH = 430  # of a plot, in the units that its text is measured in


@contextmanager
def _drawing(width: float, height: float, salt: str) -> Iterator[Figure]:
    """A figure of that many CSS pixels. Settings of the user's own matplotlib are left out and left alone."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its own caches, whoever prints a report
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about scripts that the font used for measuring lacks: the browser has them
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": salt})
        yield Figure(figsize=(width / 72, height / 72), layout="constrained")


def draw(label: str, width: float, height: float, fill: Callable[[Figure], object]) -> str:
    """The SVG of what ``fill`` draws, ``width`` x ``height`` CSS pixels; ``label`` tells it to those who cannot see it.

    Every axis of numbers gets two ticks or more, whatever ``fill`` asked for.
    """
    from matplotlib.text import Text

    with _drawing(width, height, printable(label)) as figure:
        fill(figure)
        scaled(figure)
        for words in figure.findobj(Text):
            words.set_text(printable(words.get_text()))
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(stream.getvalue(), label, width, height)


def scaled(figure: Figure) -> None:
    """Give all axes of numbers two ticks or more, with numbers that differ beside them."""
    from matplotlib.ticker import FixedLocator, Formatter, LogLocator

    class Plain(Formatter):
        def __call__(self, value: float, pos: int | None = None) -> str:
            return number(value)

        def format_ticks(self, values: Sequence[float]) -> list[str]:
            return told_apart(values)

    def inside() -> int:
        low, high = sorted(axis.get_view_interval())
        return sum(low <= tick <= high for tick in axis.get_majorticklocs())

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if isinstance(axis.get_major_locator(), FixedLocator):  # names, or numbers that were chosen
            continue
        axis.set_major_formatter(Plain())
        logs = axis.get_scale() == "log"
        if logs and inside() < 2:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        if inside() < 2:
            low, high = sorted(axis.get_view_interval())
            axis.set_major_locator(FixedLocator((np.geomspace(low, high, 5) if logs else np.linspace(low, high, 5))[1:-1].tolist()))


def told_apart(values: Sequence[float]) -> list[str]:
    """Numbers with as few digits as tell them apart, true to a hundredth of what is between them.

    >>> told_apart([0.0, 0.5, 1.0]), told_apart([1234.561, 1234.562]), told_apart([1e-9, 1e12])
    (['0', '0.5', '1'], ['1,234.561', '1,234.562'], ['1e-09', '1e+12'])
    """
    steps = np.abs(np.diff(np.unique(np.asarray(values, np.float64))))
    near = 0.01 * float(steps.min()) if len(steps) else math.inf
    for digits in range(1, 17):
        if all(abs(float(f"{value:.{digits}g}") - value) <= near for value in values):
            return [_written(float(f"{value:.{digits}g}"), digits) for value in values]
    return [repr(float(value)) for value in values]


def _written(value: float, digits: int) -> str:
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    said = f"{value:,.{places}f}"
    return said.rstrip("0").rstrip(".") if "." in said else said


def _inline(svg: str, label: str, width: float, height: float) -> str:
    body = svg[svg.index("<svg") :]
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<!--.*?-->|<style[^>]*>.*?</style>", "", body, flags=re.S)
    body = in_tags(_of_page, body)
    body = re.sub(r"\n\s*", " ", body)
    head = f'<svg class="plot" role="img" aria-label="{text(label)}" viewBox="0 0 {width:g} {height:g}" width="{1.12 * width:.0f}"'
    return f'{head} xmlns:xlink="http://www.w3.org/1999/xlink">{body}'.strip()


def _of_page(tag: str) -> str:
    """One tag with the colors and the font of the page. Names like "axes_1" would occur in every drawing of the page."""
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag)
    tag = re.sub(r"'DejaVu Sans'[^;\"]*?sans-serif", "var(--sans)", tag)
    return re.sub(r"#0\d0\d0\d", lambda found: f"var(--{_VARIABLES.get(found[0], 'ink')})", tag)


def in_tags(change: Callable[[str], str], drawing: str) -> str:
    """A drawing with every tag changed, and what stands between them as it is: names from outside may look like anything."""
    return re.sub(r"<[^>]*>", lambda found: change(found[0]), drawing)


def text(value: object) -> str:
    """Anything as text of the page, free of markup and of characters that are none."""
    return escape(printable(str(value)))


def logarithmic(scale: Callable[[str], None], axis: Axis) -> None:
    """A logarithmic axis with plain numbers: the exponents that matplotlib writes are mathematics, which is turned off."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    scale("log")
    axis.set_major_locator(LogLocator(numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, place: number(value)))
    axis.set_minor_formatter(NullFormatter())


def calm(axes: Axes) -> None:
    """Axes without ticks and without a line on the left."""
    axes.tick_params(which="both", length=0)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def short(text: str, most: int) -> str:
    """``text`` cut to ``most`` printable characters.

    >>> short("a rather long name", 8)
    'a rather…'
    """
    clean = printable(text)
    return clean if len(clean) <= most else clean[:most].rstrip() + "…"
