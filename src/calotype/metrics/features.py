"""The door to feature spaces: pick one by name or by the images, and keep what it makes of real images."""

from __future__ import annotations

from collections.abc import Collection

import torch

from calotype.errors import UserError
from calotype.files import expanded
from calotype.metrics.features_cache import cached
from calotype.metrics.features_kinds import DIGITS, coarse, digits, for_selection, of_classifier, of_run, random, recognized
from calotype.metrics.features_photos import PHOTOS, photos, photos_full
from calotype.metrics.features_space import Extracted, FeatureSpace
from calotype.networks.published import file_of
from calotype.types import ImageSpec

NAMES = ("digits", "photos", "photos-full", "random", "inception", "dinov2")
"""The spaces that have a name; a path to a run of ``calotype train classifier`` names one too."""

BLIND = "Random features hardly see content: whole kinds of images can be missing, and go unseen."
"""What whoever reads scores in random features must know."""


def pick(name: str | None, spec: ImageSpec, device: torch.device | str = "cpu", through: Collection[str] = ()) -> tuple[FeatureSpace, ...]:
    """The feature spaces to judge images like ``spec`` in: one, or several whose scores are averaged and their spread printed.

    Args:
        name: ``digits``, ``photos``, ``photos-full``, ``random`` (three networks), ``inception``, ``dinov2``, or the folder of a trained
            classifier. Where none is given: ``digits`` for gray 28x28 images of the classes 0 to 9, else ``photos``; ``random`` where
            the weights of that are not installed, or where the images are of a model that was trained through its network.
        spec: of the real images.
        device: where the networks run.
        through: the feature networks that the model was trained through (`Model.through`), which would flatter it.

    Raises:
        UserError: for a name that is none, weights that are not there, a space that does not take such images, and one whose network
            the model was trained through.
    """
    name = name or default(spec, through)
    made = {"digits": digits, "photos": photos, "photos-full": photos_full}
    if name in made:
        spaces: tuple[FeatureSpace, ...] = (made[name](device),)
    elif name == "random":
        spaces = random(spec, device)
    elif name == "inception":
        from calotype.metrics.features_pretrained import inception

        spaces = (inception(device),)
    elif name == "dinov2":
        from calotype.metrics.features_pretrained import dinov2

        spaces = (dinov2(device),)
    elif expanded(name).exists():
        spaces = (of_run(expanded(name), device),)
    else:
        raise UserError(f"no features {name!r}: choose {', '.join(NAMES)}, or the run folder of a classifier")
    for space in spaces:
        if space.network in through:
            raise UserError(
                f"the model was trained through {space.network}, so that the features {name!r} would flatter it: choose `features=random`"
            )
        space.require(spec.size, spec.channels)
    return spaces


def default(spec: ImageSpec, through: Collection[str] = ()) -> str:
    """The name of the spaces that `pick` takes where none is given."""
    return "digits" if spec == DIGITS else "random" if _without_photos(through) else "photos"


def caution(name: str | None, spec: ImageSpec, through: Collection[str] = ()) -> str | None:
    """What a report says first of the features that `pick` takes where ``name`` is given: nothing where they see content."""
    if spec == DIGITS or (name or default(spec, through)) != "random":
        return None
    return f"{BLIND} The features 'photos' see it." if name else f"{_without_photos(through)} {BLIND}"


def _without_photos(through: Collection[str]) -> str:
    """Why images cannot be judged as photographs; empty where they can."""
    if PHOTOS.network in through:
        return f"The model was trained through {PHOTOS.network}, whose features would flatter it: random ones stand in."
    return "" if file_of(PHOTOS) else f"The features of photographs are not installed (pip install {PHOTOS.distribution})."


def second(primary: FeatureSpace, spec: ImageSpec, device: torch.device | str = "cpu") -> FeatureSpace:
    """A space unlike ``primary``, in which a finding of copies must show again: coarse pictures, or a random network beside those."""
    return coarse(spec, device) if primary.name != "coarse" else random(spec, device)[0]


__all__ = [
    "BLIND",
    "NAMES",
    "Extracted",
    "FeatureSpace",
    "cached",
    "caution",
    "coarse",
    "default",
    "for_selection",
    "of_classifier",
    "of_run",
    "pick",
    "recognized",
    "second",
]
