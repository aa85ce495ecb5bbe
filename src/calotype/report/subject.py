"""What is judged: a run, a model or a folder of images, brought to one form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calotype import pictures
from calotype.data import Images, Split, load
from calotype.data.images import digests
from calotype.engine.run import Run
from calotype.errors import UserError
from calotype.tasks.sample import Generator
from calotype.tasks.sample import load as load_model
from calotype.types import ImageSpec

Pixels = NDArray[np.uint8]
SPLIT = ("mnist5k", "mnist", "fashion-mnist", "cifar10")  # sources that hold out a part of themselves
Say = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True)
class Subject:
    """What a report is about, and the real images beside it."""

    name: str
    images: Pixels  # (N, H, W, C) uint8: what is judged, unselected
    train: Images | None = None
    holdout: Images | None = None
    generator: Generator | None = None
    records: list[dict[str, Any]] = field(default_factory=list)  # of the training log
    grids: list[tuple[int, Pixels]] = field(default_factory=list)  # (step, the same noise drawn after it)
    about: dict[str, str] = field(default_factory=dict)
    recipe: str | None = None
    train_seed: int | None = None
    notes: tuple[str, ...] = ()


def open_subject(
    path: Path, count: int, seed: int, *, data: str | None = None, holdout: str | None = None, device: str = "auto", say: Say | None = None
) -> Subject:
    """The subject at ``path`` with ``count`` images: drawn with ``seed``, or the first of a folder in a fixed random order.

    ``data`` and ``holdout`` name training images and held-out images; a run knows its own.

    Raises:
        UserError: where there is nothing to judge, or images do not have one shape.
    """
    if (path / "checkpoints").is_dir() and (path / "config.json").is_file():
        subject = _of_run(Run.open(path), count, seed, data, holdout, device, say)
    elif (path / "model.safetensors").is_file():
        subject = _of_model(path, count, seed, data, holdout, device, say)
    else:
        subject = _of_images(path, count, seed, data, holdout)
    return _without_overlap(subject)


def _of_run(run: Run, count: int, seed: int, data: str | None, holdout: str | None, device: str, say: Say | None) -> Subject:
    config, facts = run.read_config()
    generator = load_model(run.folder, device)
    d, (train, held) = config.data, _reals(data, holdout, generator.spec)
    if train is None:
        split = load(d.source, size=d.size, channels=d.channels, fit=d.fit, holdout=d.holdout)
        if split.fingerprint != facts["data"]["fingerprint"]:
            raise UserError(f"the images of {d.source} changed since the run was trained: name its training images with --data")
        train, held = split.train, held or split.holdout
    log = run.log().read()
    steps = max((r.get("step", 0) for r in log), default=0)
    subject = _drawn(generator, count, seed, train, held, say)
    about = subject.about | {
        "recipe": config.recipe,
        "training": f"{steps:,} steps of {config.train.batch} images",
        "training data": f"{train.name}, {len(train):,} images",
    }
    grids = _grids(run, config.log.grid, generator)
    return replace(
        subject, name=run.folder.resolve().name, records=log, grids=grids, about=about, recipe=config.recipe, train_seed=config.train.seed
    )


def _of_model(path: Path, count: int, seed: int, data: str | None, holdout: str | None, device: str, say: Say | None) -> Subject:
    generator = load_model(path, device)
    train, held = _reals(data, holdout, generator.spec)
    name = path.resolve().name if path.resolve().name != "model" else path.resolve().parent.name
    return replace(_drawn(generator, count, seed, train, held, say), name=name, recipe=generator.recipe or None)


def _of_images(path: Path, count: int, seed: int, data: str | None, holdout: str | None) -> Subject:
    if not path.exists():
        raise UserError(f"{path} does not exist: give a run, a model folder, or a folder of images")
    found = load(str(path), holdout=0).train
    if len(found) < 2:
        raise UserError(f"{path} holds one image: a judgement needs hundreds")
    train, held = _reals(data, holdout, None)
    for real in filter(None, (train, held)):
        if real.pixels.shape[1:] != found.pixels.shape[1:]:
            raise UserError(
                f"the images of {path} are {_shape(found.pixels)} and those of {real.name} {_shape(real.pixels)}: "
                "bring both to one size first, with the same filter (calotype data prepare --size)"
            )
    order = np.random.default_rng(seed).permutation(len(found))[:count]
    about = {"images": f"{len(found):,} of {_shape(found.pixels)}"}
    return Subject(path.resolve().name, np.asarray(found.pixels[np.sort(order)]), train, held, about=about)


def _reals(data: str | None, holdout: str | None, spec: ImageSpec | None) -> tuple[Images | None, Images | None]:
    """Training and held-out images, each where it is named, in the shape that a model draws; a source's own holdout counts as one."""
    held = None if holdout is None else _shaped(holdout, spec, 0).train
    if data is None:
        return None, held
    split = _shaped(data, spec, 0.1 if data in SPLIT else 0)
    return split.train, split.holdout if held is None and data in SPLIT else held


