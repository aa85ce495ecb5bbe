"""``calotype explain``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.evaluation.explaining import explain
from calotype.explanation.section import to_json
from calotype.files import unused
from calotype.report.files import require_page, save_explanation
from calotype.settings import Seed


@dataclass(frozen=True)
class Options:
    """Explain why a model makes what it makes, on one page.

    Examples:
    calotype explain runs/hinge-mnist5k-0001
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]  # a run, or a model/ folder
    images: tuple[str, ...] = ()  # images to explain: files, folders, zips or data sets (of those, held-out images)
    data: str | None = None  # the images it was trained on, where it does not know them itself
    holdout: str | None = None  # real images that it never saw, likewise
    label: str | None = None  # the one class to explain
    parts: tuple[str, ...] = ()  # parts of the page, by name; all that the model has where none is given
    out: Path | None = None  # the page, replaced where it exists; else explanation.html, explanation-2.html ..., whichever is free
    seed: Seed = 0  # of all that is drawn
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the numbers as JSON


def run(words: list[str]) -> int:
    """Explain; prints where the page is."""
    options = parse(Options, words, "calotype explain")
    out = options.out or unused(Path("explanation.html"))
    require_page(out)
    with closing(Shell()) as display:
        found = explain(
            options.model,
            images=options.images,
            data=options.data,
            holdout=options.holdout,
            label=options.label,
            parts=options.parts,
            seed=options.seed,
            device=options.device,
            display=display,
        )
    save_explanation(found, out)
    print(json.dumps(to_json(found) | {"written": str(out)}) if options.json else f"page: {out}")
    return 0
