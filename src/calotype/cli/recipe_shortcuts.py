"""Short options of the restoration recipes: one word for what stands for a whole --data.degrade."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from calotype import degrade
from calotype.config import Config
from calotype.data.prepare import TILE
from calotype.errors import UserError


@dataclass(frozen=True)
class Short:
    """An option of one recipe, and the degradation that its value stands for."""

    option: str
    template: str  # of the degradation; a value that names one itself, such as motion:5-21, is taken as it is


OPTIONS: dict[str, Short] = {
    "denoise": Short("sigma", "noise:{},shared"),
    "deblur": Short("blur", "blur:{}+noise:2"),
    "upscale": Short("scale", "downsample:{}"),
    "real": Short("scale", "real:{}"),
    "dejpeg": Short("quality", "jpeg:{}"),
    "inpaint": Short("mask", "mask:{}"),
}


def degraded(config: Config, default: Config, given: Mapping[str, str | None], named: Collection[str] = ()) -> Config:
    """``config`` with the degradation that the short options in ``given`` ask for, and a patch that fits its scale.

    ``named`` are the options that somebody wrote: a --data.patch of their own stays.

    Raises:
        UserError: for an option of another recipe, and beside a --data.degrade that says something else.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    if not asked:
        return config
    short = OPTIONS.get(config.recipe)
    if wrong := [name for name in asked if short is None or name != short.option]:
        owners = " and ".join(recipe for recipe, other in OPTIONS.items() if other.option == wrong[0])
        own = f"{config.recipe} takes --{short.option}" if short else f"{config.recipe} has no short option, and --data.degrade says it all"
        raise UserError(f"--{wrong[0]} is an option of {owners}: {own}")
    assert short is not None
    if "--data.degrade" in named:
        raise UserError(f"--{short.option} and --data.degrade say the same thing: give one of them")
    value = asked[short.option]
    spec = value if ":" in value else short.template.format(value)
    data = replace(config.data, degrade=spec)
    if data.patch is not None and "--data.patch" not in named:  # as many pixels of the source as before, and no more than a tile has
        scale = degrade.parse(spec).scale
        wanted = data.patch // degrade.parse(default.data.degrade or "identity").scale * scale
        data = replace(data, patch=min(wanted, TILE // scale * scale))
    return replace(config, data=data)
