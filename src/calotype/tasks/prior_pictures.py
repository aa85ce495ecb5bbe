"""Pictures of one's own for a prior: the truth of a trial, or what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from calotype.data.decode import UnusableError
from calotype.data.files import printable
from calotype.data.fit import fit_image
from calotype.degrade import Degradation
from calotype.degrade.color import gray8
from calotype.errors import UserError
from calotype.tasks.batch import Outcome
from calotype.tasks.inputs import Inputs
from calotype.tasks.pixels import to_tensor
from calotype.types import ImageSpec


@dataclass(frozen=True)
class Pictures:
    """What was read of a source."""

    image: Tensor  # (N, C, H, W) float32 in [-1, 1]
    names: list[str]  # of folders for what is made of each, no two of them alike
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
    found: dict[str, Tensor] = {}
    for name in inputs.names:
        outcome = Outcome(printable(name))
        try:
            picture = inputs.picture(name)
            folder = PurePosixPath(name).with_suffix("").as_posix()
            while folder.casefold() in (other.casefold() for other in found):
                folder = name if folder != name else f"{folder}-"
            found[folder] = shaped(picture.pixels)
            outcome.notes += [*picture.notes, *(["its transparency was left out"] if picture.alpha is not None else [])]
        except UnusableError as error:  # the others can still be used
            outcome.error = str(error)
        outcomes.append(outcome)
    if not found:
        raise UserError(f"{outcomes[0].file} cannot be used: {outcomes[0].error}" if outcomes else "there are no pictures to restore")
    return Pictures(torch.cat(list(found.values())), list(found), outcomes)
