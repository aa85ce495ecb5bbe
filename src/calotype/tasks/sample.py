"""A trained model as a thing that draws images: all it needs is the run's ``model/`` folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from calotype import pictures
from calotype.capabilities import Inverts, MayIdle
from calotype.data.images import some
from calotype.engine.device import enough_memory, machine_of, pick_device, require_memory
from calotype.engine.display import Say
from calotype.engine.model_card import command_for
from calotype.errors import UserError, printable
from calotype.files import sha256
from calotype.models import stored
from calotype.provenance.marker import Making, Marker, Provenance
from calotype.provenance.watermark import WatermarkedNoise, WatermarkKey, key_of
from calotype.settings import Count, Seed, shown, value
from calotype.types import Condition, Model, Noise, SamplingOptions

Watermark = WatermarkKey | str | Path | None
"""A key whose watermark images carry, or the file of one."""

Options = Mapping[str, float | str]
"""Sampling options of a model by name: those of its ``sampling`` that are not internal."""

PIXELS = 100 * 128**2  # of the images that are drawn at once


class Generator:
    """A trained model, ready to sample; ``weights`` is the SHA-256 of the file that they come from."""

    def __init__(self, model: Model, recipe: str, device: torch.device, weights: str = "") -> None:
        self.model = model.to(device).eval()
        self.spec = model.spec
        self.recipe = recipe
        self.device = device
        self.weights = weights

    def require_images(self) -> None:
        """Raise `UserError` where the model makes points, for what is done with images alone."""
        if (modes := self.spec.points) is not None:
            raise UserError(f"this {self.recipe} model makes points of {modes.name} and no images: it can be drawn from and evaluated")

    @torch.no_grad()
    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        label: int | str | None = None,
        batch_size: int = 64,
        start: int = 0,
        watermark: Watermark = None,
        **options: float | str,
    ) -> Tensor:
        """Draw ``count`` images, (count, C, H, W) float32 in [-1, 1] on the CPU.

        Image ``i`` depends on ``seed`` and ``start + i`` alone; the batch size changes it by no more than the rounding of sums.
        ``label`` is a class by its place or its name (see `label`); without one a conditional model draws its own. With the key
        ``watermark`` other images are drawn, which carry its watermark (see `calotype.trace`). ``options`` are the sampling options of the
        model (steps, guidance ...). Of large images fewer than ``batch_size`` are drawn at once.

        Raises `UserError` for a number that is out of range, for a label, an option or its value that the model does not take, for more
        images than memory holds, where the model yields NaN, and for a watermark where the sampler cannot be inverted.
        """
        chunks = self.batches(count, options, seed=seed, label=label, batch_size=batch_size, start=start, watermark=watermark)
        require_memory(4 * count * math.prod(self.spec.shape), f"{some(count, 'image')} at once", "draw fewer, or take them from batches()")
        return torch.cat([torch.empty(0, *self.spec.shape), *chunks])

    def batches(
        self,
        count: int,
        options: Options,
        *,
        seed: int = 0,
        label: int | str | None = None,
        batch_size: int = 64,
        start: int = 0,
        watermark: Watermark = None,
    ) -> Iterator[Tensor]:
        """What `sample` draws, a batch at a time. What cannot be drawn is refused here, before the first one."""
        if not self.model.draws:
            raise UserError(f"a {self.recipe} model draws no images: judge by it as `features`, and sample from a generator")
        if (source := self.model.starts_from) is not None:
            command = command_for(self.model, source)
            raise UserError(f"a {self.recipe} model makes images from images: use calotype {command} RUN IN OUT")
        chosen, key = self.check(options), key_of(watermark)
        if key is not None:
            self.inverting().require_invertible(chosen)
        count, batch_size = value("count", count, Annotated[Count, Field(ge=0)]), value("batch_size", batch_size, Count)
        seed, start = value("seed", seed, Seed), value("start", start, Seed)
        return self._drawn(count, chosen, seed, self.label(label), self.most_at_once(batch_size), start, key, given=options)

    def inverting(self) -> Inverts:
        """The model, whose watermark can be read. Raises `UserError` for one without a way from an image to its noise."""
        if not isinstance(self.model, Inverts):
            able = "diffusion, flow matching and flow models can"
            raise UserError(f"a {self.recipe} model cannot carry a watermark, for no way leads from an image to its noise: {able}")
        return self.model

    def marker(
        self,
        count: int,
        *,
        seed: int = 0,
        label: int | str | None = None,
        batch_size: int = 64,
        start: int = 0,
        watermark: Watermark = None,
        **options: float | str,
    ) -> Marker:
        """What files say of the images that `sample` draws when it is asked the same: for `calotype.save_grid` and `save_images`."""
        self.check(options)
        return self.marker_of(count, options, seed=seed, label=label, batch_size=batch_size, start=start, watermark=watermark)

    def marker_of(
        self,
        count: int,
        options: Options,
        *,
        seed: int = 0,
        label: int | str | None = None,
        batch_size: int = 64,
        start: int = 0,
        watermark: Watermark = None,
    ) -> Marker:
        """The marker of what `batches` draws."""
        number, asked = self.label(label), {name: value for name, value in options.items() if value is not None}
        name, batch = None if number is None else self.spec.classes[number], (start, count, self.most_at_once(batch_size))
        key = key_of(watermark)
        said = {} if key is None else {"watermark": key.id}
        return self.made("sample", seed=seed, index=start, cells=count, batch=batch, label=name, options=asked, **said)

    def made(self, making: Making, **facts: Any) -> Marker:
        """What a picture says that is made by this model: ``facts`` are the fields of `Marker` that not all pictures have."""
        return Marker(making, weights=self.weights, recipe=self.recipe, machine=machine_of(self.device), **facts)

    def most_at_once(self, batch_size: int) -> int:
        """How many images are drawn at once where ``batch_size`` are asked for: fewer of large images."""
        return min(batch_size, max(1, PIXELS // self.spec.size**2))

    @torch.no_grad()
    def _drawn(
        self,
        count: int,
        options: SamplingOptions,
        seed: int,
        number: int | None,
        batch_size: int,
        start: int,
        key: WatermarkKey | None,
        given: Options,
    ) -> Iterator[Tensor]:
        for first in range(0, count, batch_size):
            n = min(batch_size, count - first)
            place = n, seed, start + first, self.device
            noise = Noise(*place) if key is None else WatermarkedNoise(key, *place)
            wanted = Condition() if number is None else Condition(label=torch.full((n,), number, device=self.device))
            with enough_memory("draw fewer images at once (`batch_size`)"):
                images = self.model.sample(noise, wanted, options)
            if not torch.isfinite(images).all():
                asked = f" with {', '.join(f'{name}={value}' for name, value in given.items())}" if given else ""
                advice = "give less extreme options" if given else "its weights are damaged, or its training diverged"
                raise UserError(f"the model yields images that are not finite{asked}: {advice}")
            yield images.float().cpu()

    def label(self, label: int | str | None) -> int | None:
        """The place of a class among those of the model, counted from 0.

        A number is the place itself. Text is the name of a class, or else its place, but only where no class is called by a number: of
        classes 1, 2 and 3 the text ``"0"`` is none, and ``"1"`` is the first.

        Raises `UserError` for a class that the model does not know.
        """
        if label is None:
            return None
        names = self.spec.classes
        if not self.model.conditional:
            raise UserError(
                f"this {self.recipe} model was trained without labels: leave `label` out, or calotype train `model.conditional=True`"
            )
        return class_named(label, names)

    def check(self, options: Options) -> SamplingOptions:
        """The sampling options of these names; None is the model's own setting.

        Raises `UserError` unless the model has these options, the values are in range, and each of them changes what is drawn.
        """
        kind = self.model.sampling
        for name in options:
            if name not in kind.names():
                raise UserError(
                    f"a {self.recipe} model has no sampling option {shown(name)}: "
                    f"{'known are ' + ', '.join(kind.names()) if kind.names() else 'it has none'}"
                )
        chosen = kind(**options)
        config: Any = getattr(self.model, "config", None)
        given = {name: getattr(chosen, name) for name in options}
        asked = {name: value for name, value in given.items() if value is not None and getattr(config, name, value) != value}
        set_so = replace(config, **asked) if asked else None
        for name, needed in set_so.idle(self.spec).items() if isinstance(set_so, MayIdle) else ():
            if name in asked:
                raise UserError(f"sampling option {name} has no effect on this model without {needed}: leave it out")
        return chosen


def class_named(label: int | str, names: Sequence[str]) -> int:
    """The place of a class among those that are called ``names``, as `Generator.label` says. Raises `UserError` for one that is none."""
    if isinstance(label, str):
        if label in names:
            return names.index(label)
        if len(label) < 10 and label.isdecimal() and int(label) < len(names) and not any(name.isdecimal() for name in names):
            return int(label)
    elif isinstance(label, int | np.integer) and not isinstance(label, bool) and 0 <= label < len(names):
        return int(label)
    raise UserError(f"unknown label {shown(label)}: choose one of {printable(', '.join(names[:20]))}{', ...' * (len(names) > 20)}")


def draw(
    generator: Generator,
    count: int,
    options: Options,
    show: Say,
    what: str,
    *,
    seed: int = 0,
    label: str | None = None,
    batch_size: int = 64,
    folder: Path | None = None,
    keep: int | None = None,
    provenance: Provenance = "full",
    watermark: Watermark = None,
) -> list[NDArray[np.uint8]]:
    """Draw ``count`` images into the hands of a user, batches of (n, H, W, C) uint8; ``show`` is told how far ``what`` has come.

    Where there is a ``folder`` each image goes into a file of its own there as soon as it is drawn, which says as much of its making as
    ``provenance`` allows. Of more than ``keep`` images only the first are returned.
    Raises `UserError` as `Generator.sample`, before the first image for what cannot be drawn at all.
    """
    chunks: list[NDArray[np.uint8]] = []
    asked: dict[str, Any] = {"seed": seed, "label": label, "batch_size": batch_size, "watermark": watermark}
    batches = generator.batches(count, options, **asked)
    marker = generator.marker_of(count, options, **asked).at(provenance)
    done = 0
    show(what, done, count)
    for batch in batches:
        if folder is not None:
            pictures.save_images(batch, folder, done, marker and marker.one(done))
        if keep is None or done < keep:
            chunks.append(pictures.to_uint8(batch)[: None if keep is None else keep - done])
        done += len(batch)
        show(what, done, count)
    return chunks


def load(path: str | Path, device: str = "auto") -> Generator:
    """The model of a run, or of a ``model/`` folder by itself.

    Reads safetensors and JSON only: a model from elsewhere cannot run code. Raises `UserError` where the folder holds no model,
    or a damaged one.
    """
    found = stored.find(path)
    return Generator(found.model(), found.recipe, pick_device(device), sha256(found.folder / stored.WEIGHTS))
