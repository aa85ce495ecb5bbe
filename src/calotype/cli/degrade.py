"""``calotype degrade``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype import degrade
from calotype.cli.parse import parse
from calotype.cli.restore import ended, written
from calotype.engine.display import Terminal
from calotype.settings import Count, Quality, Seed
from calotype.tasks.batch import degrade_files
from calotype.tasks.inputs import open_inputs
from calotype.tasks.places import targets


@dataclass(frozen=True)
class Options:
    """Spoil pictures, or make others of them, without any model: for tests of restoration, and color -> gray.

    SPEC is a name with its value or range (then drawn for each picture), several joined by +:
    {kinds}

    Examples:
    calotype degrade gray photos/ gray/
    calotype degrade noise:25 photo.png noisy.png
    calotype degrade blur:0.5-3+jpeg:30-95 photos/ spoiled/ --seed 7
    """

    spec: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SPEC")]  # what happens to the pictures
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]  # a picture, a folder, a zip archive, or a data set
    out: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]  # the picture to write; a folder, for several
    quality: Quality | None = None  # 1 to 100, of JPEG, WebP and AVIF: 95 where none is given
    overwrite: bool = False  # replace results that exist; the pictures themselves are never overwritten
    count: Count | None = None  # only the first so many pictures
    seed: Seed = 0  # of all that is random, together with the number of the picture
    json: bool = False  # print the result as JSON


_KINDS = degrade.kinds()
Options.__doc__ = str(Options.__doc__).format(
    kinds="\n    ".join(f"- {example:<16} {text}" for example, text in _KINDS.values()),
)


def run(words: list[str]) -> int:
    """Spoil; prints where the results are."""
    options = parse(Options, words, "calotype degrade")
    degradation = degrade.parse(options.spec)
    with open_inputs(options.source, Path(options.out), options.count) as inputs, closing(Terminal()) as display:
        places = targets(inputs, options.out, "replace" if options.overwrite else "refuse")
        outcomes = degrade_files(degradation, inputs, places, options.seed, options.quality, display)
    if options.json:
        files = [{"file": o.file, "written": str(o.written), "height": o.size[0], "width": o.size[1]} for o in outcomes if not o.error]
        failed = [{"file": o.file, "error": o.error} for o in outcomes if o.error]
        print(json.dumps({"files": files, "failed": failed, "degrade": degradation.spec, "seed": options.seed}))
    else:
        print("\n".join(written(outcomes, Path(options.out))))
    return ended(outcomes)
