"""The page of an explanation: one self-contained HTML file."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING

from calotype.data.images import some
from calotype.explanation.section import Exhibit, Explanation, LinePlot, Section, Strip
from calotype.metrics.wording import number
from calotype.pictures import SAMPLE
from calotype.report.drawing import ALERT, MADE, MUTED, OTHER, REAL, WIDTH, calm, draw, text
from calotype.report.html import document, explained, facts, figure, linked, picture, prose, section, sheet, table, tag
from calotype.report.text import sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 72  # CSS pixels of an image in a row, about
_COLORS = (MADE, REAL, OTHER, ALERT, MUTED)


def explanation_html(explanation: Explanation) -> str:
    """The whole page: no scripts, nothing loaded from anywhere."""
    notes = "".join(tag("p", prose(sentence(note))) for note in explanation.notes)
    header = (
        f'<p class="eyebrow">Calotype explanation</p><h1>{text(explanation.subject)}</h1>'
        + tag("p", "Why this model makes what it makes.", kind="lead")
        + tag("div", facts(explanation.about), kind="facts")
        + (f'<div class="notes">{notes}</div>' if notes else "")
    )
    made = [(one.name, one.title, _inside(one)) for one in explanation.sections]
    words = explained(header + "".join(inside for _, _, inside in made))
    parts = [*made, *([("words", "Words on this page", words)] if words else [])]
    links = "".join(f'<a href="#{name}">{text(title)}</a>' for name, title, _ in parts)
    nav = f'<nav aria-label="Parts of this page">{links}</nav>'
    body = "".join(section(*part) for part in parts)
    return document(f"{explanation.subject}: explanation", f"<header>{header}{nav}</header><main>{body}</main>")


def _inside(one: Section) -> str:
    parts, found = list(one.exhibits()), ""
    while parts:
        first = parts.pop(0)
        if isinstance(first, Strip) and parts and isinstance(parts[0], LinePlot):
            found += f'<div class="pair">{_exhibit(first)}{_exhibit(parts.pop(0))}</div>'
        else:
            found += _exhibit(first)
    return tag("p", linked(one.says)) + found


def _exhibit(one: Exhibit) -> str:
    if isinstance(one, Strip):
        return _strip(one)
    if isinstance(one, LinePlot):
        return figure(_curves(one), one.caption)
    return table(map(text, one.head), [map(_cell, row) for row in one.rows], linked(one.caption))


def _cell(words: str) -> str:
    first, *rest = words.split("\n")
    return text(first) + "".join(f"<br><span class='quiet nowrap'>{text(line)}</span>" for line in rest)


def _strip(one: Strip) -> str:
    """Images row by row, under what the columns are called and beside what the rows are called."""
    marker = SAMPLE if one.drawn else None
    heads = "".join(f"<span>{text(head)}</span>" for head in one.heads)
    cells = f'<span></span><div class="heads" aria-hidden="true">{heads}</div>' if heads else ""
    rows = math.ceil(len(one.images) / one.columns)
    for row in range(rows):
        name = one.rows[row] if row < len(one.rows) else ""
        images = one.images[row * one.columns : (row + 1) * one.columns]
        said = f"{name or f'row {row + 1}'}: {', '.join(one.heads) or some(len(images), 'image')}"
        made = sheet(images, one.columns, marker=marker)
        cells += f"<span>{text(name)}</span>{picture(made, said, width=_SIDE * one.columns)}"
    return f'<figure><figcaption>{linked(one.caption)}</figcaption><div class="strip">{cells}</div></figure>'


def _curves(one: LinePlot) -> str:
    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        for (name, (x, y)), color in zip(one.lines.items(), cycle(_COLORS), strict=False):
            if name in one.spans:
                axes.fill_between(x, *one.spans[name], color=color, alpha=0.18, linewidth=0)
            axes.plot(x, y, color=color, marker="o", markersize=4, label=name)
        axes.set_xlabel(one.across)
        axes.set_ylabel(one.up)
        axes.grid()
        calm(axes)
        if len(one.lines) > 1:
            figure.legend(loc="outside upper left", ncols=2, handletextpad=0.5, columnspacing=1.6)

    said = "; ".join(f"{name}: {', '.join(map(number, y))}" for name, (_, y) in one.lines.items())
    return draw(f"{one.caption} {said}", WIDTH, 280, fill)
