"""Trainings that start from the weights of another model, and not from random ones: fine-tuning, transfer learning.

The model that is trained is the one given, its game included, but for what the configuration changes of it. Weights are taken where name
and shape agree; all else starts anew: other layers, optimizers, the counter of steps, the schedules. A run records where it started
(``train.start``) and the SHA-256 of the weights, so that it can begin again even where it has no checkpoint yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from calotype.config import Config
from calotype.engine.display import Display
from calotype.engine.trainer import Trainer
from calotype.errors import UserError
from calotype.files import sha256
from calotype.models import blank, stored
from calotype.models.stored import WEIGHTS, Stored
from calotype.types import ImageSpec

NAMED = 3  # tensors that start anew and that a line names


def based_on(config: Config, start: str) -> Config:
    """A configuration that starts from the model in ``start``, a run or a ``model/`` folder, with the settings of that model.

    Of a model that draws from noise the size and the channels of its images are taken as well, where the configuration names none.

    Raises:
        UserError: where there is no model, or one of another family than the configuration's.
    """
    found = _of_family(config, start)
    data = config.data
    if found.spec.source is None and found.spec.points is None:  # whose size and channels say what they are
        data = replace(data, size=data.size or found.spec.size, channels=data.channels or found.spec.channels)  # type: ignore[arg-type]
    return replace(config, model=found.config, data=data, train=replace(config.train, start=start))


def usual(config: Config) -> list[Config]:
    """The configuration with the settings of the model that it starts from: nobody set them; empty where it starts from none."""
    return [] if config.train.start is None else [replace(config, model=_of_family(config, config.train.start).config)]


def require(config: Config, spec: ImageSpec) -> None:
    """Raise `UserError` where weights are to stay as they are which nobody has trained."""
    if config.train.start is None and (setting := blank(config.model, spec).freezes):
        raise UserError(f"`{setting}` keeps layers as they were trained before: name the run or model to start from by `train.start`")


def take(trainer: Trainer, display: Display) -> None:
    """Give a trainer that has taken no step the weights of the model that its configuration starts from, if it names one.

    Raises:
        UserError: where the model is not there or is of another family, where nothing of it fits, and where it is not the one that the run
            recorded.
    """
    start, world = trainer.config.train.start, trainer.world
    if start is None:
        return
    found: Stored | None = None
    held: Mapping[str, Tensor] = {}
    if world.is_main:
        found = _of_family(trainer.config, start)
        held = found.model().state_dict()
    weights = world.first(lambda: "" if found is None else sha256(found.folder / WEIGHTS))
    held = world.share(held)
    if trainer.progress.settings.setdefault("start", weights) != weights:
        raise UserError(f"the model in {start} changed since the run began: restore it, or train anew")
    own = trainer.model.state_dict()
    fitting = {name: held[name] for name, t in own.items() if name in held and held[name].shape == t.shape}
    if not any(own[name].is_floating_point() and own[name].numel() > 1 for name in fitting):
        raise UserError(f"no layer of the model in {start} fits this one: start from another, or train without `train.start`")
    for model in (trainer.model, trainer.average):
        model.load_state_dict(fitting, strict=False)
    recipe = world.first(lambda: "" if found is None else found.recipe)
    display.say(f"starting from {start} ({recipe}): {_told(own, fitting, held)}")


def _told(own: Mapping[str, Tensor], fitting: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> str:
    """What was taken of a model, and what was not."""
    anew = [name + (" (of another shape)" if name in held else "") for name in own if name not in fitting]
    left = sum(name not in own for name in held)
    said = f"{len(fitting)} of {len(own)} tensors are taken"
    if anew:
        said += f"; {', '.join(anew[:NAMED])}{f' and {len(anew) - NAMED} more' if len(anew) > NAMED else ''} start anew"
    return said + (f"; {left} of the model given {'is' if left == 1 else 'are'} not used" if left else "")


def _of_family(config: Config, start: str) -> Stored:
    """The model in ``start``; `UserError` where it is of another family."""
    found = stored.find(start)
    if type(found.config) is not type(config.model):
        raise UserError(
            f"{start} holds a model of the family {found.config.kind}, and {config.recipe} is of the family {config.model.kind}: name a "
            "recipe of the same family"
        )
    return found
