"""The parts of an explanation that a family has because of what it is: denoising, latent units, surprise, attributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from calotype import pictures
from calotype.capabilities import Classifies, Denoises, Discriminates, HasEncoder, HasPosterior, LocatesLikelihood
from calotype.data import Images
from calotype.engine.device import pick_device
from calotype.errors import UserError
from calotype.evaluation import likelihoods
from calotype.evaluation.likelihoods import QUICK, LabelledImages
from calotype.explanation.attributes import beliefs
from calotype.explanation.denoising import DenoisingPath, denoising_path
from calotype.explanation.judging import judged_by_classifier, judged_by_discriminator
from calotype.explanation.saliency import Attribution, JudgedImages, cam_part, gradients_part
from calotype.explanation.surprise import SHOWN, PixelSurprise, surprise
from calotype.explanation.units import LatentUnits, moves_single_units, traversal, unit_activity
from calotype.metrics.features_kinds import embedded_digits
from calotype.tasks.latents import draw_each
from calotype.tasks.model_inputs import labels_for, to_tensor
from calotype.tasks.sample import Generator
from calotype.types import Noise

if TYPE_CHECKING:
    from calotype.evaluation.explaining import Explained

PACKAGED = "digits recognizer"
PATHS = 64  # images whose way from noise is followed
JUDGED, FEWER = 8, 4  # images that are explained, and of large ones; of a discriminator half of them are drawn
LARGE = 64  # pixels a side above which images are large
RANKED = 100  # images of either kind by which a discriminator is judged


def packaged(device: str) -> Generator:
    """The recognizer of digits that the package carries."""
    return Generator(embedded_digits()[0], PACKAGED, pick_device(device))


def denoising(one: Explained) -> DenoisingPath | None:
    """The path of denoising of diffusion and flow matching models."""
    model = one.generator.model
    if not isinstance(model, Denoises):
        return None
    device, count = one.generator.device, max(16, min(PATHS, PATHS * 32**2 // model.spec.size**2))
    label = _labels_to_draw(one, count)
    classes_of = None
    judge = one.judge
    if judge is not None and judge.classes:

        def classes_of(images: Tensor) -> Tensor:
            return beliefs(judge, images).argmax(1)

    noise, told = Noise(count, one.seed, device=device), one.progress("following images from noise")
    return denoising_path(model, noise, None if label is None else label.to(device), classes_of=classes_of, progress=told)


def latent_units(one: Explained) -> LatentUnits | None:
    """Divergences and traversals of VAEs."""
    model = one.generator.model
    if not isinstance(model, HasPosterior) or not isinstance(model, HasEncoder):
        return None
    images = one.holdout if one.holdout is not None and len(one.holdout) > 1 else one.train
    found = None if images is None else _known(one, images, QUICK)
    if found is None:
        return None
    x, label = _tensors(found, one.generator)
    activity = unit_activity(model, x, label)
    base = x[:1] if one.given is None else one.given.image[:1].to(x.device)
    own = None if label is None else label[:1]
    if one.given is not None and model.conditional:
        if one.given.label is None:
            _tell(one, "latent units: the class of the named image is not known, so that it is taken for one of that of a held-out image")
        own = own if one.given.label is None else one.given.label[:1].to(x.device)
    moved = traversal(model, x, base, label, base_label=own)
    return LatentUnits(activity, moved, moves_single_units(model, len(activity.nats)))


def pixel_surprise(one: Explained) -> PixelSurprise | None:
    """Bits of pixels of autoregressive models and flows."""
    model = one.generator.model
    if not isinstance(model, LocatesLikelihood):
        return None
    named = one.given is not None and (not model.conditional or one.given.label is not None)
    if named and one.given is not None:
        known: tuple[Tensor, Tensor | None] | None = (one.given.image, one.given.label)
    else:
        if one.given is not None:
            _tell(one, "surprise: the classes of the named images are not known to the model, so that held-out ones are shown")
        some = None if one.holdout is None else _known(one, one.holdout, likelihoods.count(one.generator, len(one.holdout), QUICK))
        known = None if some is None else _tensors(some, one.generator)
    held = None if known is None else surprise(model, *known, seed=one.seed)
    label = _labels_to_draw(one, SHOWN)
    drawn = pictures.to_uint8(draw_each(one.generator, SHOWN, one.seed, label))
    first = None if known is None else pictures.to_uint8(known[0][:SHOWN])
    return PixelSurprise(held, surprise(model, to_tensor(drawn), label, seed=one.seed), (first, drawn), named)


def gradients(one: Explained) -> Attribution | None:
    """Integrated gradients of classifiers and discriminators."""
    judged = one.judged
    return None if judged is None else gradients_part(judged, one.seed, one.progress("integrated gradients and their sanity check"))


def cam(one: Explained) -> Attribution | None:
    """Grad-CAM of classifiers and discriminators."""
    judged = one.judged
    return None if judged is None else cam_part(judged, one.seed, one.progress("Grad-CAM and its sanity check"))


def judged_images(one: Explained) -> JudgedImages | None:
    """What attributions explain: images that a classifier or a discriminator judges; None for a model that is neither."""
    model, device = one.generator.model, one.generator.device
    count = JUDGED if one.generator.spec.size <= LARGE else FEWER
    if isinstance(model, Classifies):
        held = None if one.holdout is None else _labelled(one.holdout, one)
        if one.given is not None:
            return judged_by_classifier(model, one.given.image[:count].to(device), one.given.names[:count], held, one.label)
        images = one.holdout if one.holdout is not None and len(one.holdout) else one.train
        if images is None or not len(images):
            return None
        rows = _spread(images, one, count)
        x = to_tensor(np.asarray(images.pixels[rows])).to(device)
        return judged_by_classifier(model, x, tuple(images.name_of(int(row)) for row in rows), held, one.label)
    if isinstance(model, Discriminates) and model.draws and one.holdout is not None and len(one.holdout):
        found = likelihoods.known(one.generator, one.holdout)
        if found is None:
            return None
        real, of_real = _tensors(found.some(RANKED, one.seed), one.generator)
        label = _labels_to_draw(one, RANKED)
        drawn = draw_each(one.generator, RANKED, one.seed, label)
        names = tuple(one.holdout.name_of(int(row)) for row in found.chosen(RANKED, one.seed))
        of_both = (of_real, None if label is None else label.to(device))
        return judged_by_discriminator(model, real, names, drawn.to(device), of_both, count // 2)
    return None


def _spread(images: Images, one: Explained, count: int) -> list[int]:
    """Images to be explained: of each class in turn, or of the one that is asked for, as the model numbers its classes."""
    if images.labels is None:
        return list(range(min(count, len(images))))
    if one.label is not None:
        own = labels_for(images, one.generator.spec)
        rows = [] if own is None else np.flatnonzero(own == one.label)[:count].tolist()
        if not rows:
            raise UserError(f"there are no held-out images of the class {one.generator.spec.classes[one.label]}: name some with `images`")
        return [int(row) for row in rows]
    place = np.zeros(len(images), np.int64)  # of each image among those of its class
    for k in range(len(images.classes)):
        rows = np.flatnonzero(images.labels == k)
        place[rows] = np.arange(len(rows))
    return [int(row) for row in np.lexsort((images.labels, place))[:count]]


def _labelled(images: Images, one: Explained) -> tuple[Tensor, Tensor] | None:
    """Some images by chance with their classes as the model numbers them, which a classifier is not told."""
    labels = labels_for(images, one.generator.spec)
    if labels is None or not len(images):
        return None
    x, label = _tensors(LabelledImages(images.pixels, labels).some(QUICK, one.seed), one.generator)
    return None if label is None else (x, label)


def _known(one: Explained, images: Images, count: int) -> LabelledImages | None:
    """The same images by chance that a report asks of, with the labels that the model needs; None where it needs some that they lack."""
    found = likelihoods.known(one.generator, images)
    return None if found is None else found.some(count, one.seed)


def _tensors(images: LabelledImages, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Images (N, C, H, W) in [-1, 1] and their labels (N,), where the model computes."""
    x, condition = images.batch(slice(None), generator.device)
    return x, condition.label


def _tell(one: Explained, what: str) -> None:
    if one.request.tell is not None:
        one.request.tell(f"calotype: {what}")


def _labels_to_draw(one: Explained, count: int) -> Tensor | None:
    """Each class in turn, or the one that is asked for; None for a model that knows none."""
    if not one.generator.model.conditional:
        return None
    classes = len(one.generator.spec.classes)
    return torch.tensor([row % classes if one.label is None else one.label for row in range(count)])
