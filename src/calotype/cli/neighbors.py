"""``calotype neighbors``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from calotype import pictures
from calotype.cli.outputs import picture_name, require_grid, require_place, tell_unmarked, write_grid
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.data.fit import fit_array
from calotype.data.load import has_a_name
from calotype.errors import UserError
from calotype.evaluation.neighbors import beside_each, facts, neighbors, pool, shape_of_images, told
from calotype.evaluation.request import Request
from calotype.evaluation.target import run_of
from calotype.files import absent, unused
from calotype.metrics.features import pick
from calotype.models import stored
from calotype.provenance.marker import Marker, Provenance
from calotype.settings import Count, ImageSize, Seed
from calotype.tasks.model_inputs import given
from calotype.tasks.sample import Generator, draw, load


@dataclass(frozen=True)
class Options:
    """Find the training images nearest to those that a model draws, or the real images nearest to some of your own: by name, as a picture.

    SUBJECT is a run or a model/ folder, or images: a file, a folder or a zip. Near is what the features of calotype evaluate take for
    near, so that every model can be asked. Each row of the picture shows an image, then its neighbors.

    With --json: {"images", "names", "space", "data", "neighbors", "files", "distances", "written"}; "neighbors" are places in the data,
    counted from 0, and they, "files" and "distances" have a list for each image, nearest first.

    Examples:
    calotype neighbors runs/dcgan-photos-0001
    calotype neighbors runs/dcgan-photos-0001 --images mine.png
    calotype neighbors samples/ --data photos/
    """

    subject: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SUBJECT")]
    images: tuple[str, ...] = ()  # image files, folders, zips or data sets (of those, held-out images), in place of drawn ones
    data: str | None = None  # where to look: any source that calotype train takes; the run's own training images where none is given
    count: Count = 8  # images to draw, or of each source
    nearest: Count = 7  # neighbors of each
    label: str | None = None  # class to draw (conditional models)
    features: str | None = None  # as for calotype evaluate
    size: Annotated[ImageSize | None, tyro.conf.arg(metavar="PIXELS")] = None  # at which images are compared; their own where none is given
    seed: Seed = 0  # of the drawn images, as calotype sample takes it
    provenance: Provenance = "full"  # what the picture says of its making; minimal: that there are drawn images in it, but not how
    out: Path | None = None  # the picture to write, replaced where it exists; else neighbors.png, neighbors-2.png ..., whichever is free
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Find neighbors; prints their names and where the picture is."""
    options = parse(Options, words, "calotype neighbors")
    out, columns = picture_name(options.out or unused(Path("neighbors.png"))), 1 + options.nearest
    require_place(out)
    generator = _generator(options)
    spec = shape_of_images(str(options.subject), options.size) if generator is None else generator.spec
    spec = replace(spec, size=options.size or spec.size)
    pick(options.features, spec)
    with closing(Shell()) as display:
        request = Request(
            data=options.data,
            features=options.features,
            size=options.size,
            device=options.device,
            say=display.show,
            tell=display.say,
            offers=frozenset({"size"}),
        )
        sources = options.images if generator is not None else (str(options.subject),)
        named = given(sources, spec, options.count) if sources else None
        require_grid(out, columns * (len(named) if named else options.count), spec, columns)
        others = pool(options.subject, request, None if generator is None else generator.spec, spec)
        if named is not None:
            images, names = pictures.to_uint8(named.image), named.names
        else:
            assert generator is not None
            drawn = draw(generator, options.count, {}, display.show, "drawing", seed=options.seed, label=options.label)
            images, names = np.concatenate(drawn), tuple(f"seed {options.seed}, image {row}" for row in range(options.count))
            images = fit_array(images, spec.size, None, "crop")
        found = neighbors(images, others, options.nearest, request)
    drawn_ones = None if named is not None or generator is None else generator.made("overview", seed=options.seed, label=options.label)
    marker = drawn_ones or Marker("comparison")
    write_grid(out, beside_each(images, others, found.index), columns, marker.at(options.provenance))
    tell_unmarked(options.provenance)
    print(json.dumps(facts(names, others, found) | {"written": str(out)}) if options.json else "\n".join(told(names, others, found, out)))
    return 0


def _generator(options: Options) -> Generator | None:
    """The model that SUBJECT is; None where it is images. Raises `UserError` for what cannot be asked of it."""
    if not options.subject.exists() and not has_a_name(str(options.subject)):
        raise UserError(absent(options.subject, "a run, a model folder, or images"))
    if run_of(options.subject) is None and stored.folder_of(options.subject) is None:
        if options.images or options.label is not None:
            raise UserError(f"{options.subject} is no model: leave out --images and --label, which are for models")
        return None
    generator = load(options.subject, options.device)
    generator.require_images()
    if generator.model.from_source:
        raise UserError(f"{options.subject} makes images from images: name images in its place, and where to look with --data")
    if options.images and options.label is not None:
        raise UserError("--label is the class to draw, and --images are drawn already: leave out one of them")
    if not options.images:
        generator.batches(options.count, {}, seed=options.seed, label=options.label)  # what cannot be drawn is refused here
    return generator
