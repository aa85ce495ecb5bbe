"""What a model computes, as a function of tensors alone: what an exported file holds.

Models draw with `calotype.types.Noise`. A first drawing records what they ask of it; each of these draws then becomes an input of the
function, so that whoever runs the file brings the random numbers. No family is asked for: ``sample`` is what is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from calotype.capabilities import CallsOften, Classifies
from calotype.errors import UserError
from calotype.tasks.sample import Generator, Options
from calotype.types import Condition, Model, Noise, SamplingOptions

Filled = Literal["normal", "uniform", "label", "image"]
"""With what an input is filled: standard normal numbers, uniform ones in [0, 1), classes counted from 0, an image in [-1, 1]."""

DRAWS = 64  # inputs of random numbers that a file has at most
SIDE = 32  # pixels a side of the image that a function of images of any size is traced with


@dataclass(frozen=True)
class Input:
    """A tensor that the function takes; the batch comes before ``shape``."""

    name: str
    filled: Filled
    shape: tuple[int | str, ...]  # a number, or the name of a size that the caller chooses
    maps: int = 0  # of an image: how many of its channels, the last ones, are maps that take values in [0, 1]
    classes: int = 0  # of a label


@dataclass(frozen=True)
class Graph:
    """A function of tensors: ``module`` takes the ``inputs`` in their order and returns what ``output`` names."""

    module: nn.Module
    inputs: tuple[Input, ...]
    output: Literal["images", "logits"]
    often: tuple[str, ...] = ()  # submodules that it calls many times

    def example(self, n: int, seed: int, start: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> list[Tensor]:
        """Inputs for ``n`` images; those of image ``i`` depend on ``seed`` and ``start + i`` alone, as `Noise` draws them.

        The random numbers are those by which `Generator.sample` draws its images ``start`` to ``start + n - 1`` of that seed with labels
        given, so that both draw the same images. ``size`` is the height and width of images of any size.
        """
        noise, drawn, sizes = Noise(n, seed, start), [], dict(zip(("height", "width"), size, strict=True))
        for one in self.inputs:
            shape = tuple(sizes[side] if isinstance(side, str) else side for side in one.shape)
            if one.filled == "normal":
                drawn.append(noise.normal(*shape))
            elif one.filled == "label":
                drawn.append((torch.arange(start, start + n) + seed) % one.classes)
            elif one.filled == "uniform":
                drawn.append(noise.uniform(*shape))
            else:
                image = noise.uniform(*shape) * 2 - 1
                known = shape[0] - one.maps
                drawn.append(torch.cat([image[:, :known], (image[:, known:] > 0).float()], 1))
        return drawn


class _RecordedNoise(Noise):
    """Noise that remembers what was asked of it."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.asked: list[tuple[Literal["normal", "uniform", "other"], tuple[int, ...]]] = []

    def normal(self, *shape: int) -> Tensor:
        self.asked.append(("normal", shape))
        return super().normal(*shape)

    def uniform(self, *shape: int) -> Tensor:
        self.asked.append(("uniform", shape))
        return super().uniform(*shape)

    def each(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        self.asked.append(("other", ()))
        return super().each(draw)


class _GivenNoise(Noise):
    """Noise that hands out given tensors, in the order in which they are asked for."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        self.n, self.device = given[0].shape[0], given[0].device
        self._left = list(given)

    def normal(self, *shape: int) -> Tensor:
        return self._left.pop(0)

    uniform = normal


class _Sampled(nn.Module):
    """Images of random numbers, and of labels where the model takes them."""

    def __init__(self, model: Model, options: SamplingOptions) -> None:
        super().__init__()
        self.model, self.options = model, options

    def forward(self, *given: Tensor) -> Tensor:
        """(N, C, H, W) float32 in [-1, 1]."""
        label = given[-1] if self.model.conditional else None
        return self.model.sample(_GivenNoise(given[: len(given) - (label is not None)]), Condition(label), self.options)


class _Restored(nn.Module):
    """Images of images."""

    def __init__(self, model: Model, options: SamplingOptions) -> None:
        super().__init__()
        self.model, self.options = model, options

    def forward(self, source: Tensor) -> Tensor:
        """(N, C, H, W) float32 in [-1, 1] of (N, C', h, w)."""
        return self.model.sample(_GivenNoise([source]), Condition(source=source), self.options)


class _Classified(nn.Module):
    """Logits of images; where ``mirrored``, of the mean features of each and its mirror image, as `predictions` has them."""

    def __init__(self, model: Any, mirrored: bool) -> None:
        super().__init__()
        self.model, self.mirrored = model, mirrored

    def forward(self, image: Tensor) -> Tensor:
        """(N, classes) float32 of (N, C, H, W) in [-1, 1]."""
        found = self.model.features(image)
        if self.mirrored:
            found = (found + self.model.features(image.flip(3))) / 2
        logits: Tensor = self.model.logits_of(found)
        return logits


class _Symbol(nn.Module):
    """Stands for a network while the rest is traced: what it is called with becomes one node of the graph."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *given: Tensor | None) -> Tensor:
        first = given[0]
        assert first is not None
        return torch.onnx.ops.symbolic(f"calotype::{self.name}", given, dtype=first.dtype, shape=first.shape)


class _Heard(nn.Module):
    """Calls a network, and remembers with what it was called first."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.given: tuple[Tensor | None, ...] | None = None

    def forward(self, *given: Tensor | None) -> Tensor:
        self.given = given if self.given is None else self.given
        made: Tensor = self.network(*given)
        return made


def graph_of(generator: Generator, options: Options | None = None, *, mirrored: bool = False) -> Graph:
    """What is exported of a model: how it draws images, makes images of images, or tells classes apart.

    Args:
        generator: The model.
        options: Its sampling options, which the file keeps: steps, guidance ...
        mirrored: Whether a classifier judges images together with their mirror images.

    Raises:
        UserError: where it draws images part after part, or by random numbers that are no inputs.
    """
    model, options = generator.model, options or {}
    if not model.draws and isinstance(model, Classifies):
        if options:
            raise UserError(f"a {generator.recipe} model classifies and has no sampling option {next(iter(options))}: leave it out")
        return Graph(_Classified(model, mirrored).eval(), (Input("image", "image", generator.spec.shape),), "logits")
    chosen = generator.check(options)
    if (source := model.starts_from) is not None:
        if "mask" in source.conditioning or model.overview:
            why = "which pixels are missing" if "mask" in source.conditioning else "a sample of the whole picture"
            raise UserError(
                f"a {generator.recipe} model works by {why}, which a file of a fixed graph cannot follow: use it with calotype restore"
            )
        maps = len(source.conditioning)
        shape = (source.channels + maps, "height", "width")
        if model.translates and options.get("direction") == "b2a":
            shape = (generator.spec.channels, "height", "width")
        return Graph(_Restored(model, chosen).eval(), (Input("source", "image", shape, maps),), "images")
    if model.in_order:
        raise UserError(
            f"a {generator.recipe} model draws the parts of an image one after another, each by those before it, and a file of a fixed "
            "graph cannot: sample from it with calotype"
        )
    draws = _asked(model, chosen, generator)
    often = tuple(model.called_often) if isinstance(model, CallsOften) else ()
    labels = (Input("label", "label", (), classes=len(generator.spec.classes)),) if model.conditional else ()
    return Graph(_Sampled(model, chosen).eval(), (*draws, *labels), "images", often)


@torch.no_grad()
def _asked(model: Model, options: SamplingOptions, generator: Generator) -> tuple[Input, ...]:
    """The random numbers that a model draws an image by."""
    noise = _RecordedNoise(2)
    label = torch.zeros(2, dtype=torch.int64, device=generator.device) if model.conditional else None
    noise.device = generator.device
    model.sample(noise, Condition(label), options)
    if any(kind == "other" for kind, _ in noise.asked):
        raise UserError(
            f"a {generator.recipe} model with these options draws numbers that are neither normal nor uniform, and a file has no place for "
            "them: leave `truncation` out"
        )
    if len(noise.asked) > DRAWS:
        raise UserError(f"a {generator.recipe} model draws {len(noise.asked)} times for each image, more than {DRAWS}: ask for fewer steps")
    names = ["noise"] if len(noise.asked) == 1 else [f"noise_{number}" for number in range(len(noise.asked))]
    return tuple(Input(name, kind, shape) for name, (kind, shape) in zip(names, noise.asked, strict=True) if kind != "other")


@contextmanager
def standing(module: Any, name: str, instead: nn.Module) -> Iterator[None]:
    """For a while ``instead`` in the place of a submodule."""
    network = getattr(module, name)
    setattr(module, name, instead)
    try:
        yield
    finally:
        setattr(module, name, network)


def symbols(graph: Graph) -> ExitStack:
    """While the block lasts, networks that are called often are nodes of the graph by their names."""
    stack = ExitStack()
    for name in graph.often:
        stack.enter_context(standing(graph.module.model, name, _Symbol(name)))
    return stack


@torch.no_grad()
def heard(graph: Graph, name: str) -> tuple[nn.Module, tuple[Tensor | None, ...]] | None:
    """A network that is called often, and what it is called with first; None where it is never called."""
    network = getattr(graph.module.model, name)
    listening = _Heard(network)
    with standing(graph.module.model, name, listening):
        graph.module(*graph.example(2, 0))
    return None if listening.given is None else (network, listening.given)
