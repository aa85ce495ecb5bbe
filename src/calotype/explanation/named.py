"""The part of a page on directions that have names: what changes along them was measured of images, or told by their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calotype.data.images import Progress
from calotype.errors import UserError
from calotype.explanation.attributes import Attribute
from calotype.explanation.codes import Codes
from calotype.explanation.section import Exhibit, LinePlot, Strip, Table
from calotype.explanation.separation import Separation, from_labels, held, separate
from calotype.explanation.traversal import BASES, REACH, STEPS, Walk, walk
from calotype.metrics.score import Estimate
from calotype.metrics.wording import number

ROWS = 2  # images of each direction that are shown


@dataclass(frozen=True)
class Labelled:
    """Real images with labels, brought back to codes."""

    codes: Tensor  # (N, d)
    labels: Tensor  # (N,)
    classes: tuple[str, ...]
    origin: str  # "500 held-out images, encoded"


@dataclass(frozen=True)
class NamedDirection:
    """A direction towards more of one attribute, and what it does."""

    name: str
    attribute: Attribute | None  # None where nothing measures it: the class of a model whose images no classifier sees
    separation: Separation
    origin: str  # what it was learned from
    plain: Walk
    held: Walk | None  # along the same direction without what it has of all others; None where there is no other
    held_vector: Tensor | None  # (d,)
    scale: float  # the standard deviation of codes along it


@dataclass(frozen=True)
class NamedDirections:
    """Directions that have names."""

    space: str  # "latents" or "styles"
    directions: Sequence[NamedDirection]
    spread: Mapping[str, float]  # the standard deviation of each attribute among drawn images
    attributes: Sequence[Attribute]
    bases: int  # images that were moved
    missing: tuple[str, ...] = ()  # why other attributes have no direction

    name = "named-directions"
    title = "Directions that have names"
    says = (
        "Which way must the numbers move that an image is made from, for it to get brighter, or to lean more? The numbers of images with "
        "much of it and of those with little were told apart by a plane; its normal is the direction. The plots say whether it works. Rows "
        "where others are held move only in what no other named direction shares."
    )

    def exhibits(self) -> Sequence[Exhibit]:
        """A table of what each direction changes, then a strip and a plot for each."""
        found: list[Exhibit] = [self._table()]
        for one in self.directions:
            found.append(self._strip(one))
            if one.attribute is not None:
                found.append(_curves(one, one.attribute))
        return found

    def _table(self) -> Table:
        names = [one.name for one in self.attributes]
        rows = []
        for one in self.directions:
            for kind, way in (("", one.plain), (", others held", one.held)):
                if way is None:
                    continue
                own = "" if one.attribute is None else spanned(way.correlation(one.name))
                right = f"{100 * one.separation.accuracy:.0f}% of {one.separation.held_out}" if way is one.plain else ""
                rows.append((one.name + kind, right, own, *(spanned(way.change(name, self.spread[name])) for name in names)))
        head = ("Direction", "On the right side of the plane", "Correlation", *(f"{name}, change" for name in names))
        caption = (
            f"What changes from one end of a direction to the other, {REACH:g} standard deviations to either side of {self.bases} images: "
            "in standard deviations of the attribute, with 95% intervals. The correlation is that of position and attribute."
        )
        caption += "".join(f" Left out: {one}." for one in self.missing)
        return Table(caption, head, tuple(rows))

    def _strip(self, one: NamedDirection) -> Strip:
        ways = [("", one.plain), *([] if one.held is None else [("others held", one.held)])]
        images = np.concatenate([way.images for _, way in ways])
        shown = len(one.plain.images) // STEPS
        rows = tuple(f"image {row + 1}{', ' * bool(kind)}{kind}" for kind, _ in ways for row in range(shown))
        return Strip(f"{one.name}, learned from {one.origin}.", images, STEPS, rows, tuple(f"{at:g}" for at in one.plain.positions))

    def data(self) -> dict[str, Any]:
        """Directions and numbers."""
        return {
            "space": self.space,
            "reach": REACH,
            "spread": dict(self.spread),
            "directions": [self._facts(one) for one in self.directions],
            "left_out": list(self.missing),
        }

    def _facts(self, one: NamedDirection) -> dict[str, Any]:
        def told(way: Walk | None) -> dict[str, Any] | None:
            if way is None:
                return None
            own = None if one.attribute is None else way.correlation(one.name)
            return {
                "positions": list(way.positions),
                "means": {name: way.course(name)[0].tolist() for name in way.values},
                "change": {name: estimated(way.change(name, self.spread[name])) for name in way.values},
                "correlation": None if own is None else estimated(own),
            }

        return {
            "name": one.name,
            "origin": one.origin,
            "separation": {"accuracy": one.separation.accuracy, "held_out": one.separation.held_out, "learned_from": one.separation.used},
            "vector": one.separation.vector.tolist(),
            "held_vector": None if one.held_vector is None else one.held_vector.tolist(),
            "plain": told(one.plain),
            "held": told(one.held),
        }


def named_directions(
    codes: Codes,
    drawn: Tensor,
    images: Tensor,
    labels: Tensor | None,
    attributes: Sequence[Attribute],
    *,
    known: Labelled | None = None,
    wanted: Sequence[str] = (),
    bases: int = BASES,
    seed: int = 0,
    progress: Progress | None = None,
) -> NamedDirections | None:
    """Learn a direction for each attribute, and for each class of labelled codes, and measure what each changes.

    Attributes of images of several classes count relative to the mean of their class: a model that is told the class does not have it in
    its latents.

    Args:
        codes: of the generator.
        drawn: (N, d) codes that were drawn.
        images: (N, C, H, W) of these.
        labels: (N,) of these, where the model is told a class.
        attributes: to measure.
        known: real images with labels, or what stands for them.
        wanted: names of directions; all where none is given.
        bases: images that are moved.
        seed: of everything random.

    Raises:
        UserError: where an attribute that is wanted has no direction.
    """
    values = {one.name: _within_class(one.measure(images), labels) for one in attributes}
    spread = {name: float(v.std()) or 1.0 for name, v in values.items()}
    by_name = {one.name: one for one in attributes}
    found, missing = _learned(drawn, values, known, wanted, seed)
    classes = {name for name in found if name.startswith("class-")}
    own = codes.labels(bases) if labels is None or len(set(labels.tolist())) > 1 else labels[:bases]
    at = codes.draw(bases, seed + 1, own)
    made = []
    for name in [name for name in found if not wanted or name in wanted]:
        separation, origin = found[name]
        others = [one.vector for other, (one, _) in found.items() if other != name and not {name, other} <= classes]
        apart = held(separation.vector, others) if others and len(others) < codes.dimension else None
        scale = float((drawn @ separation.vector).std())
        ways = [walk(codes, at, v, own, attributes, scale=scale, rows=ROWS) for v in (separation.vector, apart) if v is not None]
        made.append(NamedDirection(name, by_name.get(name), separation, origin, ways[0], ways[1] if len(ways) > 1 else None, apart, scale))
        if progress is not None:
            progress(len(made), len(wanted or found))
    return NamedDirections(codes.name, made, spread, attributes, bases, tuple(missing)) if made else None


def _learned(
    drawn: Tensor, values: Mapping[str, Tensor], known: Labelled | None, wanted: Sequence[str], seed: int
) -> tuple[dict[str, tuple[Separation, str]], list[str]]:
    """A direction for each attribute and class, with what it was learned from; and what is to be said of those that have none."""
    found: dict[str, tuple[Separation, str]] = {}
    missing: list[str] = []
    of_labels = {} if known is None else {f"class-{name}": k for k, name in enumerate(known.classes)}
    for name in dict.fromkeys([*values, *of_labels]):
        if wanted and name.startswith("class-") and name not in wanted:
            continue
        try:
            if known is not None and name in of_labels:
                found[name] = (from_labels(known.codes, known.labels, of_labels[name], seed), known.origin)
            else:
                found[name] = (separate(drawn, values[name], seed=seed), f"{len(drawn):,} drawn images")
        except UserError as error:
            if name in wanted:
                raise UserError(f"{name}: {error}") from None
            missing.append(f"{name}: {error}")
    return found, missing


def spanned(found: Estimate) -> str:
    """A number with its interval below."""
    low, high = found.interval or (0.0, 0.0)
    value, low, high = (round(x, 2) + 0.0 for x in (found.value, low, high))  # no -0
    return f"{value:+.2f}" + ("" if found.interval is None else f"\n{low:+.2f} to {high:+.2f}")


def estimated(found: Estimate) -> dict[str, Any]:
    """The same as plain data."""
    return {"value": found.value, "interval": None if found.interval is None else list(found.interval)}


def _curves(one: NamedDirection, attribute: Attribute) -> LinePlot:
    lines, spans = {}, {}
    for kind, way in (("as it is", one.plain), ("others held", one.held)):
        if way is not None:
            mean, half = way.course(one.name)
            lines[kind] = (list(way.positions), mean.tolist())
            spans[kind] = ((mean - half).tolist(), (mean + half).tolist())
    own = one.plain.correlation(one.name)
    caption = f"{one.name}, {attribute.says}, along its direction: correlation {number(own.value)}. Shaded: the 95% interval of the mean."
    unit = f"{one.name}, {attribute.unit}" if attribute.unit else one.name
    return LinePlot(caption, "position, standard deviations", unit, lines, spans)


def _within_class(values: Tensor, labels: Tensor | None) -> Tensor:
    """Values (N,) less the mean of those of the same label."""
    if labels is None:
        return values
    sums = torch.zeros(int(labels.max()) + 1, dtype=values.dtype).index_add(0, labels, values)
    return values - (sums / torch.bincount(labels).clamp_min(1))[labels]
