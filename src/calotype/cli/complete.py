"""``calotype complete``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from calotype import pictures
from calotype.cli.outputs import picture_name, require_grid, require_place, tell_unmarked, write_grid
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.data.images import some
from calotype.engine.display import progress
from calotype.files import unused
from calotype.provenance.marker import Provenance
from calotype.settings import Count, Seed, Share, SolverSteps
from calotype.tasks.complete import complete, require_rows
from calotype.tasks.model_inputs import given
from calotype.tasks.sample import load


@dataclass(frozen=True)
class Options:
    """Finish images of which the upper part is given, with an autoregressive model (pixelcnn, pixel-transformer).

    Each row shows what was kept, then the completions, then the image as it was.

    Examples:
    calotype complete runs/pixelcnn-mnist5k-0001 --images mnist5k
    calotype complete runs/pixelcnn-photos-0001 --images a.png b.png --keep 0.7 --samples 8
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # a run, or a model/ folder
    images: tuple[str, ...]  # image files, folders, zips or data sets (of those, held-out images)
    count: Count = 8  # images of each source
    keep: Share = 0.5  # share of each image, from the top, that is kept
    samples: SolverSteps = 6  # completions of each
    label: str | None = None  # class to draw (conditional models); that of the images where their source knows it
    seed: Seed = 0  # another seed, other completions
    out: Path | None = None  # the picture to write, replaced where it exists; else complete.png, complete-2.png ..., whichever is free
    provenance: Provenance = "full"  # what the picture says of its making; minimal: that a model had a part in it, but not how
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Complete; prints where the picture is."""
    options = parse(Options, words, "calotype complete")
    out = picture_name(options.out or unused(Path("complete.png")))
    require_place(out)
    generator = load(options.run, options.device)
    label = generator.label(options.label)
    require_rows(generator, options.keep)
    found = given(options.images, generator.spec, options.count)
    require_grid(out, len(found) * (options.samples + 2), generator.spec, options.samples + 2)
    labels = found.label if label is None else torch.full((len(found),), label)
    with closing(Shell()) as display:
        said = progress(display.show, "completing")
        made = complete(generator, found.image, options.keep, label=labels, samples=options.samples, seed=options.seed, progress=said)
    kept = found.image.clone()
    kept[:, :, round(options.keep * kept.shape[2]) :] = 0  # gray, which no completion is
    rows = torch.cat([kept[:, None], made, found.image[:, None]], 1)
    marker = generator.made(
        "completion",
        seed=options.seed,
        index=0,
        cells=len(found) * options.samples,
        label=options.label,
        options={"keep": options.keep, "samples": options.samples},
    )
    write_grid(out, pictures.to_uint8(rows.flatten(0, 1)), rows.shape[1], marker.at(options.provenance))
    tell_unmarked(options.provenance)
    facts = {"images": len(found), "samples": options.samples, "written": str(out)}
    print(json.dumps(facts) if options.json else f"{some(len(found), 'image')}, {some(options.samples, 'completion')} each, in {out}")
    return 0
