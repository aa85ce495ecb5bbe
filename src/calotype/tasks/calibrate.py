"""Calibrate a classifier by itself: one whose training was stopped, held nothing out, or was a loop of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from calotype.capabilities import Classifies
from calotype.config import Data
from calotype.data import Images, load
from calotype.data.images import holdout_order
from calotype.data.load import has_a_name, require_images
from calotype.engine import calibrating
from calotype.engine.calibrating import BeliefCalibration, calibrated
from calotype.engine.images import hidden, open_images, set_aside
from calotype.engine.run import Run
from calotype.errors import UserError
from calotype.models import MODELS, stored
from calotype.tasks.model_inputs import labels_for
from calotype.tasks.sample import load as load_model
from calotype.types import ImageSpec

FEWEST = 40  # images: half of them are remembered, and 19 of the others say what is unlike them


def calibrate(path: str | Path, images: str | Path | None = None, *, device: str = "auto") -> BeliefCalibration:
    """Learn what the logits of a classifier mean from labelled images that it never saw, and keep that beside its weights.

    Trainings do so when they end. What stood there before is replaced.

    Args:
        path: The run of a classifier, or a ``model/`` folder by itself.
        images: Labelled images (a folder, a zip archive, a data set) of its classes; where none are given, those that the run held out. For
            a model without a run half of them take the place of the training images, from which distances are measured.
        device: Where the model computes.

    Raises:
        UserError: for a model that is no classifier, and where there are no such images, or too few.
    """
    found = stored.find(path)
    if not issubclass(MODELS[type(found.config)], Classifies):
        raise UserError(f"{path} is of the family {found.config.kind}, which tells no classes apart")
    run = Run(Path(path)) if found.folder != Path(path) else None
    before = calibrating.read(found.folder)
    options = Data() if before is None else Data(fit=before.facts.fit, flip=before.facts.mirrored)
    train, held = None, None
    if run is not None:
        options = run.read_config()[0].data
        train, held = _of_run(run, wanted=images is None)
    if images is not None:
        held = _labelled(str(images), found.spec, options)
    if held is None or not len(held):
        raise UserError(f"{path} held no images out: name labelled images that it never saw with `images`")
    least = FEWEST if train is None else FEWEST // 2
    if len(held) < least:
        raise UserError(f"{len(held)} images are too few to calibrate {path} by: give {least} or more")
    if train is None:
        order = holdout_order(len(held), held.labels)
        train, held = held.take(order[::2]), held.take(order[1::2])
    generator = load_model(path, device)
    known = calibrated(generator.model, train, held, options, generator.device)
    assert known is not None
    calibrating.write(found.folder, known)
    return known


def _of_run(run: Run, *, wanted: bool) -> tuple[Images | None, Images | None]:
    """What a run learned from and what it held out; nothing where they are gone or changed, and not ``wanted``."""
    config, facts = run.read_config()
    try:
        split = open_images(config.data)
    except UserError:
        if wanted:
            raise
        return None, None
    if split.fingerprint != facts["data"]["fingerprint"]:
        if wanted:
            raise UserError(f"the images of {config.data.source} changed since the run began: restore them, or name others with `images`")
        return None, None
    return hidden(config, set_aside(config.data, split.train)[0])[0], split.holdout


def _labelled(source: str, spec: ImageSpec, options: Data) -> Images:
    """Images of a source in the shape of a classifier, with the labels as it numbers them."""
    require_images(source)
    fit = "crop" if options.fit == "tile" else options.fit
    split = load(source, size=spec.size, channels=spec.channels, fit=fit, holdout=0.1 if has_a_name(source) else 0)
    images = split.holdout if len(split.holdout) else split.train
    labels = labels_for(images, spec)
    if labels is None:
        raise UserError(f"the images of {source} have no labels, or others than {', '.join(spec.classes[:10])}: give class subfolders")
    return replace(images, labels=labels)
