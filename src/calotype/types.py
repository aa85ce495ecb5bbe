"""The words everything else is written in: read this first.

Images inside the toolkit are (N, C, H, W) float32 in [-1, 1]; uint8 and [0, 1] exist only at the edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal, TypeVar, get_type_hints

import torch
from pydantic import Field
from torch import Tensor, nn

from calotype.errors import UserError
from calotype.modes import KnownModes, PointModes
from calotype.settings import WIDEST, Channels, Text, value

Maps = Annotated[tuple[Annotated[str, Field(pattern="^(sigma|mask)$")], ...], Field(max_length=2)]
Classes = Annotated[tuple[Text, ...], Field(max_length=WIDEST)]


@dataclass(frozen=True)
class Source:
    """The other side of the images: ``Condition.source``, (N, channels + len(conditioning), H / scale, W / scale).

    Most models make images from it (``Model.from_source``); one that draws pairs from noise (`DrawsPairs`) learns it as a second domain.
    """

    channels: Channels
    scale: Annotated[int, Field(ge=1, le=8)] = 1  # how many times smaller it is than the image to make
    conditioning: Maps = ()  # what the channels behind those of the picture hold
    degradation: Text = ""  # what makes it of the image, such as "noise:0-55"; empty where the data hold both
    paired: bool = True  # whether it shows the same as the image

    def __str__(self) -> str:
        """What a model was trained on, in words: "noise:0-55", "pairs", "unpaired pictures"."""
        if self.paired:
            return self.degradation or "pairs"
        return f"{self.degradation} of other pictures" if self.degradation else "unpaired pictures"


@dataclass(frozen=True)
class Target:
    """What is known of an image as a whole beside its label: several labels or attributes at once, as numbers (``Batch.targets``)."""

    name: Text  # such as "attributes"
    entries: Classes  # what each of its numbers says, such as "smiling"


@dataclass(frozen=True)
class ImageSpec:
    """What the images of one data set look like: all that a model needs to know to be built."""

    size: Annotated[int, Field(ge=1, le=4096)]  # height and width in pixels
    channels: Annotated[int, Field(ge=1, le=3)]  # 1 gray, 3 color; the 2 coordinates of points
    classes: Classes = ()  # class names in the order of their labels; empty where there are no labels
    source: Source | None = None  # where the data have two sides
    targets: Annotated[tuple[Target, ...], Field(max_length=WIDEST)] = ()  # what is known beside the label
    modes: KnownModes | None = None  # of a testbed

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, self.size, self.size)

    @property
    def points(self) -> PointModes | None:
        """What the images are drawn from where they are points: one pixel with two channels, drawn as a scatter plot."""
        return self.modes if isinstance(self.modes, PointModes) else None

    @property
    def nats_per_bit(self) -> float:
        """Nats of an image at one bit for each of its sub-pixels: what turns its log-likelihood into bits per dimension."""
        return math.log(2) * math.prod(self.shape)


def small_gray(spec: ImageSpec) -> bool:
    """Whether images are taken for digits and their like, and not for photographs: gray ones of at most 32 pixels a side."""
    return spec.channels == 1 and spec.size <= 32


@dataclass(frozen=True)
class Condition:
    """What an image is asked to be. Every field may be missing."""

    label: Tensor | None = None  # (N,) int64
    source: Tensor | None = None  # (N, C', H', W') float32, [-1, 1] up to noise: the image to translate or restore, then maps (`Source`)
    whole: Tensor | None = None  # (N, C', h, w): where ``source`` is a part of a picture, a sample of all of it (`Model.overview`)

    def to(self, device: torch.device | str) -> Condition:
        """The same condition on another device."""
        return Condition(*(None if t is None else t.to(device) for t in (self.label, self.source, self.whole)))

    def __getitem__(self, index: slice | Tensor) -> Condition:
        """The condition of some of the images."""
        return Condition(*(None if t is None else t[index] for t in (self.label, self.source, self.whole)))


@dataclass(frozen=True)
class Batch:
    """Images and what is known of them. Players never change a batch."""

    image: Tensor  # (N, C, H, W) float32 in [-1, 1]
    condition: Condition = field(default_factory=Condition)
    targets: Mapping[str, Tensor] = field(default_factory=dict)  # (N, K) float32 by the name of each `Target`
    labelled: Batch | None = None  # where labels are hidden: as many images whose labels are known, in an order of their own

    def __getitem__(self, rows: slice) -> Batch:
        """Some of the images, with what is known of them."""
        targets = {name: target[rows] for name, target in self.targets.items()}
        return Batch(self.image[rows], self.condition[rows], targets, None if self.labelled is None else self.labelled[rows])


@dataclass
class Step:
    """One step of the loop, as its players see it."""

    index: int  # optimizer steps taken before this one
    rng: torch.Generator  # on the device of the batch, reseeded at every step: the only source of randomness of a loss
    cache: dict[str, Tensor] = field(default_factory=dict)  # shared by the players of one step
    progress: float = 0.0  # the share of the budget that is spent, in [0, 1)


class Noise:
    """The randomness of ``n`` images, each with its own generator keyed by (seed, index).

    Row ``i`` of everything drawn depends on ``seed`` and ``start + i`` alone, never on ``n``: the batch size cannot
    change an image. Numbers are drawn on the CPU, so that every device starts from the same noise.

    >>> bool((Noise(3, seed=7).normal(2)[:2] == Noise(2, seed=7).normal(2)).all())
    True
    """

    def __init__(self, n: int, seed: int = 0, start: int = 0, device: torch.device | str = "cpu") -> None:
        self.n = n
        self.device = torch.device(device)
        self._generators = [torch.Generator().manual_seed(self._mixed(seed, start + i)) for i in range(n)]

    def _mixed(self, seed: int, number: int) -> int:
        """The seed of the generator of one image."""
        return mix(seed, number)

    def starting(self, *shape: int) -> Tensor:
        """The noise that images start from, (n, *shape) float32, standard normal; a watermark is in it where there is one."""
        return self.normal(*shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, (n, *shape) float32."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators]).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers uniform in [0, 1), (n, *shape) float32."""
        return torch.stack([torch.rand(shape, generator=g) for g in self._generators]).to(self.device)

    def each(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        """What ``draw`` makes of the generator of each image, (n, ...): numbers of any other distribution."""
        return torch.stack([draw(g) for g in self._generators]).to(self.device)


def mix(*keys: int) -> int:
    """One 63-bit seed from several integers, such that neighboring keys give unrelated seeds (splitmix64, Steele et al. 2014).

    >>> mix(0, 1) == mix(0, 1), mix(0, 1) == mix(1, 0)
    (True, False)
    """
    mask = (1 << 64) - 1
    state = 0
    for key in keys:
        state = (state ^ (key & mask)) + 0x9E3779B97F4A7C15 & mask
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
        state ^= state >> 31
    return state >> 1


Loss = Callable[[Batch, Step], dict[str, Tensor]]


@dataclass(frozen=True)
class Player:
    """The owner of some parameters and of the loss that trains them: a VAE has one player, a GAN two.

    ``loss`` returns scalars by name: ``"loss"`` is minimized, the rest is logged.
    """

    name: str
    module: nn.Module
    loss: Loss
    every: int = 1  # plays at every ``every``-th step only; its loss then counts so many times
    repeats: int = 1  # steps of its own in one step of the loop, each with a fresh batch (n_critic)
    lr_mult: float = 1.0  # its learning rate relative to the optimizer's (two time-scale update rule, Heusel et al. 2017)
    after: Callable[[], None] | None = None  # called after each of its optimizer steps (weight clipping)


@dataclass(frozen=True)
class Likelihood:
    """One way in which a model can say how likely images are. Numbers of different kinds are never ranked against each other."""

    kind: str  # "exact", "ELBO", "IWAE-50", "dequantized bound" (also with ", K=16"), "variational bound" or "ODE estimate"
    accuracy: Literal["exact", "lower bound", "estimate"]
    nats: Callable[[Tensor, Condition, torch.Generator], Tensor]  # (N, C, H, W) 8-bit images in [-1, 1] to (N,) float32 nats each
    slow: bool = False  # whether it takes so long that only a full report asks for it


@dataclass(frozen=True)
class SamplingOptions:
    """What can be chosen when images are drawn. Each family has its own beside its configuration, with None for the model's own setting.

    Raises:
        UserError: for a value that is out of the range of its field.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for one in fields(self):
            object.__setattr__(self, one.name, value(one.name, getattr(self, one.name), hints[one.name], "sampling option"))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The options that a user may give; the others are internal."""
        return tuple(one.name for one in fields(cls) if not one.metadata.get("internal"))


@dataclass(frozen=True)
class FillingOptions(SamplingOptions):
    """What a model is told that fills in missing pixels."""

    # what is missing has smooth colors already, because a part of a picture cannot tell them by itself; nothing for users to say
    prefilled: bool = field(default=False, metadata={"internal": True})


_Options = TypeVar("_Options", bound=SamplingOptions)


def chosen(kind: type[_Options], options: SamplingOptions | None) -> _Options:
    """The options of a family: those given, or its defaults. Raises `TypeError` for options of another family."""
    if options is None:
        return kind()
    if not isinstance(options, kind):
        raise TypeError(f"this model takes {kind.__name__}, not {type(options).__name__}")
    return options


class Model(nn.Module):
    """A module with players and a way to draw images from it."""

    spec: ImageSpec
    sampling: type[SamplingOptions] = SamplingOptions  # the options that ``sample`` takes
    bf16_pays: bool = True  # whether autocast to bfloat16 was measured to be faster on processors that have it
    mirror_pays: bool = True  # whether a classifier is worth asking about mirror images, too, which takes twice as long
    draws: bool = True  # whether it makes images: a classifier does not
    makes_points: bool = False  # whether it can be built for points (`ImageSpec.points`), which are one pixel and no 8-bit colors
    conditional: bool = False  # whether it can be asked for a label
    in_order: bool = False  # whether it draws the parts of an image one after another, each by those before it
    translates: bool = False  # whether what it makes of an image is another image, and not the same one restored
    directions: tuple[str, ...] = ("a2b",)  # in which it translates; of several, the sampling option direction chooses one
    from_source: bool = False  # whether it makes images from images (Condition.source), of any size, and draws none from noise alone
    overview: int = 0  # pixels a side of the sample by which every part of a picture is treated alike (`Condition.whole`); 0 for none
    training_only: tuple[str, ...] = ()  # state that an exported model goes without: the beginnings of its names
    least_batch: int = 1  # images that each process needs for a step: 2 where batch normalization sees nothing else than them
    learns_unlabelled: bool = False  # whether it learns from images whose labels are hidden (`Batch.labelled`)
    freezes: str = ""  # the setting by which some layers stay as they are, so that a training has to start from a model that has them
    through: tuple[str, ...] = ()  # feature networks that others trained and a loss looks through: a report judges by none of them
    changes_at: tuple[float, ...] = ()  # the shares of a run after which its steps take another time than before
    joins_at: tuple[float, ...] = ()  # the shares of a run after which layers take part that did not before: optimizers begin anew then
    double_backward: bool = False  # whether a loss differentiates a gradient, which compiled networks cannot

    @property
    def starts_from(self) -> Source | None:
        """What it makes images from; None where it draws them from noise, be it in two domains."""
        return self.spec.source if self.from_source else None

    def players(self) -> Sequence[Player]:
        """The players in the order of their steps. Together they own every trainable parameter, none of them twice."""
        raise NotImplementedError

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; ``options`` are of the class ``sampling``, the model's own settings without.

        Raises:
            TypeError: for options of another family.
        """
        raise NotImplementedError

    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """Scalars worth a line in the log, computed only when a line is written, without gradients."""
        return {}

    def likelihoods(self) -> Sequence[Likelihood]:
        """The ways in which the model can say how likely images are, the tightest quick one first; none for a GAN."""
        return ()

    def wanted(self, noise: Noise, condition: Condition | None) -> Tensor | None:
        """The labels (noise.n,) int64 to draw: those asked for, else uniform ones; None for an unconditional model.

        Raises:
            UserError: for labels that the model does not know.
        """
        label = None if condition is None else condition.label
        classes = len(self.spec.classes)
        if not self.conditional:
            if label is not None:
                raise UserError("this model was trained without labels: give it none")
            return None
        if label is None:
            return (noise.uniform() * classes).long().clamp(max=classes - 1)
        # a graph that is exported branches on no value
        if not torch.compiler.is_exporting() and (int(label.min()) < 0 or int(label.max()) >= classes):
            raise UserError(f"labels of this model are 0 to {classes - 1}")
        return label

    def needed(self, condition: Condition | None) -> Tensor | None:
        """The labels (N,) of given images or latents, where the model cannot do without; None for an unconditional model.

        Raises:
            UserError: where a conditional model is given no labels.
        """
        if not self.conditional:
            return None
        if condition is None or condition.label is None:
            raise UserError("this model needs labels, for it makes images by class: say which class, or give images that have labels")
        return condition.label
