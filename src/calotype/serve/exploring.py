"""Moves among the codes of a model: directions as `calotype explain` finds them, images along them, ways from one image to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.capabilities import HasDecoder
from calotype.errors import UserError
from calotype.explanation.attributes import measured
from calotype.explanation.codes import Codes
from calotype.explanation.directions import LatentDirection, first_activations, first_weights, pca, sefa
from calotype.explanation.separation import separate
from calotype.explanation.traversal import REACH
from calotype.explanation.unsupervised import SAMPLES, SHOWN
from calotype.serve.batching import Row, finished
from calotype.serve.lanes import in_time
from calotype.serve.refusal import Refusal
from calotype.tasks import latents
from calotype.tasks.sample import Generator
from calotype.types import Condition, Noise

LOOKED_AT = 1 << 20  # pixels of the images that attributes are measured of
FEWEST = 100  # of these images; of a model that makes each in many passes no more are made
KINDS = {"sefa": "found", "pca": "principal"}


@dataclass(frozen=True)
class Move:
    """A way to move codes."""

    id: str
    kind: str  # found (SeFa), principal (GANSpace) or attribute
    name: str
    vector: Tensor  # (d,) float32 of length 1
    scale: float  # the standard deviation of codes along it

    def as_json(self) -> dict[str, object]:
        """As the service says it; positions are in standard deviations of codes."""
        return {"id": self.id, "name": self.name, "kind": self.kind, "range": [-REACH, REACH]}


@torch.no_grad()
def directions(generator: Generator) -> tuple[Move, ...]:
    """What codes can be moved along: directions that nobody named first, then those of attributes that can be measured.

    The model is looked into by hooks, so that nothing else may run it meanwhile.
    """
    codes, quick = Codes(generator), isinstance(generator.model, HasDecoder)
    count = SAMPLES if quick else FEWEST
    labels = codes.labels(count)
    drawn = codes.draw(count, 0, labels)
    weights = first_weights(codes)
    found: list[LatentDirection] = []
    if weights is not None:
        with suppress(UserError):  # nothing depends on the codes
            found += sefa(weights, SHOWN)
    in_time()
    looked_at = min(count, LOOKED_AT // generator.spec.size**2)
    images = _images(codes, drawn[:looked_at], None if labels is None else labels[:looked_at]) if looked_at >= FEWEST else None
    if quick:
        found += pca(drawn, first_activations(codes, drawn, labels), SHOWN)
    elif images is not None:  # of what takes many passes of a network nothing is made twice
        found += pca(drawn[: len(images)], images.flatten(1), SHOWN)
    made = [Move(one.name, KINDS[one.name.split("-")[0]], _said(one), one.vector, _scale(drawn, one.vector)) for one in found]
    return (*made, *([] if images is None else _attributes(codes, drawn, images, labels)))


def _images(codes: Codes, some: Tensor, labels: Tensor | None) -> Tensor:
    """Images (N, C, H, W) of codes (N, d), with a look at the clock between batches."""
    parts = []
    for at in range(0, len(some), latents.BATCH):
        in_time()
        rows = slice(at, at + latents.BATCH)
        parts.append(codes.images(some[rows], None if labels is None else labels[rows]))
    return torch.cat(parts)


def _said(one: LatentDirection) -> str:
    kind, _, number = one.name.partition("-")
    return f"{'SeFa' if kind == 'sefa' else 'principal component'} {number}, {100 * one.weight:.0f}%"


def _attributes(codes: Codes, drawn: Tensor, images: Tensor, labels: Tensor | None) -> list[Move]:
    """Directions towards more of what can be measured of images (N, C, H, W), those of the first codes, without asking anybody."""
    some, own, made = drawn[: len(images)], None if labels is None else labels[: len(images)], []
    for attribute in measured(codes.generator.spec):
        values = attribute.measure(images)
        if own is not None:  # relative to the mean of their class, which the model is told
            for number in set(own.tolist()):
                values[own == number] -= values[own == number].mean()
        with suppress(UserError):  # all images have as much of it
            vector = separate(some, values).vector
            made.append(Move(attribute.name, "attribute", attribute.name, vector, _scale(drawn, vector)))
    return made


def _scale(drawn: Tensor, vector: Tensor) -> float:
    return float((drawn @ vector).std()) or 1.0


def code_of(codes: Codes, row: Row) -> tuple[Tensor, int | None]:
    """The code (1, d) that the image of a row is made of, and its class: the one asked for, else the one that the model draws."""
    noise = Noise(1, row.seed, row.index)
    z, label = noise.normal(*codes.model.latent_shape), row.label
    if label is None and (own := codes.generator.model.wanted(noise, Condition())) is not None:
        label = int(own[0])
    return codes.of(z, None if label is None else torch.tensor([label])), label


@torch.no_grad()
def explored(generator: Generator, row: Row, moves: Mapping[str, float], known: Sequence[Move]) -> tuple[NDArray[np.uint8], int | None]:
    """The image (H, W, C) of a row moved along directions, and its class. Raises `Refusal` (400) for a move that there is not."""
    codes, by_id = Codes(generator), {one.id: one for one in known}
    code, label = code_of(codes, row)
    for name, far in moves.items():
        if (one := by_id.get(name)) is None:
            raise Refusal(400, "there is no such direction: GET /v1/models/ID/directions lists them", "moves", ", ".join(by_id))
        if abs(far) > 2 * REACH:
            raise Refusal(400, f"`moves`: {far:g} is too far", "moves", f"{-2 * REACH:g} to {2 * REACH:g}")
        code = code + far * one.scale * one.vector
    labels = None if label is None else torch.tensor([label])
    return finished(codes.images(code, labels))[0], label


@torch.no_grad()
def way(generator: Generator, start: Row, end: Row, frames: int) -> tuple[list[NDArray[np.uint8]], list[int | None]]:
    """Images (H, W, C) on the way between those of two rows, along the great circle, and their classes.

    Each is made by itself, so that none depends on how many there are. The class changes in the middle where the ends have different
    ones, but for models with styles, whose styles know the class already.
    """
    codes = Codes(generator)
    (a, first), (b, last) = code_of(codes, start), code_of(codes, end)
    images, classes = [], []
    for place, code in enumerate(latents.between(a[0], b[0], frames)):
        in_time()
        label = first if place < frames / 2 else last
        images.append(finished(codes.images(code[None], None if label is None else torch.tensor([label])))[0])
        classes.append(label)
    return images, classes
