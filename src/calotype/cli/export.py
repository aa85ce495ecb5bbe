"""``calotype export``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.outcomes import printable_lines
from calotype.cli.parse import parse
from calotype.cli.sample import settings_of
from calotype.cli.shell import Shell
from calotype.shipping.export import Exported, FileFormat, export
from calotype.shipping.onnx_file import Precision
from calotype.spelling import as_options


@dataclass(frozen=True)
class Options:
    """Write a trained model as a file that other programs run, without Calotype: ONNX runs without PyTorch, too.

    A generator becomes a function of random numbers (and labels) that returns images, its sampler with all steps included; a restorer,
    translator or upscaler one of images of any size; a classifier one that returns logits. The batch is the caller's choice. What the
    file takes, the range of its images, the classes, the SHA-256 of the weights and the license are in its metadata. Before anything is
    written the file has to make the same of many seeds as PyTorch, up to 0.0001. With --precision float16 or int8 it is smaller: what that
    changes is measured and said. Models that draw an image part after part (pixelcnn, vqvae, tarflow) cannot be exported.

    Needs pip install onnx onnxscript onnxruntime.

    Examples:
    calotype export runs/hinge-mnist5k-0001
    calotype export runs/flow-matching-mnist5k-0001 --out digits.onnx --option steps=4 guidance=2
    calotype export runs/denoise-photos-0001 --precision float16
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]  # a run, or a model/ folder
    out: Path | None = None  # the file, replaced where it exists, or a folder; the name of the model with .onnx or .pt2 where none is given
    format: FileFormat = "onnx"  # torch-export: PyTorch's own archive of a graph
    precision: Precision = "float32"  # of the weights in the file
    license: str | None = None  # what the file says of its license, such as CC-BY-4.0
    option: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE")] = ()  # sampling options, as calotype sample lists them
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Export; prints where the file is and how far it agrees with the model."""
    options = parse(Options, words, "calotype export")
    settings = settings_of(words, options.option)
    with closing(Shell()) as display:
        made = export(
            options.model,
            options.out,
            format=options.format,
            precision=options.precision,
            license=options.license,
            display=display,
            **settings,
        )
    print(json.dumps({**asdict(made), "file": str(made.file)}) if options.json else printable_lines(_told(made)))
    return 0


def _told(made: Exported) -> list[str]:
    """The result for people."""
    kind = f"ONNX, opset {made.opset}" if made.opset else "torch.export"
    lines = [f"{made.file}: {kind}, {made.size / 1e6:.2f} MB, {made.precision} weights"]
    for one in made.inputs:
        sizes = ", ".join(map(str, one["shape"]))
        more = f"; height and width are multiples of {one['multiple']}" if "multiple" in one else ""
        lines.append(f"  {one['name']} ({sizes}) {one['type']}: {one['holds']}{more}")
    lines.append(f"  gives {made.output}")
    lines.append(f"{made.compared} images: up to {made.difference:.1e} from PyTorch")
    if (rounding := made.rounding) is not None:
        unit = "of probability" if made.output == "logits" else "levels of 255"
        said = f"{made.precision} weights: {rounding.mean:.2g} {unit} apart on the average of {rounding.images} images, "
        said += f"{rounding.largest:.2g} at most"
        if rounding.distance is not None and rounding.chance is not None:
            said += (
                f"; Frechet distance in {rounding.features} {rounding.distance:.2g}, where two sets of other seeds are "
                f"{rounding.chance:.2g} apart"
            )
        lines.append(said)
    return lines + [f"note: {as_options(note)}" for note in made.notes]
