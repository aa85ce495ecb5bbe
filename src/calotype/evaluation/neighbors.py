"""The real images nearest to others, by name, in all the features that reports judge by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calotype.data import Images
from calotype.data.fit import SIZES
from calotype.data.images import some
from calotype.data.prepare import recommended_size
from calotype.data.typical import typical_shape
from calotype.engine.display import progress
from calotype.errors import UserError
from calotype.evaluation.beside import named, of_run
from calotype.evaluation.generator import Pixels
from calotype.evaluation.reference_set import known
from calotype.evaluation.request import Request
from calotype.evaluation.target import run_of
from calotype.metrics.features import pick, second
from calotype.metrics.real_images import near_in
from calotype.metrics.wording import space_in_words
from calotype.types import ImageSpec


@dataclass(frozen=True)
class Nearest:
    """The nearest of some images to each of others, nearest first."""

    space: str  # in which they are near
    index: NDArray[np.int64]  # (N, K) their places
    distance: NDArray[np.float32]  # (N, K)


def shape_of_images(source: str, size: int | None) -> ImageSpec:
    """At which shape a picture, or those of a folder or archive, are compared with others: their own where they are squares.

    Raises:
        UserError: where that must be said with ``size``.
    """
    shape = typical_shape(source)
    if shape is None:
        raise UserError(f"{source} holds no image that can be read")
    width, height, channels = shape
    if size is None and (width != height or not SIZES[0] <= width <= SIZES[1]):
        raise UserError(
            f"the images of {source} are {width}x{height}: say at which size to compare them, for example "
            f"`size={recommended_size(min(width, height))}`"
        )
    return ImageSpec(size or width, channels)


def pool(path: Path, request: Request, own: ImageSpec | None, spec: ImageSpec) -> Images:
    """The real images to look in, in the shape of ``spec``: those that a run was trained on, or those that the request names.

    ``own`` is what the model at ``path`` draws, None where there is none. What is told of them goes to ``request.tell``.

    Raises:
        UserError: where there are none.
    """
    run = None if own is None else run_of(path)
    if run is not None and own is not None:
        config, facts = run.read_config()
        found = of_run(config.data, facts["data"]["fingerprint"], request, own, spec)
    elif request.data is None:
        raise UserError(f"{path} does not say what it was made of: name the images to look for neighbors in with `data`")
    else:
        found = named(request, spec)
    if found.train is None:
        raise UserError(found.notes[0])
    if request.tell is not None:
        for note in found.notes:
            request.tell(note)
    return found.train


def neighbors(queries: Pixels, others: Images, count: int, request: Request) -> Nearest:
    """The ``count`` others nearest to each of ``queries`` in all features of a report, which keeps those of real images.

    Raises `UserError` for features that such images do not have.
    """
    spaces = pick(request.features, others.spec)
    confirm = second(spaces[0], others.spec)
    inside = known(others, spaces, confirm, progress(request.say, "features of real images"))
    return Nearest(near_in(spaces, confirm), *inside.nearest([space.of(queries) for space in spaces], confirm.of(queries), count))


def beside_each(queries: Pixels, others: Images, index: NDArray[np.int64]) -> Pixels:
    """Each image with its neighbors behind it: (N * (1 + K), H, W, C)."""
    return np.concatenate([np.concatenate([query[None], others.pixels[near]]) for query, near in zip(queries, index, strict=True)])


def told(names: tuple[str, ...], others: Images, found: Nearest, picture: Path) -> list[str]:
    """Lines that name the neighbors of each image, with their distances, and where the picture is."""
    lines = []
    for name, near, far in zip(names, found.index, found.distance, strict=True):
        lines += [name, *(f"  {distance:9.4g}  {others.name_of(row)}" for row, distance in zip(near, far, strict=True))]
    return [*lines, f"nearest of {some(len(others), 'image')} of {others.name} by {space_in_words(found.space)}; picture: {picture}"]


def facts(names: tuple[str, ...], others: Images, found: Nearest) -> dict[str, object]:
    """The same for machines."""
    return {
        "images": len(names),
        "names": list(names),
        "space": found.space,
        "data": others.name,
        "neighbors": found.index.tolist(),
        "files": [[others.name_of(row) for row in near] for near in found.index],
        "distances": np.round(found.distance, 4).tolist(),
    }
