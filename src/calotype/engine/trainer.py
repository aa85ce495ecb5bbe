"""The one loop: every family trains through `Trainer.step`, top to bottom."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from calotype.capabilities import DrawsPairs, LearnsFirst
from calotype.config import Config
from calotype.data import Images, Loader, Progress, Split
from calotype.engine import device as machine
from calotype.engine.batches import batches_at, batches_before
from calotype.engine.checkpoint import Checkpoint
from calotype.engine.distributed import World
from calotype.engine.gradients import Owned, norm_of
from calotype.engine.images import augmentation_of, hidden, judging, set_aside
from calotype.engine.optim import EMA_EVERY, betas_at, ema_decay, ema_share, make_optimizer, memory, rate, update_average
from calotype.engine.run import Resolved
from calotype.errors import DamagedError, TrainingError, UserError, printable
from calotype.models import build
from calotype.models.stored import finite
from calotype.settings import Count, NotNegative, Positive, Whole, checked
from calotype.types import Batch, Model, Player, Step, mix

FIRST = 32  # images at a time of what is learned before the first step
_COUNTER = torch.zeros(())  # of the steps of an optimizer
WEIGHTS, STEPS, TORCH = 1, 2, 3  # the streams of random numbers of a run, kept apart by their first key


@dataclass
class TrainState:
    """Where a run stands; with the tensors, all that a checkpoint holds."""

    steps: Count  # the budget
    step: Whole = 0  # optimizer steps taken
    seen: Whole = 0  # images seen, over all processes
    lr_scale: Positive = 1.0  # lowered each time the run had to go back
    retries: Whole = 0
    seconds: NotNegative = 0.0  # spent training
    best: float | None = None  # the best score so far, where scores are taken
    since: Whole = 0  # scores since then
    early: bool = False  # ended because they did not get better
    settings: dict[str, Any] = field(default_factory=dict)  # what "auto" was resolved to, so that a resume repeats it

    @staticmethod
    def of(saved: Checkpoint) -> TrainState:
        """Where a checkpoint stands. Raises `DamagedError` where it does not say that, or speaks of another step than its name."""
        if missing := [f.name for f in fields(TrainState) if f.name not in saved.facts]:
            raise DamagedError(f"state.json does not say {missing[0]}")
        try:
            progress = checked(TrainState, saved.facts)
            checked(Resolved, {"steps": progress.steps, **progress.settings})
        except UserError as error:
            raise DamagedError(f"state.json: {error}") from None
        if progress.step != saved.step or progress.step > progress.steps:
            raise DamagedError(f"state.json speaks of step {progress.step:,} of {progress.steps:,}")
        return progress


class Trainer:
    """Model, optimizers, averaged weights and data of one run, and the step that moves them.

    Nothing random is carried from one step to the next: every step reseeds from (seed, rank, images seen), and the order of the
    data is a function of (seed, images seen). Restoring the tensors and `TrainState` therefore repeats the run bit for bit.
    """

    def __init__(
        self,
        config: Config,
        split: Split,
        progress: TrainState,
        device: torch.device,
        world: World,
    ) -> None:
        self.config, self.device, self.world, self.progress = config, device, world, progress
        machine.reseed(torch.device("cpu"), mix(config.train.seed, WEIGHTS))
        train, self.validation = set_aside(config.data, split.train)
        train, known = hidden(config, train)
        self.loader = _loader(config, train, known, device, world)
        model = build(config.model, self.loader.spec)
        self.held_out = split.holdout
        self.holdout = _holdout(config, split.holdout, device, model.least_batch)
        if self.loader.spec.source is not None and not (model.from_source or isinstance(model, DrawsPairs)):
            raise UserError(f"{config.recipe} makes images from noise, not from images: leave out `data.degrade` and `data.partner`")
        self.model = model.to(device)
        self.model.to(memory_format=machine.layout_of(config.train))  # type: ignore[call-overload]
        self.average: Model = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.claim()
        self.statistics = machine.statistics(self.model)
        self.bf16 = progress.settings.setdefault("bf16", world.first(lambda: machine.pick_bf16(config.train, model, device)))
        self.compiled: list[str] = []
        self.compile()
        self.healthy = torch.ones((), dtype=torch.bool, device=device)

    def compile(self) -> None:
        """Compile the networks where that was asked for, or pays in as many steps as the run takes; asked once more where they change."""
        steps = self.progress.steps
        pays = self.world.first(lambda: machine.pick_compile(self.config.train, self.model, steps, self.device))
        if pays and not self.compiled:
            self.compiled = machine.compile_networks(self.model, self._parts(self.loader.batch_at(0))[0])

    def claim(self) -> None:
        """Give each player its parameters and an optimizer for them; once more where they were sharded since."""
        self.players = self.model.players()
        check_ownership(self.model, self.players)
        self.owned = {p.name: Owned(p.name, p.module, twice=self.model.double_backward) for p in self.players}
        self.optimizers = {
            name: make_optimizer(self.config.optimizer, owned.parameters, owned.hidden) for name, owned in self.owned.items()
        }

    def learn_first(self, progress: Progress | None = None) -> None:
        """Let a model learn what it takes from all training images at once, where it is one that does; for a run that has nothing saved.

        Where it starts from another model it has that model's weights by now. ``progress`` is told how many images it has seen.
        """
        model = self.model
        if not isinstance(model, LearnsFirst):
            return
        model.learn_first(_shown(self.loader, model.first_images, progress), started=self.config.train.start is not None)
        state = model.state_dict()
        # machines may round differently, and all processes begin with the same weights
        self.world.average([t for t in state.values() if t.is_floating_point()])
        self.average.load_state_dict(state)

    def step(self, watch: bool = False) -> dict[str, Tensor]:
        """Take one step of every player; returns scalars to log, with gradient norms and the holdout where ``watch`` says so."""
        at, log = self.progress, {}
        rng = torch.Generator(self.device).manual_seed(mix(self.config.train.seed, STEPS, self.world.rank, at.seen))
        machine.reseed(self.device, mix(self.config.train.seed, TORCH, self.world.rank, at.seen))  # dropout
        step = Step(at.step, rng, progress=at.step / at.steps)
        batches: list[Batch] = []
        scale = at.lr_scale * rate(self.config.schedule, step.progress)
        if not self.model.training:  # asked first: setting the mode walks every module
            self.model.train()
        for player in self.players:
            if at.step % player.every:
                continue
            self._renew(player, step)
            for repeat in range(player.repeats):
                if repeat == len(batches):
                    batches.append(self.loader.batch_at(at.seen + repeat * self.config.train.batch))
                log.update(self._player_step(player, batches[repeat], step, scale, watch))
        self.world.average(self.statistics)
        at.step += 1
        at.seen += len(batches) * self.config.train.batch
        if self.config.train.ema and (at.step % EMA_EVERY == 0 or at.step == at.steps):
            since = (at.step - 1) // EMA_EVERY * EMA_EVERY  # the step of the last update
            images = sum(batches_at(self.players, step) for step in range(since, at.step)) * self.config.train.batch
            share = ema_share(self.config.train, at.step / at.steps)
            update_average(self.average, self.model, ema_decay(share, self.config.train.ema_images, at.seen, images))
        if watch and self.holdout is not None:
            # the next batch of each: one that was not trained on a moment ago, and other held-out images every time
            with torch.no_grad(), self.precision():
                log.update(self.model.watch(self.loader.batch_at(at.seen), self.holdout.batch_at(at.seen), step))
        return self._of_all(log)

    def _renew(self, player: Player, step: Step) -> None:
        """Let the optimizer of a player forget all where layers joined since its last step (Karras et al. 2018).

        What it remembers of them are steps without gradients: Adam takes their squares for far smaller than they are about to be.
        """
        before = (step.index - player.every) / self.progress.steps
        if any(before <= share < step.progress for share in self.model.joins_at):
            self.optimizers[player.name].state.clear()

    def _of_all(self, log: dict[str, Tensor]) -> dict[str, Tensor]:
        """The scalars as means over all processes, each of which saw its own part of the batch."""
        if self.world.size == 1 or not log:
            return log
        means = torch.stack([value.float() for value in log.values()])
        self.world.average([means])
        return dict(zip(log, means.unbind(), strict=True))

    def _player_step(self, player: Player, batch: Batch, step: Step, scale: float, watch: bool) -> dict[str, Tensor]:
        owned = self.owned[player.name]
        terms = self._backward(player, batch, step)
        norm = self._shape_gradient(owned, watch)
        optimizer = self.optimizers[player.name]
        for group in optimizer.param_groups:
            group["lr"] = self.config.optimizer.lr * player.lr_mult * scale
            if "betas" in group:
                group["betas"] = betas_at(self.config.optimizer, step.progress)
        optimizer.step()
        owned.clear()
        if player.after is not None:
            player.after()
        log = {f"{player.name}/{name}": value for name, value in terms.items()} if watch else {}
        if norm is not None and watch:
            log[f"{player.name}/gradient_norm"] = norm
        return log

    def _backward(self, player: Player, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The gradient of a player's loss, part by part of the batch; returns the means of its terms."""
        parts, found = self._parts(batch), []
        # a player that plays every k-th step only weighs k times as much when it does
        weight = player.every / len(parts)
        for part in parts:
            with self.precision():
                terms = player.loss(part, step)
            self.owned[player.name].backward(terms["loss"] if weight == 1 else terms["loss"] * weight)
            self.healthy &= torch.isfinite(terms["loss"].detach())
            found.append({name: value.detach() for name, value in terms.items()})
            if len(parts) > 1:
                step.cache.clear()  # graphs that players share would keep the memory of all parts
        return found[0] if len(parts) == 1 else {name: torch.stack([f[name] for f in found]).mean(0) for name in found[0]}

    def _parts(self, batch: Batch) -> list[Batch]:
        """A batch in the parts that are computed one after another."""
        if (count := self.config.train.accumulate) == 1:
            return [batch]
        size = len(batch.image) // count
        return [batch[i * size : (i + 1) * size] for i in range(count)]

    def _shape_gradient(self, owned: Owned, watch: bool) -> Tensor | None:
        """Average over the processes, add the L1 term, clip; returns the norm before clipping where somebody needs it."""
        options, grads = self.config.optimizer, owned.gradients()
        if not owned.sharded:  # else the processes have averaged already
            self.world.average(grads)
        if options.l1:
            torch._foreach_add_(grads, torch._foreach_sign([p.detach() for p in owned.parameters]), alpha=options.l1)
        if not (watch or options.clip):
            return None
        norm = norm_of(grads)
        self.healthy &= torch.isfinite(norm)
        if options.clip:
            torch._foreach_mul_(grads, (options.clip / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def precision(self) -> AbstractContextManager[object]:
        """The context that losses are computed in."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bf16 else nullcontext()

    @property
    def best(self) -> Model:
        """The model to sample from: the averaged weights, or the trained ones where averaging is off."""
        return self.average if self.config.train.ema else self.model

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, by name."""
        tensors = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"average/{name}": t for name, t in self.average.state_dict().items()}
        for player, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{player}/{index}/{slot}": t for slot, t in slots.items() if isinstance(t, Tensor)}
        return tensors

    def check(self, saved: Checkpoint) -> None:
        """Raise `DamagedError` unless a checkpoint holds the state of this model and its optimizers after as many steps as it says."""
        progress, tensors = TrainState.of(saved), saved.tensors
        if progress.seen != (seen := batches_before(self.players, progress.step) * self.config.train.batch):
            raise DamagedError(f"state.json speaks of {progress.seen:,} images in {progress.step:,} steps, which see {seen:,}")
        expected = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        expected |= {f"average/{name}": t for name, t in self.average.state_dict().items()}
        slots = [memory(self.config.optimizer, progress.step > 0, hidden) for hidden in (False, True)]
        for player, owned in self.owned.items():
            hidden = {id(p) for p in owned.hidden}
            for index, parameter in enumerate(owned.parameters):
                kept = slots[id(parameter) in hidden]
                expected |= {f"optimizer/{player}/{index}/{slot}": parameter if full else _COUNTER for slot, full in kept.items()}
        for name in sorted(expected.keys() | tensors.keys()):
            there, wanted = (f"{t.dtype} {tuple(t.shape)}" if t is not None else "none" for t in (tensors.get(name), expected.get(name)))
            if there != wanted:
                raise DamagedError(f"it does not fit the model: {printable(name)} is {there}, not {wanted}")
        if not finite(_part(tensors, "model/")):
            raise DamagedError("its weights are not finite")

    def restore(self, saved: Checkpoint) -> None:
        """Continue from a checkpoint that passes `check`."""
        tensors = saved.tensors
        self.model.load_state_dict(_part(tensors, "model/"))
        self.average.load_state_dict(_part(tensors, "average/"))
        for player, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _part(tensors, f"optimizer/{player}/").items():
                number, slot = name.split("/")
                slots.setdefault(int(number), {})[slot] = tensor
            # load_state_dict moves the tensors but keeps their layout, which must be the parameter's for the same bits to come out
            for index, values in slots.items():
                like = self.owned[player].parameters[index]
                for slot, tensor in values.items():
                    if tensor.shape == like.shape:
                        values[slot] = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        # the budget may be a new one; everything else is as it was
        settings = {**saved.facts["settings"], "processes": self.world.size}
        self.progress = TrainState(**{**saved.facts, "steps": self.progress.steps, "early": False, "settings": settings})
        self.bf16 = self.progress.settings["bf16"]
        self.healthy = torch.ones_like(self.healthy)

    def all_finite(self) -> bool:
        """Whether no loss or gradient since the last call, and no weight, is infinite or NaN."""
        return bool(self.healthy) and finite(self.model.state_dict())


def check_ownership(model: Model, players: Sequence[Player]) -> None:
    """Raise `TrainingError` unless the players own every trainable parameter of the model, and none of them twice.

    Layers that several networks share are registered once: in files every tensor has one name.
    """
    first = {id(p): name for name, p in model.named_parameters()}
    if again := [name for name, p in model.named_parameters(remove_duplicate=False) if first[id(p)] != name]:
        raise TrainingError(f"a layer that is shared must be registered once: {again[0]} is known already by another name")
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    owned = [id(p) for player in players for p in machine.trainable(player.module)]
    twice = sorted(names.get(i, "?") for i in set(owned) if owned.count(i) > 1)
    orphans = sorted(name for i, name in names.items() if i not in set(owned))
    if twice or orphans:
        raise TrainingError(f"players must own each parameter once: owned twice {twice[:3]}, owned by nobody {orphans[:3]}")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _loader(config: Config, images: Images, known: Images | None, device: torch.device, world: World) -> Loader:
    if config.train.batch % (world.size * config.train.accumulate):
        parts = f"{world.size} processes" if config.train.accumulate == 1 else f"{world.size * config.train.accumulate} parts"
        raise UserError(f"batch {config.train.batch} cannot be shared by {parts}: give a multiple with `train.batch`")
    augmentation = augmentation_of(config.data)
    return Loader(
        images,
        config.train.batch,
        config.train.seed,
        augmentation,
        labelled=known,
        rank=world.rank,
        world=world.size,
        device=device,
    )


def _shown(loader: Loader, most: int, progress: Progress | None) -> Iterator[Batch]:
    """The images that a model learns from first, and word of how many it has seen."""
    total, done = min(most, len(loader.images)), 0
    for batch in loader.once(most, FIRST):
        yield batch
        done += len(batch.image)
        if progress is not None:
            progress(done, total)


def _holdout(config: Config, images: Images, device: torch.device, least: int) -> Loader | None:
    augmentation = judging(config.data, images)
    divided = images.partner is None and not augmentation.paired  # into two sides, each of one image at least
    count = min(len(images) // (2 if divided else 1), config.train.batch)
    return Loader(images, count, config.train.seed, augmentation, device=device) if count >= least else None
