"""``calotype sample``."""

from __future__ import annotations

import json
import math
import re
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from calotype import scatter
from calotype.cli.outputs import picture_name, require_grid, require_place, tell_unmarked, with_suffix, write_grid, write_npy, write_picture
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.data.images import some
from calotype.engine.device import require_memory
from calotype.errors import UserError
from calotype.files import obstacle, unused
from calotype.models import sampling_of_families
from calotype.modes import PointModes
from calotype.provenance.marker import Provenance
from calotype.provenance.watermark import WatermarkKey, key_of
from calotype.settings import Count, Seed
from calotype.tasks.sample import Generator, draw, load
from calotype.tasks.watermark import CHECKED, found_again

_OPTION = "options of the model, all behind one --option:" + "".join(
    f"\n{family}" + "".join(f"\n- {one.name}: {one.help} ({one.takes})" for one in settings)
    for family, settings in sampling_of_families().items()
)


@dataclass(frozen=True)
class Options:
    """Draw images from a trained model.

    Reads the run's model/ folder alone. The same seed gives the same images; with another batch size a few values in a hundred
    thousand may differ by one level of 255, because sums are rounded otherwise. The picture is samples.png where none of --out,
    --dir and --npy is given, or samples-2.png ... where that is there; --out and --npy replace what is there. Every picture says that it
    was made, by which weights and from which seed: calotype trace reads that, and makes the picture anew. With --watermark the first images
    are read again, and it is said where the watermark is not found in all of them: not every model leads back to its noise.

    Examples:
    calotype sample runs/flow-matching-mnist5k-0001 --count 64 --seed 0 --out grid.png
    calotype sample runs/flow-matching-mnist5k-0001 --count 1000 --label 3 --dir threes
    calotype sample runs/flow-matching-mnist5k-0001 --option steps=3 guidance=5
    calotype sample runs/flow-matching-mnist5k-0001 --watermark watermark.key
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # a run, or a model/ folder
    count: Count = 64  # images to draw
    seed: Seed = 0  # another seed, other images
    label: str | None = None  # class to draw, by name, or by number from 0 where no name is a number (conditional models)
    out: Path | None = None  # write one picture of all of them side by side (a name without suffix gets .png)
    dir: Path | None = None  # write each as a PNG of its own into this folder, which must not hold images of the same names
    # write all as one (N, H, W, C) uint8 array, of points their places (N, 2) float32 (a name without suffix gets .npy)
    npy: Path | None = None
    option: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE", help=_OPTION)] = ()
    batch_size: Count = 64  # drawn at once, fewer of large images
    provenance: Provenance = "full"  # what pictures say of their making; minimal: that they were made, but not how
    # a key that calotype watermark key made: images carry its invisible watermark, which calotype trace reads (diffusion, flows)
    watermark: Annotated[Path | None, tyro.conf.arg(metavar="KEYFILE")] = None
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Sample; prints where the images are."""
    options = parse(Options, words, "calotype sample")
    settings = settings_of(words, options.option)
    out, npy = options.out and picture_name(options.out), options.npy and with_suffix(options.npy, ".npy", (".npy",))
    if out is None and options.dir is None and npy is None:
        out = unused(Path("samples.png"))
    _require_places(options, out, npy)
    watermark = key_of(options.watermark)
    generator, keep = load(options.run, options.device), out is not None or npy is not None
    if generator.spec.points is not None:
        return _points(options, generator, generator.spec.points, settings, out, npy)
    if keep:
        size = 3 * options.count * math.prod(generator.spec.shape)  # in batches, in one array, side by side
        require_memory(size, f"{some(options.count, 'image')} in one file", "give a smaller --count, or --dir for a file each")
    if out is not None:
        require_grid(out, options.count, generator.spec)
    with closing(Shell()) as display:
        chunks = draw(
            generator,
            options.count,
            settings,
            display.show,
            "sampling",
            seed=options.seed,
            label=options.label,
            batch_size=options.batch_size,
            folder=options.dir,
            keep=None if keep else CHECKED * (watermark is not None),
            provenance=options.provenance,
            watermark=watermark,
        )
    if npy is not None:
        write_npy(npy, np.concatenate(chunks))
    if out is not None:
        seed, label, at_once = options.seed, options.label, options.batch_size
        marker = generator.marker_of(options.count, settings, seed=seed, label=label, batch_size=at_once, watermark=watermark)
        write_grid(out, np.concatenate(chunks), None, marker.at(options.provenance))
    tell_unmarked(options.provenance)
    watermarked: dict[str, object] = {}
    if watermark is not None and options.count:
        watermarked = _watermarked(generator, np.concatenate(chunks)[:CHECKED], watermark, options)
    places = [str(p) for p in (out, options.dir, npy) if p is not None]
    facts = {"count": options.count, "seed": options.seed, "written": places, **watermarked}
    print(json.dumps(facts) if options.json else f"{some(options.count, 'image')} in {', '.join(places)}")
    return 0


