"""``calotype classify``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.outcomes import printable_lines
from calotype.cli.outputs import csv_text, require_place, with_suffix
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.data.images import some
from calotype.errors import UserError, printable
from calotype.files import write_text
from calotype.settings import Count
from calotype.spelling import as_options
from calotype.tasks.classify import TOP, Classification, TrainedClassifier, classify, facts, open_classifier, table


@dataclass(frozen=True)
class Options:
    """Say what images show, with probabilities: by a model that was trained on labelled images (resnet, densenet, transfer, classifier).

    Probabilities are calibrated by the images that the training held out: of those that are 80% sure, four in five are right. Images that
    are unlike all that the model knows get a warning, and so do 5 of 100 that are like them.

    With --out FILE.csv a line for each image: file, class_1, probability_1, class_2, ..., unlike, distance, error. With --json, and in
    --out FILE.json: {"files": [{"file", "classes": [{"name", "probability"}], "unlike", "distance"}], "failed": [{"file", "error"}]}. The
    exit code is 1 where some files could not be read.

    Examples:
    calotype classify runs/resnet-photos-0001 cat.jpg
    calotype classify runs/transfer-clothing-0001 photos/ more.zip --out classes.csv --top 5
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]  # a run, or a model/ folder
    # pictures, folders with everything in them, zip archives, or data sets such as mnist5k, of which the held-out part is taken
    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    out: Path | None = None  # table to write, replaced where it exists: .csv or .json
    top: Count = TOP  # classes of each image
    count: Count | None = None  # only the first so many images of each IN
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Classify; prints a line for each image, or where the table is."""
    options = parse(Options, words, "calotype classify")
    out = None if options.out is None else with_suffix(options.out, ".csv", (".csv", ".json"))
    if out is not None:
        require_place(out)
    if not options.sources:
        raise UserError("IN is missing: name a picture, a folder, a zip archive or a data set")
    model = open_classifier(options.model, options.device)
    with closing(Shell()) as display:
        found = classify(model, *options.sources, top=options.top, count=options.count, display=display)
    if out is not None:
        write_text(out, json.dumps(_tree(found), indent=2) + "\n" if out.suffix.lower() == ".json" else csv_text(table(found)))
    if options.json:
        print(json.dumps(_tree(found)))
    else:
        print(printable_lines(_told(found, model, out)))
    return _ended(found)


def _tree(found: Sequence[Classification]) -> dict[str, object]:
    rows = facts(found)
    return {"files": [row for row in rows if "error" not in row], "failed": [row for row in rows if "error" in row]}


def _told(found: Sequence[Classification], model: TrainedClassifier, out: Path | None) -> list[str]:
    """The result for people."""
    done = [one for one in found if not one.error]
    width = max((len(one.file) for one in done), default=0)
    lines = []
    if out is None:
        for one in done:
            classes = "  ".join(f"{name} {100 * p:.1f}%" for name, p in one.classes)
            lines.append(f"{one.file:<{width}}  {classes}" + ("  (unlike the training images)" if one.unlike else ""))
    else:
        lines.append(f"{some(len(done), 'image')} in {out}")
    unlike, known = sum(bool(one.unlike) for one in done), model.calibration
    if unlike and known is not None:
        lines.append(
            f"{unlike} of {some(len(done), 'image')} {'is' if unlike == 1 else 'are'} unlike the training images: believe no class of "
            f"theirs; of images like them {100 * known.facts.false_alarms:.0f}% are called so, too"
        )
    return lines


def _ended(found: Sequence[Classification]) -> int:
    """Say what failed; returns the exit code."""
    failed = [one for one in found if one.error]
    if failed:
        print(f"calotype: {len(failed)} of {some(len(found), 'image')} failed:", file=sys.stderr)
        for one in failed:
            print(f"  {printable(one.file)}: {as_options(one.error)}", file=sys.stderr)
    return 1 if failed else 0