def _shaped(source: str, spec: ImageSpec | None, holdout: float) -> Split:
    """A source as the model draws: made smaller where need be, with nothing invented."""
    if spec is None:
        return load(source, holdout=holdout)
    try:
        split = load(source, holdout=holdout)
    except UserError:  # images of several sizes
        split = load(source, size=spec.size, channels=spec.channels, holdout=holdout)
    own = split.train.spec
    if own.channels != spec.channels or own.size < spec.size:
        raise UserError(f"the model draws {_named(spec)} images, and {source} holds {_named(own)} ones: name the images it was trained on")
    return split if own.size == spec.size else load(source, size=spec.size, channels=spec.channels, holdout=holdout)


def _drawn(generator: Generator, count: int, seed: int, train: Images | None, held: Images | None, say: Say | None) -> Subject:
    if not generator.model.draws:
        raise UserError("a classifier draws no images: name a generator to judge, and this one with --features")
    parts = []
    for part in generator.batches(count, {}, seed=seed, batch_size=100):
        parts.append(pictures.to_uint8(part))
        if say:
            say("drawing samples", sum(map(len, parts)), count)
    parameters = sum(p.numel() for p in generator.model.parameters())
    about = {"model": f"{parameters:,} parameters", "images": f"{generator.spec.size}x{generator.spec.size}x{generator.spec.channels}"}
    return Subject("", np.concatenate(parts), train, held, generator, about=about)


def _grids(run: Run, count: int, generator: Generator) -> list[tuple[int, Pixels]]:
    spec = generator.spec
    grids = []
    for path in sorted(run.samples.glob("step-*.png")) if count else ():
        with Image.open(path) as picture:
            cut = pictures.ungrid(picture, count, spec.size, spec.channels)
        if cut is not None:
            grids.append((int(path.stem.removeprefix("step-")), cut))
    return grids


def _without_overlap(subject: Subject) -> Subject:
    """The subject without held-out images that are training images too: they would hide copying."""
    train, held = subject.train, subject.holdout
    if train is None or held is None or not len(held) or train.pixels.shape[1:] != held.pixels.shape[1:]:
        return subject
    known = {row.tobytes() for row in digests(train.pixels)}
    fresh = np.array([row.tobytes() not in known for row in digests(held.pixels)])
    if fresh.all():
        return subject
    lost = int((~fresh).sum())
    if lost > len(held) // 2:
        raise UserError(f"{lost} of {len(held)} held-out images are training images: give a --holdout of images that the model never saw")
    kept = replace(
        held,
        pixels=held.pixels[fresh],
        labels=None if held.labels is None else held.labels[fresh],
        fingerprint=held.fingerprint + f"-{lost}",
    )
    return replace(subject, holdout=kept, notes=(*subject.notes, f"{lost} held-out images are training images too and were left out"))


def _shape(pixels: Pixels) -> str:
    return _named(ImageSpec(pixels.shape[1], pixels.shape[3]))


def _named(spec: ImageSpec) -> str:
    return f"{spec.size}x{spec.size} {'color' if spec.channels == 3 else 'grey'}"
