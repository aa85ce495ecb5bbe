"""``calotype latents``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from calotype import pictures
from calotype.cli.outputs import picture_name, require_grid, require_place, tell_unmarked, write_grid
from calotype.cli.parse import parse, run_subcommand
from calotype.cli.shell import Shell
from calotype.data import Images
from calotype.data.images import some
from calotype.engine.display import progress
from calotype.errors import UserError
from calotype.evaluation.neighbors import Nearest, beside_each, facts, pool, told
from calotype.evaluation.request import Request
from calotype.files import unused
from calotype.provenance.marker import Marker, Provenance
from calotype.settings import Count, Depth, Seed
from calotype.tasks import latents
from calotype.tasks.model_inputs import given, labels_for, to_tensor
from calotype.tasks.sample import Generator, load

USAGE = """usage: calotype latents reconstruct|interpolate|neighbors|plane RUN [OPTIONS]

  reconstruct  images beside what is left of them after a way through the latents
  interpolate  images on the way from one to another
  neighbors    the training images whose latents are nearest to those of an image (calotype neighbors: those that look alike)
  plane        all that two of the latents do

calotype latents reconstruct runs/vae-mnist5k-0001 --images mnist5k
calotype latents interpolate runs/vae-mnist5k-0001 --seeds 1 2 3 --label 7
calotype latents neighbors runs/vae-mnist5k-0001 --images mnist5k
calotype latents plane runs/vae-mnist5k-0001 --axes 0 1 --label 7

calotype latents COMMAND --help shows the options."""

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True)
class ReconstructOptions:
    """Images beside what is left of them after a way through the latents: each pair side by side, the image first.

    Example:
    calotype latents reconstruct runs/vae-mnist5k-0001 --images mnist5k
    """

    run: RunFolder  # a run, or a model/ folder
    images: tuple[str, ...]  # image files, folders, zips or data sets (of those, held-out images)
    count: Count = 32  # images of each source
    label: str | None = None  # class of all images (conditional models); that which their source tells where none is given
    out: Path | None = None  # the picture to write, replaced where it exists; else the first free of reconstruct.png, reconstruct-2.png ...
    provenance: Provenance = "full"  # what the picture says of its making; minimal: that a model had a part in it, but not how
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class InterpolateOptions:
    """Images on the way from each end to the next: one row for each way.

    Example:
    calotype latents interpolate runs/vae-mnist5k-0001 --seeds 1 2 3 --label 7
    """

    run: RunFolder  # a run, or a model/ folder
    seeds: tuple[Seed, ...] = ()  # of the ends, as calotype sample --seed takes them
    images: tuple[str, ...] = ()  # image files as ends, in place of seeds
    steps: Depth = 10  # images on each way, both ends included
    path: latents.Interpolation = "spherical"  # linear: a straight line
    label: str | None = None  # class of all images (conditional models); the first class where none is given
    out: Path | None = None  # the picture to write, replaced where it exists; else the first free of interpolate.png, interpolate-2.png ...
    provenance: Provenance = "full"  # what the picture says of its making; minimal: that a model had a part in it, but not how
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class NeighborsOptions:
    """Training images whose latents are nearest to those of an image, by name; in the picture a row for each, the image first.

    It shows what a model takes for alike. For what looks alike, and for models without an encoder, there is calotype neighbors, which
    prints the same.

    Example:
    calotype latents neighbors runs/vae-mnist5k-0001 --images mnist5k --count 4
    """

    run: RunFolder  # a run, or a model/ folder
    images: tuple[str, ...] = ()  # whose neighbors to find; images drawn from the model where none are given
    count: Count = 8  # images of each source, or drawn
    nearest: Count = 7  # neighbors of each
    label: str | None = None  # class of all these images (conditional models); that which their source tells where none is given
    data: str | None = None  # where to look for neighbors; the run's own training images where none is given
    seed: Seed = 0  # of the drawn images
    out: Path | None = None  # the picture to write, replaced where it exists; else neighbors.png, neighbors-2.png ..., whichever is free
    provenance: Provenance = "full"  # what the picture says of its making; minimal: that a model had a part in it, but not how
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class PlaneOptions:
    """What two of the latents do while the others are zero: every picture stands for an equal share of the normal distribution.

    Example:
    calotype latents plane runs/vae-mnist5k-0001 --side 20 --label 7
    """

    run: RunFolder  # a run, or a model/ folder
    side: Depth = 15  # pictures along each axis
    axes: tuple[Seed, Seed] = (0, 1)  # the latents that vary, downwards and to the right
    label: str | None = None  # class of all images (conditional models); the first class where none is given
    out: Path | None = None  # the picture to write, replaced where it exists; else plane.png, plane-2.png ..., whichever is free
    provenance: Provenance = "full"  # what the picture says of its making; minimal: that a model had a part in it, but not how
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Run one of the four; prints where its picture is."""
    return run_subcommand(words, "latents", USAGE, COMMANDS)


