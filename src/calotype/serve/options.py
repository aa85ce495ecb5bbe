"""Settings of dataclasses as JSON schemas, from the same fields, ranges and comments that the command line reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, TypeAdapter

from calotype.serve.refusal import Refusal
from calotype.settings import Setting, checked, described

PLACES = ("data.source", "data.partner", "train.start", "train.device")  # settings that name places of the machine: no client's to say
MAIN = ("train.batch", "train.seed", "optimizer.lr", "data.size", "data.labels", "data.flip", "model.conditional", "log.every")
SeveralSamples = Annotated[int, Field(ge=2, le=16)]
Solves = Annotated[int, Field(ge=1, le=250)]


USUAL = {"restore": "noise:25", "upscale": "downsample:2", "colorize": "gray"}
"""What a prior takes a picture to be degraded by where nobody says, by ability."""


@dataclass(frozen=True)
class PriorOptions:
    """What can be chosen where a model that draws images restores one."""

    degrade: Annotated[str, Field(max_length=100)] | None = (
        None  # what was done to the picture: noise:25, blur:1.6+noise:2, downsample:2 ...
    )
    samples: SeveralSamples = 4  # possible originals: their mean is the answer, and where they differ it is uncertain
    steps: Solves | None = None  # of the method; as many as are good for it where none is given
    method: Literal["auto", "ddrm", "diffpir", "dps"] = "auto"  # auto is dps; diffpir and ddrm are quicker and less exact
    label: Annotated[str, Field(max_length=4096)] | None = None  # class of the picture, where it is known


@dataclass(frozen=True)
class NoiseOptions:
    """What a restorer may be told besides its own options."""

    sigma: Annotated[float, Field(ge=0, le=255)] | None = None  # noise level of the picture; it is guessed where none is given


def schema_of(kind: type, config: object = None, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The JSON schema of the fields of a dataclass that a user may give.

    Args:
        kind: A dataclass, such as the sampling options of a family.
        config: What has the values that hold where none are given; the defaults of the fields without.
        names: Of the fields; those that a family shows where it says so, else all.
    """
    return {"type": "object", "properties": _properties(kind, config, names), "additionalProperties": False}


def settings_of(config: Any) -> dict[str, Any]:
    """The JSON schema of all settings of a recipe, by their places in the configuration (``train.batch``), without those of `PLACES`."""
    properties: dict[str, Any] = {}
    for one in fields(config):
        section = getattr(config, one.name)
        if is_dataclass(section):
            properties |= _section(section, one.name)
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _section(section: Any, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    plain = [one.name for one in fields(section) if not is_dataclass(getattr(section, one.name))]
    for name, schema in _properties(type(section), section, plain).items():
        place = f"{prefix}.{name}"
        if place in PLACES or "const" in schema:  # which family it is
            continue
        found[place] = schema | {"group": prefix} | ({"main": True} if place in MAIN else {})
    for one in fields(section):
        if is_dataclass(inner := getattr(section, one.name)):
            found |= _section(inner, f"{prefix}.{one.name}")
    return found


def _properties(kind: Any, config: object, names: Iterable[str] | None) -> dict[str, Any]:
    chosen = list(names if names is not None else kind.names() if hasattr(kind, "names") else [one.name for one in fields(kind)])
    own = {one.name: one for one in fields(kind)}
    properties: dict[str, Any] = {}
    for setting in _described(kind, tuple(chosen)):
        schema = _schema(kind, setting.name)
        default = getattr(config, setting.name, None)
        if default is None and own[setting.name].default is not MISSING:
            default = own[setting.name].default
        properties[setting.name] = schema | {"default": default, "description": setting.help, "takes": setting.takes}
    return properties


@cache
def _described(kind: Any, names: tuple[str, ...]) -> tuple[Setting, ...]:
    return described(kind, names)


@cache
def _schema(kind: Any, name: str) -> dict[str, Any]:
    """The JSON schema of what one field takes."""
    schema = TypeAdapter(_hints(kind)[name]).json_schema()
    schema.pop("title", None)
    return schema


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def chosen_of(kind: type, options: Mapping[str, Any]) -> Any:
    """Options of a request as a dataclass. Raises `SettingError` for one that is none of its fields, or out of range."""
    given = {name: value for name, value in options.items() if value is not None}
    return checked(kind, given)


def require_steps(options: Mapping[str, Any], most: int) -> None:
    """Raise `Refusal` (400) for more steps of a sampler than one request may take."""
    steps = options.get("steps")
    if isinstance(steps, int | float) and steps > most:
        raise Refusal(400, f"`steps`: give a number up to {most}", "options.steps", f"1 to {most}")
