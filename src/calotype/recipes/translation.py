"""Translators: a picture of one kind becomes one of another; on a laptop negatives of digits, or drawings of their edges, become digits."""

from __future__ import annotations

from dataclasses import replace

from calotype.config import Config, Data, Optimizer, Schedule, Training
from calotype.models.cut import CUTConfig
from calotype.models.cyclegan import CycleGANConfig
from calotype.models.pix2pix import Pix2PixConfig


def cyclegan() -> Config:
    """Translates both ways, learned from two sets of pictures without pairs (Zhu et al. 2017)."""
    return Config(
        recipe="cyclegan",
        model=CycleGANConfig(),
        data=Data("mnist5k", partner="auto", degrade="invert", paired=False),
        optimizer=Optimizer("adam", lr=2e-3),
        schedule=Schedule("linear"),
        train=Training(batch=8, minutes=1.5),
    )


def cyclegan_published() -> Config:
    """The paper's: 256 pixels, nine residual blocks, batches of one, 200 passes."""
    return _published(
        cyclegan(),
        CycleGANConfig(width=64, halvings=2, blocks=9, discriminator_width=64, discriminator_halvings=3),
        epochs=200,
        degrade="season",
    )


def cut() -> Config:
    """Translates one way, learned without pairs, by what each place keeps (Park et al. 2020)."""
    return Config(
        recipe="cut",
        model=CUTConfig(),
        data=Data("mnist5k", partner="auto", degrade="edges", paired=False),
        optimizer=Optimizer("adam", lr=2e-3),
        schedule=Schedule("linear"),
        train=Training(batch=8, minutes=1.5),
    )


def cut_published() -> Config:
    """The paper's: 256 pixels, nine residual blocks, 256 places a map, batches of one, 400 passes."""
    return _published(
        cut(),
        CUTConfig(width=64, halvings=2, blocks=9, discriminator_width=64, discriminator_halvings=3, patches=256, features=256),
        epochs=400,
        degrade="season",
    )


def pix2pix() -> Config:
    """Translates one way, learned from pairs (Isola et al. 2017)."""
    return Config(
        recipe="pix2pix",
        model=Pix2PixConfig(),
        data=Data("mnist5k", partner="auto", degrade="edges"),
        optimizer=Optimizer("adam", lr=1e-3),
        schedule=Schedule("linear"),
        train=Training(batch=16, minutes=1.0),
    )


def pix2pix_published() -> Config:
    """The paper's: 256 pixels, eight halvings, batches of one, 200 passes."""
    return _published(
        pix2pix(),
        Pix2PixConfig(width=64, halvings=8, norm="instance", discriminator_width=64, discriminator_halvings=3),
        epochs=200,
        degrade="edges",
    )


def _published(laptop: Config, model: CycleGANConfig | CUTConfig | Pix2PixConfig, *, epochs: int, degrade: str) -> Config:
    """What the three papers share: Adam at 2e-4, held for half of the passes and then falling to nothing, without averaged weights."""
    return replace(
        laptop,
        model=model,
        data=replace(laptop.data, source="cifar10", size=286, patch=256, flip=True, degrade=degrade),
        optimizer=Optimizer("adam", lr=2e-4),
        schedule=Schedule("linear", hold=0.5),
        train=Training(batch=1, epochs=epochs, ema=0),
    )
