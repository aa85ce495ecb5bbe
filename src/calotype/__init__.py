"""Calotype: train image generators, learn how far they can be trusted, put them to work.

>>> import calotype
>>> calotype.recipes.RECIPES["dcgan"]().model.generator.network
'dcgan'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from calotype import config, data, detect, pictures, recipes
    from calotype.config import More
    from calotype.engine.display import Display
    from calotype.engine.expected import training_cost
    from calotype.engine.train import resume, train
    from calotype.evaluation.evaluate import evaluate
    from calotype.evaluation.explaining import explain
    from calotype.pictures import save_grid, save_images
    from calotype.provenance.watermark import make_watermark_key
    from calotype.shipping.export import export
    from calotype.shipping.share import pull, push
    from calotype.tasks.calibrate import calibrate
    from calotype.tasks.classify import classify
    from calotype.tasks.probe import ProbeResult, probe
    from calotype.tasks.restore import restore_pixels
    from calotype.tasks.restoring import restore
    from calotype.tasks.sample import Generator, load
    from calotype.tasks.trace import trace

# The names above are imported at their first use, so that importing the package stays fast.
_HOMES = {
    "calibrate": "tasks.calibrate",
    "classify": "tasks.classify",
    "Display": "engine.display",
    "train": "engine.train",
    "resume": "engine.train",
    "evaluate": "evaluation.evaluate",
    "export": "shipping.export",
    "explain": "evaluation.explaining",
    "load": "tasks.sample",
    "make_watermark_key": "provenance.watermark",
    "Generator": "tasks.sample",
    "More": "config",
    "restore": "tasks.restoring",
    "restore_pixels": "tasks.restore",
    "ProbeResult": "tasks.probe",
    "probe": "tasks.probe",
    "pull": "shipping.share",
    "push": "shipping.share",
    "save_grid": "pictures",
    "save_images": "pictures",
    "trace": "tasks.trace",
    "training_cost": "engine.expected",
}
_MODULES = ("config", "data", "detect", "pictures", "recipes")

__all__ = [
    "Display",
    "Generator",
    "More",
    "ProbeResult",
    "__version__",
    "calibrate",
    "classify",
    "config",
    "data",
    "detect",
    "evaluate",
    "explain",
    "export",
    "load",
    "make_watermark_key",
    "pictures",
    "probe",
    "pull",
    "push",
    "recipes",
    "restore",
    "restore_pixels",
    "resume",
    "save_grid",
    "save_images",
    "trace",
    "train",
    "training_cost",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"calotype.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"calotype.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'calotype' has no attribute {name!r}")
