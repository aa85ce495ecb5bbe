"""The complete configuration of a run: frozen dataclasses that survive a round trip through JSON unchanged.

An unknown key, a wrong type or a value out of range is a `UserError` of one line.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

import tyro
from pydantic import Field

from calotype.errors import UserError
from calotype.files import parse_json
from calotype.models import ModelConfig
from calotype.settings import DEEPEST, Count, ImageSize, Name, NotNegative, Part, Positive, Seed, Share, Text, Width, checked, unless
from calotype.spelling import option
from calotype.types import ImageSpec

T = TypeVar("T")


def short(name: str) -> Any:
    """What annotates a setting that has a short option beside the one that says its place."""
    return tyro.conf.arg(aliases=(option(name),))


BUDGETS = ("minutes", "steps", "epochs")
"""The three ways to say how long; a configuration holds exactly one."""

TrackerName = Literal["tensorboard", "wandb", "trackio"]

RESUMABLE = frozenset(
    {
        "train.minutes",
        "train.steps",
        "train.epochs",
        "train.retries",
        "log.every",
        "log.checkpoints",
        "log.grid",
        "log.evaluate",
        "log.evaluate_images",
        "log.patience",
        "log.tracker",
    }
)
"""The settings that a resumed run may change: its budget and what it writes. Everything else would make it another run."""


@dataclass(frozen=True)
class Data:
    """Where the images come from and how they are brought to one shape."""

    # mnist5k, clothing and photos (embedded), mnist, fashion-mnist, cifar10, a folder, a zip, a prepared file, or one of the testbeds
    # ring, grid (points in the plane) and stacked5k (stacked digits)
    source: Annotated[Text, short("data.source")] = "mnist5k"
    # height and width in pixels; the source's own where none is given
    size: Annotated[ImageSize | None, short("data.size")] = None
    channels: Annotated[Literal[1, 3] | None, short("data.channels")] = None  # 1 gray, 3 color; else the source's own
    fit: Literal["crop", "pad", "stretch", "tile"] = "crop"  # how an image becomes square; tile: cut whole into squares, unscaled
    # mirror left and right at random: right for most photographs, wrong for digits and text; decided by a look at them where not given
    flip: bool | None = None
    rot90: bool = False  # mirror and rotate by multiples of 90 degrees at random: for restoration, where up and down do not matter
    patch: Annotated[Width, Field(ge=8)] | None = None  # train on random crops of this many pixels a side
    # what degrades the images that a restorer learns to undo: noise:25, noise:0-55, blur:1.6, downsample:3, jpeg:30, mask:box, gray ...
    degrade: Text | None = None
    # what a translator learns to translate from: auto (trainA and trainB in the source), a folder, halves or halves:right (pictures side
    # by side), classes:cat,dog, or a transform of the images: gray, edges, invert, season; it takes the place of degrade
    partner: Text | None = None
    paired: bool = True  # whether source and image show the same; else each side is drawn by itself, as CycleGAN learns
    holdout: Annotated[float, Field(ge=0, le=0.5)] = 0.1  # the share never trained on (a source's own split comes first)
    # training images whose labels are known, as many of each class, drawn by train.seed: a classifier learns from these alone, sgan from
    # the others as well, without their labels; all where none is given
    labels: Annotated[Count | None, short("data.labels")] = None
    # of classifiers the share of the training images that is set aside, by which log.evaluate keeps the best weights
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.0


@dataclass(frozen=True)
class Optimizer:
    """How gradients become steps; the same for every player up to its learning-rate factor."""

    name: Literal["sgd", "adam", "adamw", "muon", "rmsprop", "adagrad"] = "adam"  # the rule that turns gradients into steps
    lr: Positive = 2e-4  # learning rate: how far a step goes
    betas: tuple[Part, Part] = (0.5, 0.999)  # adam, adamw and, of all but hidden layers, muon
    beta2_end: Part | None = None  # where the second of the betas ends, which follows a cosine over the budget; it stays where not given
    momentum: Share = 0.0  # sgd and rmsprop
    nesterov: bool = False  # sgd: look a step of the momentum ahead
    weight_decay: NotNegative = 0.0  # L2; decoupled in adamw and muon
    l1: NotNegative = 0.0  # L1 penalty on the weights
    clip: Positive | None = None  # largest norm of a player's whole gradient

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return {
            **unless(self.name in ("adam", "adamw", "muon"), "`optimizer.name=adam`, adamw or muon", "betas", "beta2_end"),
            **unless(self.name in ("sgd", "rmsprop"), "`optimizer.name=sgd` or rmsprop", "momentum"),
            **unless(self.name == "sgd" and self.momentum, "`optimizer.name=sgd` with a momentum", "nesterov"),
        }


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the budget that was asked for."""

    kind: Literal["constant", "linear", "cosine"] = "constant"  # how the rate falls
    warmup: Share = 0.0  # share of the budget in which the rate rises from zero
    hold: Share = 0.0  # share of the rest in which linear and cosine stay at the peak before they fall
    final: Share = 0.0  # where linear and cosine end, relative to the peak

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return unless(self.kind != "constant", "`schedule.kind=linear` or cosine", "hold", "final")


