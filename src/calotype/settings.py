"""Settings as frozen dataclasses whose annotations say what each may be, and one line for a value that is something else.

Every range ends somewhere: beyond these bounds nothing works any more, whatever the machine.
"""

from __future__ import annotations

import inspect
import json
import numbers
import os
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from calotype.errors import SettingError, UserError, printable

T = TypeVar("T")

LARGEST = 1e9  # of a real number: its square is far from where float32 ends
WIDEST = 1 << 16
DEEPEST = 1000
STEPS = 999_999_999  # of a run: names of checkpoints have nine digits


def _gray_or_color(channels: int) -> int:
    if channels not in (1, 3):
        raise ValueError("give 1 (gray) or 3 (color)")
    return channels


def _name(text: str) -> str:
    if not re.fullmatch(r"\w[\w .+-]{0,99}", text):
        raise ValueError("give a name of letters and digits, for folders are called by it")
    return text


Finite = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]  # a share that leaves something
Count = Annotated[int, Field(ge=1, le=STEPS)]
Width = Annotated[int, Field(ge=1, le=WIDEST)]  # numbers side by side in a network
Depth = Annotated[int, Field(ge=1, le=DEEPEST)]  # layers, blocks or steps, one after another
Levels = Annotated[tuple[Depth, ...], Field(max_length=8)]  # a number for each level of a network, each half the size of the one before
SolverSteps = Annotated[int, Field(ge=1, le=10_000)]  # steps of a solver
ImageSize = Annotated[int, Field(ge=8, le=1024)]  # a side of the images that models are trained on
MapSide = Annotated[int, Field(ge=0, le=1024)]  # a side of the maps inside a network, 0 for none of them
Sigma = Annotated[float, Field(ge=0, le=255)]  # standard deviation on the scale of 0 to 255
CompressionQuality = Annotated[int, Field(ge=1, le=100)]  # of lossy compression
Whole = Annotated[int, Field(ge=0, le=2**63 - 1)]
Seed = Whole
Channels = Annotated[int, AfterValidator(_gray_or_color)]
Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, Field(max_length=4096)]  # a path, a name, a degradation

_BRIEF = 60  # characters of a value that a message shows


def checked(kind: type[T], raw: object) -> T:
    """``raw`` (a dataclass or its JSON form) as a valid ``kind``: no unknown key, every value of its type and in its range.

    Raises:
        SettingError: that names the first key or value that does not fit, and what would.
    """
    data = asdict(raw) if is_dataclass(raw) and not isinstance(raw, type) else raw
    _refuse_unknown(kind, data, "")
    try:
        text = json.dumps(data, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"not a configuration: {printable(str(error))}") from None
    try:
        return _adapter(kind).validate_json(text, strict=True)  # type: ignore[no-any-return, arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path, reached = _walked(kind, first["loc"])
        field = ".".join(path)
        raise SettingError(f"{field or 'configuration'}: {_said(reached, first)}", field, takes(reached)) from None


@lru_cache(maxsize=32)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What validates a dataclass; making it takes longer than using it."""
    return TypeAdapter(kind)


def value(name: str, given: object, kind: Any, what: str = "") -> Any:
    """``given`` where it is of ``kind`` (any of the types above, or one that annotates a field).

    Raises:
        SettingError: that begins with the field ``name``, and with ``what`` it is where no argument and no option has that name.
    """
    if isinstance(given, numbers.Real):
        given = _plain(given)
    try:
        return TypeAdapter(kind).validate_python(given, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _, reached = _walked(kind, first["loc"])
        raise SettingError(f"{f'{what} {name}' if what else f'`{name}`'}: {_said(reached, first)}", name, takes(reached)) from None


@dataclass(frozen=True)
class Setting:
    """A field of a dataclass as a user is told of it."""

    name: str
    takes: str  # "a whole number from 1 to 10,000"
    help: str  # the comment behind the field; empty where there is none, or no source to read it from


def described(kind: type, names: Iterable[str]) -> tuple[Setting, ...]:
    """Fields of a dataclass with what they take, and with the comments behind them as help."""
    hints, comments = get_type_hints(kind, include_extras=True), _comments(kind)
    return tuple(Setting(name, takes(hints[name]), comments.get(name, "")) for name in names)


def takes(kind: Any) -> str:
    """What a setting of a type takes, in words; empty for one that is no number, no choice and no truth value.

    >>> takes(SolverSteps | None), takes(Literal["a", "b"])
    ('a whole number from 1 to 10,000', 'one of a, b')
    """
    members = _members(kind)
    if len(members) != 1:
        return ""
    if members[0] in (int, float):
        return f"{'a whole number' if members[0] is int else 'a number'}{_range(dict(_limits(kind)))}"
    if members[0] is bool:
        return "true or false"
    return f"one of {', '.join(str(choice) for choice in get_args(members[0]))}" if get_origin(members[0]) is Literal else ""


def _comments(kind: type) -> dict[str, str]:
    """The comments behind the fields of a dataclass and of those that it inherits from."""
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        if is_dataclass(part):
            with suppress(OSError):  # an installation without sources
                found |= dict(re.findall(r"^ {4}(\w+): .*?  # (.+)$", inspect.getsource(part), re.MULTILINE))
    return found


def unless(holds: object, needed: str, *names: str) -> dict[str, str]:
    """Settings that nothing reads, with what they need to have an effect; none where that is so."""
    return {} if holds else dict.fromkeys(names, needed)


def shown(thing: object) -> str:
    """A value from outside as a message can hold it: one line of a few words."""
    text = printable(repr(thing))
    return text if len(text) <= _BRIEF else text[: _BRIEF - 3] + "..."


def _plain(thing: object) -> object:
    """What Python code may put into a configuration in place of text and numbers."""
    if isinstance(thing, os.PathLike):
        return os.fspath(thing)
    if isinstance(thing, bool):
        return thing
    if isinstance(thing, numbers.Integral):  # of numpy
        return int(thing)
    if isinstance(thing, numbers.Real):
        return float(thing)
    raise TypeError(f"{shown(thing)} is neither text nor a number")


def _refuse_unknown(kind: Any, data: object, prefix: str) -> None:
    if not isinstance(data, Mapping):
        return
    there = _dataclasses(kind)
    kind = there[0] if len(there) == 1 else next((one for one in there if data.get(_tag(one)[0]) == _tag(one)[1]), None)
    if kind is None:  # a plain value, or a family that there is not, of which the validation tells
        return
    annotated = get_type_hints(kind, include_extras=True)
    hints = {one.name: annotated[one.name] for one in fields(kind)}  # what a class has for all is no setting
    for key, inner in data.items():
        if key not in hints:
            near = get_close_matches(str(key)[:100], hints, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(hints)}"
            unknown = f"{prefix}{printable(str(key))[:_BRIEF]}"
            raise SettingError(f"unknown setting {unknown}: {hint}", unknown)
        _refuse_unknown(hints[key], inner, f"{prefix}{key}.")


def _members(kind: Any) -> list[Any]:
    """The types that a type allows, without None and without what annotates them."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [member for part in get_args(kind) for member in _members(part) if member is not types.NoneType]
    return [kind]


