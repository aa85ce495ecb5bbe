"""``calotype probe``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from calotype.cli.outcomes import printable_lines
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.settings import Count, Seed
from calotype.tasks.probe import COUNT, facts, probe, told


@dataclass(frozen=True)
class Options:
    """Say how well classes are told apart by what a trained generator has learned: a linear probe of the activations of its network.

    Asked are the discriminator of a GAN, the encoder of a VAE, or the network of a diffusion model, given images with a little noise.
    Beside it stand the same probe of the pixels and of the same network before any training, on the same held-out images.

    With --json: {"model", "data", "classes", "layer", "dimension", "decay", "fitted", "right", "n", "accuracy", "interval", "others":
    [{"name", "right", "accuracy", "interval", "difference", "difference_interval", "p"}], "layers"}.

    Examples:
    calotype probe runs/hinge-mnist5k-0001 --data mnist5k
    calotype probe runs/flow-matching-photos-0001 --data photos/ --json
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]  # a run, or a model/ folder
    data: str  # labelled images: any source with classes that calotype train takes; what it holds out tests the probe
    count: Count = COUNT  # labelled images that the probe is fitted to at most
    seed: Seed = 0  # of the noise on images of a diffusion model, and of the untrained network
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the result as JSON


def run(words: list[str]) -> int:
    """Probe; prints the accuracies."""
    options = parse(Options, words, "calotype probe")
    with closing(Shell()) as display:
        found = probe(options.model, options.data, count=options.count, seed=options.seed, device=options.device, display=display)
    print(json.dumps(facts(found)) if options.json else printable_lines(told(found)))
    return 0
