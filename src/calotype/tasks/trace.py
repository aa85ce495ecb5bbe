"""Where pictures come from: what they say of their making, whether a model draws the same samples anew, and whose watermark they carry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calotype import pictures
from calotype.data.opening import MAX_BYTES
from calotype.data.reading import UnusableError, reading
from calotype.data.samples import Content, read, to_8bit
from calotype.engine.device import machine_of
from calotype.errors import CalotypeError, DamagedError, UserError, printable
from calotype.files import parse_json, read_bytes
from calotype.provenance.embed import Origin, origin_of
from calotype.provenance.marker import Marker
from calotype.provenance.watermark import WatermarkKey, key_of
from calotype.tasks.manifest import ManifestReading, manifest_of
from calotype.tasks.sample import Generator, Watermark, load
from calotype.tasks.watermark import WatermarkReading, read_watermark

MOST_CELLS = 256  # of a grid that a training drew at once
NEARLY = 20.0  # dB of PSNR that a picture must have to be nearly the one that was drawn anew
APART = 4.0  # and so many times farther, in the mean square, must the nearest other sample be: those of a poor model are all alike
OTHERS = 4  # samples that are drawn for that where none were drawn beside it

Remade = Literal["not tried", "the same", "nearly the same", "another"]
"""What a sample that was drawn anew is to a picture: *the same* bit for bit, *nearly* what lossy files and other machines make of it."""

Trouble = Literal["", "unreadable", "unmarked", "altered"]
"""Why a file says nothing of a picture's making: it is none that can be read, has no marker, or one that was altered."""


@dataclass(frozen=True)
class Traced:
    """What became of one picture."""

    file: str
    origin: Origin | None = None
    problem: str = ""  # why it cannot be traced; its watermark may have been found all the same
    remade: Remade = "not tried"
    psnr: float | None = None  # in dB, of what was drawn anew; infinite where it is the same
    cells: tuple[int, ...] = ()  # numbers of the images in a grid that are not the same
    notes: tuple[str, ...] = field(default=())  # why it was not drawn anew, or not the same
    watermark: WatermarkReading | None = None  # what a key found, where one was given
    manifest: ManifestReading | None = None  # of C2PA, where there is one
    kind: Trouble = ""  # of the problem, where it lies in the file

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        more: dict[str, Any] = {} if self.watermark is None else {"watermark": self.watermark.as_json()}
        more |= {} if self.manifest is None else {"manifest": asdict(self.manifest)}
        if self.origin is None:
            return {"file": self.file, **({"error": self.problem} if self.problem else {"marker": None}), **more}
        psnr = None if self.psnr is None or math.isinf(self.psnr) else round(self.psnr, 2)
        said = {
            "file": self.file,
            "marker": facts_of(self.origin.marker),
            "earlier": [facts_of(one) for one in self.origin.earlier],
            "source_type": self.origin.source_type or self.origin.marker.source_type,
            "remade": self.remade,
            "psnr": psnr,
            "cells": list(self.cells),
            "notes": list(self.notes),
        }
        return said | more | ({"error": self.problem} if self.problem else {})


def trace(
    images: str | Path | Sequence[str | Path],
    model: Generator | str | Path | None = None,
    *,
    watermark: Watermark = None,
    device: str = "auto",
) -> list[Traced]:
    """What pictures say of their making, and with a ``model`` whether it has the weights that made them and draws them anew.

    Args:
        images: The file of a picture, or several.
        model: What `calotype.load` returns, or the folder of a run.
        watermark: A key, or its file: its watermark is looked for as well, also in pictures that say nothing of their making, or nothing
            that holds.
        device: On which samples are drawn, where ``model`` is a folder.

    Returns:
        One for each picture, those that cannot be traced with the reason among them: no marker, one that was altered, other weights.

    Raises:
        UserError: where no picture is named, where ``model`` or ``watermark`` is none, and for a watermark where there is no ``model``, or
            one whose samples cannot be inverted.
    """
    names = [images] if isinstance(images, str | Path) else list(images)
    if not names:
        raise UserError("there is no picture to trace: name one or more")
    key = key_of(watermark)
    if key is not None and model is None:
        raise UserError("a watermark is read with the model that may have drawn the picture: name it with `model`")
    generator = model if isinstance(model, Generator) or model is None else load(model, device)
    if key is not None and generator is not None:
        generator.inverting()
    remaker = None if generator is None else _Remaker(generator, key)
    return [_traced(Path(name), remaker) for name in names]


