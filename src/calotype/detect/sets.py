"""The images that a detector learns from: real ones of any source, generated ones of a folder, a zip archive or a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from calotype.data.decode import UnusableError, decode
from calotype.data.files import Files
from calotype.data.images import Pixels, Skipped
from calotype.data.load import find, has_a_name, require_images, short_name
from calotype.data.toy import PointSource
from calotype.detect.compression import LOSSLESS, Compression, compression_of, qualities
from calotype.engine.display import Display, progress
from calotype.errors import UserError, printable
from calotype.files import expanded, name_of
from calotype.models import stored
from calotype.pictures import to_picture
from calotype.settings import Finite, Seed, Text, Whole
from calotype.tasks.sample import draw, load

SetKind = Literal["files", "arrays", "model"]


@dataclass(frozen=True)
class SetFacts:
    """What a detector keeps of a set of images."""

    name: Text
    kind: SetKind
    source: Text  # as it was named
    images: Whole
    sides: tuple[Whole, Whole]  # the smallest and the largest shorter side in pixels
    formats: Annotated[tuple[Text, ...], Field(max_length=16)]  # how their files were compressed; empty text for files that lose nothing
    qualities: tuple[Finite, Finite] | None  # of JPEG files, the lowest and the highest
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # SHA-256 of the SHA-256 of the pixels of each
    weights: Text = ""  # SHA-256 of the weights of a model
    recipe: Text = ""
    seed: Seed | None = None  # from which the images of a model were drawn
    skipped: Whole = 0  # files that could not be used


@dataclass(frozen=True)
class ImageSet:
    """Some images, decoded when they are asked for."""

    name: str
    kind: SetKind
    source: str
    names: tuple[str, ...]
    sides: tuple[int, ...]  # the shorter side of each in pixels
    gray: bool  # whether all of them are
    compressions: tuple[Compression, ...]
    opened: Callable[[int], Image.Image]  # one of them by its place, mode L or RGB; raises ``UnusableError``
    skipped: tuple[Skipped, ...] = ()
    weights: str = ""
    recipe: str = ""
    seed: int | None = None

    def __len__(self) -> int:
        return len(self.names)

    def facts(self, digests: bytes, images: int) -> SetFacts:
        """What is kept of it, given the SHA-256 of each image that was used, one behind the other."""
        found = qualities(self.compressions)
        return SetFacts(
            self.name,
            self.kind,
            self.source,
            images,
            (min(self.sides), max(self.sides)),
            tuple(sorted({one.format for one in self.compressions})),
            (found[0], found[-1]) if found else None,
            hashlib.sha256(digests).hexdigest(),
            self.weights,
            self.recipe,
            self.seed,
            len(self.skipped),
        )


def real_set(source: str, count: int, seed: int, display: Display) -> ImageSet:
    """At most ``count`` images of any source. Raises `UserError` for what is none, and for a model."""
    if not has_a_name(source) and _model_in(source):
        raise UserError(f"{source} is a model, and REAL are real images: name it among the generated ones")
    return _of_source(source, count, seed, display)


def generated_set(source: str, count: int, seed: int, display: Display, device: str = "auto") -> ImageSet:
    """At most ``count`` images of a folder or archive, or as many drawn from a model with ``seed``.

    Raises:
        UserError: for what is neither, and for a model that draws no images from noise.
    """
    if not _model_in(source):
        return _of_source(source, count, seed, display)
    generator = load(expanded(source), device)
    generator.require_images()
    name = name_of(expanded(source))
    drawn = np.concatenate(draw(generator, count, {}, display.show, f"drawing from {name}", seed=seed))
    made = _of_arrays(name, source, drawn, np.arange(count))
    return replace(made, kind="model", weights=generator.weights, recipe=generator.recipe, seed=seed)


def distinct_names(sets: list[ImageSet]) -> list[ImageSet]:
    """The same sets, with a number behind names that occur more than once."""
    seen: dict[str, int] = {}
    found = []
    for one in sets:
        seen[one.name] = number = seen.get(one.name, 0) + 1
        found.append(one if number == 1 else replace(one, name=f"{one.name} ({number})"))
    return found


def _model_in(source: str) -> bool:
    try:
        return stored.folder_of(expanded(source)) is not None
    except (OSError, ValueError):
        return False


def _of_source(source: str, count: int, seed: int, display: Display) -> ImageSet:
    require_images(source)
    if not has_a_name(source) and expanded(source).is_dir() and (expanded(source) / "config.json").is_file():
        raise UserError(f"{source} is a run without a trained model: train it on, or name a folder of images")
    found = find(source)
    if isinstance(found, PointSource):
        raise UserError(f"{source} holds points and no images")
    name = source if has_a_name(source) else short_name(Path(source))
    if not isinstance(found, Files):
        rows = _chosen(len(found.pixels), count, seed)
        return _of_arrays(name, source, found.pixels, rows)
    return _of_files(name, source, found, count, seed, display)


def _of_arrays(name: str, source: str, pixels: Pixels, rows: np.ndarray) -> ImageSet:
    side = int(min(pixels.shape[1:3]))

    def opened(row: int) -> Image.Image:
        return to_picture(np.ascontiguousarray(pixels[rows[row]]))

    names = tuple(f"{name} {row}" for row in rows)
    return ImageSet(name, "arrays", source, names, (side,) * len(rows), pixels.shape[3] == 1, (LOSSLESS,) * len(rows), opened)


def _of_files(name: str, source: str, files: Files, count: int, seed: int, display: Display) -> ImageSet:
    listing = files.listing()
    rows = _chosen(len(listing.images), count, seed)
    names, sides, gray, found = [], [], True, []
    skipped = list(listing.skipped)
    said = progress(display.show, f"looking at {name}")
    for place, row in enumerate(rows):
        file = listing.images[int(row)]
        try:
            data = files.read(file)
            own, image = compression_of(data, file), decode(data, file)
        except UnusableError as error:
            skipped.append(Skipped(files.title(file), str(error)))
            continue
        names.append(file)
        sides.append(min(image.size))
        gray = gray and image.mode == "L"
        found.append(own)
        if said is not None:
            said(place + 1, len(rows))
    if not names:
        why = f" ({skipped[0].name}: {skipped[0].reason})" if skipped else ""
        raise UserError(f"there are no images in {printable(source)} that can be read{why}")
    kept = tuple(names)

    def opened(row: int) -> Image.Image:
        return decode(files.read(kept[row]), kept[row])

    return ImageSet(name, "files", source, kept, tuple(sides), gray, tuple(found), opened, tuple(skipped))


def _chosen(there: int, count: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng([seed, 31]).permutation(there)[:count])
