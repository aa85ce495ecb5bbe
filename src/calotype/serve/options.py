"""Settings of dataclasses as JSON schemas, from the same fields, ranges and comments that the command line reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from calotype.settings import described


def schema_of(kind: type, config: object = None, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The JSON schema of the fields of a dataclass that a user may give.

    Args:
        kind: A dataclass, such as the sampling options of a family.
        config: What has the values that hold where none are given; the defaults of the fields without.
        names: Of the fields; those that a family shows where it says so, else all.
    """
    chosen = list(names if names is not None else kind.names() if hasattr(kind, "names") else [one.name for one in fields(kind)])
    hints, own = get_type_hints(kind, include_extras=True), {one.name: one for one in fields(kind)}
    properties: dict[str, Any] = {}
    for setting in described(kind, chosen):
        schema = TypeAdapter(hints[setting.name]).json_schema()
        schema.pop("title", None)
        schema["description"] = setting.help
        default = getattr(config, setting.name, None)
        if default is None and own[setting.name].default is not MISSING:
            default = own[setting.name].default
        properties[setting.name] = schema | {"default": default, "takes": setting.takes}
    return {"type": "object", "properties": properties, "additionalProperties": False}
