"""The part of a page on directions that nobody named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calotype.capabilities import HasDecoder
from calotype.explanation.attributes import Attribute
from calotype.explanation.codes import Codes
from calotype.explanation.directions import LatentDirection, first_activations, first_weights, pca, sefa
from calotype.explanation.named import estimated, spanned
from calotype.explanation.section import Exhibit, Strip, Table
from calotype.explanation.traversal import BASES, REACH, STEPS, Walk, walk

SAMPLES, SLOW_SAMPLES = 4_000, 200
"""Codes whose activations principal components are taken of; the latter where each image takes many passes of a network."""
SHOWN = 5  # directions of each kind

SAYS = {
    "sefa": "found from the weights of the first layer alone (SeFa), those first along which it changes most",
    "pca": "the principal components of what many latents become (GANSpace), those first that vary most",
}


@dataclass(frozen=True)
class UnsupervisedDirections:
    """What moving along directions that nobody named does."""

    space: str  # "latents" or "styles"
    directions: Sequence[LatentDirection]
    walks: Sequence[Walk]  # one for each; the first row of images is shown
    spread: Mapping[str, float]  # the standard deviation of each attribute among drawn images

    name = "unsupervised-directions"
    title = "Directions that nobody named"
    says = (
        "An image is made from a list of numbers. Each row moves these numbers step by step along one direction that was found without "
        "any labels; what changes in the images is what the model has learned to vary by itself."
    )

    def exhibits(self) -> Sequence[Exhibit]:
        """A strip and a table for each kind of directions."""
        found: list[Exhibit] = []
        for kind, said in SAYS.items():
            rows = [k for k, one in enumerate(self.directions) if one.name.startswith(kind)]
            if not rows:
                continue
            names = tuple(f"{self.directions[k].name}, {100 * self.directions[k].weight:.1f}%" for k in rows)
            at = self.walks[rows[0]].positions
            caption = (
                f"Directions among the {self.space}, {said}, with their share of all. The middle column is the same image in all rows."
            )
            images = np.concatenate([self.walks[k].images for k in rows])
            found.append(Strip(caption, images, len(at), names, tuple(f"{p:g}" for p in at)))
            cells = [
                (self.directions[k].name, *(spanned(self.walks[k].change(name, size)) for name, size in self.spread.items())) for k in rows
            ]
            said = f"What changes from one end to the other, from -{REACH:g} to {REACH:g}, in standard deviations of the attribute."
            found.append(Table(said, ("Direction", *self.spread), tuple(cells)))
        return found

    def data(self) -> dict[str, Any]:
        """The directions themselves, and what changes along them."""
        return {
            "space": self.space,
            "reach": REACH,
            "directions": [
                {
                    "name": one.name,
                    "share": one.weight,
                    "vector": one.vector.tolist(),
                    "change": {name: estimated(way.change(name, size)) for name, size in self.spread.items()},
                }
                for one, way in zip(self.directions, self.walks, strict=True)
            ],
        }


def unsupervised(
    codes: Codes, attributes: Sequence[Attribute], wanted: Sequence[str] = (), seed: int = 0, label: int | None = None
) -> UnsupervisedDirections | None:
    """SeFa where the network can be looked into, and GANSpace, each with what it changes; None where none of them is ``wanted``."""
    if wanted and not any(name.startswith(tuple(SAYS)) for name in wanted):
        return None
    quick = isinstance(codes.generator.model, HasDecoder)
    labels = codes.labels(SAMPLES if quick else SLOW_SAMPLES, label)
    drawn = codes.draw(SAMPLES if quick else SLOW_SAMPLES, seed, labels)
    weights = first_weights(codes, label)
    found = [] if weights is None else sefa(weights, SHOWN)
    found += pca(drawn, first_activations(codes, drawn, labels), SHOWN)
    found = [one for one in found if not wanted or one.name in wanted]
    if not found:
        return None
    some = min(len(drawn), 256)
    images = codes.images(drawn[:some], None if labels is None else labels[:some])
    spread = {one.name: float(one.measure(images).std()) or 1.0 for one in attributes}
    bases = BASES // 2 if quick else BASES // 8
    at, own = drawn[:bases], None if labels is None else labels[:bases]
    walks = [walk(codes, at, one.vector, own, attributes, scale=float((drawn @ one.vector).std()), rows=1, steps=STEPS) for one in found]
    return UnsupervisedDirections(codes.name, found, walks, spread)
