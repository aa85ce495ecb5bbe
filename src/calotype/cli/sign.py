"""``calotype sign``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.parse import parse
from calotype.data.images import some
from calotype.errors import UserError
from calotype.tasks.signing import Algorithm, sign


@dataclass(frozen=True)
class Options:
    """Sign pictures that Calotype made, so that changes show and the marker cannot be forged (C2PA content credentials).

    The signed file takes the place of the picture. Nothing leaves this machine unless --timestamp names who is asked for the time.
    Needs a certificate for signing documents from an authority that your readers trust, and pip install c2pa-python.

    Examples:
    calotype sign grid.png --certificate chain.pem --key key.pem
    """

    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]  # pictures, as many as you like
    certificate: Path  # PEM file: your certificate, those that vouch for it behind it
    key: Path  # PEM file: its private key
    algorithm: Algorithm = "es256"  # of the key
    timestamp: str | None = None  # address of a timestamp authority (RFC 3161), which is asked for each picture
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Sign; prints what was signed."""
    options = parse(Options, words, "calotype sign")
    if not options.images:
        raise UserError("IMAGE is missing: calotype sign IMAGE; calotype sign --help lists the options")
    signed = sign(options.images, options.certificate, options.key, algorithm=options.algorithm, timestamp=options.timestamp)
    print(json.dumps({"signed": [str(path) for path in signed]}) if options.json else f"{some(len(signed), 'picture')} signed")
    return 0