def _model(options: ReconstructOptions | InterpolateOptions | NeighborsOptions | PlaneOptions) -> Generator:
    generator = load(options.run, options.device)
    generator.require_images()
    return generator


def _reconstruct(words: list[str]) -> int:
    options = parse(ReconstructOptions, words, "calotype latents reconstruct")
    out = _require(options.out, "reconstruct.png")
    generator = _model(options)
    latents.require_encoder(generator)
    found = given(options.images, generator.spec, options.count)
    require_grid(out, 2 * len(found), generator.spec, min(8, 2 * len(found)))
    label = _labels(generator, options.label, len(found), found.label)
    with closing(Shell()) as display:
        made = latents.reconstruct(generator, found.image, label, progress(display.show, "encoding and decoding"))
    error = (made - found.image).square().flatten(1).mean(1).clamp(min=1e-8)
    psnr = float((10 * torch.log10(4 / error)).mean())
    pairs = torch.stack([found.image, made], 1).flatten(0, 1)
    facts = {"images": len(found), "psnr": round(psnr, 2)}
    marker = generator.made("overview", label=options.label)
    return _done(pairs, out, min(8, 2 * len(found)), options, marker, facts, f"mean PSNR {psnr:.1f} dB")


def _interpolate(words: list[str]) -> int:
    options = parse(InterpolateOptions, words, "calotype latents interpolate")
    out = _require(options.out, "interpolate.png")
    if bool(options.seeds) == bool(options.images):
        raise UserError("name the ends of the way: --seeds 1 2, or --images a.png b.png")
    generator = _model(options)
    label = _class(generator, options.label)
    if options.images:
        latents.require_encoder(generator)
    images = given(options.images, generator.spec, 1).image if options.images else None
    require_grid(out, max(1, len(options.seeds or options.images) - 1) * options.steps, generator.spec, options.steps)
    with closing(Shell()) as display:
        if images is None:
            ends = latents.of_seeds(generator, list(options.seeds))
        else:
            labels = None if label is None else torch.full((len(images),), label)
            ends = latents.encode(generator, images, labels, progress(display.show, "encoding"))
        made = latents.interpolate(generator, ends, options.steps, options.path, label, progress(display.show, "decoding"))
    way = {"path": options.path, "steps": options.steps} | ({} if images is not None else {"seeds": " ".join(map(str, options.seeds))})
    marker = generator.made("decoding" if images is None else "overview", label=options.label, options=way)
    return _done(made, out, options.steps, options, marker, {"images": len(made)})