@dataclass(frozen=True)
class Training:
    """How long and on what. Of minutes, steps and epochs exactly one is given; it counts from the beginning of a run."""

    batch: Count = 64  # images of each step
    accumulate: Count = 1  # parts of a batch that are computed one after another, in as much less memory; batch must be a multiple
    minutes: Annotated[Positive | None, short("train.minutes")] = None  # turned into a number of steps by timing the first ones
    steps: Annotated[Count | None, short("train.steps")] = None  # optimizer steps
    epochs: Annotated[Positive | None, short("train.epochs")] = None  # passes through the training images
    seed: Annotated[Seed, short("train.seed")] = 0  # another seed, another run
    # a run, or its model/ folder, whose weights training starts from where they fit, with its settings; photos: as the recipe transfer
    start: Annotated[Text | None, short("train.start")] = None
    ema: NotNegative = 0.05  # half-life of the averaged weights as a share of the images seen so far; 0 turns averaging off
    ema_images: Count = 500_000  # the half-life never exceeds this many images
    ema_ramp: Literal["linear", "cosine"] = "linear"  # how the half-life grows to that share: with the images seen, or along a cosine
    device: Annotated[Text, short("train.device")] = "auto"  # auto, cpu, cuda, mps
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # of the arithmetic; auto takes what was measured to be faster
    channels_last: bool = True  # keep the channels of a pixel side by side in memory, which is faster
    compile: Literal["auto", "on", "off"] = "auto"  # by torch.compile; auto: for long runs on CUDA
    threads: Count | None = None  # of the processor; by measurement where none is given, and one for short runs
    retries: Annotated[int, Field(ge=0, le=DEEPEST)] = 3  # times that a run may go back to its last checkpoint after a non-finite number

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return unless(self.ema, "`train.ema` above 0", "ema_images", "ema_ramp")


@dataclass(frozen=True)
class More:
    """How much longer a run goes on than it has come, whatever its budget was. Of minutes, steps and epochs exactly one is given."""

    minutes: Annotated[Positive | None, short("more.minutes")] = None  # of a resumed run: train so much longer from where the run is
    steps: Annotated[Count | None, short("more.steps")] = None  # the same in optimizer steps
    epochs: Annotated[Positive | None, short("more.epochs")] = None  # the same in passes through the training images

    @property
    def given(self) -> dict[str, float]:
        """What is given, by name."""
        return {name: value for name in BUDGETS if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Logging:
    """What a run writes while it trains."""

    every: Count = 50  # steps between two lines of log.jsonl
    checkpoints: Count | None = None  # steps between two checkpoints; a tenth of the budget where none is given
    grid: Width = 64  # images in the fixed-noise grid; of points 2,500 are drawn
    evaluate: Annotated[Count | None, short("log.evaluate")] = None  # steps between two scores; the best weights go to best/
    evaluate_images: Count = 500  # images drawn for such a score
    patience: Annotated[Count | None, short("log.patience")] = None  # scores in a row without a better one that end the training

    # who else is told what the log holds: TensorBoard in the run's folder, Weights & Biases or Trackio
    tracker: TrackerName | None = None

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        return unless(self.evaluate, "`log.evaluate=N`", "evaluate_images")


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run computes."""

    recipe: Name  # folders are called by it
    model: ModelConfig
    data: Data = field(default_factory=Data)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    train: Training = field(default_factory=Training)
    log: Logging = field(default_factory=Logging)
    reasons: dict[str, str] = field(default_factory=dict, hash=False)  # of settings that the images chose, by what was chosen; for people


def to_json(config: object) -> str:
    """Any dataclass of this module, or of a model, as indented JSON."""
    return json.dumps(asdict(config), indent=2) + "\n"  # type: ignore[call-overload]


def from_json(kind: type[T], text: str) -> T:
    """The dataclass that ``to_json`` wrote; `UserError` names the first key or value that does not fit."""
    try:
        return checked(kind, parse_json(text))
    except ValueError as error:
        raise UserError(f"not a configuration: {error}") from None


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The settings in which two configurations differ: dotted name -> (old, new)."""
    before, after = _flat(asdict(old)), _flat(asdict(new))
    return {key: (before.get(key), after.get(key)) for key in {**before, **after} if before.get(key) != after.get(key)}


def with_one_budget(default: Config, config: Config, asked: Collection[str] = ()) -> Config:
    """``config`` with the one budget that was asked for: in the place of the default's, what is in ``asked`` or differs from it."""
    given = {name: value for name in BUDGETS if (value := getattr(config.train, name)) is not None}
    fresh = {name: value for name, value in given.items() if name in asked or value != getattr(default.train, name)} or given
    require_one(fresh)
    return replace(config, train=replace(config.train, **{**dict.fromkeys(BUDGETS), **fresh}))


def require_one(budgets: Collection[str], section: str = "train") -> None:
    """Raise `UserError` unless of minutes, steps and epochs one is there."""
    names = {name: f"{section}.{name}" for name in BUDGETS}
    if len(budgets) != 1:
        what = " and ".join(f"`{names[name]}`" for name in budgets) or f"none of {', '.join(f'`{name}`' for name in names.values())}"
        choices = ", ".join(f"`{name}={unit}`" for name, unit in zip(names.values(), "MNE", strict=True))
        raise UserError(f"a run needs exactly one budget, got {what}: give one of {choices}")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves.update(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return leaves
