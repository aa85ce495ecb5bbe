"""``calotype.export``: a trained model as a file that other programs run, judged beside the model before it is written."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import calotype
from calotype.capabilities import Classifies
from calotype.engine import calibrating
from calotype.engine.calibrating import BeliefCalibration
from calotype.engine.display import Display, Terminal
from calotype.errors import CalotypeError, UserError, printable
from calotype.files import name_of, obstacle, read_json, unused, write_atomic
from calotype.metrics.features import default, pick
from calotype.metrics.frechet import Moments, frechet
from calotype.models import stored
from calotype.pictures import to_uint8
from calotype.shipping import onnx_file
from calotype.shipping.graph import Graph, graph_of
from calotype.shipping.onnx_file import Precision, Session
from calotype.tasks.sample import Generator, Options, load

FileFormat = Literal["onnx", "torch-export"]
"""ONNX, or PyTorch's own archive of a graph (.pt2)."""

SUFFIXES: dict[FileFormat, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
TOLERANCE = 1e-4  # largest difference from PyTorch, of values in [-1, 1] and of logits relative to the largest
SEEDS = 32  # images of different seeds that are compared, fewer of large ones
PIXELS = 32 * 64**2  # of them together
LEAST = 32  # pixels a side of images of any size that are compared
DRAWN = 256  # images whose features are compared where weights were rounded
WORST = 8.0  # levels of 255 by which images differ on the average from where on rounded weights are refused
NOTABLE = 1.0  # and from where on there is a warning
CHANGED = 0.05  # the same of the probabilities of a classifier

FileFunction = Callable[[Sequence[Tensor]], NDArray[np.float32]]
"""The exported file as a function of its inputs."""

Packed = Callable[[dict[str, str]], bytes]
"""The content of a file with its metadata."""

_Made = tuple[FileFunction, Packed, FileFunction | None, int]


@dataclass(frozen=True)
class Rounding:
    """What weights in fewer bits change, beside the model in float32: of images in levels of 255, of a classifier in probability."""

    mean: float
    largest: float
    images: int
    distance: float | None = None  # Frechet distance between images of the same seeds; None where it is no generator of images
    chance: float | None = None  # the same distance between two sets of float32 images of other seeds
    features: str = ""


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it agrees with the model."""

    file: Path
    format: FileFormat
    precision: Precision
    opset: int | None  # of ONNX
    size: int  # bytes
    inputs: tuple[dict[str, Any], ...]
    output: str
    difference: float  # the largest one of the float32 file from PyTorch, as `TOLERANCE` counts
    compared: int  # images
    rounding: Rounding | None
    notes: tuple[str, ...] = ()


def export(
    model: Generator | str | Path,
    out: str | Path | None = None,
    *,
    format: FileFormat = "onnx",
    precision: Precision = "float32",
    license: str | None = None,
    display: Display | None = None,
    **options: float | str,
) -> Exported:
    """Write a trained model as a file that other programs run, without Calotype and, as ONNX, without PyTorch.

    A generator becomes a function of its random numbers (and labels) that returns images (N, C, H, W) float32 in [-1, 1], its sampler with
    all steps included; a restorer, translator or upscaler one of images of any size; a classifier one that returns logits. The batch is
    the caller's choice. Nothing is written before the file has made the same of many seeds as PyTorch, up to `TOLERANCE`.

    Args:
        model: What `calotype.load` returns, or the folder of a run or model.
        out: The file, which replaces what is there; the name of the model with the suffix of the format where none is given, in a
            folder that there is where that is given.
        format: See `FileFormat`.
        precision: Of the weights in the file; computed is in float32. ONNX alone.
        license: What the file says of its license; what the model's folder says where none is given.
        display: Told how far it has come.
        options: Sampling options of the model, which the file keeps: steps, guidance ...

    Raises:
        UserError: for a model that draws images part after part, options that it does not have, a place that cannot be written, and where
            the packages are not installed.
        CalotypeError: where the file would differ from the model, with by how much.
    """
    if precision != "float32" and format != "onnx":
        raise UserError(f"`precision={precision}` is of ONNX files: leave it out, or take `format=onnx`")
    if format == "onnx":
        onnx_file.require_packages()
    folder = None if isinstance(model, Generator) else stored.find(model).folder
    generator = model if isinstance(model, Generator) else load(model, "cpu")
    if generator.device.type != "cpu":
        raise UserError(f"a model is exported on the processor, not on {generator.device}: calotype.load(path, device='cpu')")
    path = _place(out, folder, format)
    known = calibrating.read(folder) if folder is not None and isinstance(generator.model, Classifies) else None
    graph = graph_of(generator, options, mirrored=known is not None and known.facts.mirrored)
    display = display or Terminal()
    display.show("exporting", 0, 3)
    (run, packed, rounded, multiple), difference, compared = _agreeing(graph, format, precision, display)
    if not difference <= TOLERANCE:  # nor what is no number
        raise CalotypeError(
            f"nothing is exported: over {compared} images the file differs from PyTorch by up to {difference:.1e}, more than {TOLERANCE:g}"
        )
    display.show("exporting", 2, 3)
    rounding = None if rounded is None else compare_rounded(generator, graph, run, rounded, multiple)
    notes = () if rounding is None else judged(rounding, precision, graph.output)
    inputs = tuple(_told(graph, multiple))
    license = license or (None if folder is None else license_of(folder))
    facts = _facts(generator, known, graph, inputs, precision, options, license)
    content = packed(facts)
    write_atomic(path, lambda stream: stream.write(content))
    display.close()
    opset = onnx_file.OPSET if format == "onnx" else None
    return Exported(path, format, precision, opset, len(content), inputs, graph.output, difference, compared, rounding, notes)


def _place(out: str | Path | None, folder: Path | None, format: FileFormat) -> Path:
    suffix = SUFFIXES[format]
    if out is None or Path(out).is_dir():
        path = unused(Path(out or "") / (("model" if folder is None else name_of(folder).replace("/", "-")) + suffix))
    else:
        path = Path(out) if Path(out).suffix else Path(out).with_name(Path(out).name + suffix)
    if path.suffix.lower() != suffix:
        raise UserError(f"{path}: a file of the format {format} is called {suffix}")
    if reason := obstacle(path):
        raise UserError(f"cannot write {path}: {reason}; choose another `out`")
    return path


def _agreeing(graph: Graph, format: FileFormat, precision: Precision, display: Display) -> tuple[_Made, float, int]:
    """What is made with the smallest multiple by which it makes the same as PyTorch, with the difference and the images compared.

    With a smaller one a graph may hold for those sizes alone that are like its example's: how much is padded can be fixed in it.
    """
    least, chosen = 1, any("height" in one.shape for one in graph.inputs)
    while True:
        made = _made(graph, format, precision, least)
        display.show("exporting", 1, 3)
        last = not chosen or made[-1] >= onnx_file.MULTIPLES[-1]
        try:
            difference, compared = parity(graph, made[0], made[-1])
        except CalotypeError:  # it cannot be run at those sizes
            if last:
                raise
        else:
            if last or difference <= TOLERANCE:
                return made, difference, compared
        least = 2 * made[-1]


def _made(graph: Graph, format: FileFormat, precision: Precision, least: int) -> _Made:
    """The file in float32 as a function, how the one that was asked for is packed, and that as a function too where weights are rounded.

    Last, of what height and width are multiples, ``least`` or more where they are the caller's choice.
    """
    if format == "torch-export":
        program, multiple = onnx_file.program_of(graph, least)
        return _program(_archived(program, {})), lambda facts: _archived(program, facts), None, multiple
    model, multiple = onnx_file.onnx_of(graph, least)
    run, rounded = Session(onnx_file.packed(model, {})), None
    if precision != "float32":
        onnx_file.lessen(model, precision)
        rounded = Session(onnx_file.packed(model, {}))
    return run, lambda facts: onnx_file.packed(model, facts), rounded, multiple


def _archived(program: torch.export.ExportedProgram, facts: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={"calotype.json": json.dumps(facts)})
    return stream.getvalue()


def _program(content: bytes) -> FileFunction:
    function = torch.export.load(io.BytesIO(content)).module()

    def run(given: Sequence[Tensor]) -> NDArray[np.float32]:
        try:
            with torch.no_grad():
                made: NDArray[np.float32] = function(*given).numpy()
        except Exception as error:  # whatever the guards of a graph raise
            raise CalotypeError(f"PyTorch cannot run the exported model ({type(error).__name__})") from None
        return made

    return run


def _plan(graph: Graph, multiple: int) -> list[tuple[int, int, tuple[int, int]]]:
    """Batches of different sizes: (images, the first of them, height and width of images of any size)."""
    shapes = [math.prod(side for side in one.shape if isinstance(side, int)) for one in graph.inputs]
    many = int(min(SEEDS, max(8, PIXELS // max(1, *shapes))))
    odd = max(5, math.ceil(LEAST / multiple) | 1)
    a, b = odd * multiple, (odd + 2) * multiple  # no multiples of more, so that what a model pads is padded
    return [(1, 0, (a, a)), (2, 1, (b, a)), (many - 3, 3, (a, b))]


@torch.no_grad()
def parity(graph: Graph, run: FileFunction, multiple: int = 1) -> tuple[float, int]:
    """The largest difference of a file from PyTorch, and over how many images of different seeds, in batches of several sizes.

    Logits are compared relative to the largest of them, where that is above one. Infinite where the shapes differ,
    or a number that is none comes out of either.
    """
    worst, seen = 0.0, 0
    for n, start, size in _plan(graph, multiple):
        given = graph.example(n, 0, start, size)
        want, made = graph.module(*given).numpy(), run(given)
        if want.shape != made.shape:
            return math.inf, seen + n
        if not (np.isfinite(want).all() and np.isfinite(made).all()):  # which no maximum is above
            return math.inf, seen + n
        scale = max(1.0, float(np.abs(want).max())) if graph.output == "logits" else 1.0
        worst, seen = max(worst, float(np.abs(made - want).max()) / scale), seen + n
    return worst, seen


@torch.no_grad()
def compare_rounded(generator: Generator, graph: Graph, run: FileFunction, rounded: FileFunction, multiple: int) -> Rounding:
    """What rounded weights change: ``run`` is the file in float32, ``rounded`` the one with them."""
    generates = not generator.model.from_source and graph.output == "images" and generator.spec.points is None
    plan = [(16, start, (64, 64)) for start in range(0, DRAWN if generates else 4 * 16, 16)]
    full, less = ([one(graph.example(n, 1, start, size)) for n, start, size in plan] for one in (run, rounded))
    a, b = np.concatenate(full), np.concatenate(less)
    if graph.output == "logits":
        chances = [torch.from_numpy(one).softmax(1).numpy() for one in (a, b)]
        apart = np.abs(chances[0] - chances[1])
        return Rounding(float(apart.max(1).mean()), float(apart.max()), len(a))
    apart = np.abs(a - b) * 127.5
    found = Rounding(float(apart.mean()), float(apart.max()), len(a))
    if not generates:
        return found
    space = pick("digits" if default(generator.spec) == "digits" else "random", generator.spec)[0]
    others = np.concatenate([run(graph.example(16, 2, start)) for start in range(0, DRAWN, 16)])
    first, second, third = (Moments.of(space.of(to_uint8(torch.from_numpy(one))).features) for one in (a, b, others))
    return replace(found, distance=frechet(first, second), chance=frechet(first, third), features=space.name)


def judged(rounding: Rounding, precision: Precision, output: str) -> tuple[str, ...]:
    """Warnings of what rounded weights change. Raises `CalotypeError` where that is too much."""
    unit = "of probability" if output == "logits" else "levels of 255"
    worst, notable = (CHANGED, CHANGED / 5) if output == "logits" else (WORST, NOTABLE)
    said = f"with {precision} weights the results differ by {rounding.mean:.2g} {unit} on the average, {rounding.largest:.2g} at most"
    if not rounding.mean <= worst:
        raise CalotypeError(f"nothing is exported: {said}; take `precision=float32`")
    notes = [said] if rounding.mean > notable else []
    if rounding.distance is not None and rounding.chance is not None and rounding.distance > rounding.chance:
        notes.append(
            f"with {precision} weights images of the same seeds are further apart ({rounding.distance:.2g}) than sets of other seeds in "
            f"float32 ({rounding.chance:.2g}, Frechet distance in {rounding.features}): look at them before you use the file"
        )
    return tuple(notes)


def _told(graph: Graph, multiple: int) -> list[dict[str, Any]]:
    """The inputs, as the file describes them."""
    told: list[dict[str, Any]] = []
    for one in graph.inputs:
        row: dict[str, Any] = {"name": one.name, "type": "int64" if one.filled == "label" else "float32", "shape": ["batch", *one.shape]}
        row["holds"] = {
            "normal": "independent standard normal numbers",
            "uniform": "independent numbers uniform in [0, 1)",
            "label": f"classes, 0 to {one.classes - 1}",
            "image": "an image in [-1, 1]" + (f", behind it {one.maps} map(s) in [0, 1]" if one.maps else ""),
        }[one.filled]
        if "height" in one.shape and multiple > 1:
            row["multiple"] = multiple  # of which height and width are multiples
        told.append(row)
    return told


def _facts(
    generator: Generator,
    known: BeliefCalibration | None,
    graph: Graph,
    inputs: Sequence[dict[str, Any]],
    precision: Precision,
    options: Options,
    license: str | None,
) -> dict[str, str]:
    """The metadata of a file: all that who runs it has to know."""
    spec, more = generator.spec, {}
    if known is not None:
        more["calotype.temperature"] = f"{known.facts.temperature:.9g}"  # that logits are divided by before they are probabilities
    source = {} if generator.model.starts_from is None else {"calotype.source": json.dumps(asdict(generator.model.starts_from))}
    return {
        "calotype.version": calotype.__version__,
        "calotype.recipe": generator.recipe,
        "calotype.weights": generator.weights,
        "calotype.inputs": json.dumps(list(inputs)),
        "calotype.output": graph.output,
        "calotype.range": "-1 to 1" if graph.output == "images" else "logits",
        "calotype.shape": json.dumps(spec.shape),
        "calotype.classes": json.dumps(list(spec.classes)),
        "calotype.options": json.dumps(dict(options)),
        "calotype.precision": precision,
        "license": license or "",
        **source,
        **more,
    }


def license_of(folder: Path) -> str | None:
    """What a model's folder says of its license."""
    said = read_json(folder / stored.CONFIG).get("license")
    return printable(said)[:100] if isinstance(said, str) and said else None
