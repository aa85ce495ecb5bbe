"""The images of a run: what its configuration names, read and varied as it says, and the configuration fitted to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from calotype import data, degrade
from calotype.config import Config, Data
from calotype.data import Augmentation, Images, Progress, Split, partner, toy
from calotype.data.images import holdout_count, holdout_order, some, told
from calotype.data.load import namesake
from calotype.data.mirror import may_flip
from calotype.degrade import Degradation
from calotype.engine import feasible
from calotype.engine.display import Display
from calotype.engine.distributed import World
from calotype.errors import UserError
from calotype.files import expanded
from calotype.models import MODELS, blank

_LABELS = 6  # the stream of random numbers by which labels are hidden


def open_images(options: Data, progress: Progress | None = None) -> Split:
    """The training images and the holdout that a configuration names. Raises `UserError` where it names nothing usable."""
    if options.source in toy.POINTS:
        _require_bare(options)
    if _has_partner(options):
        shape = partner.LoadOptions(options.size, options.channels, options.fit, options.holdout, progress=progress)
        return partner.load_sides(options.source, options.partner or partner.AUTO, options.paired, shape)
    if options.partner == partner.AUTO and options.degrade is None:
        raise UserError(
            f"{options.source} has no folders trainA and trainB: say what to translate from with `data.partner` (a folder, halves, "
            "classes:cat,dog) or how to make it of each image with `data.degrade` (gray, edges, invert, season)"
        )
    return data.load(
        options.source, size=options.size, channels=options.channels, fit=options.fit, holdout=options.holdout, progress=progress
    )


def aside(options: Data, count: int) -> int:
    """How many of so many training images are set aside for the choice of weights."""
    return holdout_count(count, options.validation) if options.validation else 0


def set_aside(options: Data, train: Images) -> tuple[Images, Images | None]:
    """What is trained on of the training images, and the part of each class that weights are chosen by; None where nothing is set aside."""
    count = aside(options, len(train))
    if not count:
        return train, None
    order = holdout_order(len(train), train.labels)
    return train.take(np.sort(order[count:])), train.take(order[:count])


def labelled(config: Config, train: Images) -> Images:
    """The training images whose labels are known: all of them, or as many as ``data.labels`` says.

    Classes take turns, so that each has as many, and one image more or less where they do not divide evenly; a class without images left
    is passed over. Which images are drawn follows from ``train.seed``.

    Raises:
        UserError: for images without classes, for more labels than there are images, and for fewer than there are classes.
    """
    count, labels, classes = config.data.labels, train.labels, len(train.classes)
    if count is None:
        return train
    if labels is None or classes < 2:
        what = "no labels" if labels is None else "one class only"
        raise UserError(f"`data.labels` says how many labels are known, and {train.name} has {what}: give data with class subfolders")
    if count > len(train):
        raise UserError(f"{train.name} has {some(len(train), 'image')} to train on, of which {count:,} labels cannot be known: give fewer")
    if count < classes:
        raise UserError(f"{some(count, 'label')} cannot be one of each of {classes} classes: give `data.labels={classes}` or more")
    rng = np.random.RandomState([config.train.seed & 0xFFFFFFFF, config.train.seed >> 32, _LABELS])
    order, turn = rng.permutation(len(train)), np.empty(len(train), np.int64)
    lots = rng.permutation(classes)  # who comes first where the last round is not whole
    for label in range(classes):
        (mine,) = np.nonzero(labels[order] == label)
        turn[mine] = np.arange(len(mine)) * classes + lots[label]
    return train.take(np.sort(order[np.argsort(turn)[:count]]))


def hidden(config: Config, train: Images) -> tuple[Images, Images | None]:
    """What is trained on where ``data.labels`` hides labels, and the images whose labels stay known; None where nothing is hidden.

    Raises:
        UserError: as `labelled`, for a model that learns nothing from labels, and beside images set aside.
    """
    kind: Any = MODELS[type(config.model)]
    if config.data.labels is None:
        return train, None
    if config.data.validation:
        raise UserError("`data.validation` sets images aside by their labels, which `data.labels` hides: leave out one of them")
    if kind.learns_unlabelled:
        return replace(train, labels=None), labelled(config, train)
    if kind.draws:
        raise UserError(
            f"`data.labels` hides labels, and a model of the kind {config.model.kind} learns nothing from images without: leave it out, "
            "or take `calotype train sgan`"
        )
    return labelled(config, train), None


def _require_bare(options: Data) -> None:
    """Raise `UserError` for what becomes of pictures alone, where the source holds points."""
    for name, nothing in (("flip", (None, False)), ("rot90", (False,)), ("patch", (None,)), ("degrade", (None,)), ("partner", (None,))):
        if getattr(options, name) not in nothing:
            raise UserError(f"{options.source} holds points, of which `data.{name}` makes nothing: leave it out")


def augmentation_of(options: Data) -> Augmentation:
    """What becomes of the images on their way into a batch. Raises `UserError` for an unknown degradation."""
    return Augmentation(bool(options.flip), options.rot90, options.patch, _degradation(options), options.paired)


def judging(options: Data, holdout: Images) -> Augmentation:
    """The same for held-out images that are judged: never mirrored or rotated, and with the truth of each source wherever there is one.

    A model that learns without pairs is judged by pairs where its sources are made of the images (``paired`` of the result says so).
    """
    augmentation = augmentation_of(options)
    return replace(
        augmentation, flip=False, rot90=False, paired=augmentation.paired or (holdout.partner is None and augmentation.degrade is not None)
    )


def _has_partner(options: Data) -> bool:
    """Whether the source has another side, or names one: then that is translated from, and nothing is degraded."""
    if options.partner is None or _named(options.partner) is not None:
        return False
    return options.partner != partner.AUTO or partner.has_sides(options.source)


def _degradation(options: Data) -> Degradation | None:
    named = None if options.partner is None else _named(options.partner)
    if named is not None:
        return named
    return None if options.degrade is None or _has_partner(options) else degrade.parse(options.degrade)


def _named(name: str) -> Degradation | None:
    """The degradation of that name, where it is not a path."""
    if name in (partner.AUTO, partner.HALVES, partner.RIGHT) or expanded(name).exists():
        return None
    try:
        return degrade.parse(name)
    except UserError:
        return None


def load_images(config: Config, display: Display, world: World) -> Split:
    """The images. On every machine one process reads them first, so that the others find them in the cache."""
    split = None
    for first in (True, False):
        if first == (world.local == 0):
            split = open_images(config.data, lambda done, total: display.show("reading images", done, total))
        world.all(None)
    assert split is not None
    if (note := namesake(config.data.source)) is not None:
        display.say(note)
    if len(found := set(world.all(split.fingerprint))) > 1:
        raise UserError(f"{len(found)} different sets of images go by the name of {config.data.source} on the machines of this training")
    if skipped := split.train.skipped:
        reasons = told(skipped, singly=1)
        said = "; ".join(reasons[:3]) + ("; ..." if len(reasons) > 3 else "")
        if split.train.partner is None:
            display.say(f"skipped {some(len(skipped), 'unusable file')}: {said} (calotype data check lists all)")
        else:
            display.say(f"left out {some(len(skipped), 'file')}: {said}")
    return split


def fit_config(config: Config, split: Split, world: World, display: Display) -> Config:
    """The configuration with a batch that there are images for; said where it is not that of the recipe."""
    count = len(hidden(config, split.train)[0]) - aside(config.data, len(split.train))
    found = feasible.fitting(config, count, world.size * config.train.accumulate)
    if found.train.batch != config.train.batch:
        images, batch = some(count, "image"), found.train.batch
        display.say(
            f"batches of {batch} in place of {config.train.batch}, for there are {images} to train on: `train.batch` asks for others"
        )
    if found.data.flip is None:
        flip = world.first(lambda: _may_flip(found, split.train))
        if flip:
            display.say("half of the images are mirrored at random, for that changes nothing about them: `data.flip=False` leaves it")
        found = replace(found, data=replace(found.data, flip=flip))
    return found


def _may_flip(config: Config, images: Images) -> bool:
    """Whether a training mirrors images where nobody said: one that learns to draw or to recognize them alone, if they allow it."""
    spec = augmentation_of(config.data).spec(images)
    return not blank(config.model, spec).from_source and spec.source is None and spec.points is None and may_flip(images.pixels)