def _dataclasses(kind: Any) -> list[Any]:
    return [member for member in _members(kind) if is_dataclass(member)]


def _tag(kind: Any) -> tuple[str, object]:
    """What tells a dataclass from others in its place: the name of the field that has one value only, and the value."""
    hints = get_type_hints(kind)
    return next(((f.name, f.default) for f in fields(kind) if len(get_args(hints[f.name])) == 1), ("", None))


def tag_of(kind: type) -> str:
    """The name of the field that tells a dataclass from others in its place."""
    return _tag(kind)[0]


def choices(kind: Any) -> dict[object, Any]:
    """The dataclasses that a type allows, by the value that tells them apart."""
    return {_tag(member)[1]: member for member in _dataclasses(kind)}


def _walked(kind: Any, places: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """The path to a value as a user writes it, without the tags of families, and the type that it should have."""
    path: list[str] = []
    for place in places:
        members = _members(kind)
        if sum(map(is_dataclass, members)) > 1:
            kind = choices(kind).get(place)
            continue
        path.append(str(place))
        if is_dataclass(members[0]):
            kind = get_type_hints(members[0], include_extras=True).get(str(place))
        else:
            inner = get_args(members[0])
            kind = (inner[0] if Ellipsis in inner else inner[place]) if isinstance(place, int) and get_origin(members[0]) is tuple else None
    return path, kind


def _said(kind: Any, error: Mapping[str, Any]) -> str:
    """What a setting takes instead of what it was given; what the validation says where that tells nothing of its type."""
    instead = f", not {shown(error.get('input'))}"
    if error["type"] == "missing":
        return "it is missing"
    if error["type"] == "union_tag_invalid":
        return f"input tag {shown(error['ctx']['tag'])} is none of {error['ctx']['expected_tags']}"
    if error["type"] in ("string_too_long", "too_long"):
        return f"give at most {error['ctx']['max_length']:,} {'characters' if error['type'] == 'string_too_long' else 'values'}" + instead
    if error["type"] == "value_error":
        return str(error["ctx"]["error"]) + instead
    if wanted := takes(kind):
        return f"give {wanted}" + instead
    return printable(error["msg"].lower())[:200] + instead


def _limits(kind: Any) -> Iterator[tuple[str, float]]:
    """The bounds that annotate a type, ("ge", 1), ("lt", 2) ..., the inner ones first."""
    for inner in get_args(kind) if get_origin(kind) in (Annotated, Union, types.UnionType) else ():
        yield from _limits(inner)
        for bound in getattr(inner, "metadata", ()):
            yield from ((name, getattr(bound, name)) for name in ("ge", "gt", "le", "lt") if hasattr(bound, name))


def _range(limits: Mapping[str, float]) -> str:
    """Bounds in words.

    >>> _range({"ge": 0, "lt": 1}), _range({"gt": 0.0, "le": 1e9}), _range({"ge": 1, "le": 1000})
    (' from 0 to below 1', ' above 0 and up to 1,000,000,000', ' from 1 to 1,000')
    """
    said = {name: f"{bound:,}" if isinstance(bound, int) else f"{bound:,.15g}" for name, bound in limits.items()}
    low = f" from {said['ge']}" if "ge" in said else f" above {said['gt']}" if "gt" in said else ""
    high = f"up to {said['le']}" if "le" in said else f"below {said['lt']}" if "lt" in said else ""
    if "ge" in said and high:
        return f"{low} to {high.removeprefix('up to ')}"
    return f"{low} and {high}" if low and high else low + (f" {high}" if high else "")
