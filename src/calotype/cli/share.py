"""``calotype push`` and ``calotype pull``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.outcomes import printable_lines
from calotype.cli.parse import parse
from calotype.data.images import some
from calotype.models.stored import WEIGHTS
from calotype.shipping.share import Shared, pull, push


@dataclass(frozen=True)
class PushOptions:
    """Share a trained model: safetensors, JSON, a card of how it was made and judged, and a manifest with the SHA-256 of each.

    DEST is a new folder, or hf://OWNER/NAME on the Hugging Face Hub, where a repository that is made is private unless --public is given.
    For the Hub: pip install huggingface_hub, and hf auth login (or HF_TOKEN in the environment). A card says how the model was judged where
    calotype evaluate has been at the run.

    Examples:
    calotype push runs/hinge-mnist5k-0001 shared/digits --license cc-by-4.0
    calotype push runs/hinge-mnist5k-0001 hf://somebody/digits --license cc-by-4.0 --public
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]  # a run, or a model/ folder
    dest: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DEST")]  # a new folder, or hf://OWNER/NAME[@BRANCH]
    license: str | None = None  # under which the model is, such as cc-by-4.0
    public: bool = False  # let everybody see a repository that is made
    json: bool = False  # print the result as JSON


@dataclass(frozen=True)
class PullOptions:
    """Take a shared model into a new folder, its files checked by their SHA-256. No pickle is ever read.

    SOURCE is a folder that calotype push wrote, or hf://OWNER/NAME[@REVISION]. The commit that was taken is printed: with it the same
    command brings the same files.

    Examples:
    calotype pull hf://somebody/digits
    calotype sample digits --count 64
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]  # a folder, or hf://OWNER/NAME[@REVISION]
    out: Path | None = None  # the new folder; called like the model where none is given
    json: bool = False  # print the result as JSON


def run_push(words: list[str]) -> int:
    """Share; prints where, and the SHA-256 of the weights."""
    options = parse(PushOptions, words, "calotype push")
    return _told(push(options.model, options.dest, license=options.license, public=options.public), options.json)


def run_pull(words: list[str]) -> int:
    """Take; prints where it is, of which commit."""
    options = parse(PullOptions, words, "calotype pull")
    return _told(pull(options.source, options.out), options.json)


def _told(shared: Shared, as_json: bool) -> int:
    if as_json:
        where = None if shared.folder is None else str(shared.folder)
        print(json.dumps({"place": shared.place, "folder": where, "revision": shared.revision, "files": shared.files}))
        return 0
    lines = [f"{shared.place}: {some(len(shared.files), 'file')}, weights SHA-256 {shared.files[WEIGHTS]}"]
    if shared.folder is not None:
        lines.append(f"in {shared.folder}: calotype sample, restore, translate or classify takes the folder")
    print(printable_lines(lines))
    return 0
