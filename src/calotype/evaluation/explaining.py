"""What an explanation needs, opened, and the parts that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from calotype import pictures
from calotype.capabilities import Classifies, HasDecoder, HasEncoder, HasLatents
from calotype.data import Images
from calotype.engine.display import Display, Terminal, progress
from calotype.errors import UserError
from calotype.evaluation import explaining_families
from calotype.evaluation.beside import named, of_run
from calotype.evaluation.neighbors import beside_each, neighbors
from calotype.evaluation.reference_set import known
from calotype.evaluation.request import Request
from calotype.evaluation.target import run_of
from calotype.explanation.ablation import unit_ablation
from calotype.explanation.attributes import Attribute, beliefs, class_log_odds, measured
from calotype.explanation.codes import Codes
from calotype.explanation.interpolation import interpolations
from calotype.explanation.inversion import STEPS, Inversion, Inverted, error_ratio, invert
from calotype.explanation.layers import inner_layers
from calotype.explanation.named import Labelled, NamedDirections, named_directions
from calotype.explanation.nearest import NearestTraining
from calotype.explanation.saliency import JudgedImages
from calotype.explanation.section import Explanation, Pixels, Section
from calotype.explanation.traversal import BASES
from calotype.explanation.unsupervised import SHOWN, UnsupervisedDirections, unsupervised
from calotype.files import expanded, name_of
from calotype.metrics.features import NAMES, FeatureSpace, default, pick, second
from calotype.metrics.features import of_run as space_of_run
from calotype.settings import Count, value
from calotype.tasks import latents
from calotype.tasks.model_inputs import Given, given, labels_for, to_tensor
from calotype.tasks.sample import Generator, class_named, load

SAMPLES, SLOW_SAMPLES = 2_000, 300
"""Images that directions are learned from: of a model with a decoder, and of one that passes its network many times for an image."""
INVERTED = 24  # training images, and as many held-out ones, that are sought
GIVEN = 32  # images of each source
NEIGHBORS, DRAWN = 5, 8
NEAR_AT_FIRST = 100  # training images for each drawn one, of which a slow network finds the nearest
FEWEST = 50  # labelled images of a class
DIGITS = "digits"  # the recognizer of digits that the package carries, where a model is asked for and no folder is called so


@dataclass(frozen=True)
class Explained:
    """A model, opened, and all that parts may ask for beside it."""

    name: str
    generator: Generator
    train: Images | None  # in the shape of the model; None where they are not known
    holdout: Images | None
    given: Given | None  # images that somebody named
    judge: FeatureSpace | None  # a classifier of such images, which has ``classes``
    label: int | None  # the one class to explain; None for all
    directions: tuple[str, ...]  # the directions to explain, by name; none for all
    count: int  # images that directions are learned from
    steps: int  # of inversion
    request: Request

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.request.seed

    def progress(self, what: str) -> Callable[[int, int], None] | None:
        """What is told how far a work has come."""
        return progress(self.request.say, what)

    @cached_property
    def codes(self) -> Codes | None:
        """Of a model with latents."""
        return Codes(self.generator) if isinstance(self.generator.model, HasLatents) else None

    @cached_property
    def judged(self) -> JudgedImages | None:
        """What attributions explain, of a classifier or a discriminator."""
        return explaining_families.judged_images(self)

    @cached_property
    def attributes(self) -> list[Attribute]:
        """What is measured of images: without a classifier, and, where the model is told no class, the classes that one knows."""
        found, judge = measured(self.generator.spec), self.judge
        if judge is not None and not self.generator.model.conditional:
            for k, name in enumerate(judge.classes):
                found.append(Attribute(f"class-{name}", "log-odds", f"how sure the classifier is of {name}", class_log_odds(judge, k)))
        return found


@dataclass(frozen=True)
class ExplanationPart:
    """One line of the table of parts."""

    name: str
    make: Callable[[Explained], Section | None]  # None for a model without what it takes


def _unsupervised(one: Explained) -> Section | None:
    return None if one.codes is None else unsupervised(one.codes, one.attributes, one.directions, one.seed, one.label)


def _named(one: Explained) -> Section | None:
    codes = one.codes
    if codes is None or (one.directions and not set(one.directions) & set(_names(one))):
        return None
    labels = codes.labels(one.count, one.label)
    drawn = codes.draw(one.count, one.seed, labels)
    told = one.progress("drawing images")
    parts = []
    for at in range(0, one.count, latents.BATCH):
        rows = slice(at, at + latents.BATCH)
        parts.append(codes.images(drawn[rows], None if labels is None else labels[rows]))
        if told is not None:
            told(min(rows.stop, one.count), one.count)
    known, wanted = _labelled(one, codes), [name for name in one.directions if name in _names(one)]
    bases = BASES if isinstance(one.generator.model, HasDecoder) else BASES // 4
    attributes = one.attributes
    return named_directions(
        codes,
        drawn,
        torch.cat(parts),
        labels,
        attributes,
        known=known,
        wanted=wanted,
        bases=bases,
        seed=one.seed,
        progress=one.progress("walking along directions"),
    )


def _labelled(one: Explained, codes: Codes) -> Labelled | None:
    """Codes of which the class is known: encoded training images of a model that is told no class; styles, which are made of the class."""
    generator, train = one.generator, one.train
    if codes.styled is not None and generator.model.conditional and one.label is None:
        labels = codes.labels(one.count)
        assert labels is not None
        return Labelled(
            codes.draw(one.count, one.seed, labels), labels, generator.spec.classes, f"{one.count:,} drawn styles of all classes"
        )
    if generator.model.conditional or not isinstance(generator.model, HasEncoder) or train is None or train.labels is None:
        return None
    if np.bincount(train.labels, minlength=len(train.classes)).min() < FEWEST:
        return None
    rows = np.sort(np.random.default_rng(one.seed).permutation(len(train))[: one.count])
    x = to_tensor(np.asarray(train.pixels[rows]))
    z = latents.encode(generator, x, progress=one.progress("encoding training images")).flatten(1)
    return Labelled(z, torch.from_numpy(train.labels[rows]), train.classes, f"{len(rows):,} training images, encoded")


def _ablation(one: Explained) -> Section | None:
    codes, judge = one.codes, one.judge
    if codes is None or judge is None or not isinstance(one.generator.model, HasDecoder):
        return None
    own = {name: k for k, name in enumerate(one.generator.spec.classes)}
    label = torch.tensor([own.get(name, -1) for name in judge.classes]) if one.generator.model.conditional else None
    if label is not None and one.label is not None:
        label = torch.where(label == one.label, label, -1)
    if label is not None and not (label >= 0).any():
        return None
    return unit_ablation(
        codes, inner_layers(codes), lambda x: beliefs(judge, x), judge.classes, label, seed=one.seed, progress=one.progress
    )


def _inversion(one: Explained) -> Section | None:
    codes, model = one.codes, one.generator.model
    if codes is None or not isinstance(model, HasDecoder):
        return None
    sets: list[tuple[str, Inverted]] = []

    def sought(what: str, x: Tensor, labels: Tensor | None, names: tuple[str, ...]) -> Inverted:
        told = one.progress(f"inverting {what}")
        found = invert(codes, x, labels, steps=one.steps, seed=one.seed, names=names, progress=told)
        sets.append((what, found))
        return found

    if one.given is not None:
        sought("images given", one.given.image, one.given.label, one.given.names)
    of: dict[str, Inverted] = {}
    for what, images in (("training images", one.train), ("held-out images", one.holdout)):
        if images is None or not len(images):
            continue
        rows = np.sort(np.random.default_rng(one.seed).permutation(len(images))[:INVERTED])
        some = images.take(rows)
        labels = labels_for(some, one.generator.spec)
        x, names = to_tensor(np.asarray(some.pixels)), tuple(some.name_of(row) for row in range(len(some)))
        of[what] = sought(what, x, None if labels is None else torch.from_numpy(labels), names)
    if not sets:
        return None
    ratio = error_ratio(of["training images"], of["held-out images"]) if len(of) == 2 else None
    return Inversion(codes.name, one.steps, sets, ratio)


def _nearest(one: Explained) -> Section | None:
    if one.train is None or not one.generator.model.draws or one.generator.model.from_source:
        return None
    images = pictures.to_uint8(one.generator.sample(DRAWN, seed=one.seed, label=one.label))
    some, first = _likely_neighbors(images, one.train, one), ""
    if len(some) < len(one.train):
        first = f", of those the {NEAR_AT_FIRST} nearest of each by coarse pictures"
    found = neighbors(images, some, NEIGHBORS, one.request)
    names = [[some.name_of(row) for row in near] for near in found.index]
    return NearestTraining(beside_each(images, some, found.index), found.distance, names, found.space, len(one.train), first)


def _likely_neighbors(images: Pixels, train: Images, one: Explained) -> Images:
    """The training images that can be near: where the network that says so is slow, those whose coarse pictures are, as copies' are."""
    (space, *_) = pick(None, train.spec)
    if not space.slow or len(train) <= NEAR_AT_FIRST * len(images):
        return train
    coarse = second(space, train.spec)
    there = known(train, (), coarse, one.progress("coarse pictures of training images")).confirm.features
    far = torch.cdist(torch.from_numpy(coarse.of(images).features), torch.from_numpy(there))
    return train.take(np.unique(far.topk(NEAR_AT_FIRST, dim=1, largest=False).indices.numpy()))


