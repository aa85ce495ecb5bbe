"""``calotype watermark key``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.outputs import require_place
from calotype.cli.parse import parse, run_subcommand
from calotype.provenance.watermark import make_watermark_key

USAGE = """usage: calotype watermark key FILE

  key  make a key in a new file, which only its owner can read

calotype watermark key watermark.key
calotype sample runs/flow-matching-mnist5k-0001 --watermark watermark.key
calotype trace samples.png --model runs/flow-matching-mnist5k-0001 --watermark watermark.key

calotype watermark key --help shows the options."""


@dataclass(frozen=True)
class KeyOptions:
    """Make a key for watermarks in a new file, which only its owner can read (mode 0600).

    Images that calotype sample draws with it carry a watermark that nobody sees; calotype trace finds it with the key and the model alone.
    Who has the key can read the watermark and put it into images of the model: keep it like a password, and keep a copy.

    Example:
    calotype watermark key watermark.key
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]  # the file to write, which must not be there yet
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Run the only one."""
    return run_subcommand(words, "watermark", USAGE, COMMANDS)


def _key(words: list[str]) -> int:
    """Make a key; prints where it is, and its id."""
    options = parse(KeyOptions, words, "calotype watermark key")
    require_place(options.file)
    key = make_watermark_key(options.file)
    print(json.dumps({"file": str(options.file), "id": key.id}) if options.json else f"key {key.id} in {options.file}")
    return 0


COMMANDS = {"key": _key}
