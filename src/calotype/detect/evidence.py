"""What a model itself says of images that it may have made: how likely they are to it, and how well it reconstructs them.

Neither proves anything alone: likelihoods are often larger for simpler images of another kind (Nalisnick et al. 2019). So each number is
told by its place among those of the model's own samples and of real images, and with it how well it tells these two apart at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from calotype import pictures
from calotype.capabilities import HasEncoder
from calotype.data.fit import fit_image
from calotype.detect.sets import real_set
from calotype.engine.display import Display, progress
from calotype.errors import UserError
from calotype.metrics.confidence import Doubles
from calotype.metrics.detection import auc
from calotype.tasks.model_inputs import to_tensor
from calotype.tasks.sample import Generator, load
from calotype.types import Condition, Likelihood, mix

MANY = 100  # samples and real images that an image is compared with
SEED = 1  # of the samples: others than those that detectors learn from by default
_BATCH = 50


@dataclass(frozen=True)
class Evidence:
    """One number of an image, and its place among those of the samples of a model and of real images."""

    kind: str  # "bits per dimension (ELBO)", "reconstruction error"
    value: float
    samples: float  # the share of samples with at most this number
    real: float | None  # of real images; None where there were none
    area: float | None  # how well the number tells samples from real images: AUC, .5 for not at all

    def __str__(self) -> str:
        """In one line."""
        beside = "" if self.real is None else f" and of {100 * self.real:.0f}% of real images"
        power = "" if self.area is None else f" (the two told apart: AUC {max(self.area, 1 - self.area):.2f})"
        return f"{self.kind} {self.value:.3g}: not below that of {100 * self.samples:.0f}% of its samples{beside}{power}"

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": self.kind, "value": self.value, "samples": self.samples, "real": self.real, "auc": self.area}


@dataclass(frozen=True)
class _Way:
    """One thing that a model can be asked, and what it said of its samples and of real images."""

    kind: str
    likelihood: Likelihood | None  # None for the error of reconstructions
    samples: Doubles
    real: Doubles | None


class Witness:
    """A model that is asked of images."""

    def __init__(self, generator: Generator, ways: Sequence[_Way]) -> None:
        self.generator, self.ways = generator, tuple(ways)

    @staticmethod
    def of(model: Generator | str | Path, real: str | None, device: str, display: Display) -> Witness:
        """Ask a model of its own samples, and of real images where some are named, first.

        Raises `UserError` for a model without likelihood and encoder.
        """
        generator = model if isinstance(model, Generator) else load(model, device)
        generator.require_images()
        kinds: list[tuple[str, Likelihood | None]] = []
        if quick := [way for way in generator.model.likelihoods() if not way.slow][:1]:
            kinds.append((f"bits per dimension ({quick[0].kind})", quick[0]))
        if isinstance(generator.model, HasEncoder):
            kinds.append(("reconstruction error", None))
        if not kinds:
            raise UserError(
                f"a {generator.recipe} model has no likelihood and no encoder, so that it can say nothing of images: leave out `model`"
            )
        samples = generator.sample(MANY, seed=SEED)
        others = _real_images(generator, real, display)
        said = progress(display.show, "asking the model of samples and real images")
        ways = []
        for place, (kind, likelihood) in enumerate(kinds):
            of_samples = _asked(generator, likelihood, to_tensor(pictures.to_uint8(samples)))
            of_real = None if others is None else _asked(generator, likelihood, others)
            if likelihood is not None or float(np.max(of_samples)) > 1e-3:  # what has an exact inverse reconstructs anything
                ways.append(_Way(kind, likelihood, of_samples, of_real))
            if said is not None:
                said(place + 1, len(kinds))
        return Witness(generator, ways)

    def of_images(self, images: Sequence[Image.Image]) -> list[tuple[Evidence, ...]]:
        """What the model says of images of any size, brought to its own."""
        batch = _brought(self.generator, images)
        columns = [[_placed(way, value) for value in _asked(self.generator, way.likelihood, batch).tolist()] for way in self.ways]
        return [tuple(column[row] for column in columns) for row in range(len(images))]


def _placed(way: _Way, value: float) -> Evidence:
    area = None if way.real is None else auc(way.real, way.samples).value
    return Evidence(
        way.kind, value, float((way.samples <= value).mean()), None if way.real is None else float((way.real <= value).mean()), area
    )


def _real_images(generator: Generator, real: str | None, display: Display) -> Tensor | None:
    """Some real images in the shape of the model; None where none are named: a path in the folder of a detector is not to be followed."""
    if real is None:
        display.say("calotype: the model is asked of its own samples alone: name real images that it did not train on with `real`")
        return None
    found = real_set(real, MANY, SEED, display)
    return _brought(generator, [found.opened(row) for row in range(len(found))])


def _brought(generator: Generator, images: Sequence[Image.Image]) -> Tensor:
    """(N, C, H, W) in [-1, 1], in the shape of a model."""
    spec = generator.spec
    mode = "L" if spec.channels == 1 else "RGB"
    rows = [np.asarray(fit_image(image.convert(mode), spec.size, "crop")).reshape(spec.size, spec.size, spec.channels) for image in images]
    return to_tensor(np.stack(rows))


@torch.no_grad()
def _asked(generator: Generator, likelihood: Likelihood | None, images: Tensor) -> Doubles:
    """One number of each image, (N,): bits per dimension, or the root mean square error of its reconstruction in levels of 255.

    A conditional model is asked of every class, for nobody knows that of an image: the likelihood is the mean over the classes, which
    keeps a bound a bound, and the error is that of the class that fits best.
    """
    rng, parts = torch.Generator(generator.device).manual_seed(mix(SEED, 61)), []
    classes = len(generator.spec.classes) if generator.model.conditional else 1
    for first in range(0, len(images), _BATCH):
        x = images[first : first + _BATCH].to(generator.device)
        each = torch.stack([_told(generator, likelihood, x, label, rng) for label in range(classes)])
        if likelihood is not None:
            parts.append(-(each.logsumexp(0) - math.log(classes)) / generator.spec.nats_per_bit)
        else:
            parts.append(each.min(0).values)
    found: Doubles = torch.cat(parts).cpu().double().numpy()
    return found


def _told(generator: Generator, likelihood: Likelihood | None, x: Tensor, label: int, rng: torch.Generator) -> Tensor:
    """Nats of images (N, C, H, W) under a class, or the errors of their reconstructions, (N,)."""
    model = generator.model
    condition = Condition(torch.full((len(x),), label, device=x.device) if model.conditional else None)
    if likelihood is not None:
        return likelihood.nats(x, condition, rng)
    assert isinstance(model, HasEncoder)
    return 127.5 * (model.decode(model.encode(x, condition), condition) - x).square().flatten(1).mean(1).sqrt()
