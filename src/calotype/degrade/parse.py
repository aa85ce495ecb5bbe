"""Degradations by name: ``noise:0-55``, ``blur:1.6+downsample:3``, ``mask:box,strokes``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from calotype.degrade.base import Degradation
from calotype.degrade.blur import Defocus, GaussianBlur, Motion
from calotype.degrade.color import Gray
from calotype.degrade.compose import Composition
from calotype.degrade.draw import Range
from calotype.degrade.jpeg import Jpeg
from calotype.degrade.light import Contrast, Dark
from calotype.degrade.mask import SHAPES, Mask
from calotype.degrade.noise import GaussianNoise, PoissonNoise
from calotype.degrade.real import Real
from calotype.degrade.sampling import Downsample
from calotype.degrade.transforms import Edges, Invert, Same, Season
from calotype.errors import UserError

_NUMBER = r"(\d+\.?\d*(?:e-?\d+)?|\.\d+)"
_RANGE = re.compile(rf"{_NUMBER}(?:-{_NUMBER})?")


class _WrongError(ValueError):
    """What is wrong with the values behind a name."""


@dataclass(frozen=True)
class _Kind:
    """How a degradation is made of the words behind its name."""

    build: Callable[[list[str]], Degradation]
    example: str
    text: str  # for people
    other: bool = False  # whether it makes another picture, not a degraded one


def parse(spec: str) -> Degradation:
    """The degradation that ``spec`` names: one or several joined by "+", the first first, each ``name[:value or low-high[,more]]``.

    >>> parse("blur:0.5-3 + noise:10").spec
    'blur:0.5-3+noise:10'

    Raises:
        UserError: for names that there are not and values out of range.
    """
    parts = [_part(part.strip().lower()) for part in spec.split("+")]
    return parts[0] if len(parts) == 1 else Composition(parts)


def kinds() -> dict[str, tuple[str, str]]:
    """What there is: an example and a sentence for each name."""
    return {name: (kind.example, kind.text) for name, kind in _KINDS.items()}


def makes_other(spec: str) -> bool:
    """Whether a degradation makes another picture, not a degraded one: what undoes it translates, and does not restore.

    >>> makes_other("edges"), makes_other("blur:2+noise:5"), makes_other("blur:2+gray")
    (True, False, True)
    """
    return any(name in _KINDS and _KINDS[name].other for name in (part.partition(":")[0] for part in spec.split("+")))


def _part(part: str) -> Degradation:
    name, _, values = part.partition(":")
    if name not in _KINDS:
        near = get_close_matches({"grey": "gray", "bicubic": "downsample", "inpaint": "mask"}.get(name, name), _KINDS, 1)
        raise UserError(f"unknown degradation {part!r}: " + (f"did you mean {_KINDS[near[0]].example}?" if near else _known()))
    kind = _KINDS[name]
    try:
        return kind.build([value.strip() for value in values.split(",")] if values else [])
    except _WrongError as error:
        raise UserError(f"degradation {part!r}: {error}; for example {kind.example}") from None


def _known() -> str:
    return "there are " + ", ".join(kind.example for kind in _KINDS.values()) + ", joined by + where several come one after another"


def _range(value: str, low: float, high: float, what: str, whole: bool = False) -> Range:
    found = _RANGE.fullmatch(value)
    if found is None:
        raise _WrongError(f"{what} is a number or a range such as {low:g}-{high:g}, not {value!r}")
    first = float(found[1])
    last = first if found[2] is None else float(found[2])
    if not low <= first <= last <= high:
        raise _WrongError(f"{what} goes from {low:g} to {high:g}, a range from its smaller end to its larger one")
    if whole and not (first.is_integer() and last.is_integer()):
        raise _WrongError(f"{what} is a whole number")
    return Range(first, last)


def _ranged(
    make: Callable[[Range], Degradation], low: float, high: float, what: str, whole: bool = False
) -> Callable[[list[str]], Degradation]:
    """For degradations of one range and nothing else."""

    def build(values: list[str]) -> Degradation:
        if len(values) != 1:
            raise _WrongError(f"it takes one value, {what}")
        return make(_range(values[0], low, high, what, whole))

    return build


def _plain(make: Callable[[], Degradation]) -> Callable[[list[str]], Degradation]:
    """For degradations without values."""

    def build(values: list[str]) -> Degradation:
        if values:
            raise _WrongError("it takes no value")
        return make()

    return build


_LEVEL, _PHOTONS = "the standard deviation on the scale of 0 to 255", "the photons that a white pixel counts"


def _noise(values: list[str]) -> Degradation:
    if len(values) not in (1, 2) or values[1:] not in ([], ["shared"]):
        raise _WrongError(f"it takes one value, {_LEVEL}, and the word shared where some images have the same noise in all channels")
    return GaussianNoise(_range(values[0], 0, 255, _LEVEL), len(values) == 2)


def _blur(values: list[str]) -> Degradation:
    if len(values) not in (1, 2) or values[1:] not in ([], ["turned"]):
        raise _WrongError("it takes the standard deviation in pixels, and the word turned for one that differs in two directions")
    return GaussianBlur(_range(values[0], 0.1, 20, "the standard deviation in pixels"), len(values) == 2)


def _motion(values: list[str]) -> Degradation:
    if len(values) not in (1, 2):
        raise _WrongError("it takes the length in pixels, and the angle in degrees where it is not to be drawn")
    length = _range(values[0], 1, 99, "the length in pixels")
    return Motion(length, _range(values[1], 0, 180, "the angle in degrees") if values[1:] else None)


def _mask(values: list[str]) -> Degradation:
    holes: list[str | float] = []
    for value in values:
        if value in SHAPES:
            holes.append(value)
            continue
        share = _RANGE.fullmatch(value)
        if share is None or share[2] is not None or not 0 < float(value) < 1:
            raise _WrongError(f"holes are {', '.join(SHAPES)} or the share of lost pixels, above 0 and below 1, not {value!r}")
        holes.append(float(value))
    if not holes:
        raise _WrongError(f"say what is missing: {', '.join(SHAPES)}, or a share of the pixels")
    return Mask(holes)


def _downsample(values: list[str]) -> Degradation:
    if len(values) != 1 or values[0] not in {str(scale) for scale in range(2, 9)}:
        raise _WrongError("it takes one whole factor from 2 to 8")
    return Downsample(int(values[0]))


def _real(values: list[str]) -> Degradation:
    if values not in ([], ["1"], ["2"], ["4"]):
        raise _WrongError("it takes nothing, or how many times smaller the images become: 2 or 4")
    return Real(int(values[0]) if values else 1)


_KINDS = {
    "noise": _Kind(
        _noise,
        "noise:0-55",
        "Gaussian noise, its standard deviation on the scale of 0 to 255; ,shared for a third of the images with the same in all channels",
    ),
    "poisson": _Kind(_ranged(PoissonNoise, 1, 1e5, _PHOTONS), "poisson:30", "photon noise, the photons that a white pixel counts"),
    "blur": _Kind(_blur, "blur:1.6", "Gaussian blur, its standard deviation in pixels; ,turned for one that differs in two directions"),
    "motion": _Kind(_motion, "motion:5-21", "blur by a straight movement, its length in pixels, and its angle in degrees if not any"),
    "defocus": _Kind(_ranged(Defocus, 0.5, 30, "the radius in pixels"), "defocus:3", "blur by a lens out of focus, the radius in pixels"),
    "downsample": _Kind(_downsample, "downsample:3", "bicubic downsampling as MATLAB does it, to 8 bit"),
    "jpeg": _Kind(_ranged(Jpeg, 1, 100, "the quality", True), "jpeg:30", "JPEG compression of a quality from 1 to 100"),
    "mask": _Kind(_mask, "mask:box", "missing pixels: half, box, strokes, or a share such as 0.5"),
    "gray": _Kind(_plain(Gray), "gray", "color taken away", other=True),
    "dark": _Kind(_ranged(Dark, 1, 6, "the power"), "dark:2-4", "low light: images in [0, 1] to a power, and less of it"),
    "contrast": _Kind(_ranged(Contrast, 0.05, 1, "the factor"), "contrast:0.3-0.8", "low contrast, by a factor"),
    "edges": _Kind(_plain(Edges), "edges", "a drawing of the outlines", other=True),
    "invert": _Kind(_plain(Invert), "invert", "the negative", other=True),
    "season": _Kind(_plain(Season), "season", "colors of summer turned to winter", other=True),
    "real": _Kind(_real, "real:4", "two passes of blur, resizing, noise and JPEG, all unknown"),
    "identity": _Kind(_plain(Same), "identity", "nothing at all", other=True),
}
