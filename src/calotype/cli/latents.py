"""``calotype latents``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from calotype import pictures
from calotype.cli.parse import parse
from calotype.cli.sample import picture_name, require_place, write_grid
from calotype.data import Images
from calotype.data import load as read_source
from calotype.data.images import some
from calotype.errors import UserError
from calotype.settings import Count, Depth, Seed
from calotype.tasks import latents
from calotype.tasks.pixels import given, labels_for, to_tensor, training_images
from calotype.tasks.sample import Generator, load

USAGE = """usage: calotype latents reconstruct|interpolate|neighbors|plane RUN [OPTIONS]

  reconstruct  images beside what is left of them after a way through the latents
  interpolate  images on the way from one to another
  neighbors    the training images whose latents are nearest to those of an image
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
    out: Path = Path("reconstruct.png")  # the picture to write
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
    path: latents.Path = "spherical"  # linear: a straight line
    label: str | None = None  # class of all images (conditional models); the first class where none is given
    out: Path = Path("interpolate.png")  # the picture to write
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class NeighborsOptions:
    """Training images whose latents are nearest to those of an image: a row for each, the image first.

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
    out: Path = Path("neighbors.png")  # the picture to write
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
    out: Path = Path("plane.png")  # the picture to write
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Run one of the four; prints where its picture is."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if words[0] not in COMMANDS:
        raise UserError(f"unknown command 'latents {words[0]}': choose one of {', '.join(COMMANDS)}")
    return COMMANDS[words[0]](words[1:])


def _reconstruct(words: list[str]) -> int:
    options = parse(ReconstructOptions, words, "calotype latents reconstruct")
    out = _require(options.out)
    generator = load(options.run, options.device)
    found = given(options.images, generator.spec, options.count)
    made = latents.reconstruct(generator, found.image, _labels(generator, options.label, len(found), found.label))
    error = (made - found.image).square().flatten(1).mean(1).clamp(min=1e-8)
    psnr = float((10 * torch.log10(4 / error)).mean())
    pairs = torch.stack([found.image, made], 1).flatten(0, 1)
    facts = {"images": len(found), "psnr": round(psnr, 2)}
    return _done(pairs, out, min(8, 2 * len(found)), options.json, facts, f"mean PSNR {psnr:.1f} dB")


def _interpolate(words: list[str]) -> int:
    options = parse(InterpolateOptions, words, "calotype latents interpolate")
    out = _require(options.out)
    if bool(options.seeds) == bool(options.images):
        raise UserError("name the ends of the way: --seeds 1 2, or --images a.png b.png")
    generator = load(options.run, options.device)
    label = _class(generator, options.label)
    if options.seeds:
        ends = latents.of_seeds(generator, list(options.seeds))
    else:
        images = given(options.images, generator.spec, 1).image
        ends = latents.encode(generator, images, None if label is None else torch.full((len(images),), label))
    made = latents.interpolate(generator, ends, options.steps, options.path, label)
    return _done(made, out, options.steps, options.json, {"images": len(made)})


def _neighbors(words: list[str]) -> int:
    options = parse(NeighborsOptions, words, "calotype latents neighbors")
    out = _require(options.out)
    generator = load(options.run, options.device)
    pool = _pool(options.run, options.data, generator)
    inside = latents.encode(generator, to_tensor(pool.pixels), _labels(generator, None, len(pool), labels_for(pool, generator.spec)))
    if options.images:
        found = given(options.images, generator.spec, options.count)
        queries, label = found.image, _labels(generator, options.label, len(found), found.label)
    else:
        queries, label = _drawn(generator, options)
    index, distance = latents.neighbors(latents.encode(generator, queries, label), inside, options.nearest)
    rows = [torch.cat([query[None], to_tensor(np.asarray(pool.pixels[near]))]) for query, near in zip(queries, index, strict=True)]
    facts = {"images": len(queries), "neighbors": index.tolist(), "distances": np.round(distance, 4).tolist()}
    return _done(torch.cat(rows), out, 1 + index.shape[1], options.json, facts)


def _plane(words: list[str]) -> int:
    options = parse(PlaneOptions, words, "calotype latents plane")
    out = _require(options.out)
    generator = load(options.run, options.device)
    made = latents.plane(generator, options.side, options.axes, _class(generator, options.label))
    return _done(made, out, options.side, options.json, {"images": len(made)})


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "reconstruct": _reconstruct,
    "interpolate": _interpolate,
    "neighbors": _neighbors,
    "plane": _plane,
}


def _require(out: Path) -> Path:
    """The name of the picture. Raises `UserError` for a place that is none, before anything is computed."""
    out = picture_name(out)
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


def _drawn(generator: Generator, options: NeighborsOptions) -> tuple[Tensor, Tensor | None]:
    """Images to find neighbors of, with their labels: of each class in turn where none is asked for."""
    if not generator.model.conditional:
        return generator.sample(options.count, seed=options.seed), None
    asked = generator.label(options.label)
    labels = [index % len(generator.spec.classes) if asked is None else asked for index in range(options.count)]
    images = [generator.sample(1, seed=options.seed, start=index, label=label) for index, label in enumerate(labels)]
    return torch.cat(images), torch.tensor(labels)


def _pool(run: Path, data: str | None, generator: Generator) -> Images:
    """The images among which neighbors are looked for."""
    if data is None:
        return training_images(run)
    return read_source(data, size=generator.spec.size, channels=generator.spec.channels).train


def _done(images: Tensor, out: Path, columns: int, as_json: bool, facts: Mapping[str, object], more: str = "") -> int:
    write_grid(out, pictures.to_uint8(images), columns)
    said = f"{some(len(images), 'image')} in {out}" + (f"; {more}" if more else "")
    print(json.dumps({**facts, "written": str(out)}) if as_json else said)
    return 0