def _interpolation(one: Explained) -> Section | None:
    return None if one.codes is None else interpolations(one.codes, one.seed, one.label)


PARTS: tuple[ExplanationPart, ...] = (
    ExplanationPart("denoising", explaining_families.denoising),
    ExplanationPart("latent-units", explaining_families.latent_units),
    ExplanationPart("surprise", explaining_families.pixel_surprise),
    ExplanationPart("named-directions", _named),
    ExplanationPart("unsupervised-directions", _unsupervised),
    ExplanationPart("unit-ablation", _ablation),
    ExplanationPart("inversion", _inversion),
    ExplanationPart("interpolation", _interpolation),
    ExplanationPart("nearest-training-images", _nearest),
    ExplanationPart("integrated-gradients", explaining_families.gradients),
    ExplanationPart("grad-cam", explaining_families.cam),
)


def explain(
    model: str | Path,
    *,
    images: Sequence[str] = (),
    classifier: str | None = None,
    data: str | None = None,
    holdout: str | None = None,
    label: int | str | None = None,
    parts: Sequence[str] = (),
    directions: Sequence[str] = (),
    count: int | None = None,
    steps: int = STEPS,
    seed: int = 0,
    device: str = "auto",
    display: Display | None = None,
) -> Explanation:
    """Why a model makes what it makes.

    Args:
        model: The folder of a run, or a ``model/`` folder; ``digits`` for the recognizer of digits that the package carries.
        images: Images to explain: files, folders, zip archives, or data sets (of those, held-out images).
        classifier: Who says what images show: ``digits``, or the folder of a trained classifier. Where none is given, the packaged
            recognizer of digits for digits, and nobody for all else.
        data: Its training images, where it does not know them itself.
        holdout: Real images that it never saw, likewise.
        label: The one class to explain, by name or place.
        parts: The parts to make, by name (`PARTS`); all that the model has without.
        directions: The directions to explain, by name; all without.
        count: Images that directions are learned from.
        steps: Of the search for the latents of an image.
        seed: Of all that is drawn.
        device: Where the model computes.
        display: Told how far it has come; a bar or lines on stderr where none is given.

    Raises:
        UserError: for a model of which nothing can be explained, for images that do not fit it, and for names that are none.
    """
    with closing(display or Terminal()) as shown:
        _require_parts(parts)
        request = Request(
            data=data, holdout=holdout, seed=seed, device=device, say=shown.show, tell=shown.say, offers=frozenset({"holdout"})
        )
        opened = _opened(Path(model), request, images, classifier, label, directions, count, value("steps", steps, Count))
        made = [part.make(opened) for part in PARTS if not parts or part.name in parts]
    generator, sections = opened.generator, [one for one in made if one is not None]
    _require_made(directions, sections)
    if not sections:
        what = f"what {' and '.join(parts)} take{'s' * (len(parts) == 1)}" if parts else "anything that is explained here"
        raise UserError(f"a {generator.recipe} model has not {what}")
    parameters = sum(p.numel() for p in generator.model.parameters())
    about = {"recipe": generator.recipe, "model": f"{parameters:,} parameters", "images": "x".join(map(str, generator.spec.shape[::-1]))}
    if opened.judge is not None:
        about["classifier"] = opened.judge.name
    return Explanation(opened.name, about, sections, seed=seed)


