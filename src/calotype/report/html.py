"""Pieces of a self-contained page: escaping, pictures inside the page, and the document around it all."""

from __future__ import annotations

import base64
import io
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from PIL import Image

from calotype.diagnose.verdict import Status
from calotype.evaluation.result import Pixels
from calotype.pictures import SAMPLE, to_picture
from calotype.provenance.embed import save_options
from calotype.provenance.marker import Marker
from calotype.report.drawing import in_tags, text
from calotype.report.glossary import GLOSSARY, QUESTIONS, anchor, term_of, terms_in
from calotype.report.text import SYMBOLS
from calotype.spelling import pieces

SHEET_BYTES = 400_000  # of one picture, at most
SHEETS_BYTES = 1_400_000  # of all that are shown side by side: with the plots the page stays under 3 MB
SHEET_WIDTH = 480  # CSS pixels
_GAP = 2


def tag(name: str, inside: str, **attributes: str) -> str:
    """An element; ``inside`` is markup already, attributes are escaped. ``kind`` stands for the class."""
    words = "".join(f' {"class" if key == "kind" else key}="{text(value)}"' for key, value in attributes.items())
    return f"<{name}{words}>{inside}</{name}>"


def prose(words: str) -> str:
    """Words of the toolkit as markup: what stands between backticks can be copied as a whole, and terms lead to what they mean."""
    parts = ""
    for code, part in pieces(words):
        # browsers would break a line after the two hyphens
        parts += tag("code", re.sub(r"--[\w.-]+", r'<span class="nowrap">\g<0></span>', text(part))) if code else linked(part)
    return parts


def linked(words: str) -> str:
    """A sentence as markup whose terms lead to what they mean, each where it occurs first."""
    return "".join(text(part) if term is None else _link(term, part) for term, part in terms_in(words))


def term(word: str) -> str:
    """A word by itself, such as the name of a score, that leads to what it means; plain text where it is no term."""
    found = term_of(word)
    return text(word) if found is None else _link(found, word)


def asked(name: str) -> str:
    """The question of a verdict, and its name."""
    return f"{text(QUESTIONS[name])} <span class='quiet'>{term(name)}</span>"


def _link(term: str, word: str) -> str:
    return f'<a class="term" href="#{anchor(term)}">{text(word)}</a>'


def explained(body: str) -> str:
    """What all terms mean that ``body`` leads to: the last part of every page."""
    used = set(re.findall(r'href="#(word-[a-z0-9-]+)"', body))
    groups = ""
    for title, terms in GLOSSARY.items():
        told = {name: said for name, said in terms.items() if anchor(name) in used}
        rows = "".join(f'<div id="{anchor(name)}"><dt>{text(name)}</dt><dd>{text(said)}</dd></div>' for name, said in told.items())
        groups += f"<h3>{title}</h3><dl>{rows}</dl>" if rows else ""
    return groups


def section(name: str, title: str, inside: str) -> str:
    """A part of the page under its heading."""
    return f'<section id="{name}"><h2>{text(title)}</h2>{inside}</section>'


def status_mark(status: Status) -> str:
    """A status as a word, a symbol and a color."""
    return f'<span class="status {tone(status)}"><b aria-hidden="true">{SYMBOLS[status]}</b>{status}</span>'


def tone(status: Status) -> str:
    """The class that gives a status its color."""
    return "is-" + status.lower().replace(" ", "-")


