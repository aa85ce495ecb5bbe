"""The card of an exported model: what it is, how it is used, and what to beware of, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import calotype
from calotype.config import Config
from calotype.data import embedded, toy
from calotype.data.download import PUBLIC
from calotype.data.fit import KEPT
from calotype.data.load import short_name
from calotype.data.prepared import SUFFIX
from calotype.errors import printable
from calotype.spelling import as_options
from calotype.types import ImageSpec, Model, Source

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]()<>#!|&~:@$^"})
_NAME = 100  # characters of a name that a card shows
LICENSE, UNLICENSED = "- license: ", "none stated, ask who trained it"
JUDGED = "## How it was judged"


def markdown(text: str) -> str:
    """Text from outside (a class, the name of a file) as Markdown that shows it and does nothing else, in one line.

    No character begins an element of CommonMark, a tag, an entity, a formula or a link that is made of a bare address. Not for code
    spans, in which a backtick cannot be escaped.

    >>> print(markdown("a](http://b) <i> `c`"))
    a\\]\\(http\\://b\\) \\<i\\> \\`c\\`
    """
    said = printable(text)
    return (said if len(said) <= _NAME else said[: _NAME - 3] + "...").translate(_SPECIAL).replace("www.", "www\\.")


def command_for(model: Model | type[Model], source: Source) -> str:
    """The command that puts a model to work which makes images from images."""
    if model.translates:
        return "translate"
    return "upscale" if source.scale > 1 else "restore"


def model_card(config: Config, spec: ImageSpec, model: Model, step: int, fingerprint: str = "") -> str:
    """A short description of a trained model for people; ``fingerprint`` is the SHA-256 of its training images."""
    parameters = sum(p.numel() for p in model.parameters())
    data = markdown(short_name(Path(config.data.source)))  # its name alone: the card goes where the path means nothing
    names = ", ".join(map(markdown, spec.classes[:12])) + ", ..." * (len(spec.classes) > 12)
    kinds = f"{len(spec.classes):,} classes ({names})" if spec.classes else "no labels"
    what, use, warning = (
        "generator",
        "sample . --count 64 --seed 0 --out grid.png",
        "Generated images repeat the biases of the training data",
    )
    warning += " and may resemble single training images."
    if spec.points is not None:
        what, use = "generator of points", "sample . --count 2500 --seed 0 --out points.png --npy points.npy"
        warning = f"Its points are to lie around the {spec.points.count} modes of {markdown(spec.points.name)}, and may miss some."
    if not model.draws:
        what, use = "classifier", "classify . picture.jpg"
        warning = (
            "It knows the kinds of images that it was trained on, and will name one of its classes for any other image too; calotype "
            "classify warns of many that are unlike its own."
        )
    of = "in the plane" if spec.points else f"of {spec.size}x{spec.size} {'color' if spec.channels == 3 else 'gray'} images"
    what, more = f"{what} {of}", ""
    if model.starts_from is not None:
        what, use, warning, how = _of_source(model, spec, model.starts_from)
        more = f"- from: {how}\n"
    return (
        f"# {markdown(config.recipe)} on {data}\n\n"
        f"A {what}, trained by Calotype {calotype.__version__}.\n\n"
        f"- model: {config.model.kind}, {parameters:,} parameters, {step:,} steps of {config.train.batch} images\n"
        f"- training data: {data}, {kinds}\n{_pixels(fingerprint)}{_squared(config)}{more}{_before(config)}"
        f"- seed of the training: {config.train.seed}\n"
        f"{LICENSE}{UNLICENSED}\n"
        f"- files: `model.safetensors` (weights), `config.json` (what they mean); nothing in here is executable\n\n"
        f"```\ncalotype {use}\n```\n\n"
        f"{warning}\n"
    )


def _pixels(fingerprint: str) -> str:
    """Which images they were, to the pixel."""
    return f"- SHA-256 of their pixels: {markdown(fingerprint)}\n" if fingerprint else ""


def licensed(card: str, license: str | None) -> str:
    """A card that says under which license the model is; as it is where none is given."""
    if license is None:
        return card
    said, lines = f"{LICENSE}{markdown(license)}", card.split("\n")
    place = next((k for k, line in enumerate(lines) if line.startswith((LICENSE, "- files:"))), len(lines))
    return "\n".join([*lines[:place], said, *lines[place + (LICENSE in "".join(lines[place : place + 1])) :]])


def judged_card(card: str, report: Mapping[str, Any]) -> str:
    """A card with what an evaluation found, in the place of what an earlier one did.

    ``report`` is what ``report.json`` holds: its scores with their intervals and numbers of images, its verdicts, and what it says of its
    own limits. What does not look like one is left out.
    """
    head = card.partition(JUDGED)[0].rstrip("\n") + "\n"
    scores, verdicts = _rows(report, "scores"), _rows(report, "verdicts")
    if not scores and not verdicts:
        return head
    lines = [JUDGED, "", f"By `calotype evaluate`, seed {markdown(str(report.get('seed')))}: {markdown(str(report.get('status')))}.", ""]
    if scores:
        lines += ["| score | value | 95% interval | real images get | n |", "|---|---|---|---|---|", *map(_score, scores), ""]
        lines += [f"Scores are of {_features(scores)}, and compare with scores of the same alone.", ""]
    for verdict in verdicts:
        says = _sentences(verdict.get("says"))
        lines.append(f"- on {markdown(str(verdict.get('name')))}: {markdown(str(verdict.get('status')))}. {says}")
    notes = report.get("notes")
    limits = [_sentences(note) for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
    return head + "\n" + "\n".join([*lines, *([""] if verdicts else []), *(f"Limit: {note}\n" for note in limits)]).rstrip("\n") + "\n"


def _rows(report: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = report.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _score(row: Mapping[str, Any]) -> str:
    interval = row.get("interval")
    between = " to ".join(map(_number, interval)) if isinstance(interval, list) else "none"
    cells = (markdown(str(row.get("name"))), _number(row.get("value")), between, _number(row.get("baseline")), _number(row.get("n")))
    return f"| {' | '.join(cells)} |"


def _features(scores: Sequence[Mapping[str, Any]]) -> str:
    names = dict.fromkeys(markdown(str(row["features"])) for row in scores if row.get("features"))
    return ", ".join(names) or "the images themselves"


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _sentences(text: object) -> str:
    """Some sentences, word by word, because `markdown` cuts what is longer than a name."""
    return " ".join(map(markdown, as_options(str(text))[:2_000].split()))


def _squared(config: Config) -> str:
    """What became of images that were not square; nothing of sources that hold only squares, prepared files among them."""
    source, fit = config.data.source, config.data.fit
    if source in (*embedded.NAMES, *PUBLIC, *toy.NAMES) or source.endswith(SUFFIX):
        return ""
    return f"- images that were not square: {KEPT[fit]} (--data.fit {fit})\n"


def _before(config: Config) -> str:
    """What the weights had learned before: nothing where they were random."""
    return "" if config.train.start is None else f"- started from the weights of: {markdown(Path(config.train.start).absolute().name)}\n"


def _of_source(model: Model, spec: ImageSpec, source: Source) -> tuple[str, str, str, str]:
    """What a model that makes images from images is, how it is used, a warning, and what it was trained on."""
    command, kind = command_for(model, source), "color" if spec.channels == 3 else "gray"
    from_kind = "color" if source.channels == 3 else "gray"
    use = f"{command} . in.png out.png"
    if command == "translate":
        what = f"translator of {from_kind} images into {kind} ones of any size"
        return what, use, "A translation is made up: it shows what is usual in the training images, not what was there.", f"`{source}`"
    what = f"model that makes {kind} images {source.scale} times larger" if source.scale > 1 else f"restorer of {kind} images"
    warning = (
        f"It restores what it was trained on, `{source}`, and no other damage; detail that is lost it guesses from the training images."
    )
    return (
        f"{what}, of any size",
        use,
        warning,
        f"`{source}`" + (f", told: {', '.join(source.conditioning)}" if source.conditioning else ""),
    )
