"""What to train on given images: the rule of a run where no recipe is named, and the advice of ``calotype data check``.

``benchmarks/results/photographs.md`` has what it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from calotype.config import Config
from calotype.data.check import DataCheck, batch_for
from calotype.data.images import Pixels, Split, some
from calotype.data.mirror import ENOUGH, mirrors, told_apart
from calotype.data.prepare import size_for
from calotype.networks.published import LITE0, LITE1, file_of
from calotype.recipes import DEFAULT, named
from calotype.types import ImageSpec, small_gray

POINTS = "points"  # the recipe of testbeds whose points lie in the plane
PHOTOGRAPHS, WITHOUT = "projected", "dcgan"  # the recipe of photographs, and where its weights are not installed
SMALL = 32  # pixels a side up to which flow matching draws better photographs in the same minutes
FROM_NOTHING, FROM_PHOTOGRAPHS = "resnet", "transfer"  # the recipes that tell classes apart
MANY = 10_000  # labelled images that are enough to learn from nothing what photographs show
TO_RECOGNIZE = 10.0  # minutes
MINUTES = 20.0  # of photographs: a minute, which does for digits, leaves fog


@dataclass(frozen=True)
class Material:
    """What the rule looks at."""

    size: int  # pixels a side that the images have, or are brought to
    why_size: str
    channels: Literal[1, 3]
    train: int  # images to train on
    classes: int  # 0 without labels
    told: float  # `calotype.data.mirror.told_apart`


@dataclass(frozen=True)
class Advice:
    """A recipe and its settings."""

    recipe: str
    size: int
    channels: Literal[1, 3]
    batch: int
    flip: bool
    conditional: bool  # whether the recipe learns the classes
    minutes: float  # of training
    reasons: dict[str, str]  # why, by what is chosen


@dataclass(frozen=True)
class RecognitionAdvice:
    """A recipe that tells the classes of labelled images apart; docs/recognition.md has what it rests on."""

    recipe: str
    size: int | None  # None for the recipe's own
    minutes: float
    reason: str


def of_check(found: DataCheck) -> Advice:
    """What to train on images that were looked at one by one."""
    return choose(_material(found))


def recognition_of_check(found: DataCheck) -> RecognitionAdvice | None:
    """What tells the classes of images apart that were looked at one by one; None where they have no two."""
    return to_recognize(_material(found))


def to_recognize(material: Material) -> RecognitionAdvice | None:
    """The rule of recognition: what knows photographs, unless there are many of them or they are none."""
    if not material.classes:
        return None
    if small_gray(ImageSpec(material.size, material.channels)):
        return RecognitionAdvice(
            FROM_NOTHING, material.size, TO_RECOGNIZE, "small and gray, like digits, of which photographs teach little"
        )
    if material.train >= MANY and material.size <= SMALL:
        why = f"{material.train:,} small images are enough to learn all of it from them"
        return RecognitionAdvice(FROM_NOTHING, material.size, TO_RECOGNIZE, why)
    if file_of(LITE0) is None:
        why = f"{FROM_PHOTOGRAPHS} learns more from so few photographs, for which {LITE0.distribution} is to be installed"
        return RecognitionAdvice(FROM_NOTHING, material.size, TO_RECOGNIZE, why)
    why = f"{some(material.train, 'photograph')} to train on: it starts from a network that knows photographs"
    return RecognitionAdvice(FROM_PHOTOGRAPHS, None, TO_RECOGNIZE, why)


def _material(found: DataCheck) -> Material:
    sizes = found.sizes
    short = sizes.shorter
    own = size_for(short, square=sizes.different == 1 and sizes.oblong == 0)
    why = f"all images are {short}x{short}" if own is None else f"half of the images are at least {short} pixels on their shorter side"
    channels: Literal[1, 3] = 1 if found.gray == found.images else 3
    classes = len(found.classes) if len(found.classes) > 1 else 0
    return Material(short if own is None else own, why, channels, min(found.train, found.different), classes, found.told)


def of_split(split: Split, why_size: str) -> Advice:
    """What to train on images that were read."""
    images, spec = split.train, split.train.spec
    classes = len(spec.classes) if len(spec.classes) > 1 else 0
    channels: Literal[1, 3] = 1 if spec.channels == 1 or all(_gray(image) for image in images.pixels) else 3
    return choose(Material(spec.size, why_size, channels, len(images), classes, told_apart(images.pixels)))


def choose(material: Material) -> Advice:
    """The rule."""
    digits = small_gray(ImageSpec(material.size, material.channels))
    recipe, why = (DEFAULT, "small and gray, like digits") if digits else _of_photographs(material.size)
    config = named(recipe)
    minutes = config.train.minutes if digits else MINUTES
    assert minutes is not None
    conditional = bool(material.classes) and bool(getattr(config.model, "conditional", False))
    if conditional:
        why += f"; it learns the {material.classes} classes, which `label` asks for"
    batch = min(config.train.batch, batch_for(material.train))
    flip = mirrors(material.told, material.train)
    reasons = {
        "recipe": why,
        "size": material.why_size,
        "channels": "no image has any color" if material.channels == 1 else "there are images in color",
        "batch": _why_batch(batch, config, material.train),
        "flip": _why_flip(flip, material),
        "minutes": "the usual ones of digits" if digits else "photographs take longer than digits: after a minute they are fog",
    }
    return Advice(recipe, material.size, material.channels, batch, flip, conditional, minutes, reasons)


def configured(advice: Advice) -> Config:
    """The configuration that an advice means; where the images come from is left open."""
    config = named(advice.recipe)
    data = replace(config.data, size=advice.size, channels=advice.channels, flip=advice.flip)
    return replace(config, data=data, train=replace(config.train, batch=advice.batch, minutes=advice.minutes), reasons=advice.reasons)


def _gray(image: Pixels) -> bool:
    """Whether an image (H, W, 3) has no color, however it is stored."""
    return bool((image == image[:, :, :1]).all())


def _of_photographs(size: int) -> tuple[str, str]:
    if size <= SMALL:
        return DEFAULT, f"photographs of at most {SMALL} pixels, of which it drew more kinds than the GANs that were tried"
    if file_of(LITE1) is not None:
        return PHOTOGRAPHS, "photographs, which it learned the quickest of what was tried"
    return WITHOUT, f"photographs; {PHOTOGRAPHS} learns them quicker, for which {LITE1.distribution} is to be installed"


def _why_batch(batch: int, config: Config, train: int) -> str:
    if batch == config.train.batch:
        return "the usual one of this recipe"
    if batch > 4:
        return f"{train:,} images to train on make at least four such batches"
    return (
        "there are few images"
        if batch == 4
        else f"there {'is' if train == 1 else 'are'} only {some(train, 'image')}: too few to learn anything from"
    )


def _why_flip(flip: bool, material: Material) -> str:
    told = f"a linear judge tells {material.told:.0%} of them from their mirror images"
    if flip:
        return f"{told}, and half would be chance: mirrored ones are as good"
    return told if material.train >= ENOUGH else "there are too few images to tell whether they may be mirrored"
