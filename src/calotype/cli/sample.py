"""``calotype sample``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from calotype import pictures
from calotype.cli.parse import parse
from calotype.engine.display import Terminal
from calotype.errors import UserError
from calotype.tasks.sample import load, write_images


@dataclass(frozen=True)
class Options:
    """Draw images from a trained model.

    Reads the run's model/ folder alone. The same seed gives the same images, whatever the batch size.

    Examples:
    calotype sample runs/flow-matching-mnist5k-0001 --count 64 --seed 0 --out grid.png
    calotype sample runs/flow-matching-mnist5k-0001 --count 1000 --label 3 --dir threes
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # a run, or a model/ folder
    count: int = 64  # images to draw
    seed: int = 0  # another seed, other images
    label: str | None = None  # class to draw, by name or number (conditional models)
    out: Path | None = None  # write one picture of all of them side by side
    dir: Path | None = None  # write each as a PNG of its own into this folder
    npy: Path | None = None  # write all as one (N, H, W, C) uint8 array
    option: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=NUMBER")] = field(
        default=()
    )  # of the model, such as steps=50 guidance=2
    batch_size: int = 64  # drawn at once
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Sample; prints where the images are."""
    options = parse(Options, words, "calotype sample")
    if options.count < 1 or options.batch_size < 1:
        raise UserError("--count and --batch-size must be 1 or more")
    out = options.out
    if out is None and options.dir is None and options.npy is None:
        out = Path("samples.png")
    for path in (out, options.npy):
        if path is not None and not path.parent.is_dir():
            raise UserError(f"no folder {path.parent} to write {path.name} into: create it, or choose another place")
    generator = load(options.run, options.device)
    settings = dict(_number(word) for word in options.option)
    display, chunks, done = Terminal(), [], 0
    if options.dir is not None:
        options.dir.mkdir(parents=True, exist_ok=True)
    keep = out is not None or options.npy is not None
    for batch in generator.batches(options.count, settings, seed=options.seed, label=options.label, batch_size=options.batch_size):
        images = pictures.to_uint8(batch)
        if options.dir is not None:
            write_images(images, options.dir, done)
        if keep:
            chunks.append(images)
        done += len(images)
        display.show("sampling", done, options.count)
    display.close()
    if options.npy is not None:
        write_npy(options.npy, np.concatenate(chunks))
    if out is not None:
        pictures.save(pictures.grid(np.concatenate(chunks)), out)
    places = [str(p) for p in (out, options.dir, options.npy) if p is not None]
    print(json.dumps({"count": done, "seed": options.seed, "written": places}) if options.json else f"{done} images in {', '.join(places)}")
    return 0


def write_npy(path: Path, images: np.ndarray) -> None:
    """Write an array as a .npy file, whole or not at all."""
    from calotype.files import write_atomic

    write_atomic(path, lambda stream: np.save(stream, images, allow_pickle=False))


def _number(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    try:
        return name, int(value) if value.isdecimal() else float(value)
    except ValueError:
        raise UserError(f"--option takes NAME=NUMBER, such as steps=50, not {word!r}") from None
