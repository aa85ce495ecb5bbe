"""What is judged: a run, a model or a folder of images, brought to one form."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calotype import pictures
from calotype.config import Config
from calotype.data import Images, Split, load
from calotype.data.images import digests
from calotype.engine.images import open_images
from calotype.engine.run import Run
from calotype.errors import UserError
from calotype.files import name_of
from calotype.tasks.sample import Generator
from calotype.tasks.sample import load as load_model
from calotype.types import ImageSpec

Pixels = NDArray[np.uint8]
SPLIT = ("mnist5k", "mnist", "fashion-mnist", "cifar10")  # sources that hold out a part of themselves
Say = Callable[[str, int, int], None]  # (what, done, total)
Look = Callable[[Images | None, Images | None, int], None]  # at (training images, holdout, images to judge), before the work begins
SELECTED = "these weights were chosen among others by a score during the training: they look better by scores than they are"


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
    settings: str = ""  # what runs share that differ in nothing but their training seed
    train_seed: int | None = None
    notes: tuple[str, ...] = ()
    steps: int | None = None  # of the training that led to the weights
    train_threads: int | None = None
    seconds_per_1000: float | None = None  # for 1,000 images, while these were drawn


@dataclass(frozen=True)
class _Wish:
    """How many images to judge, beside which real ones."""

    count: int
    seed: int
    data: str | None
    holdout: str | None
    device: str
    say: Say | None
    look: Look


def open_subject(
    path: Path,
    count: int,
    seed: int,
    *,
    data: str | None = None,
    holdout: str | None = None,
    device: str = "auto",
    say: Say | None = None,
    look: Look = lambda train, holdout, n: None,
) -> Subject:
    """The subject at ``path`` with ``count`` images: drawn with ``seed``, or the first of a folder in a fixed random order.

    ``data`` and ``holdout`` name training images and held-out images; a run, and the weights inside one, know their own. ``look`` sees
    the real images before anything is drawn.

    Raises:
        UserError: where there is nothing to judge, or images do not have one shape.
    """
    wish = _Wish(count, seed, data, holdout, device, say, look)
    if _is_run(path):
        return _of_run(Run.open(path), path, wish)
    weights = path.resolve()
    if weights.name in ("best", "model") and _is_run(weights.parent) and (weights / "model.safetensors").is_file():
        return _of_run(Run.open(weights.parent), weights, wish)
    return _of_model(path, wish) if (path / "model.safetensors").is_file() else _of_images(path, wish)


def _is_run(path: Path) -> bool:
    return (path / "checkpoints").is_dir() and (path / "config.json").is_file()


def _of_run(run: Run, weights: Path, wish: _Wish) -> Subject:
    """A run with its last weights, or with those in one of its folders."""
    config, facts = run.read_config()
    generator, selected = load_model(weights, wish.device), weights.name == "best" and weights != run.folder
    d, (train, held) = config.data, _reals(wish.data, wish.holdout, generator.spec)
    own = train is None and held is None
    if train is None:
        split = open_images(d)
        if split.fingerprint != facts["data"]["fingerprint"]:
            raise UserError(f"the images of {d.source} changed since the run was trained: name its training images with --data")
        train, held = split.train, held or split.holdout
    held, notes = (held, _duplicates(train, held)) if own and held else _without_overlap(train, held)
    log = run.log().read()
    steps = max((r.get("step", 0) for r in log if not selected or r.get("best")), default=0)
    subject = _drawn(generator, train, held, wish)
    about = subject.about | {
        "recipe": config.recipe,
        "training": f"{steps:,} steps of {config.train.batch} images",
        "training data": f"{train.name}, {len(train):,} images",
    }
    grids = _grids(run, config.log.grid, generator)
    return replace(
        subject,
        name=name_of(weights),
        records=log,
        grids=grids,
        about=about,
        recipe=config.recipe,
        settings=settings_of(config, "best" if selected else ""),
        train_seed=config.train.seed,
        steps=steps,
        train_threads=facts["resolved"]["threads"],
        notes=(*notes, SELECTED) if selected else tuple(notes),
    )


def settings_of(config: Config, which: str = "") -> str:
    """The first 12 hexadecimal digits of the SHA-256 of all that decides what a run computes but its seed.

    The budget counts as it was asked for: other minutes are another recipe. What a run logs does not count, unless it may end the
    training. ``which`` tells weights of one run from each other.
    """
    tree = asdict(config)
    del tree["train"]["seed"]
    log = tree.pop("log")
    if config.log.patience is not None:
        tree["stop"] = {name: log[name] for name in ("evaluate", "evaluate_images", "patience")}
    return hashlib.sha256(json.dumps([tree, which], sort_keys=True).encode()).hexdigest()[:12]


def _of_model(path: Path, wish: _Wish) -> Subject:
    generator = load_model(path, wish.device)
    train, held = _reals(wish.data, wish.holdout, generator.spec)
    held, notes = _without_overlap(train, held)
    return replace(_drawn(generator, train, held, wish), name=name_of(path), recipe=generator.recipe or None, notes=tuple(notes))


def _of_images(path: Path, wish: _Wish) -> Subject:
    if not path.exists():
        raise UserError(f"{path} does not exist: give a run, a model folder, or a folder of images")
    found = load(str(path), holdout=0).train
    if len(found) < 2:
        raise UserError(f"{path} holds one image: a judgement needs hundreds")
    train, held = _reals(wish.data, wish.holdout, None)
    for real in filter(None, (train, held)):
        if real.pixels.shape[1:] != found.pixels.shape[1:]:
            raise UserError(
                f"the images of {path} are {_shape(found.pixels)} and those of {real.name} {_shape(real.pixels)}: "
                "bring both to one size first, with the same filter (calotype data prepare --size)"
            )
    held, notes = _without_overlap(train, held)
    order = np.random.default_rng(wish.seed).permutation(len(found))[: wish.count]
    wish.look(train, held, len(order))
    about = {"images": f"{len(found):,} of {_shape(found.pixels)}"}
    return Subject(path.resolve().name, np.asarray(found.pixels[np.sort(order)]), train, held, about=about, notes=tuple(notes))


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


def _drawn(generator: Generator, train: Images | None, held: Images | None, wish: _Wish) -> Subject:
    if not generator.model.draws:
        raise UserError("a classifier draws no images: name a generator to judge, and this one with --features")
    wish.look(train, held, wish.count)
    parts, began = [], time.perf_counter()
    for part in generator.batches(wish.count, {}, seed=wish.seed, batch_size=100):
        parts.append(pictures.to_uint8(part))
        if wish.say:
            wish.say("drawing samples", sum(map(len, parts)), wish.count)
    seconds = time.perf_counter() - began
    parameters = sum(p.numel() for p in generator.model.parameters())
    about = {"model": f"{parameters:,} parameters", "images": f"{generator.spec.size}x{generator.spec.size}x{generator.spec.channels}"}
    images = np.concatenate(parts)
    return Subject("", images, train, held, generator, about=about, seconds_per_1000=1000 * seconds / len(images))


def _grids(run: Run, count: int, generator: Generator) -> list[tuple[int, Pixels]]:
    spec = generator.spec
    grids = []
    for path in sorted(run.samples.glob("step-*.png")) if count else ():
        with Image.open(path) as picture:
            cut = pictures.ungrid(picture, count, spec.size, spec.channels)
        if cut is not None:
            grids.append((int(path.stem.removeprefix("step-")), cut))
    return grids


def _without_overlap(train: Images | None, held: Images | None) -> tuple[Images | None, list[str]]:
    """The holdout without images that are training images too, because they would hide copying, and a note where there were any."""
    if train is None or held is None or not len(held) or train.pixels.shape[1:] != held.pixels.shape[1:]:
        return held, []
    fresh = _fresh(train, held)
    if fresh.all():
        return held, []
    lost = int((~fresh).sum())
    if lost > len(held) // 2:
        raise UserError(f"{lost} of {len(held)} held-out images are training images: give a --holdout of images that the model never saw")
    kept = replace(
        held,
        pixels=held.pixels[fresh],
        labels=None if held.labels is None else held.labels[fresh],
        fingerprint=held.fingerprint + f"-{lost}",
    )
    return kept, [f"{lost} held-out images are training images too and were left out"]


def _duplicates(train: Images, held: Images) -> list[str]:
    """A note on held-out images that the source holds twice, one of them for training: by chance, so that they stay."""
    same = int((~_fresh(train, held)).sum())
    return [f"{same} of {len(held)} held-out images are duplicates of training images: {train.name} holds them twice"] if same else []


def _fresh(train: Images, held: Images) -> NDArray[np.bool_]:
    """Which held-out images are not among the training images."""
    known = {row.tobytes() for row in digests(train.pixels)}
    return np.array([row.tobytes() not in known for row in digests(held.pixels)], bool)


def _shape(pixels: Pixels) -> str:
    return _named(ImageSpec(pixels.shape[1], pixels.shape[3]))


def _named(spec: ImageSpec) -> str:
    return f"{spec.size}x{spec.size} {'color' if spec.channels == 3 else 'grey'}"