def _neighbors(words: list[str]) -> int:
    options = parse(NeighborsOptions, words, "calotype latents neighbors")
    out = _require(options.out, "neighbors.png")
    generator, columns = _model(options), 1 + options.nearest
    try:
        latents.require_encoder(generator)
    except UserError as error:
        raise UserError(f"{error}; calotype neighbors finds those that look alike, of any model") from None
    spec = generator.spec
    found = given(options.images, spec, options.count) if options.images else None
    label = _labels(generator, options.label, len(found), found.label) if found else _labels_of_drawn(generator, options)
    count = len(found) if found else options.count
    require_grid(out, columns * count, spec, columns)
    with closing(Shell()) as display:
        others = pool(options.run, Request(data=options.data, say=display.show, tell=display.say, offers=frozenset()), spec, spec)
        labels = _labels(generator, None, len(others), labels_for(others, spec))
        queries = found.image if found else latents.draw_each(generator, options.count, options.seed, label)
        of_queries = latents.encode(generator, queries, label)
        inside = _latents_of(generator, others, labels, display)
    near = Nearest("latents", *latents.neighbors(of_queries, inside, options.nearest))
    names = found.names if found else tuple(f"seed {options.seed}, image {row}" for row in range(count))
    marker = Marker("comparison") if found else generator.made("overview", seed=options.seed, label=options.label)
    sheet = beside_each(pictures.to_uint8(queries), others, near.index)
    write_grid(out, sheet, 1 + near.index.shape[1], marker.at(options.provenance))
    tell_unmarked(options.provenance)
    print(json.dumps(facts(names, others, near) | {"written": str(out)}) if options.json else "\n".join(told(names, others, near, out)))
    return 0


def _plane(words: list[str]) -> int:
    options = parse(PlaneOptions, words, "calotype latents plane")
    out = _require(options.out, "plane.png")
    generator = _model(options)
    require_grid(out, options.side**2, generator.spec, options.side)
    label = _class(generator, options.label)
    with closing(Shell()) as display:
        made = latents.plane(generator, options.side, options.axes, label, progress(display.show, "decoding"))
    marker = generator.made("decoding", label=options.label, options={"axes": " ".join(map(str, options.axes)), "side": options.side})
    return _done(made, out, options.side, options, marker, {"images": len(made)})


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "reconstruct": _reconstruct,
    "interpolate": _interpolate,
    "neighbors": _neighbors,
    "plane": _plane,
}


def _require(asked: Path | None, otherwise: str) -> Path:
    """The name of the picture. Raises `UserError` for a place that is none, before anything is computed."""
    out = picture_name(asked or unused(Path(otherwise)))
    require_place(out)
    return out


def _labels(generator: Generator, asked: str | None, count: int, own: Tensor | NDArray[np.int64] | None) -> Tensor | None:
    """The labels of given images, (count,): those asked for, else their own; None where the model knows no classes."""
    number = generator.label(asked)
    if number is not None:
        return torch.full((count,), number)
    if not generator.model.conditional:
        return None
    if own is None:
        raise UserError("this model makes images by class, and these images have no labels that it knows: name their class with --label")
    return torch.as_tensor(own)


def _class(generator: Generator, asked: str | None) -> int | None:
    """The one class of all images: the one asked for, else the first of a conditional model."""
    number = generator.label(asked)
    return 0 if number is None and generator.model.conditional else number


def _labels_of_drawn(generator: Generator, options: NeighborsOptions) -> Tensor | None:
    """The classes to draw: each in turn where none is asked for."""
    asked = generator.label(options.label)
    if not generator.model.conditional:
        return None
    return torch.tensor([row % len(generator.spec.classes) if asked is None else asked for row in range(options.count)])


def _latents_of(generator: Generator, images: Images, labels: Tensor | None, display: Shell) -> Tensor:
    """The latents of many images."""
    parts = []
    display.show("latents of real images", 0, len(images))
    for start in range(0, len(images), latents.BATCH):
        rows = slice(start, start + latents.BATCH)
        some = to_tensor(np.asarray(images.pixels[rows]))
        parts.append(latents.encode(generator, some, None if labels is None else labels[rows]))
        display.show("latents of real images", min(rows.stop, len(images)), len(images))
    return torch.cat(parts)


_Asked = ReconstructOptions | InterpolateOptions | PlaneOptions


def _done(images: Tensor, out: Path, columns: int, asked: _Asked, marker: Marker, facts: Mapping[str, object], more: str = "") -> int:
    write_grid(out, pictures.to_uint8(images), columns, marker.at(asked.provenance))
    tell_unmarked(asked.provenance)
    said = f"{some(len(images), 'image')} in {out}" + (f"; {more}" if more else "")
    print(json.dumps({**facts, "written": str(out)}) if asked.json else said)
    return 0
