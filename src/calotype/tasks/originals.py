"""Originals of pictures: what results are compared with, where nobody knows what was done to the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from torch import Tensor

from calotype.data.decode import UnusableError
from calotype.data.images import some
from calotype.degrade import Degradation, Degraded
from calotype.errors import UserError, printable
from calotype.tasks.files import Picture
from calotype.tasks.inputs import Inputs
from calotype.types import Noise

SHOWN = 3  # names of pictures in a message


class Originals:
    """The original of each picture: of its name, whatever its suffix, in the same folder or in none; of one file, the other one.

    Args:
        inputs: The pictures.
        truths: Among which their originals are.
        scale: How many times larger results are than the pictures. Originals have their size, or up to a pixel less than ``scale`` more.
        where: What the originals are called in messages.

    Raises:
        UserError: where pictures have none, or one of another size, as far as the heads of their files tell.
    """

    def __init__(self, inputs: Inputs, truths: Inputs, scale: int, where: str) -> None:
        self._truths, self._scale, self._where = truths, scale, where
        self._names = {inputs.names[0]: truths.every[0]} if inputs.single and truths.single else self._paired(inputs.names)
        for name, own in self._names.items():
            sizes = inputs.size(name), truths.size(own)
            if sizes[0] is not None and sizes[1] is not None:
                self._require_size(own, sizes[0], sizes[1])

    def of(self, name: str, size: tuple[int, int]) -> Picture:
        """The original of the picture ``name``, whose height and width are ``size``. Raises `UserError` for one that cannot be used."""
        own = self._names[name]
        try:
            picture = self._truths.picture(own)
        except UnusableError as error:
            raise UserError(f"its original {own} cannot be used: {error}") from None
        self._require_size(own, size, picture.size)
        return picture

    def _paired(self, names: Iterable[str]) -> dict[str, str]:
        whole, bare = _by_stem(self._truths.every), _by_stem(self._truths.every, bare=True)
        found = {name: whole.get(_stem(name)) or bare.get(_stem(name, bare=True), []) for name in names}
        if twice := [name for name, own in found.items() if len(own) > 1]:
            several = " and ".join(printable(own) for own in found[twice[0]][:2])
            raise UserError(f"{printable(twice[0])} has several originals in {self._where}: {several}; leave one of them")
        if lost := [printable(name) for name, own in found.items() if not own]:
            shown = ", ".join(lost[:SHOWN]) + (" ..." if len(lost) > SHOWN else "")
            raise UserError(f"{len(lost)} of {some(len(found), 'picture')} have no original of their name in {self._where}: {shown}")
        return {name: own[0] for name, own in found.items()}

    def _require_size(self, own: str, given: tuple[int, int], there: tuple[int, int]) -> None:
        wanted = tuple(self._scale * side for side in given)
        if any(side // self._scale * self._scale != result for side, result in zip(there, wanted, strict=True)):
            found, size = (f"{sides[1]}x{sides[0]}" for sides in (there, wanted))
            raise UserError(f"the original {printable(own)} has {found} pixels, and the result that is compared with it {size}")


class Unknown(Degradation):
    """What happened to pictures that have originals: nobody tells more than how much smaller they are, and where pixels are missing."""

    spec = ""

    def __init__(self, scale: int, mask: bool) -> None:
        self.scale, self.conditioning = scale, ("mask",) if mask else ()

    def __call__(self, image: Tensor, noise: Noise) -> Degraded:
        """Cannot be repeated."""
        raise NotImplementedError


def _by_stem(names: Iterable[str], bare: bool = False) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_stem(name, bare), []).append(name)
    return found


def _stem(name: str, bare: bool = False) -> str:
    plain = PurePosixPath(name)
    return plain.stem if bare else str(plain.with_suffix(""))