def facts_of(marker: Marker) -> dict[str, Any]:
    """The fields of a marker that say something, with its source type, as its file has them."""
    return {name: value for name, value in parse_json(marker.text).items() if name != "checksum"}


def _traced(path: Path, remaker: _Remaker | None) -> Traced:
    """What becomes of a picture. Its watermark is looked for first, whatever is the matter with what the file says."""
    found = Traced(printable(str(path)))
    key = None if remaker is None else remaker.key
    try:
        content, data = _opened(path)
        found = replace(found, manifest=manifest_of(data, Image.MIME.get(content.image.format or "", "")))
        pixels = to_8bit(content.pixels)
    except CalotypeError as error:
        return replace(found, problem=str(error), kind="unreadable")
    try:
        found = replace(found, origin=origin_of(content.image))
        if found.origin is None:
            found = replace(found, kind="unmarked", problem=_UNMARKED if key is None else "")
    except CalotypeError as error:
        found = replace(found, problem=str(error), kind="altered")
    marker = None if found.origin is None else found.origin.marker
    try:
        if remaker is not None and key is not None:
            found = replace(found, watermark=read_watermark(remaker.generator, pixels, key))
        if marker is not None and key is not None and marker.watermark not in ("", key.id):
            raise UserError(f"carries a watermark of the key {marker.watermark}, and the key given is {key.id}: give that one")
        if remaker is not None and found.origin is not None:
            told = remaker.compare(found.file, found.origin, pixels)
            found = replace(told, manifest=found.manifest, watermark=found.watermark)
    except CalotypeError as error:
        found = replace(found, problem=found.problem or str(error))
    return found


_UNMARKED = "carries no marker of Calotype: something else made it, or what it said was removed"


def marked_picture(path: Path) -> tuple[Origin, Content]:
    """A picture that says what made it. Raises `UserError` for a file that is none, that says nothing, or whose marker was altered."""
    content, _ = _opened(path)
    if (origin := origin_of(content.image)) is None:
        raise UserError(_UNMARKED)
    return origin, content


def _opened(path: Path) -> tuple[Content, bytes]:
    """A picture, and its file. Raises `UserError` for a file that is none."""
    try:
        data = read_bytes(path, MAX_BYTES)
        with reading():
            return read(data, path.name), data
    except (OSError, UnusableError, ValueError) as error:
        raise UserError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


