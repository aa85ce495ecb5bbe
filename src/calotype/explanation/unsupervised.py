"""The part of a page on directions that nobody named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from calotype import pictures
from calotype.explanation.codes import Codes
from calotype.explanation.directions import Direction, first_activations, first_weights, pca, sefa
from calotype.explanation.section import Exhibit, Pixels, Strip
from calotype.explanation.traversal import REACH, positions, traverse

SAMPLES = 1_000  # codes whose activations principal components are taken of
SHOWN = 5  # directions of each kind

SAYS = {
    "sefa": "found from the weights of the first layer alone (SeFa), those first along which it changes most",
    "pca": "the principal components of what many latents become (GANSpace), those first that vary most",
}


@dataclass(frozen=True)
class UnsupervisedDirections:
    """What moving along directions that nobody named does to one image each."""

    space: str  # "latents" or "styles"
    directions: Sequence[Direction]
    images: Pixels  # (directions * steps, H, W, C): a row for each
    steps: int

    name = "unsupervised-directions"
    title = "Directions that nobody named"
    says = (
        "An image is made from a list of numbers. Each row changes these numbers step by step along one direction that was found without "
        "any labels; what changes in the images is what the model has learned to vary by itself."
    )

    def exhibits(self) -> Sequence[Exhibit]:
        """A strip for each kind of directions."""
        found: list[Exhibit] = []
        for kind, said in SAYS.items():
            rows = [k for k, one in enumerate(self.directions) if one.name.startswith(kind)]
            if rows:
                images = self.images[rows[0] * self.steps : (rows[-1] + 1) * self.steps]
                names = tuple(f"{self.directions[k].name} ({100 * self.directions[k].weight:.1f}%)" for k in rows)
                caption = f"Directions among the {self.space}, {said}; in brackets their share of all. The middle column is the same image."
                found.append(Strip(caption, images, self.steps, names, tuple(f"{p:+.1f}" for p in positions(self.steps))))
        return found

    def data(self) -> dict[str, Any]:
        """The directions themselves."""
        return {
            "space": self.space,
            "directions": [{"name": one.name, "share": one.weight, "vector": one.vector.tolist()} for one in self.directions],
            "reach": REACH,
        }


def unsupervised(codes: Codes, seed: int, label: int | None = None, steps: int = 7) -> UnsupervisedDirections:
    """SeFa where the network can be looked into, and GANSpace, with a strip for each direction, all from the first image of ``seed``."""
    labels = codes.labels(SAMPLES, label)
    drawn = codes.draw(SAMPLES, seed, labels)
    weights = first_weights(codes, label)
    found = [] if weights is None else sefa(weights, SHOWN)
    found += pca(drawn, first_activations(codes, drawn, labels), SHOWN)
    base, own = drawn[:1], None if labels is None else labels[:1]
    images = [pictures.to_uint8(traverse(codes, base, one.vector, own, scale=1.0, steps=steps)) for one in found]
    import numpy as np

    return UnsupervisedDirections(codes.name, found, np.concatenate(images), steps)
