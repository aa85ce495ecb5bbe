"""The page of an explanation: one self-contained HTML file."""

from __future__ import annotations

from calotype.explanation.section import Curves, Exhibit, Explanation, Section, Strip
from calotype.pictures import SAMPLE
from calotype.report.drawing import WIDTH, calm, draw, text
from calotype.report.html import document, explained, facts, linked, prose, section, sheet, table, tag
from calotype.report.text import sentence


def explanation_html(explanation: Explanation) -> str:
    """The whole page: no scripts, nothing loaded from anywhere."""
    notes = "".join(tag("p", prose(sentence(note))) for note in explanation.notes)
    header = (
        f'<p class="eyebrow">Calotype explanation</p><h1>{text(explanation.subject)}</h1>'
        + tag("p", "Why this model makes what it makes.", kind="lead")
        + facts(explanation.about)
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
    return tag("p", linked(one.says)) + "".join(map(_exhibit, one.exhibits()))


def _exhibit(one: Exhibit) -> str:
    if isinstance(one, Strip):
        return _strip(one)
    if isinstance(one, Curves):
        return f"<figure><figcaption>{linked(one.caption)}</figcaption>{_curves(one)}</figure>"
    return table(map(text, one.head), [map(text, row) for row in one.rows], linked(one.caption))


def _strip(one: Strip) -> str:
    made = sheet(one.images, one.columns, marker=SAMPLE if one.drawn else None)
    return f'<figure><figcaption>{linked(one.caption)}</figcaption><img alt="{text(one.caption)}" src="{made.uri}" width="480"></figure>'


def _curves(one: Curves) -> str:
    def fill(figure: object) -> None:
        axes = figure.add_subplot()  # type: ignore[attr-defined]
        for name, (x, y) in one.lines.items():
            axes.plot(x, y, label=name)
        axes.set_xlabel(one.across)
        axes.set_ylabel(one.up)
        axes.grid()
        calm(axes)
        axes.legend()

    return draw(one.caption, WIDTH, 300, fill)
