"""How fast the trainer is, measured against yardsticks in one interleaved run, so that a noisy machine slows all alike.

    python benchmarks/training_speed.py [--threads 2] [--rounds 7] [--only NAME] [--cpu-time]

*passes*    the same networks, precision and memory layout: the forward and backward passes of all players on one fixed batch, with no
            data, optimizer, averaging or logging. Nothing that trains can be faster.
*trainer*   ``Trainer.step`` as ``calotype train`` runs it, with the data, optimizers, averaged weights and log lines it always has.
*tutorial*  for two GANs: the loop of the well-known tutorials, a DataLoader over image files, float32, BCE, Adam, a line every 50 steps.

There is one recipe of each family, as it is, and the two GANs that tutorials train. Prints images per second and the ratios, median over
the rounds. With ``--cpu-time`` seconds are those that the processor spent, which others at work on the machine do not lengthen as much.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from calotype.config import Config
from calotype.data import Images, Split
from calotype.engine.device import keep_big_blocks, trainable
from calotype.engine.distributed import World
from calotype.engine.images import open_images
from calotype.engine.trainer import Trainer, TrainState
from calotype.models import GANConfig
from calotype.networks.mlp import MLPDiscriminatorConfig, MLPGeneratorConfig
from calotype.recipes import named
from calotype.types import Step

TUTORIALS = ("dcgan-32", "mlp")
FAMILIES = ("rpgan", "vae", "pixelcnn", "realnvp", "flow-matching", "denoise", "cyclegan", "classifier")
ROUND = 2.0  # seconds, about, of the passes in one round
PERIOD = 8  # steps: every round is of so many or a multiple, and holds as many lazy penalties and updates of averages as any other


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str
    config: Config
    tutorial: bool = False  # whether it is measured against the loop of tutorials


class Files(Dataset[Tensor]):
    """Image files decoded one by one, as tutorials do."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.png"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            pixels = torch.from_numpy(np.asarray(image, np.float32))
        return (pixels / 127.5 - 1).reshape(1, *pixels.shape[:2]) if pixels.ndim == 2 else (pixels / 127.5 - 1).permute(2, 0, 1)


def tutorial(trainer: Trainer, folder: Path, workers: int) -> Callable[[int], None]:
    """A fresh copy of the trainer's networks under the tutorial's loop."""
    config, images = trainer.config, trainer.loader.images
    assert isinstance(images, Images)
    fresh = Trainer(config, Split(images, images), TrainState(steps=1), trainer.device, World()).model
    generator, discriminator = (getattr(fresh, name).to(memory_format=torch.contiguous_format) for name in ("generator", "discriminator"))
    optimizers = [torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (discriminator, generator)]
    criterion = nn.BCEWithLogitsLoss()
    latent = int(getattr(config.model, "latent"))  # noqa: B009  # both cases are GANs

    def batches() -> Iterator[Tensor]:
        loader = DataLoader(
            Files(folder), config.train.batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
        )
        while True:
            yield from loader

    stream, shown = batches(), 0

    def run(steps: int) -> None:
        nonlocal shown
        for _ in range(steps):
            real = next(stream)
            ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
            discriminator.zero_grad()
            on_real = criterion(discriminator(real, None).reshape(-1), ones)
            on_real.backward()
            fake = generator(torch.randn(len(real), latent), None)
            on_fake = criterion(discriminator(fake.detach(), None).reshape(-1), zeros)
            on_fake.backward()
            optimizers[0].step()
            generator.zero_grad()
            loss = criterion(discriminator(fake, None).reshape(-1), ones)
            loss.backward()
            optimizers[1].step()
            shown += 1
            if shown % 50 == 0:
                f"{(on_real + on_fake).item():.4f} {loss.item():.4f}"

    return run


