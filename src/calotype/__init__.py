"""Calotype: train image generators, learn how far they can be trusted, put them to work.

>>> import calotype
>>> calotype.recipes.RECIPES["dcgan"]().model.network
'dcgan'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from calotype import config, data, recipes
    from calotype.engine.train import resume, train
    from calotype.report.evaluate import evaluate
    from calotype.tasks.sample import Generator, load

# The names above are imported at their first use, so that importing the package stays fast.
_HOMES = {
    "train": "engine.train",
    "resume": "engine.train",
    "evaluate": "report.evaluate",
    "load": "tasks.sample",
    "Generator": "tasks.sample",
}
_MODULES = ("config", "data", "recipes")

__all__ = ["Generator", "__version__", "config", "data", "evaluate", "load", "recipes", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"calotype.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"calotype.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'calotype' has no attribute {name!r}")
