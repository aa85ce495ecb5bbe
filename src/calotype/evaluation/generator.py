"""Generators, and folders of the images that one made, brought to one form before they are judged."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calotype import pictures
from calotype.data import Images, load
from calotype.data.decode import MAX_BYTES, UnusableError, decode
from calotype.data.fit import fit_array
from calotype.data.images import Skipped, some
from calotype.data.load import short_name
from calotype.engine.device import require_memory
from calotype.engine.display import Say, progress
from calotype.engine.run import Run
from calotype.errors import UserError, printable
from calotype.evaluation.beside import Beside, left_out, named, of_run, reading, shape_of, squared
from calotype.evaluation.request import Request
from calotype.evaluation.target import SELECTED, run_of, settings_of, taken
from calotype.files import absent, expanded, name_of
from calotype.metrics.features import pick
from calotype.models import stored
from calotype.tasks.sample import Generator
from calotype.tasks.sample import load as load_model
from calotype.types import ImageSpec

Pixels = NDArray[np.uint8]
FULL, SHORT = 2_000, 400
"""Images that a report draws, and those of the short one at the end of a training."""


@dataclass(frozen=True)
class Candidate:
    """A generator, or images that something else drew, and the real images beside them."""

    name: str
    images: Pixels  # (N, H, W, C) uint8: what is judged, unselected; none before `draw`
    train: Images | None = None
    holdout: Images | None = None
    generator: Generator | None = None
    count: int = 0  # images to judge
    records: list[dict[str, Any]] = field(default_factory=list)  # of the training log
    grids: list[tuple[int, Pixels]] = field(default_factory=list)  # (step, the same noise drawn after it)
    about: dict[str, str] = field(default_factory=dict)
    recipe: str | None = None
    settings: str = ""  # what runs share that differ in nothing but their training seed
    taken: Mapping[str, object] = field(default_factory=dict)  # settings of its training beside those of the model: "train.ema"
    train_seed: int | None = None
    notes: tuple[str, ...] = ()
    steps: int | None = None  # of the training that led to the weights
    train_threads: int | None = None
    seconds_per_1000: float | None = None  # for 1,000 images, while these were drawn
    overlap: int = 0  # images that the holdout had beside its own, and that are training images

    @property
    def through(self) -> tuple[str, ...]:
        """The feature networks that its model was trained through, as far as one is known."""
        return () if self.generator is None else self.generator.model.through


def open_candidate(path: Path, request: Request) -> Candidate:
    """What is to be judged at ``path`` with its real images, before anything is drawn: `draw` does that.

    Raises:
        UserError: where there is nothing to judge, images do not have one shape, and for more of them than memory holds.
    """
    if (run := run_of(path)) is not None:
        candidate = _of_run(run, path if run.folder == path else path.resolve(), request)
    else:
        candidate = _of_model(path, request) if stored.folder_of(path) is not None else _of_images(path, request)
    if request.tell is not None:
        for note in candidate.notes:
            request.tell(note)
    return candidate


def draw(candidate: Candidate, seed: int, say: Say | None = None) -> Candidate:
    """The candidate with its images: a folder has them, a model draws them with ``seed``, and they are brought to the size to judge at."""
    generator = candidate.generator
    if generator is None:
        return candidate
    size, parts = candidate.images.shape[1], []
    batches = generator.batches(candidate.count, {}, seed=seed, batch_size=100)
    said = progress(say, "drawing samples")
    began = time.perf_counter()
    for part in batches:
        parts.append(pictures.to_uint8(part))
        if said is not None:
            said(sum(map(len, parts)), candidate.count)
    seconds = time.perf_counter() - began
    images = fit_array(np.concatenate(parts), size, None, "crop")
    return replace(candidate, images=images, seconds_per_1000=1000 * seconds / len(images))


def _of_run(run: Run, weights: Path, request: Request) -> Candidate:
    """A run with its last weights, or with those in one of its folders."""
    config, facts = run.read_config()
    generator, selected = load_model(weights, request.device), weights.name == "best" and weights != run.folder
    spec = _judged(generator, request)
    beside = of_run(config.data, facts["data"]["fingerprint"], request, generator.spec, spec)
    log = run.log().read()
    steps = max((r.get("step", 0) for r in log if not selected or r.get("best")), default=0)
    candidate = _of_generator(weights, generator, spec, beside, request)
    trained = short_name(Path(config.data.source)) if beside.train is None else f"{beside.train.name}, {len(beside.train):,} images"
    about = {
        "recipe": config.recipe,
        "training": f"{steps:,} steps of {config.train.batch} images",
        "training data": trained,
        **squared(config.data.source, config.data.fit),
    }
    grids, odd = _grids(run, config.log.grid, generator.spec)
    return replace(
        candidate,
        records=log,
        grids=grids,
        about=candidate.about | about,
        recipe=config.recipe,
        settings=settings_of(config, "best" if selected else ""),
        taken=taken(config),
        train_seed=config.train.seed,
        steps=steps,
        train_threads=facts["resolved"]["threads"],
        notes=(*candidate.notes, *odd, *((SELECTED,) if selected else ())),
    )


def _of_model(path: Path, request: Request) -> Candidate:
    generator = load_model(path, request.device)
    spec = _judged(generator, request)
    return _of_generator(path, generator, spec, named(request, spec), request)


def _of_images(path: Path, request: Request) -> Candidate:
    if not path.exists():
        raise UserError(absent(path, "a run, a model folder, or a folder of images"))
    for option, source in (("data", request.data), ("holdout", request.holdout)):
        if source is not None and expanded(source).resolve() == path.resolve():
            raise UserError(f"{path} is what is judged and `{option}` as well: name other images with `{option}`")
    count, said = _count(request), request.progress(reading(str(path)))
    found = load(str(path), size=request.size, fit=request.fit or "crop", holdout=0, progress=said).train
    if len(found) < 2:
        raise UserError(f"{path} holds one image: a judgement needs hundreds")
    _require_features(request, found.spec)
    beside = named(request, found.spec)
    order = np.random.default_rng(request.seed).permutation(len(found))[:count]
    about = {"images": f"{len(found):,} of {shape_of(found.spec)}", **squared(str(path), request.fit or "crop")}
    fewer = (f"{path} holds {len(found):,} images, not {count:,}",) if request.count is not None and len(found) < count else ()
    notes = (*left_out(str(path), found.skipped), *fewer, *beside.notes)
    pixels = np.asarray(found.pixels[np.sort(order)])
    return Candidate(
        path.resolve().name, pixels, beside.train, beside.holdout, count=len(order), about=about, notes=notes, overlap=beside.overlap
    )


def _judged(generator: Generator, request: Request) -> ImageSpec:
    """What the images of a model are judged as. Raises `UserError` for more of them than memory holds."""
    spec, count = replace(generator.spec, size=request.size or generator.spec.size), _count(request)
    _require_features(request, spec, generator.model.through)
    size = 3 * count * spec.channels * max(spec.size, generator.spec.size) ** 2  # in batches, in one array, and before the scores
    require_memory(size, f"{some(count, 'image')} of {shape_of(spec)}", "give a smaller `count`")
    return spec


def _count(request: Request) -> int:
    count = request.count if request.count is not None else SHORT if request.short else FULL
    if count < 2:
        raise UserError(f"a judgement needs hundreds of images, not {count}: give a larger `count`")
    return count


def _require_features(request: Request, spec: ImageSpec, through: tuple[str, ...] = ()) -> None:
    """Raise `UserError` for features that there are not, that such images have none of, or that would flatter their model."""
    if request.features is not None:
        pick(request.features, spec, through=through)


def _of_generator(path: Path, generator: Generator, spec: ImageSpec, beside: Beside, request: Request) -> Candidate:
    parameters = sum(p.numel() for p in generator.model.parameters())
    own = generator.spec
    about = {"model": f"{parameters:,} parameters", "images": f"{own.size}x{own.size}x{own.channels}"}
    if spec.size != own.size:
        about["images"] += f", judged at {spec.size}x{spec.size}"
    none = np.empty((0, spec.size, spec.size, spec.channels), np.uint8)
    return Candidate(
        name_of(path),
        none,
        beside.train,
        beside.holdout,
        generator,
        count=_count(request),
        about=about,
        recipe=generator.recipe or None,
        notes=beside.notes,
        overlap=beside.overlap,
    )


def _grids(run: Run, count: int, spec: ImageSpec) -> tuple[list[tuple[int, Pixels]], tuple[str, ...]]:
    """The grids of a training, and a note on files among them that are none."""
    grids, odd = [], []
    for path in sorted(run.samples.glob("*.png")) if count else ():
        try:
            grids.append(_grid(path, count, spec))
        except UnusableError as error:
            odd.append(Skipped(printable(path.name), str(error)))
    return grids, left_out(str(run.samples), odd)


def _grid(path: Path, count: int, spec: ImageSpec) -> tuple[int, Pixels]:
    """The step and the images of a grid. Raises ``UnusableError`` for anything else."""
    step = re.fullmatch(r"step-(\d{1,18})\.png", path.name)
    if step is None or not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise UnusableError("it is no grid of this training")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from None
    cut = pictures.ungrid(decode(data, path.name), count, spec.size, spec.channels)
    if cut is None:
        raise UnusableError("it is no grid of this training")
    return int(step[1]), cut