def table(head: Iterable[str], rows: Iterable[Iterable[str]], caption: str = "", kind: str = "", marked: int = -1) -> str:
    """A table of cells that are markup already; the first cell of each row is its header. ``marked`` is the row to stand out."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = ""
    for index, row in enumerate(rows):
        first, *rest = row
        look = ' class="this"' if index == marked else ""
        body += f'<tr{look}><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
    said = tag("caption", caption) if caption else ""
    inner = f"<table>{said}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll {kind}" tabindex="0" role="group">{inner}</div>'


def figure(drawing: str, caption: str) -> str:
    """A drawing with a sentence above it."""
    return f"<figure><figcaption>{linked(caption)}</figcaption>{drawing}</figure>"


def side_by_side(drawings: Sequence[str]) -> str:
    """Drawings in one row where there is room."""
    if len(drawings) == 1:  # in its own size: alone it would be drawn over the whole page
        return f"<figure>{drawings[0]}</figure>"
    return '<div class="pair">' + "".join(f"<figure>{drawing}</figure>" for drawing in drawings) + "</div>"


def facts(rows: Mapping[str, str]) -> str:
    """A list of names and values, both plain text."""
    return "<dl>" + "".join(f"<div><dt>{term(k)}</dt><dd>{text(v)}</dd></div>" for k, v in rows.items()) + "</dl>"


@dataclass(frozen=True)
class Sheet:
    """A picture made of images side by side."""

    uri: str  # holds the whole PNG
    width: int  # pixels
    shown: int  # images that fit
    step: int  # how far the sheet had to be cut down


# shares of the images and largest sides, in the order in which they are tried until the sheet is small enough
_STEPS = ((1.0, 128), (0.5, 128), (0.5, 96), (0.25, 96), (0.25, 64), (0.0, 64), (0.0, 32))


def sheet(images: Pixels, columns: int, step: int = 0, most: int = SHEET_BYTES, side: int = 0, marker: Marker | None = None) -> Sheet:
    """(N, H, W, C) uint8 side by side. Where ``most`` bytes are too few, the last images are left out and all made smaller.

    ``step`` is the first way to do so that is tried, such as that of another sheet, which this one shall look like; ``side`` are
    pixels that an image may have in any case, and ``marker`` is what the picture says of its making.
    """
    for at in range(step, len(_STEPS)):
        share, largest = _STEPS[at]
        count = min(len(images), max(columns, int(len(images) * share) // columns * columns)) if share < 1 else len(images)
        data, width = _png(shrunk(images[:count], max(side, largest)), columns, marker)
        if len(data) <= most:
            break
    return Sheet("data:image/png;base64," + base64.b64encode(data).decode(), width, count, at)


def shrunk(images: Pixels, most: int) -> Pixels:
    """Images whose longer side is ``most`` pixels at the most."""
    _, height, width, channels = images.shape
    factor = most / max(height, width)
    if factor >= 1:
        return images
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = [np.asarray(to_picture(image).resize(size, Image.Resampling.BOX)) for image in images]
    return np.stack(small).reshape(len(images), size[1], size[0], channels)


def _png(images: Pixels, columns: int, marker: Marker | None) -> tuple[bytes, int]:
    """A sheet whose gaps are transparent, so that it lies on light and dark alike."""
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    canvas = np.zeros((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels + 1), np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + _GAP), index % columns * (width + _GAP)
        canvas[top : top + height, left : left + width, :-1] = image
        canvas[top : top + height, left : left + width, -1] = 255
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, "PNG", optimize=True, **save_options("PNG", marker))
    return stream.getvalue(), canvas.shape[1]


def picture(made: Sheet, alt: str, width: int = SHEET_WIDTH) -> str:
    """An element with a sheet, enlarged by a whole factor to about ``width`` CSS pixels."""
    factor = max(1, (width + 40) // made.width)
    return f'<img alt="{text(alt)}" src="{made.uri}" width="{made.width * factor}">'


def alike(several: Sequence[Pixels], columns: int, drawn: Sequence[bool]) -> list[Sheet]:
    """One sheet for each set of images, all cut down in the same way; those ``drawn`` by a model say so."""
    most, markers = min(SHEET_BYTES, SHEETS_BYTES // max(1, len(several))), [SAMPLE if by_model else None for by_model in drawn]
    made = [sheet(images, columns, most=most, marker=marker) for images, marker in zip(several, markers, strict=True)]
    step = max((one.step for one in made), default=0)
    every = zip(made, several, markers, strict=True)
    return [one if one.step == step else sheet(images, columns, step, most, marker=marker) for one, images, marker in every]


def document(title: str, body: str) -> str:
    """The whole page. Its policy forbids it to load anything: all that it shows is inside."""
    style = (files("calotype.report") / "report.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{_distinct(body)}\n</body>\n</html>\n"
    )


def _distinct(body: str) -> str:
    """The page with the names inside each drawing made different from those inside every other."""
    numbers = itertools.count(1)

    def one(drawing: re.Match[str]) -> str:
        mark = f"d{next(numbers)}-"
        return in_tags(lambda tag: re.sub(r'(\bid="|url\(#|href="#)', lambda found: found[0] + mark, tag), drawing[0])

    return re.sub(r'<svg class="plot".*?</svg>', one, body, flags=re.S)
