"""Codes of a generator whose images a classifier takes for their class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calotype.explanation.codes import Codes

PER_CLASS = 8  # images of each class that units are ranked by; as many others judge
ROUNDS = 4  # times that images of a class are drawn, where the classifier takes too few of them for it
POOL = 1_000  # images in which those of a class are looked for, where the model is told none
SURE = 0.5  # belief from which an image counts as one of a class

ClassBeliefs = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [-1, 1] to what a classifier believes of them, (N, classes)."""


@dataclass(frozen=True)
class ClassCodes:
    """Codes whose images a classifier takes for their class."""

    codes: Tensor  # (N, d)
    of: Tensor  # (N,) the class of each, as the classifier numbers them
    labels: Tensor | None  # (N,) what the model is told

    def only(self, classes: Sequence[int]) -> ClassCodes:
        """Those of some classes."""
        rows = torch.isin(self.of, torch.tensor(list(classes), device=self.of.device))
        return ClassCodes(self.codes[rows], self.of[rows], None if self.labels is None else self.labels[rows])


def codes_of_classes(
    codes: Codes, beliefs: ClassBeliefs, classes: int, label: Tensor | None, seed: int, each: int = PER_CLASS
) -> ClassCodes:
    """Up to ``each`` codes for each class of the classifier, drawn from ``seed``, whose images it takes for that class.

    ``label`` (classes,) is what the model calls these classes, -1 for those that it does not know; None for a model that is told none.
    """
    if label is not None and codes.generator.model.conditional:
        return _told(codes, beliefs, label, seed, each)
    z = codes.draw(POOL, seed, None)
    taken, sure = _taken(beliefs, codes.images(z, None))
    rows = torch.cat([(sure & (taken == k)).nonzero()[:, 0][:each] for k in range(classes)])
    return ClassCodes(z[rows], taken[rows], None)


def _told(codes: Codes, beliefs: ClassBeliefs, label: Tensor, seed: int, each: int) -> ClassCodes:
    """Codes of a model that is told the class: more are drawn of those classes for which its images are seldom taken."""
    parts: list[tuple[Tensor, Tensor]] = []
    lacking = {k: each for k in range(len(label)) if label[k] >= 0}
    for part in range(ROUNDS):
        number = torch.tensor(sorted(k for k, count in lacking.items() if count)).repeat(2 * each)
        if not len(number):
            break
        z = codes.draw(len(number), ROUNDS * seed + part, label[number])
        taken, sure = _taken(beliefs, codes.images(z, label[number]))
        for k in sorted(set(number.tolist())):
            rows = (sure & (taken == number) & (number == k)).nonzero()[:, 0][: lacking[k]]
            parts.append((z[rows], number[rows]))
            lacking[k] -= len(rows)
    found, of = (torch.cat(several) for several in zip(*parts, strict=True))
    order = of.argsort(stable=True)
    return ClassCodes(found[order], of[order], label[of[order]])


def _taken(beliefs: ClassBeliefs, images: Tensor) -> tuple[Tensor, Tensor]:
    """The class (N,) that images are taken for, and whether the classifier is sure of it (N,)."""
    belief = beliefs(images)
    return belief.argmax(1), belief.amax(1) >= SURE
