"""``calotype translate``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calotype.cli.parse import parse
from calotype.cli.restore import Common, opened, work
from calotype.config import Data
from calotype.data.partner import AUTO, CLASSES, HALVES, RIGHT
from calotype.errors import UserError
from calotype.evaluation.target import run_of
from calotype.tasks.restore import Applied, Way, source_spec
from calotype.types import Source


@dataclass(frozen=True)
class Options(Common):
    """Translate pictures from one kind into another with a trained model (cyclegan, cut, pix2pix).

    Pictures may have any size. Results have the format that their name says, and in a folder the names of the pictures; 16-bit
    pictures, transparency, EXIF data and color profiles are kept.

    Where the other kind is made of pictures by a name (--degrade edges, gray, invert ...), --score compares the results with the
    pictures that it was made of, and OUT may be left out: calotype restore --help says how.

    Examples:
    calotype translate runs/cyclegan-photos-0001 horse.jpg zebra.jpg
    calotype translate runs/cyclegan-photos-0001 zebras/ horses/ --direction b2a
    """

    direction: Literal["a2b", "b2a"] | None = None  # from the source to the images that were trained on, or back, where the model can
    degrade: str | None = None  # make pictures of the other kind first: edges, gray, invert, season ...
    score: bool = False  # score the results against the pictures before that


def run(words: list[str]) -> int:
    """Translate; prints where the results are."""
    options = parse(Options, words, "calotype translate")

    generator = opened("translate", options)
    back, source = len(generator.model.directions) > 1, source_spec(generator)
    if options.direction == "b2a" and not back:
        raise UserError(f"a {generator.recipe} model translates one way only: leave out --direction, or train cyclegan")
    if options.degrade and options.direction == "b2a":
        raise UserError("--degrade makes pictures of the kind that is translated from: leave out --direction b2a")
    a, b = sides(source, _data_of(options.model))
    if options.direction == "b2a":
        said = f"b2a, from {b} to {a}; a2b is the other way"
    else:
        said = f"a2b, from {a} to {b}; " + ("--direction b2a goes back" if back else "this model knows no way back")
    direction: dict[str, float | str] = {"direction": options.direction} if options.direction and back else {}
    applied = Applied(generator, Way(direction, options.tile, options.seed))
    return work("translate", words, options, applied, options.degrade, options.score, said=(said,))


def sides(source: Source, data: Data | None) -> tuple[str, str]:
    """What a translator translates from and to, as its run tells it; in general words for a model without one.

    >>> sides(Source(3, paired=False), Data("/pictures/horse2zebra", partner="auto"))
    ('horse2zebra/trainA', 'horse2zebra/trainB')
    >>> sides(Source(1, degradation="edges"), Data("photos")), sides(Source(3, paired=False), Data("cifar10", partner="classes:cat,dog"))
    (('edges of photos', 'photos'), ('cat', 'dog'))
    """
    if data is None:
        return "the pictures that were its source", "those that it was trained to make"
    own, made, partner = Path(data.source).name, source.degradation, data.partner or AUTO
    if made:
        return f"{made} of {own}", own
    if partner in (HALVES, RIGHT):
        left, right = f"the left halves of {own}", f"the right halves of {own}"
        return (right, left) if partner == RIGHT else (left, right)
    if partner.startswith(CLASSES):
        first, _, second = partner.removeprefix(CLASSES).partition(",")
        return first, second
    return (f"{own}/trainA", f"{own}/trainB") if partner == AUTO else (Path(partner).name, own)


def _data_of(model: Path) -> Data | None:
    """What a model was trained on, where its run is there and whole."""
    run = run_of(model)
    with suppress(UserError):  # the weights are all that is needed
        return None if run is None else run.read_config()[0].data
    return None