def opened_model(path: Path, device: str) -> Generator:
    """A model of images to be explained, or the recognizer of digits that the package carries. Raises `UserError` for what is none."""
    generator = load(path, device) if str(path) != DIGITS or path.exists() else explaining_families.packaged(device)
    generator.require_images()
    return generator


def _opened(
    path: Path,
    request: Request,
    images: Sequence[str],
    classifier: str | None,
    label: int | str | None,
    directions: Sequence[str],
    count: int | None,
    steps: int,
) -> Explained:
    generator = opened_model(path, request.device)
    spec, run = generator.spec, run_of(path)
    number = class_named(label, spec.classes) if label is not None and isinstance(generator.model, Classifies) else generator.label(label)
    judge = _judge(classifier, generator)
    slow = not isinstance(generator.model, HasDecoder)
    if count is None:
        count = SLOW_SAMPLES if slow else SAMPLES
    else:
        count = value("count", count, Annotated[Count, Field(ge=100)])
    asked = given(tuple(images), spec, GIVEN) if images else None
    if run is None and generator.recipe == explaining_families.PACKAGED and request.data is None:
        request = replace(request, data="mnist5k")
    if run is None:
        beside = named(request, spec)
    else:
        config, facts = run.read_config()
        beside = of_run(config.data, facts["data"]["fingerprint"], request, spec, spec)
    if request.tell is not None:
        for note in beside.notes:
            request.tell(note)
    opened = Explained(
        name_of(path), generator, beside.train, beside.holdout, asked, judge, number, tuple(directions), count, steps, request
    )
    _require_directions(opened)
    return opened


