"""What two processes find when they train together, each by itself, written down for test_ranks.py, which starts them."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from calotype import parallel
from calotype.config import Config, Optimizer
from calotype.engine import checkpoint, images, selection, timing, train
from calotype.engine.checkpoint import Checkpoint
from calotype.engine.distributed import World, joined
from calotype.engine.gradients import Owned
from calotype.engine.optim import EMA_EVERY
from calotype.engine.run import Run
from calotype.engine.trainer import STEPS, TORCH, Trainer, TrainState, _loader
from calotype.errors import CalotypeError
from calotype.flows.linear import ActNorm
from calotype.flows.pixels import Histogram
from calotype.types import Batch, Condition, Player, Step, mix
from tests.engine.test_resume import interrupt
from tests.small import final_state, same, small, split_of

FAMILIES = (
    *("gan", "dcgan", "wgan-gp", "flow-matching", "ddpm", "vae", "hvae", "vqvae", "realnvp", "glow", "tarflow"),
    *("pixelcnn", "pixel-transformer", "classifier", "denoise", "colorize", "cyclegan", "cut", "pix2pix"),
)
WHOLE: dict[str, dict[str, Any]] = {
    "vqvae": {"prior_dropout": 0.0},
    "pixelcnn": {},
    "pixel-transformer": {"dropout": 0.0},
    "denoise": {},
    "colorize": {},
}
"""With these settings a loss draws nothing and looks at each image by itself: two processes compute what one does on the whole batch."""

BUDGETS: dict[str, dict[str, float | None]] = {"minutes": {"minutes": 1e-4}, "steps": {"steps": 3}, "epochs": {"epochs": 0.005}}
BUDGETED = ("gan", "flow-matching", "vqvae", "cyclegan")
"""Families that are trained by each of them: where a run ends is no matter of what is trained, but for those of several stages."""

CPU = torch.device("cpu")


@dataclass
class Parts:
    """The parts of both processes, instead of a loader."""

    trainer: Trainer
    whole: bool

    def __post_init__(self) -> None:
        config, images = self.trainer.config, self.trainer.loader.images
        self.loaders = [_loader(config, images, None, CPU, World(rank, 2)) for rank in range(2)]

    def batch_at(self, seen: int) -> Any:
        batches = [loader.batch_at(seen) for loader in self.loaders]
        if not self.whole:
            return batches
        conditions = zip(*((b.condition.label, b.condition.source) for b in batches), strict=True)
        joint = (None if parts[0] is None else torch.cat(parts) for parts in conditions)
        return Batch(torch.cat([b.image for b in batches]), Condition(*joint))


class InOne(Trainer):
    """One process in the place of two: a loss is the mean over both parts of a batch, each with the random numbers of its process."""

    def __init__(self, config: Config, state: Checkpoint, whole: bool) -> None:
        progress = TrainState(**{**state.facts, "settings": dict(state.facts["settings"])})
        super().__init__(config, split_of(config.recipe), progress, CPU, World())
        self.restore(state)
        self.loader = Parts(self, whole)  # type: ignore[assignment]
        if not whole:
            self.players = [replace(player, loss=self.both(player)) for player in self.players]

    def step(self, watch: bool = False) -> dict[str, Tensor]:
        at, seed = self.progress, self.config.train.seed
        draws = [torch.Generator().manual_seed(mix(seed, STEPS, rank, at.seen)) for rank in range(2)]
        self.steps = [Step(at.step, rng, progress=at.step / at.steps) for rng in draws]
        self.dropout = [torch.Generator().manual_seed(mix(seed, TORCH, rank, at.seen)).get_state() for rank in range(2)]
        return super().step(watch)

    def both(self, player: Player) -> Callable[[Any, Step], dict[str, Tensor]]:
        def loss(batches: list[Batch], step: Step) -> dict[str, Tensor]:
            terms = []
            for rank, batch in enumerate(batches):
                torch.set_rng_state(self.dropout[rank])
                terms.append(player.loss(batch, self.steps[rank]))
                self.dropout[rank] = torch.get_rng_state()
            return {name: (terms[0][name] + terms[1][name]) / 2 for name in terms[0]}

        return loss


def gradients_of(trainer: Trainer) -> dict[str, Tensor]:
    """The gradients of each player in one step, as one vector in float64."""
    found: dict[str, Tensor] = {}
    shape = trainer._shape_gradient

    def keep(owned: Owned, watch: bool) -> Tensor | None:
        norm = shape(owned, watch)
        found[owned.name] = torch.cat([g.double().flatten() for g in owned.gradients()])
        return norm

    trainer._shape_gradient = keep  # type: ignore[method-assign]
    trainer.step()
    trainer._shape_gradient = shape  # type: ignore[method-assign]
    return found


def digests(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {
        name: hashlib.sha256(t.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, t in tensors.items()
    }


def together(name: str, world: World) -> dict[str, Any]:
    """State and log of some steps of a recipe, and how far its gradients are from those of one process."""
    config = small(name)
    plain = small(name, **WHOLE.get(name, {}))
    # Adam's first steps make much of what is rounding alone, and so does a step in bfloat16
    plain = replace(plain, optimizer=Optimizer("sgd", lr=1e-3), train=replace(plain.train, precision="fp32"))
    trainer = Trainer(plain, split_of(name), TrainState(steps=2), CPU, world)
    trainer.step()  # what is set by the first batch is set
    state = Checkpoint({k: t.clone() for k, t in trainer.state().items()}, asdict(trainer.progress), Path())
    alone = InOne(plain, state, name in WHOLE)
    ours = gradients_of(trainer)
    with swapped(parallel, "processes", lambda: 1):
        theirs = gradients_of(alone)
    far = {player: float((ours[player] - theirs[player]).norm() / theirs[player].norm()) for player in theirs}
    buffers = {n: b for n, b in alone.model.named_buffers() if b.is_floating_point()} if name in WHOLE else {}
    moved = {n: float((dict(trainer.model.named_buffers())[n] - b).abs().max()) for n, b in buffers.items()}
    trainer = Trainer(config, split_of(name), TrainState(steps=100), CPU, world)
    for step in range(EMA_EVERY + 1):
        log = trainer.step(watch=step == EMA_EVERY)
    return {"far": far, "buffers": moved, "state": digests(trainer.state()), "log": {k: float(v) for k, v in log.items()}}


def trained(name: str, budget: str, folder: Path, world: World) -> tuple[int, int, bool]:
    config = small(name)
    times = {**dict.fromkeys(BUDGETS), **BUDGETS[budget]}
    config = replace(config, train=replace(config.train, **times), log=replace(config.log, grid=1, checkpoints=1000))  # type: ignore[arg-type]
    result = train.train(config, out=folder / f"{name}-{budget}", world=world)
    return result.step, result.steps, result.complete


def set_by_a_batch() -> dict[str, tuple[Tensor, Tensor]]:
    """What the first batch sets in transforms of flows: from this process's part and the others', and from the whole batch."""
    batch = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)) ** 3
    found = {}
    for kind in (ActNorm, Histogram):
        ours, alone = (kind(3 if kind is ActNorm else 8) for _ in range(2))
        ours.initialize(batch[int(os.environ["RANK"]) :: 2])
        with swapped(parallel, "processes", lambda: 1):
            alone.initialize(batch)
        found[kind.__name__] = tuple(torch.cat([p.flatten() for p in t.parameters()]).detach() for t in (ours, alone))
    return found


def main(folder: Path, ports: list[str]) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    with joined() as world:
        found: dict[str, Any] = {"set": set_by_a_batch()}
        for name in FAMILIES:
            found[name] = together(name, world)
        for name in BUDGETED:
            found[name] |= {budget: trained(name, budget, folder, world) for budget in BUDGETS}
    for (name, scene), port in zip(SCENES.items(), ports, strict=False):
        os.environ["MASTER_PORT"] = port
        found[name] = ended(lambda run, scene=scene: scene(run, rank), folder / name)  # type: ignore[misc]
    torch.save(found, folder / f"{rank}.tmp")
    (folder / f"{rank}.tmp").rename(folder / f"{rank}.pt")


def ended(work: Callable[[Path], Any], run: Path) -> tuple[str, int, Any]:
    """How a training ended: the kind of the error, its exit code, and what came of it where there was none."""
    try:
        return "", 0, work(run)
    except CalotypeError as error:
        return type(error).__name__, error.exit_code, str(error)
    except Exception as error:
        return type(error).__name__, 1, str(error)


def tiny(name: str = "gan", steps: int = 6, **log: Any) -> Config:
    config = small(name, steps, width=16, latent=4, depth=1)
    return replace(config, log=replace(config.log, every=1, **log))


@contextmanager
def swapped(owner: Any, name: str, other: Any) -> Iterator[None]:
    """``owner.name`` replaced for a while."""
    kept = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def fails(*rest: Any, **more: Any) -> Any:
    raise OSError(28, "No space left on device")


def after(step: int, act: Callable[[Trainer], None]) -> Any:
    """Let something happen once after a step."""
    original, done = Trainer.step, []

    def stepped(trainer: Trainer, watch: bool = False) -> dict[str, Tensor]:
        log = original(trainer, watch)
        if trainer.progress.step == step and not done:
            done.append(act(trainer))
        return log

    return swapped(Trainer, "step", stepped)


def break_down(trainer: Trainer) -> None:
    raise RuntimeError("out of memory")


def degrade(trainer: Trainer) -> None:
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(float("nan"))


def only(rank: int, context: Any) -> Any:
    return context if int(os.environ["RANK"]) == rank else nullcontext()


class Clock:
    """A clock of its own in every process: by that of the first a step takes a millisecond, by that of the second ten."""

    def __init__(self, rank: int) -> None:
        self.now, self.tick = 0.0, 0.01 if rank else 0.001

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now


def timed(run: Path, rank: int) -> Any:
    """By the clock of the first process there is time for a fourth step to be timed, by that of the second there is not."""
    with swapped(timing, "time", Clock(rank)):
        result = train.train(replace(tiny(), train=replace(tiny().train, steps=None, minutes=3e-4)), out=run)
    return result.step, result.steps


def no_place(run: Path, rank: int) -> None:
    """The folder is taken, which the first process alone looks at."""
    (run / "thesis").mkdir(parents=True, exist_ok=True)
    train.train(tiny(), out=run)


def no_space(run: Path, rank: int) -> None:
    """The first process cannot write its second checkpoint."""
    saves = iter([checkpoint.save, fails])
    with only(0, swapped(checkpoint, "save", lambda *rest: next(saves)(*rest))):
        train.train(tiny(), out=run)


def no_score(run: Path, rank: int) -> None:
    """The first process cannot take a score."""
    with only(0, swapped(selection.ModelSelector, "look", fails)):
        train.train(tiny(evaluate=2), out=run)


def no_memory(run: Path, rank: int) -> None:
    """The second process cannot take a step."""
    with only(1, after(3, break_down)):
        train.train(tiny(), out=run)


def other_images(run: Path, rank: int) -> None:
    """The second process sees other images under the same name."""
    with only(1, swapped(images, "open_images", lambda *rest: split_of("denoise"))):
        train.train(tiny(), out=run)


def not_finite(run: Path, rank: int) -> Any:
    """A weight of the second process breaks: both go back to the last checkpoint."""
    states: list[dict[str, str]] = []
    with (
        only(1, after(4, degrade)),
        only(1, swapped(checkpoint, "load_newest", fails)),
        after(6, lambda trainer: states.append(digests(trainer.state()))),
    ):
        result = train.train(tiny(), out=run)
    return result.step, states


def resumed(run: Path, rank: int) -> Any:
    """The first process finds the checkpoint to go on from, and the second takes it from there."""
    with joined() as world:
        train.train(tiny(), out=run / "a", world=world)
        train.train(tiny(), out=run / "b", world=world)
        world.first(lambda: interrupt(run / "b", 4))
        with only(1, swapped(checkpoint, "load_newest", fails)), only(1, swapped(Run, "read_config", fails)):
            result = train.resume(run / "b", world=world)
    return result.step, same(final_state(run / "a"), final_state(run / "b"))


def stopped(run: Path, rank: int) -> Any:
    """The second process alone is asked to stop."""
    with only(1, after(3, lambda trainer: os.kill(os.getpid(), signal.SIGTERM))):
        result = train.train(replace(tiny(), train=replace(tiny().train, steps=100_000)), out=run)
    return result.step, result.complete


SCENES: dict[str, Callable[[Path, int], Any]] = {
    scene.__name__: scene for scene in (timed, no_place, no_space, no_score, no_memory, other_images, not_finite, resumed, stopped)
}

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
