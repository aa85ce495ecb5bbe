"""``calotype trace``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.parse import parse
from calotype.data.images import some
from calotype.errors import UserError, printable
from calotype.provenance.marker import Marker
from calotype.spelling import as_options
from calotype.tasks.trace import Traced, trace
from calotype.tasks.watermark import WatermarkReading

_KINDS = {
    "sample": "drawn by a model",
    "decoding": "drawn by a model from latents",
    "completion": "images of which a model drew the lower part",
    "inpainting": "a picture in which a model filled in what was missing",
    "translation": "a picture that a model turned into one of another kind",
    "overview": "what a model made, beside other pictures",
    "restoration": "a picture that a model restored",
    "enlargement": "a picture that a model enlarged",
    "degradation": "a picture that was degraded, without a model",
    "comparison": "pictures side by side, drawn by no model here",
}
_CAN = {"the same": "the same bit for bit", "nearly the same": "nearly the same", "another": "not the same"}


@dataclass(frozen=True)
class Options:
    """Read what pictures say of their making, and see whether a model draws them anew.

    Every picture that Calotype writes says what made it: PNG, JPEG, WebP, AVIF, TIFF and GIF. With --model the SHA-256 of the weights is
    compared, and samples are drawn anew from their seed, number and options: the same bit for bit, nearly (lossy files, other
    machines), or not. A restoration needs the picture that it was made of, and is not made anew.

    With --watermark, too, its watermark is looked for in the pixels, also where a picture says nothing of its making or its marker was
    altered; the p-value is that of so good a fit by chance, and up to 0.001 counts as found. A C2PA manifest is verified where c2pa-python
    is installed.

    The marker keeps nobody from removing or forging it. Exit code: 0, or 1 where a sample is not what the model draws, a watermark was not
    found or a C2PA manifest does not hold, or 2 where a picture carries no marker, one that was altered, or that of another model or key.

    With --json: {"files": [{"file", "marker": {...}, "earlier": [...], "source_type", "remade", "psnr", "cells", "notes", "watermark":
    {"key", "found", "p", "images", "looked_at", "agreeing", "resized"}, "manifest": {"state", "signer", "problems", "trusted"}} or {"file",
    "error"}]}; "cells" are the numbers of images in a grid that are not the same, "images" the places of those with a watermark. A picture
    without a marker has "marker": null.

    Examples:
    calotype trace grid.png
    calotype trace threes/000000.png threes/000001.png --model runs/flow-matching-mnist5k-0001
    calotype trace unknown.png --model runs/flow-matching-mnist5k-0001 --watermark watermark.key
    """

    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]  # pictures, as many as you like
    model: Path | None = None  # a run, or a model/ folder, that may have made them
    watermark: Annotated[Path | None, tyro.conf.arg(metavar="KEYFILE")] = None  # the key of a watermark to look for (needs --model)
    device: str = "auto"  # auto, cpu, cuda, mps: where samples are drawn anew
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Traced; prints what there is to say of each picture."""
    options = parse(Options, words, "calotype trace")
    if not options.images:
        raise UserError("IMAGE is missing: calotype trace IMAGE; calotype trace --help lists the options")
    found = trace(options.images, options.model, watermark=options.watermark, device=options.device)
    bad = [one for one in found if one.problem]
    if options.json:
        print(json.dumps({"files": [one.as_json() for one in found]}))
    else:
        for line in (line for one in found for line in _told(one, options.model)):
            print(printable(as_options(line)))
    lines = [f"{one.file}: {as_options(one.problem)}" for one in bad]
    if len(found) > 1 and bad:
        lines = [*(f"  {line}" for line in lines), f"{len(bad)} of {some(len(found), 'picture')} cannot be traced"]
    if lines:
        print("\n".join([*lines[:-1], f"calotype: {lines[-1]}"]), file=sys.stderr)
    return 2 if bad else int(any(map(_doubtful, found)))


def _doubtful(found: Traced) -> bool:
    """Whether a picture is not what it says or was looked for."""
    unfound = found.watermark is not None and not found.watermark.found
    return found.remade == "another" or unfound or (found.manifest is not None and found.manifest.state == "invalid")


def _told(found: Traced, model: Path | None) -> list[str]:
    """What a picture says, and what holds of it, in words; of one that cannot be traced its watermark alone."""
    if found.problem:
        return [] if found.watermark is None else [f"{found.file}: {_watermark(found.watermark)}"]
    if found.origin is None:
        lines = [f"{found.file}: it carries no marker of Calotype"]
    else:
        marker = found.origin.marker
        lines = [f"{found.file}: {_KINDS[marker.making]}, by Calotype {marker.version} ({found.origin.source_type or 'no source type'})"]
        lines += [f"  {line}" for line in _facts(marker)]
        before = reversed(found.origin.earlier)
        lines += [f"  before: {_KINDS[one.making]}; {'; '.join(_facts(one)) or 'no more is said'}" for one in before]
    if found.remade != "not tried":
        near = f", PSNR {found.psnr:.1f} dB" if found.psnr is not None and found.remade != "the same" else ""
        which = f"; not the same are {_numbers(found.cells)}" if found.cells else ""
        lines.append(f"  drawn anew by {model}: {_CAN[found.remade]}{near}{which}")
    lines += [] if found.watermark is None else [f"  {_watermark(found.watermark)}"]
    lines += [] if found.manifest is None else [f"  {found.manifest.words}"]
    return [*lines, *(f"  {note}" for note in found.notes)]


def _watermark(found: WatermarkReading) -> str:
    which = "" if found.looked_at == 1 else f" in {len(found.images)} of {some(found.looked_at, 'image')}"
    size = "" if found.resized is None else f"; read at the size of the model, not at {found.resized[0]}x{found.resized[1]}"
    what = f"found{which}" if found.found else "not found"
    return f"watermark of the key {found.key}: {what}, p = {found.p:.2g}, {100 * found.agreeing:.1f}% of the signs agree{size}"


def _facts(marker: Marker) -> list[str]:
    """The recipe, as far as it is there."""
    lines = [f"model {marker.recipe}, weights {marker.weights}"] if marker.weights else []
    words = [f"seed {marker.seed}"] if marker.seed is not None else []
    if marker.index is not None:
        words.append(f"images {marker.index} to {marker.index + marker.cells - 1} in rows" if marker.cells else f"number {marker.index}")
    words += [f"class {marker.label}"] if marker.label is not None else []
    words += [f"{name} {value}" for name, value in marker.options.items()]
    words += [f"watermark of the key {marker.watermark}"] if marker.watermark else []
    words += [marker.machine] if marker.machine else []
    return [*lines, *([", ".join(words)] if words else [])]


def _numbers(cells: tuple[int, ...]) -> str:
    return ", ".join(map(str, cells[:10])) + (f" and {len(cells) - 10} more" if len(cells) > 10 else "")