def _watermarked(generator: Generator, images: NDArray[np.uint8], key: WatermarkKey, options: Options) -> dict[str, object]:
    """In how many of the images the watermark is found again; says so where it is not found in all of them."""
    with closing(Shell()) as display:
        display.show("reading the watermark again", 0, 1)
        found = found_again(generator, images, key, options.seed, options.batch_size)
        display.show("reading the watermark again", 1, 1)
    if found < len(images):
        said = f"the watermark is found again in {found} of {some(len(images), 'image')} that were read, unchanged as they are"
        print(f"calotype: {said}: do not rely on it with this model", file=sys.stderr)
    return {"watermark": {"key": key.id, "found": found, "looked_at": len(images)}}


def _points(
    options: Options, generator: Generator, modes: PointModes, settings: dict[str, float | str], out: Path | None, npy: Path | None
) -> int:
    """Sample points: a scatter plot, and their places as numbers; prints where these are."""
    if options.watermark is not None:
        raise UserError(f"{options.run} makes points of {modes.name}, which are no pictures: leave --watermark out")
    if options.dir is not None:
        raise UserError(f"{options.run} makes points of {modes.name}, which are no files by themselves: --npy in place of --dir")
    parts = generator.batches(options.count, settings, seed=options.seed, label=options.label, batch_size=options.batch_size)
    places = np.concatenate([scatter.in_units(part, modes) for part in parts])
    if npy is not None:
        write_npy(npy, places)
    if out is not None:
        marker = generator.made("overview", seed=options.seed, options=settings).at(options.provenance)
        write_picture(out, scatter.scatter(places, modes), some(options.count, "point"), marker)
    tell_unmarked(options.provenance)
    written = [str(p) for p in (out, npy) if p is not None]
    facts = {"count": options.count, "seed": options.seed, "written": written}
    print(json.dumps(facts) if options.json else f"{some(options.count, 'point')} in {', '.join(written)}")
    return 0


def _require_places(options: Options, out: Path | None, npy: Path | None) -> None:
    """Raise `UserError` where something cannot be written, before anything is drawn."""
    for path in (out, npy):
        if path is not None:
            require_place(path)
    if options.dir is None:
        return
    if reason := obstacle(options.dir, folder=True):
        raise UserError(f"cannot write into {options.dir}: {reason}; choose another --dir")
    there = {path.name for path in options.dir.iterdir()} if options.dir.is_dir() else set()
    numbers = (re.fullmatch(r"(\d{6,})\.png", name) for name in sorted(there))
    if taken := next((found[0] for found in numbers if found and int(found[1]) < options.count), None):
        raise UserError(f"{options.dir} holds {taken} already: choose another --dir, or take the images out of it first")


def settings_of(words: list[str], given: tuple[str, ...]) -> dict[str, float | str]:
    """The options of the model. Raises `UserError` for what is not NAME=VALUE, and where tyro would drop some of them."""
    times = sum(word.split("=")[0] == "--option" for word in words)
    if times > 1:
        raise UserError("--option is given more than once: give all in one, such as --option steps=4 guidance=4")
    if times and not given:
        raise UserError("--option needs NAME=VALUE, such as --option steps=4")
    settings = [_setting(word) for word in given]
    names = [name for name, _ in settings]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"--option gives {twice} twice: give it once")
    return dict(settings)


def _setting(word: str) -> tuple[str, float | str]:
    name, _, value = word.partition("=")
    if not name or not value:
        raise UserError(f"--option takes NAME=VALUE, such as steps=4, not {word!r}")
    try:
        return name, int(value) if value.removeprefix("-").isdecimal() else float(value)
    except ValueError:
        return name, value
