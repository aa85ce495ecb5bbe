"""The classification accuracy score: what a classifier learns from generated images, asked of real ones (Ravuri & Vinyals 2019)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from calotype import pictures
from calotype.config import Data
from calotype.data import Images, Split
from calotype.data.fit import fit_array
from calotype.data.images import Labels, Pixels, holdout_order, make_images
from calotype.engine.device import pick_device
from calotype.engine.distributed import World
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import UserError
from calotype.evaluation.generator import Candidate
from calotype.evaluation.recognized import ClassificationAccuracyScore, TaughtRecall
from calotype.evaluation.request import Request
from calotype.metrics.confidence import exact_interval
from calotype.metrics.paired_accuracy import Rights, compared
from calotype.metrics.predictions import predictions
from calotype.recipes import named
from calotype.types import small_gray

STEPS = 500  # of either training: of 2,000 images 16 passes
BATCH = 64  # images of a step at most
TESTED = 10_000  # held-out images at most


def require(candidate: Candidate) -> None:
    """Raise `UserError` for what cannot be asked for this score: it takes a model that is told the class, and labelled real images."""
    generator, train, held = candidate.generator, candidate.train, candidate.holdout
    advice = "leave out `cas`"
    if generator is None:
        raise UserError(f"{candidate.name} holds images, and `cas` has a model draw classes: name a run, or {advice}")
    if not generator.model.conditional:
        raise UserError(
            f"{candidate.name} cannot be asked for a class, so that its images have no labels to learn from: train with "
            f"`model.conditional=True`, or {advice}"
        )
    if train is None or train.labels is None or held is None or held.labels is None or not len(held):
        raise UserError(f"`cas` compares with real images that have labels, and tests on held-out ones: name both, or {advice}")
    if train.classes != generator.spec.classes or held.classes != train.classes:
        raise UserError(f"the real images have other classes than {candidate.name} draws: name those that it was trained on, or {advice}")


def score(candidate: Candidate, request: Request) -> ClassificationAccuracyScore:
    """Train the same classifier twice, on generated images and on as many real ones, and ask both for held-out real images.

    The real images are drawn by class as the holdout is; of each class as many are generated.
    """
    train, held, generator = candidate.train, candidate.holdout, candidate.generator
    assert train is not None
    assert held is not None
    assert generator is not None
    real = train.take(holdout_order(len(train), train.labels)[: candidate.count])
    held = held.take(holdout_order(len(held), held.labels)[:TESTED])
    assert real.labels is not None
    assert held.labels is not None
    labels = np.sort(real.labels)
    drawn = make_images(_drawn(candidate, labels, request), labels, train.classes, "generated")
    recipe = "classifier" if small_gray(train.spec) else "resnet"
    on_drawn, on_real = (_taught(recipe, images, held, request, what) for images, what in ((drawn, "generated"), (real, "real")))
    right, n = int(on_drawn.sum()), len(held)
    return ClassificationAccuracyScore(
        right,
        n,
        exact_interval(right, n),
        compared("real images", on_drawn, on_real),
        len(real),
        STEPS,
        recipe,
        tuple(_recall(name, on_drawn[held.labels == k], on_real[held.labels == k]) for k, name in enumerate(held.classes)),
    )


def _drawn(candidate: Candidate, labels: Labels, request: Request) -> Pixels:
    """An image of each of the labels (N,), which are in order, (N, H, W, C) uint8 in the size of the real ones."""
    generator, parts, said = candidate.generator, [], request.progress("drawing by class")
    assert generator is not None
    done = 0
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        for batch in generator.batches(int(count), {}, seed=request.seed, label=int(label), batch_size=100, start=done):
            parts.append(pictures.to_uint8(batch))
            done += len(batch)
            if said is not None:
                said(done, len(labels))
    return fit_array(np.concatenate(parts), candidate.images.shape[1], None, "crop")


def _taught(recipe: str, images: Images, held: Images, request: Request, what: str) -> Rights:
    """Which of the held-out images (N,) a classifier names rightly that was trained on these images alone."""
    base = named(recipe)
    batch = min(BATCH, len(images))
    config = replace(base, data=Data(), train=replace(base.train, minutes=None, steps=STEPS, batch=batch, seed=request.seed))
    none = images.take(slice(0, 0))
    device = pick_device(request.device)
    said = request.progress(f"training a classifier on {what} images")
    with torch.random.fork_rng(devices=[]):
        trainer = Trainer(config, Split(images, none), TrainState(steps=STEPS), device, World())
        for step in range(STEPS):
            trainer.step()
            if said is not None:
                said(step + 1, STEPS)
    rights: Rights = predictions(trainer.best.eval(), held.pixels, device).logits.argmax(1) == held.labels
    return rights


def _recall(name: str, on_drawn: Rights, on_real: Rights) -> TaughtRecall:
    n, generated, real = len(on_drawn), int(on_drawn.sum()), int(on_real.sum())
    return TaughtRecall(name, n, generated, exact_interval(generated, n), real, exact_interval(real, n))
