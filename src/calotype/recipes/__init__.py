"""Complete named configurations: one function a recipe, found by name in `RECIPES`. docs/recipes.md says how they compare."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from calotype.config import Config
from calotype.errors import UserError
from calotype.recipes import classifier, flow_matching, gan

RECIPES: dict[str, Callable[[], Config]] = {
    "flow-matching": flow_matching.flow_matching,
    "gan": gan.gan,
    "dcgan": gan.dcgan,
    "lsgan": gan.lsgan,
    "wgan": gan.wgan,
    "wgan-gp": gan.wgan_gp,
    "sngan": gan.sngan,
    "hinge": gan.hinge,
    "rpgan": gan.rpgan,
    "classifier": classifier.classifier,
}

DEFAULT = "flow-matching"
"""What ``calotype train`` trains when nothing is named: the best digits after a minute on two processor cores."""


def named(name: str) -> Config:
    """The configuration of a recipe; `UserError` for a name that is none."""
    if name not in RECIPES:
        near = get_close_matches(name.lower(), RECIPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(RECIPES)}"
        raise UserError(f"unknown recipe {name!r}: {hint}")
    return RECIPES[name]()


def about(name: str) -> str:
    """The first line of what a recipe says of itself."""
    return (RECIPES[name].__doc__ or "").strip().splitlines()[0]
