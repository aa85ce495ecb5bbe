"""A trained model as a thing that draws images: all it needs is the run's ``model/`` folder."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from torch import Tensor

from calotype import pictures
from calotype.config import checked
from calotype.engine.checkpoint import finite
from calotype.engine.device import pick_device
from calotype.engine.run import command_for
from calotype.errors import UserError
from calotype.files import read_json
from calotype.models import ModelConfig, build
from calotype.types import Condition, ImageSpec, Model, Noise

Options = Mapping[str, float | str]
"""Options of a model's ``sample`` by name."""


class Generator:
    """A trained model, ready to sample."""

    def __init__(self, model: Model, recipe: str, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self.spec = model.spec
        self.recipe = recipe
        self.device = device

    @torch.no_grad()
    def sample(
        self, count: int, *, seed: int = 0, label: int | str | None = None, batch_size: int = 64, start: int = 0, **options: float | str
    ) -> Tensor:
        """Draw ``count`` images, (count, C, H, W) float32 in [-1, 1] on the CPU.

        Image ``i`` depends on ``seed`` and ``start + i`` alone, whatever the batch size. ``label`` is a class by number or name;
        without one a conditional model draws its own. ``options`` are those of the model's ``sample`` (steps, guidance ...).

        Raises `UserError` for a label, an option or its value that the model does not take, and where the model yields NaN.
        """
        chunks = self.batches(count, options, seed=seed, label=label, batch_size=batch_size, start=start)
        return torch.cat(list(chunks)) if count > 0 else torch.empty(0, *self.spec.shape)

    def batches(
        self,
        count: int,
        options: Options,
        *,
        seed: int = 0,
        label: int | str | None = None,
        batch_size: int = 64,
        start: int = 0,
    ) -> Iterator[Tensor]:
        """What `sample` draws, a batch at a time. What cannot be drawn is refused here, before the first one."""
        if not self.model.draws:
            raise UserError(f"a {self.recipe} model draws no images: give it to calotype evaluate --features, and sample from a generator")
        if self.spec.source is not None:
            command = command_for(getattr(self.model, "config", None), self.spec.source)
            raise UserError(f"a {self.recipe} model makes images from images: use calotype {command} RUN IN OUT")
        self.check(options)
        return self._drawn(count, options, seed, self.label(label), batch_size, start)

    @torch.no_grad()
    def _drawn(self, count: int, options: Options, seed: int, number: int | None, batch_size: int, start: int) -> Iterator[Tensor]:
        draw: Callable[..., Tensor] = self.model.sample
        for first in range(0, count, batch_size):
            n = min(batch_size, count - first)
            noise = Noise(n, seed, start + first, self.device)
            wanted = Condition() if number is None else Condition(label=torch.full((n,), number, device=self.device))
            images = draw(noise, wanted, **options)
            if not torch.isfinite(images).all():
                asked = f" with {', '.join(f'{name}={value}' for name, value in options.items())}" if options else ""
                mend = "give less extreme options" if options else "its weights are damaged, or its training diverged"
                raise UserError(f"the model yields images that are not finite{asked}: {mend}")
            yield images.float().cpu()

    def label(self, label: int | str | None) -> int | None:
        """The number of a class by number or name; `UserError` for one that the model does not know."""
        if label is None:
            return None
        names = self.spec.classes
        if not self.model.conditional:
            raise UserError(
                f"this {self.recipe} model was trained without labels: leave --label out, or train with --model.conditional True"
            )
        if str(label) in names:
            return names.index(str(label))
        if str(label).isdecimal() and int(label) < len(names):
            return int(label)
        raise UserError(f"unknown label {label!r}: choose one of {', '.join(names)}")

    def check(self, options: Options) -> None:
        """Raise `UserError` unless names, types and values are such as the model's ``sample`` and its settings take."""
        known = list(inspect.signature(self.model.sample).parameters)[2:]
        hints = get_type_hints(self.model.sample)
        for name, value in options.items():
            if name not in known:
                raise UserError(
                    f"a {self.recipe} model has no sampling option {name!r}: {'known are ' + ', '.join(known) if known else 'it has none'}"
                )
            hint = hints[name]
            _check_type(name, value, (hint,) if get_origin(hint) in (None, Literal) else get_args(hint))
            config: Any = getattr(self.model, "config", None)
            if hasattr(config, name):
                try:
                    checked(type(config), {**asdict(config), name: value})
                except UserError as error:
                    raise UserError(f"sampling option {error}") from None


def _check_type(name: str, value: float | str, kinds: tuple[Any, ...]) -> None:
    """Whether a value is of one of the types that an option takes: of a name, the configuration knows which there are."""
    words = any(kind is str or get_origin(kind) is Literal for kind in kinds)
    if isinstance(value, str):
        if not words:
            raise UserError(f"sampling option {name}={value}: give a number")
        names = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
        if str not in kinds and value not in names:
            raise UserError(f"sampling option {name}={value}: choose one of {', '.join(names)}")
    elif not {int, float} & set(kinds):
        raise UserError(f"sampling option {name}={value}: give a name")
    elif not math.isfinite(value):
        raise UserError(f"sampling option {name}={value}: give a finite number")
    elif float not in kinds and not isinstance(value, int):
        raise UserError(f"sampling option {name}={value}: give a whole number")


def load(path: str | Path, device: str = "auto") -> Generator:
    """The model of a run, or of a ``model/`` folder by itself.

    Reads safetensors and JSON only: a model from elsewhere cannot run code. Raises `UserError` where the folder holds no model,
    or a damaged one.
    """
    folder = Path(path)
    folder = folder / "model" if (folder / "model" / "config.json").is_file() else folder
    if not (folder / "model.safetensors").is_file() or not (folder / "config.json").is_file():
        raise UserError(f"{path} holds no trained model: give a run folder, or its model/ folder with config.json and model.safetensors")
    try:
        facts: dict[str, Any] = read_json(folder / "config.json")
        spec = checked(ImageSpec, facts["spec"])
        model = build(checked(ModelConfig, facts["model"]), spec)  # type: ignore[arg-type]
        tensors = parse_tensors((folder / "model.safetensors").read_bytes())
        left_out = {name: t for name, t in model.state_dict().items() if name.startswith(model.training_only)}
        model.load_state_dict({**left_out, **tensors})
    except (KeyError, TypeError, SafetensorError, RuntimeError) as error:
        raise UserError(f"the model in {folder} is damaged or from another version ({str(error).splitlines()[0]})") from None
    if not finite(tensors):
        raise UserError(f"the weights in {folder} are not finite: the training diverged, or the file is damaged")
    return Generator(model, str(facts.get("recipe", "")), pick_device(device))


def write_images(images: NDArray[np.uint8], folder: Path, start: int = 0, written: Callable[[int], None] | None = None) -> list[Path]:
    """Write (N, H, W, C) uint8 as PNG files numbered from ``start``."""
    paths = []
    for index, image in enumerate(images, start):
        path = folder / f"{index:06d}.png"
        pictures.save(pictures.to_picture(image), path)
        paths.append(path)
        if written:
            written(index)
    return paths
