"""``calotype degrade``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype import degrade
from calotype.cli.outcomes import About, ended, printable_lines, stopped, written
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.data.decode import MAX_PIXELS
from calotype.provenance.marker import Provenance
from calotype.settings import CompressionQuality, Count, Positive, Seed
from calotype.spelling import as_options
from calotype.tasks.batch import Interrupted, degrade_files
from calotype.tasks.inputs import open_inputs
from calotype.tasks.places import existing_of, targets


@dataclass(frozen=True)
class Options:
    """Degrade pictures, or make others of them, without any model: for tests of restoration, and color -> gray.

    SPEC is a name with its value or range (then drawn for each picture), several joined by +:
    {kinds}

    Examples:
    calotype degrade gray photos/ gray/
    calotype degrade noise:25 photo.png noisy.png
    calotype degrade blur:0.5-3+jpeg:30-95 photos/ degraded/ --seed 7
    """

    spec: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SPEC")]  # what happens to the pictures
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]  # a picture, a folder, a zip archive, or a data set
    out: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]  # the picture to write; a folder, for several
    quality: CompressionQuality | None = None  # 1 to 100, of JPEG, WebP and AVIF: 95 where none is given
    overwrite: bool = False  # replace results that exist; the pictures themselves are never overwritten
    skip_existing: bool = False  # leave pictures alone that have a result, and go on with the others: what continues a folder
    count: Count | None = None  # only the first so many pictures
    max_megapixels: Positive | None = None  # of a picture at most: 67 where none are given
    seed: Seed = 0  # of all that is random, together with the number of the picture
    provenance: Provenance = "full"  # what pictures say of their making; minimal: that they were degraded, but not how
    json: bool = False  # print the result as JSON


_KINDS = degrade.kinds()
Options.__doc__ = str(Options.__doc__).format(
    kinds="\n    ".join(f"- {example:<16} {text}" for example, text in _KINDS.values()),
)


def run(words: list[str]) -> int:
    """Degrade; prints where the results are."""
    options = parse(Options, words, "calotype degrade")
    degradation = degrade.parse(options.spec)
    existing, out = existing_of(options.overwrite, options.skip_existing), Path(options.out)
    most = MAX_PIXELS if options.max_megapixels is None else round(1e6 * options.max_megapixels)
    with open_inputs(options.source, out, options.count, most) as inputs, closing(Shell()) as display:
        places = targets(inputs, options.out, existing)
        try:
            asked = options.seed, options.quality, display, existing == "keep", options.provenance
            outcomes = degrade_files(degradation, inputs, places, *asked)
        except Interrupted as stop:
            command = ["calotype", "degrade", *words]
            raise KeyboardInterrupt(stopped(stop, command, options.out, options.skip_existing, existing != "replace")) from None
    if options.json:
        files = [{"file": o.file, "written": str(o.written), "height": o.size[0], "width": o.size[1]} for o in outcomes if o.written]
        failed = [{"file": o.file, "error": as_options(o.error)} for o in outcomes if o.error]
        there = [o.file for o in outcomes if o.kept]
        print(json.dumps({"files": files, "failed": failed, "existing": there, "degrade": degradation.spec, "seed": options.seed}))
    else:
        print(printable_lines(written(outcomes, About(out))))
    return ended(outcomes)
