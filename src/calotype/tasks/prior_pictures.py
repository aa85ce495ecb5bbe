"""Pictures of one's own for a prior: the truth of a trial, or what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, count
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from calotype.data.decode import UnusableError
from calotype.data.fit import fit_image
from calotype.degrade import Degradation
from calotype.degrade.color import gray8
from calotype.errors import UserError, printable
from calotype.tasks.batch import Outcome
from calotype.tasks.inputs import Inputs
from calotype.tasks.model_inputs import to_tensor
from calotype.types import ImageSpec

OWN = ("overview.png", "result.json")  # what is made of all pictures together
EACH = ("mean.png", "std.png", "samples")  # what is made of each, in a folder of its own


@dataclass(frozen=True)
class Pictures:
    """What was read of a source."""

    image: Tensor  # (N, C, H, W) float32 in [-1, 1]
    folders: list[str]  # for what is made of each, no two of them alike; "." of the only one
    outcomes: list[Outcome]  # what became of all, those that cannot be used among them


def truths(inputs: Inputs, spec: ImageSpec) -> Pictures:
    """Pictures as images like ``spec``: the central square of each, smaller or larger. Raises `UserError` where none can be used."""

    def shaped(pixels: NDArray[Any]) -> Tensor:
        eight = pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)
        image = fit_image(Image.fromarray(eight[..., 0] if eight.shape[2] == 1 else eight), spec.size, "crop")
        table = np.asarray(image.convert("L" if spec.channels == 1 else "RGB"))
        return to_tensor(table.reshape(1, spec.size, spec.size, spec.channels))

    return _read(inputs, shaped)


def measurements(inputs: Inputs, degradation: Degradation, spec: ImageSpec) -> Pictures:
    """Pictures as what ``degradation`` made of images like ``spec``, (N, C', h, w).

    Raises:
        UserError: where none can be used, or the only one has another size.
    """
    channels, side = degradation.channels(spec.channels), spec.size // degradation.scale

    def shaped(pixels: NDArray[Any]) -> Tensor:
        if pixels.shape[:2] != (side, side):
            size = f"{pixels.shape[1]}x{pixels.shape[0]} pixels"
            raise UnusableError(
                f"it has {size}: this prior restores {spec.size}x{spec.size}, for which it takes {side}x{side}; bring it to that size first"
            )
        image = torch.from_numpy(pixels / (np.iinfo(pixels.dtype).max / 2) - 1).float().permute(2, 0, 1)[None]
        if image.shape[1] == channels:
            return image
        return gray8(image) if channels == 1 else image.expand(-1, channels, -1, -1)

    return _read(inputs, shaped)


def _read(inputs: Inputs, shaped: Callable[[NDArray[Any]], Tensor]) -> Pictures:
    outcomes = [Outcome(skipped.name, error=skipped.reason) for skipped in inputs.skipped]
    folders, found = _Folders(), list[tuple[str, Tensor]]()
    for name in inputs.names:
        outcome = Outcome(printable(name))
        try:
            picture = inputs.picture(name)
            image = shaped(picture.pixels)
            found.append((folders.new(name), image))
            outcome.notes += [*picture.notes, *(["its transparency was left out"] if picture.alpha is not None else [])]
            outcome.notes += ["results have 8 of its 16 bits"] if picture.pixels.dtype == np.uint16 else []
        except UnusableError as error:  # the others can still be used
            outcome.error = str(error)
        outcomes.append(outcome)
    if not found:
        raise UserError(f"{outcomes[0].file} cannot be used: {outcomes[0].error}" if outcomes else "there are no pictures to restore")
    names, images = zip(*found, strict=True)
    return Pictures(torch.cat(images), ["."] if len(found) == 1 else list(names), outcomes)


class _Folders:
    """Names of folders in which nothing is but what is made of one picture, on disks that know no capitals, too."""

    def __init__(self) -> None:
        self._files, self._folders, self._chosen = set(OWN), {"."}, {"."}

    def new(self, name: str) -> str:
        """The name of a picture without its suffix; the whole name where that is taken, and then numbered ones."""
        flat = name.replace("/", "-")
        wanted = chain((PurePosixPath(name).with_suffix("").as_posix(), name), (f"{flat}-{number}" for number in count(2)))
        folder = next(filter(self._free, wanted))
        plain = PurePosixPath(folder.casefold())
        self._chosen.add(str(plain))
        self._folders |= {str(one) for one in (plain, *plain.parents)}
        self._files |= {str(plain / file) for file in EACH}
        return folder

    def _free(self, folder: str) -> bool:
        plain = PurePosixPath(folder.casefold())
        around, within = {str(one) for one in (plain, *plain.parents)}, {str(plain / file) for file in EACH}
        return str(plain) not in self._chosen and not around & self._files and not within & self._folders
