"""Images that somebody names, and whether they are generated: what the command line and Python share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from calotype.data.decode import UnusableError, decode
from calotype.data.reading import reading
from calotype.data.samples import read
from calotype.detect.compression import LOSSLESS, Compression, compression_of
from calotype.detect.detector import Detector, load
from calotype.detect.evidence import Evidence, Witness
from calotype.detect.judging import answers, probability, unlikeness
from calotype.detect.results import DetectorFacts, Verdict3
from calotype.engine.display import Display, Terminal
from calotype.errors import DamagedError, UserError, printable
from calotype.pictures import to_picture
from calotype.provenance.embed import origin_of
from calotype.tasks.batch import reason_of
from calotype.tasks.inputs import Inputs, open_inputs
from calotype.tasks.sample import Generator

_AT_ONCE = 32  # images in memory
NO_MARKER, ALTERED = "", "it carries a marker of Calotype that was altered"


@dataclass(frozen=True)
class Judgement:
    """What became of one image."""

    file: str
    answer: Verdict3 | None = None  # None where nothing is known of it
    probability: float | None = None  # that it is generated, where as many images are generated as real; None where it is unlike all sets
    unlike: float | None = None  # its distance from the images of training, relative to the limit: above 1 it is unlike all sets
    reason: str = ""  # why the detector cannot tell; empty where it can
    marker: str = ""  # what the file itself says: that Calotype made it, how
    evidence: tuple[Evidence, ...] = ()  # what a model says, where one was given
    error: str = ""  # why nothing is known of it


@dataclass(frozen=True)
class _Asked:
    """An image that can be read."""

    place: int
    name: str
    image: Image.Image
    own: Compression
    marker: str


def score(
    detector: Detector | str | Path,
    *sources: str | Path,
    model: Generator | str | Path | None = None,
    real: str | None = None,
    count: int | None = None,
    device: str = "auto",
    display: Display | None = None,
) -> list[Judgement]:
    """Whether images are generated, as far as a detector can tell: REAL, GENERATED or CANNOT TELL, with a probability.

    A file that carries Calotype's marker says itself what made it; this is told in ``Judgement.marker``, whatever the detector finds.

    Args:
        detector: What `train` returns, or its folder.
        sources: Images, folders with everything in them, zip archives, or data sets (of those, held-out images).
        model: What `calotype.load` returns, or the folder of a run, that may have made them: its likelihoods and its encoder are asked.
        real: Real images that the model is asked of for comparison, none of which it was trained on; without, its own samples alone.
        count: Only the first so many images of each source.
        device: Where the model computes, where it is named by its folder.
        display: Told how far it has come; a bar or lines on stderr where none is given.

    Raises:
        UserError: for what is no detector, for no images, where the only file that was named cannot be used, and for a model that can
            say nothing of images.
    """
    if not sources:
        raise UserError("IN is missing: name a picture, a folder, a zip archive or a data set")
    if real is not None and model is None:
        raise UserError("`real` is what a model is asked of for comparison: name the `model`")
    trained = detector if isinstance(detector, Detector) else load(detector)
    with closing(display or Terminal()) as shown:
        witness = None if model is None else Witness.of(model, real, device, shown)
        return [one for source in sources for one in _of(trained, str(source), count, witness, shown, alone=len(sources) == 1)]


def facts(found: Sequence[Judgement]) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [
        {"file": one.file, "error": one.error}
        if one.error
        else {
            "file": one.file,
            "answer": one.answer,
            "probability": one.probability,
            "unlike": one.unlike,
            "reason": one.reason,
            "marker": one.marker,
            "evidence": [each.as_json() for each in one.evidence],
        }
        for one in found
    ]


def table(found: Sequence[Judgement]) -> Iterator[list[str]]:
    """Rows of a table: the head, then one for each image."""
    yield ["file", "answer", "probability", "unlike", "reason", "marker", "evidence", "error"]
    for one in found:
        numbers = ["" if value is None else f"{value:.6f}" for value in (one.probability, one.unlike)]
        yield [one.file, one.answer or "", *numbers, one.reason, one.marker, "; ".join(map(str, one.evidence)), one.error]


def _of(trained: Detector, source: str, count: int | None, witness: Witness | None, display: Display, *, alone: bool) -> list[Judgement]:
    with open_inputs(source, None, count) as inputs:
        found = [Judgement(skipped.name, error=skipped.reason) for skipped in inputs.skipped]
        names, total = inputs.names, len(inputs.names)
        for first in range(0, total, _AT_ONCE):
            found += _batch(trained, inputs, names[first : first + _AT_ONCE], witness, alone=alone)
            display.show("judging", min(first + _AT_ONCE, total), total)
    return found


def _batch(trained: Detector, inputs: Inputs, names: Sequence[str], witness: Witness | None, *, alone: bool) -> list[Judgement]:
    """Some images, in their order; what cannot be read is told in its place."""
    readable: list[_Asked] = []
    found: dict[int, Judgement] = {}
    for place, name in enumerate(names):
        try:
            readable.append(_read(inputs, name, place))
        except Exception as error:  # a damaged file, a full memory: the others can still be done
            if inputs.single and alone and isinstance(error, (UnusableError, UserError)):
                raise UserError(f"{name} cannot be used: {reason_of(error)}") from None
            found[place] = Judgement(printable(name), error=reason_of(error))
    if readable:
        told = _judged(trained, readable)
        if witness is not None:
            said = witness.of_images([one.image for one in readable])
            told = [replace(one, evidence=each) for one, each in zip(told, said, strict=True)]
        found |= {one.place: judgement for one, judgement in zip(readable, told, strict=True)}
    return [found[place] for place in sorted(found)]


def _read(inputs: Inputs, name: str, place: int) -> _Asked:
    data = inputs.data(name)
    if data is None:
        return _Asked(place, printable(name), to_picture(inputs.picture(name).pixels), LOSSLESS, NO_MARKER)
    return _Asked(place, printable(name), decode(data, name), compression_of(data, name), _marker(data, name))


def _marker(data: bytes, name: str) -> str:
    """What the file says of its making."""
    try:
        with reading():
            origin = origin_of(read(data, name).image)
    except DamagedError:
        return ALTERED
    except UnusableError:
        return NO_MARKER
    if origin is None:
        return NO_MARKER
    marker = origin.marker
    by = f" of a model {marker.recipe}, weights {marker.weights[:12]}" if marker.recipe and marker.weights else ""
    return f"it says that Calotype made it: {marker.making}{by}"


def _judged(trained: Detector, asked: Sequence[_Asked]) -> list[Judgement]:
    known = trained.facts
    fits = [one for one in asked if not _too_small(known, one)]
    numbers = trained.numbers([(one.image, one.own) for one in fits]) if fits else None
    said: dict[int, Judgement] = {}
    if numbers is not None:
        p, unlike = probability(known.limits, numbers.logits), unlikeness(known.limits, numbers.distances)
        for one, belief, far, answer in zip(fits, p.tolist(), unlike.tolist(), answers(known.limits, numbers), strict=True):
            reason = _reason(known, one, far, answer)
            said[one.place] = Judgement(one.name, "CANNOT TELL" if reason else answer, None if far > 1 else belief, far, reason, one.marker)
    for one in asked:
        if one.place not in said:
            said[one.place] = Judgement(one.name, "CANNOT TELL", reason=_too_small(known, one), marker=one.marker)
    return [said[one.place] for one in asked]


def _too_small(known: DetectorFacts, one: _Asked) -> str:
    """Why an image is too small to be looked at; empty where it is not."""
    side, least = min(one.image.size), known.tested.sides[0]
    return f"it is {side} pixels, smaller than the {least} to {known.tested.sides[1]} that were tested" if side < least else ""


def _reason(known: DetectorFacts, one: _Asked, far: float, answer: Verdict3) -> str:
    """Why nothing can be said of an image; empty where something can."""
    tested, side = known.tested, min(one.image.size)
    if not known.useful:
        return "the detector tells its generated images from real ones no better than chance"
    if one.image.mode == "L" and known.equalizer.channels == 3:
        return "it is gray, and the detector learned from color images"
    if side > tested.sides[1]:
        return f"it is {side} pixels, larger than the {tested.sides[0]} to {tested.sides[1]} that were tested"
    if one.own.format and one.own.format not in tested.formats:
        return f"it comes from a {one.own.format} file, of which none were tested"
    quality = one.own.quality
    if quality is not None and tested.quality is not None and not tested.covers_quality(quality):
        return f"its JPEG quality of about {quality:.0f} is lower than the {tested.quality:.0f} that were tested"
    if far > 1:
        return "it is unlike all images that the detector learned from"
    return "it lies between what is certainly real and what is certainly generated" if answer == "CANNOT TELL" else ""


__all__ = ["Judgement", "facts", "score", "table"]