def passes(trainer: Trainer) -> Callable[[int], None]:
    """The passes alone, on one batch that never changes."""
    batch = trainer.loader.batch_at(0)
    rng, numbers = torch.Generator().manual_seed(0), count()

    def run(steps: int) -> None:
        for number in islice(numbers, steps):
            step = Step(number, rng)  # lazy penalties play as often as in a training
            for player in trainer.players:
                with trainer.precision():
                    loss = player.loss(batch, step)["loss"]
                torch.autograd.grad(loss, trainable(player.module))

    return run


def loop(trainer: Trainer) -> Callable[[int], None]:
    """The trainer as it is, logging at its usual distance."""

    def run(steps: int) -> None:
        for _ in range(steps):
            log = trainer.step(watch=(trainer.progress.step + 1) % trainer.config.log.every == 0)
            if log:
                {name: float(value) for name, value in log.items()}
                trainer.all_finite()

    return run


def write_files(split: Split, folder: Path) -> None:
    """The training images as PNG files."""
    for index, image in enumerate(split.train.pixels):
        Image.fromarray(image.squeeze()).save(folder / f"{index:05d}.png")


def measure(case: Case, rounds: int, workers: int, clock: Callable[[], float]) -> None:
    """Print one comparison."""
    split = open_images(case.config.data)
    trainer = Trainer(case.config, split, TrainState(steps=1_000_000), torch.device("cpu"), World())
    with tempfile.TemporaryDirectory() as name:
        contenders = {"passes": passes(trainer), "trainer": loop(trainer)}
        if case.tutorial:
            write_files(split, Path(name))
            contenders["tutorial"] = tutorial(trainer, Path(name), workers)
        speeds: dict[str, list[float]] = {name: [] for name in contenders}
        for go in contenders.values():
            go(PERIOD)
        began = clock()
        contenders["passes"](PERIOD)
        steps = PERIOD * max(1, round(ROUND / (clock() - began)))
        for _ in range(rounds):
            for kind, go in contenders.items():
                began = clock()
                go(steps)
                speeds[kind].append(steps * case.config.train.batch / (clock() - began))
    precision = "bfloat16" if trainer.bf16 else "float32"
    print(f"{case.name}: batch {case.config.train.batch}, trainer in {precision}, {torch.get_num_threads()} threads")
    for kind, values in speeds.items():
        print(f"  {kind:<9}{statistics.median(values):>10,.0f} images/s   ({min(values):,.0f} to {max(values):,.0f})")
    for other in (name for name in contenders if name != "trainer"):
        ratios = [a / b for a, b in zip(speeds["trainer"], speeds[other], strict=True)]
        print(f"  trainer / {other:<9}{statistics.median(ratios):>6.2f}   ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def cases() -> dict[str, Case]:
    """The comparisons by their names."""
    dcgan, mlp = named("dcgan"), named("gan")
    assert isinstance(mlp.model, GANConfig)
    generator, discriminator = MLPGeneratorConfig(width=128, depth=4, norm="none"), MLPDiscriminatorConfig(width=128, depth=4)
    plain = replace(mlp.model, generator=generator, discriminator=discriminator)
    found = {
        "dcgan-32": Case("DCGAN, 32x32", replace(dcgan, data=replace(dcgan.data, size=32), train=replace(dcgan.train, batch=64)), True),
        "mlp": Case("MLP GAN 4x128, 28x28, from image files", replace(mlp, model=plain, train=replace(mlp.train, batch=64)), tutorial=True),
    }
    return found | {name: Case(name, named(name)) for name in FAMILIES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0, help="of the tutorial's DataLoader")
    parser.add_argument("--only", choices=(*TUTORIALS, *FAMILIES))
    parser.add_argument("--cpu-time", action="store_true", help="seconds of the processor, not of the clock")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_big_blocks()
    for name, case in cases().items():
        if options.only in (None, name):
            measure(case, options.rounds, options.workers, time.process_time if options.cpu_time else time.perf_counter)


if __name__ == "__main__":
    main()
