"""The configuration of a training out of what a client may say of it: a recipe, a source by its name, settings by their places."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from calotype.errors import SettingError, UserError
from calotype.serve.sources import Sources

if TYPE_CHECKING:
    from calotype.config import Config

DEVICES = ("auto", "cpu", "cuda", "mps")
PARTNERS = re.compile(r"auto|halves(:right)?|gray|edges|invert|season|classes:[^/\\:]{1,200}")
"""What `data.partner` may be besides the name of a source: words, and no path."""

GivenSettings = Mapping[str, str | int | float | bool | list[float] | None]


def configuration(
    recipe: str, source: str, settings: GivenSettings, minutes: float | None, sources: Sources, start: Callable[[str], str], most: float
) -> Config:
    """A whole configuration, checked as `calotype train` checks it.

    Args:
        recipe: By its name.
        source: The name of a source.
        settings: By their places in the configuration: ``{"train.batch": 32}``. No path is among them: `data.partner` is a word or the
            name of a source, and `train.start` the id of a run.
        minutes: Of training; those of the recipe where neither these nor `train.steps` or `train.epochs` are given.
        sources: That there are.
        start: The place of the run with an id.
        most: Minutes that a training may take.

    Raises:
        SettingError: that names the setting which cannot be what it was given, and what it takes.
        UnknownError: for a source or a run that there is not.
    """
    from calotype import degrade
    from calotype.config import BUDGETS, Config, with_one_budget
    from calotype.recipes import RECIPES, named
    from calotype.settings import checked

    if recipe not in RECIPES:
        raise SettingError(f"there is no recipe {recipe!r}", "recipe", f"one of {', '.join(RECIPES)}")
    default = named(recipe)
    tree: dict[str, Any] = asdict(default)
    for place, value in settings.items():
        _put(tree, place, _inside(place, value, sources, start))
    tree["data"]["source"] = sources.place(source)
    asked = [name for name in BUDGETS if settings.get(f"train.{name}") is not None]
    if minutes is not None:
        if asked:
            raise SettingError(f"`minutes` and `train.{asked[0]}` both say how long: give one of them", "minutes")
        tree["train"]["minutes"], asked = minutes, ["minutes"]
    try:
        config = with_one_budget(default, checked(Config, tree), asked)
    except SettingError as error:
        raise SettingError(str(error), error.field.removeprefix("configuration"), error.allowed) from None
    if config.train.minutes is not None and config.train.minutes > most:
        raise SettingError(f"`train.minutes`: {most:g} are the most here", "train.minutes", f"a number above 0 and up to {most:g}")
    if config.data.degrade is not None:
        try:
            degrade.parse(config.data.degrade)
        except UserError as error:
            raise SettingError(f"`data.degrade`: {error}", "data.degrade") from None
    return replace(config, log=replace(config.log, grid=min(config.log.grid, 256)))


def _put(tree: dict[str, Any], place: str, value: Any) -> None:
    """Change one setting. Raises `SettingError` for a place that is none."""
    *sections, name = place.split(".")
    inner: Any = tree
    for section in sections:
        inner = inner.get(section) if isinstance(inner, dict) else None
    if not sections or not isinstance(inner, dict) or name not in inner or isinstance(inner[name], dict):
        raise SettingError("there is no such setting of this recipe: GET /v1/recipes lists them", place[:100])
    inner[name] = value


def _inside(place: str, value: Any, sources: Sources, start: Callable[[str], str]) -> Any:
    """A setting that could name a file, as what it may name instead."""
    if place == "data.source":
        raise SettingError("`data.source` is given as the source of the training", place)
    if place == "train.start" and value is not None:
        return start(str(value))
    if place == "train.device" and value not in DEVICES:
        raise SettingError(f"`train.device` is one of {', '.join(DEVICES)}", place, f"one of {', '.join(DEVICES)}")
    if place == "data.partner" and value is not None and not PARTNERS.fullmatch(str(value)):
        return sources.place(str(value))
    return value