def _judge(classifier: str | None, generator: Generator) -> FeatureSpace | None:
    """Who says what images show. Raises `UserError` for what is no classifier of such images."""
    name = classifier or ("digits" if default(generator.spec) == "digits" else None)
    if name is None:
        return None
    if name not in NAMES and expanded(name).exists():
        space = space_of_run(expanded(name), generator.device)  # it may be of another size, as one of photographs is
    else:
        space = pick(name, generator.spec, generator.device)[0]
    if not space.classes:
        raise UserError(f"{name!r} tells no classes apart: give as `classifier` digits, or the run of calotype train classifier")
    return space


def _names(one: Explained) -> list[str]:
    """The named directions that the model may have."""
    known = [attribute.name for attribute in one.attributes]
    classes = () if one.train is None else one.train.classes
    styled = one.codes is not None and one.codes.styled is not None
    if styled or (not one.generator.model.conditional and isinstance(one.generator.model, HasEncoder)):
        known += [f"class-{name}" for name in classes if f"class-{name}" not in known]
    return known


def _require_directions(one: Explained) -> None:
    """Raise `UserError` for names of directions that are none."""
    if not one.directions:
        return
    if one.codes is None:
        raise UserError(f"a {one.generator.recipe} model has no latents, and so no directions: leave out `directions`")
    known = [*_names(one), *(f"{kind}-{k}" for kind in ("sefa", "pca") for k in range(1, SHOWN + 1))]
    if unknown := next((name for name in one.directions if name not in known), None):
        raise UserError(f"no direction {unknown!r}: choose of {', '.join(known)}")


def _require_made(directions: Sequence[str], sections: Sequence[Section]) -> None:
    """Raise `UserError` for a direction that was asked for and that no part has."""
    of_all = [one.directions for one in sections if isinstance(one, NamedDirections | UnsupervisedDirections)]
    made = {direction.name for several in of_all for direction in several}
    if lacking := next((name for name in directions if name not in made), None):
        raise UserError(f"the direction {lacking!r} could not be found in this model: leave it out of `directions`")


def _require_parts(parts: Sequence[str]) -> None:
    known = [part.name for part in PARTS]
    if unknown := next((name for name in parts if name not in known), None):
        raise UserError(f"no part {unknown!r} of an explanation: choose of {', '.join(known)}")