class _Remaker:
    """Draws samples anew in the batches in which they were drawn, the last of which it keeps: pictures often come from one."""

    def __init__(self, generator: Generator, key: WatermarkKey | None = None) -> None:
        self.generator = generator
        self.key = key
        self._last: tuple[Any, NDArray[np.uint8]] | None = None

    def compare(self, name: str, origin: Origin, pixels: NDArray[np.uint8]) -> Traced:
        """A picture (H, W, C) beside what the model draws by its marker. Raises `UserError` for the marker of another model."""
        marker = origin.marker
        if marker.weights and marker.weights != self.generator.weights:
            other = f"was made by other weights ({marker.weights[:12]}...) than those of the model"
            raise UserError(f"{other} ({self.generator.weights[:12]}...)")
        if not marker.weights:
            return Traced(name, origin, notes=("its marker does not say which weights made it",))
        if marker.making != "sample":
            return Traced(name, origin, notes=(f"these weights made it, but no {marker.making} is made anew, only samples are",))
        if marker.seed is None or marker.index is None or not marker.batch:
            return Traced(name, origin, notes=("its marker does not say from which seed it was drawn",))
        if marker.watermark and self.key is None:
            return Traced(name, origin, notes=(f"it carries a watermark: it is drawn anew with the key {marker.watermark} (`watermark`)",))
        start, count, at_once = marker.batch
        end = marker.index + max(1, marker.cells)
        if not start <= marker.index < end <= start + count or not 0 < at_once <= max(
            self.generator.most_at_once(at_once), min(marker.cells, MOST_CELLS)
        ):
            raise DamagedError("its marker was altered: what it says of its batch cannot be")
        spec, numbers, columns = self.generator.spec, range(marker.index, end), marker.columns or None
        if spec.channels == 1 and pixels.shape[2] == 3:  # of a format without gray
            pixels = np.rint(pixels.mean(2, keepdims=True)).astype(np.uint8)
        sides = pictures.grid_shape(marker.cells, (spec.size, spec.size), columns)[2:] if marker.cells else (spec.size, spec.size)
        if pixels.shape != (*sides, spec.channels):
            return Traced(name, origin, remade="another", notes=("it has not the size of what the model draws",))
        drawn = np.stack([self._batch(marker, number)[0] for number in numbers])
        whole = np.asarray(pictures.grid(drawn, columns)).reshape(pixels.shape) if marker.cells else drawn[0]
        if np.array_equal(pixels, whole):
            return Traced(name, origin, remade="the same", psnr=math.inf)
        squares = np.square(pixels.astype(np.float64) - whole)
        error = (pictures.cells(squares, len(drawn), spec.size, columns) if marker.cells else squares[None]).reshape(len(drawn), -1).mean(1)
        psnr = 10 * math.log10(255**2 / max(float(error.max()), float(squares.mean())))
        alike = any(APART * one > self._spacing(marker, number) for number, one in zip(numbers, error, strict=True))
        here, cells = machine_of(self.generator.device), np.flatnonzero(error) + marker.index if marker.cells else ()
        notes = ["other samples of this model are as near to it"] if alike and psnr >= NEARLY else []
        notes += [] if here == marker.machine else [f"it was drawn by {marker.machine}, and here by {here}"]
        remade: Remade = "another" if alike or psnr < NEARLY else "nearly the same"
        return Traced(name, origin, "", remade, psnr, tuple(map(int, cells)), tuple(notes))

    def _spacing(self, marker: Marker, number: int) -> float:
        """The mean square between a sample and the nearest other one: what a picture that is nearly a sample must be far below."""
        own, others = self._batch(marker, number)
        if not len(others):
            others = self._draw(marker, number + 1, OTHERS)
        return float(np.square(others.astype(np.float64) - own).reshape(len(others), -1).mean(1).min())

    def _batch(self, marker: Marker, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A sample (H, W, C) out of the batch in which it was drawn, and the others (N, H, W, C) of that."""
        start, count, at_once = marker.batch
        first = start + (number - start) // at_once * at_once
        batch = self._draw(marker, first, min(at_once, start + count - first))
        return batch[number - first], np.delete(batch, number - first, 0)

    def _draw(self, marker: Marker, first: int, count: int) -> NDArray[np.uint8]:
        """``count`` samples (N, H, W, C) from the number ``first`` on, all at once."""
        options: dict[str, Any] = dict(marker.options)
        key = marker.seed, marker.label, options, first, count, marker.watermark
        if self._last is None or self._last[0] != key:
            assert marker.seed is not None
            watermark = self.key if marker.watermark else None
            chunks = self.generator.batches(
                count, options, seed=marker.seed, label=marker.label, batch_size=count, start=first, watermark=watermark
            )
            self._last = key, np.concatenate([pictures.to_uint8(chunk) for chunk in chunks])
        return self._last[1]
