"""Samples of several requests drawn together, and the same bits whatever they are drawn with.

A matrix product sums in another order for another number of rows, so that an image drawn in a batch of three is not always bit for bit
the one drawn alone. Within batches of one width the rows do not know of each other: a test holds every family to that. So each
model draws in batches of one width of its own here, filled up where fewer are wanted, and every image is that of its seed,
number, class and options. `calotype trace` finds it bit for bit, for its marker states the width.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype import pictures
from calotype.capabilities import HasDecoder
from calotype.errors import UserError
from calotype.provenance.marker import Marker
from calotype.serve.lanes import Lane, late
from calotype.serve.refusal import FullError
from calotype.tasks.sample import Generator, Options
from calotype.types import Condition, Noise, SamplingOptions, mix

WIDTH, SLOW_WIDTH = 16, 8
"""Images of a batch: of a model that makes them in one pass, and of one that takes many."""


@dataclass(frozen=True)
class Row:
    """One image to draw."""

    seed: int
    index: int
    label: int | None = None


class RowNoise(Noise):
    """The randomness of images of different seeds: row i is what ``Noise(1, rows[i].seed, rows[i].index)`` draws."""

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        super().__init__(0, device=device)
        self.n = len(rows)
        self._generators = [torch.Generator().manual_seed(mix(row.seed, row.index)) for row in rows]


def width_of(generator: Generator) -> int:
    """How many images a model draws at once here: a matter of the model alone, for bits depend on it."""
    return generator.most_at_once(WIDTH if isinstance(generator.model, HasDecoder) else SLOW_WIDTH)


@torch.no_grad()
def draw_rows(generator: Generator, rows: Sequence[Row], options: SamplingOptions) -> NDArray[np.uint8]:
    """Images (N, H, W, C) uint8, one for each row: all with a class, or all without one.

    Raises:
        UserError: for more rows than the width, and where the model yields images that are not finite.
    """
    return finished(_images(generator, rows, options))


@torch.no_grad()
def draw_each(generator: Generator, rows: Sequence[Row], options: SamplingOptions) -> list[NDArray[np.uint8] | UserError]:
    """The same for rows of several requests: in the place of an image that is not finite, what its request is told."""
    found: list[NDArray[np.uint8] | UserError] = []
    for image in _images(generator, rows, options):
        try:
            found.append(finished(image[None])[0])
        except UserError as error:
            found.append(error)
    return found


def _images(generator: Generator, rows: Sequence[Row], options: SamplingOptions) -> Tensor:
    width = width_of(generator)
    if len(rows) > width:
        raise UserError(f"this model draws {width} images at once here")
    filled = [*rows, *[rows[-1]] * (width - len(rows))]
    labels = None if rows[0].label is None else torch.tensor([row.label for row in filled], device=generator.device)
    return generator.model.sample(RowNoise(filled, generator.device), Condition(labels), options)[: len(rows)]


def finished(images: Tensor) -> NDArray[np.uint8]:
    """Images as pixels. Raises `UserError` where they are not finite."""
    if not torch.isfinite(images).all():
        raise UserError("the model yields images that are not finite: give less extreme options, or train it anew")
    return pictures.to_uint8(images)


def marker_of(generator: Generator, row: Row, options: Options) -> Marker:
    """What an image says of its making: that of `calotype sample`, drawn in a batch of the width."""
    width = width_of(generator)
    label = None if row.label is None else generator.spec.classes[row.label]
    asked = {name: value for name, value in options.items() if value is not None}
    return generator.made("sample", seed=row.seed, index=row.index, batch=(row.index, width, width), label=label, options=asked)


@dataclass(frozen=True)
class _Wanted:
    """A row that somebody waits for."""

    row: Row
    until: float  # by the monotonic clock
    image: asyncio.Future[NDArray[np.uint8]]


@dataclass
class _Queue:
    """Rows that wait for one model with one set of options."""

    generator: Generator
    options: SamplingOptions
    rows: list[_Wanted] = field(default_factory=list)
    running: bool = False


class Batcher:
    """Draws what several requests ask of a model in batches, as soon as the lane is free: who comes while it works fills the next one."""

    def __init__(self, lane: Lane, most: int = 4096) -> None:
        self.lane, self.most = lane, most
        self.waiting, self.requests = 0, 0  # rows, and requests that they are of
        self.drawn, self.batches = 0, 0
        self._queues: dict[Any, _Queue] = {}

    async def draw(self, generator: Generator, rows: Sequence[Row], options: Options) -> list[NDArray[np.uint8]]:
        """Images (H, W, C) uint8, one for each row.

        Raises:
            UserError: for options that the model does not take.
            Refusal: 429 where too many rows or requests wait, 503 where all of them together take too long.
        """
        chosen = generator.check(options)
        if self.waiting + len(rows) > self.most or self.requests >= self.lane.most:
            raise FullError("too many images are asked for at once: come again", self.lane.spent * (self.waiting / width_of(generator)))
        loop, until = asyncio.get_running_loop(), time.monotonic() + self.lane.seconds
        futures = []
        for row in rows:
            future: asyncio.Future[NDArray[np.uint8]] = loop.create_future()
            key = id(generator), chosen, row.label is None
            queue = self._queues.setdefault(key, _Queue(generator, chosen))
            queue.rows.append(_Wanted(row, until, future))
            futures.append(future)
            if not queue.running:
                queue.running = True
                task = loop.create_task(self._work(key, queue))
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.waiting, self.requests = self.waiting + len(rows), self.requests + 1
        try:
            async with asyncio.timeout(self.lane.seconds):
                return list(await asyncio.gather(*futures))
        except TimeoutError:
            raise late() from None
        finally:
            self.waiting, self.requests = self.waiting - len(rows), self.requests - 1
            for future in futures:
                future.cancel()  # of those who have gone

    async def _work(self, key: Any, queue: _Queue) -> None:
        width = width_of(queue.generator)
        try:
            while queue.rows:
                await asyncio.sleep(0)  # let all who are there put in their rows
                part, queue.rows = queue.rows[:width], queue.rows[width:]
                part = [one for one in part if not one.image.done()]
                if not part:
                    continue
                try:
                    images = await self._drawn(queue, part)
                except asyncio.CancelledError:
                    if not all(one.image.done() for one in part):
                        raise
                    continue
                except Exception as error:
                    for one in part:
                        if not one.image.done():
                            one.image.set_exception(error)
                    continue
                self.drawn, self.batches = self.drawn + len(part), self.batches + 1
                for one, image in zip(part, images, strict=True):
                    if one.image.done():
                        continue
                    if isinstance(image, UserError):
                        one.image.set_exception(image)
                    else:
                        one.image.set_result(image)
        finally:
            queue.running = False
            self._queues.pop(key, None)

    async def _drawn(self, queue: _Queue, part: Sequence[_Wanted]) -> list[NDArray[np.uint8] | UserError]:
        """The images of a batch, for as long as anybody waits for one of them."""
        seconds = max(one.until for one in part) - time.monotonic()
        rows = [one.row for one in part]
        work = asyncio.ensure_future(self.lane.within(seconds, draw_each, queue.generator, rows, queue.options))

        def left(_: object) -> None:
            if all(one.image.done() for one in part):
                work.cancel()

        for one in part:
            one.image.add_done_callback(left)
        return await work


def asked_options(options: Mapping[str, Any]) -> dict[str, float | str]:
    """Sampling options as a request gives them, without those that are left to the model."""
    return {name: value for name, value in options.items() if value is not None}
