"""``calotype translate``."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Literal

from calotype.cli.parse import parse
from calotype.cli.restore import Common, Extras, work
from calotype.errors import UserError
from calotype.tasks.restore import Applied, restores


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

    def check(applied: Applied) -> Extras:
        knows = "direction" in inspect.signature(applied.generator.model.sample).parameters
        if options.direction == "b2a" and not knows:
            raise UserError(f"a {applied.generator.recipe} model translates one way only: leave out --direction, or train cyclegan")
        if options.degrade and options.direction == "b2a":
            raise UserError("--degrade makes pictures of the kind that is translated from: leave out --direction b2a")
        if restores(applied.source) and not applied.source.how.startswith("unpaired"):
            command = "upscale" if applied.source.scale > 1 else "restore"
            raise UserError(f"{options.model} mends pictures and does not translate them: give it to calotype {command}")
        direction: dict[str, float | str] = {"direction": options.direction} if options.direction and knows else {}
        return Extras("translating", direction, options.degrade, options.score)

    return work(options, check)
