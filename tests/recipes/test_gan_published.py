"""The published presets of the GANs: as many parameters as the originals have, and the settings of the papers."""

from __future__ import annotations

import math

import pytest
import torch

from calotype.config import Config
from calotype.errors import UserError
from calotype.models import GANConfig, build
from calotype.recipes import ELSEWHERE, PUBLISHED, RECIPES, named
from calotype.types import ImageSpec

COUNTS = {  # of the generator and the discriminator, counted by building or adding up the published networks
    # 100-1200-1200-784, and 784-240-240-1 with five pieces for each unit
    "gan": (28, 10, 101 * 1200 + 1201 * 1200 + 1201 * 784, 785 * 1200 + 241 * 1200 + 241),
    # table 3 of Miyato et al. 2018: dense and three transposed convolutions, each with a normalization and no bias, then a 3x3
    "sngan": (
        32,
        10,
        128 * 8192 + 2 * 512 + sum(16 * 2 * n * n + 2 * n for n in (256, 128, 64)) + 9 * 64 * 3 + 3,
        9 * 3 * 64 + 64 + sum(9 * n * 2 * n + 2 * n + 16 * n * n + n for n in (64, 128, 256)) + 8192 + 1,
    ),
    "resgan": (32, 10, 4_276_739, 1_053_824),
    "sagan": (128, 1000, 42_017_412, 39_448_258),
    "biggan": (32, 10, 4_304_387, 4_207_361),
    "progan": (32, 10, 20_719_628, 20_726_785),
    "stylegan2": (32, 10, 19_947_539, 20_720_641),
    "r3gan": (32, 10, 20_781_952, 21_280_512),
}


def game(name: str) -> tuple[Config, GANConfig]:
    config = named(name, "published")
    assert isinstance(config.model, GANConfig)
    return config, config.model


@pytest.mark.parametrize("name", COUNTS)
def test_as_many_parameters_as_published(name: str) -> None:
    size, classes, generator, discriminator = COUNTS[name]
    config, model = game(name)
    assert (config.data.size or {"mnist": 28}.get(config.data.source, 32)) == size
    with torch.device("meta"):
        players = build(model, ImageSpec(size, 1 if config.data.source == "mnist" else 3, tuple(str(c) for c in range(classes)))).players()
    assert {p.name: sum(q.numel() for q in p.module.parameters()) for p in players} == {
        "generator": generator,
        "discriminator": discriminator,
    }


def test_the_settings_of_the_papers() -> None:
    config, model = game("resgan")  # Miyato et al. 2018
    assert (model.loss, model.critic_steps, model.latent) == ("hinge", 5, 128)
    assert (config.optimizer.lr, config.optimizer.betas, config.train.batch, config.train.steps) == (2e-4, (0.0, 0.9), 64, 50_000)
    assert (config.schedule.kind, config.schedule.final) == ("linear", 0.0)
    config, model = game("gan")  # Goodfellow et al. 2014
    assert (model.loss, model.latent, config.train.batch, config.data.source) == ("non_saturating", 100, 100, "mnist")
    assert (config.optimizer.name, config.optimizer.lr, config.optimizer.momentum) == ("sgd", 0.1, 0.5)
    config, model = game("lsgan")  # Mao et al. 2017
    assert (model.loss, model.latent, config.data.size) == ("least_squares", 1024, 112)
    assert (config.optimizer.lr, config.optimizer.betas) == (1e-3, (0.5, 0.999))
    for name, loss in (("sngan", "non_saturating"), ("hinge", "hinge")):  # Miyato et al. 2018, setting C; Lim and Ye 2017
        config, model = game(name)
        assert (config.recipe, model.loss, model.critic_steps, model.latent, model.discriminator.spectral) == (name, loss, 1, 128, True)
        assert (config.optimizer.lr, config.optimizer.betas, config.train.batch, config.train.steps) == (2e-4, (0.5, 0.999), 64, 50_000)
    config, model = game("projected")  # Sauer et al. 2021
    assert (model.loss, model.latent, model.augment) == ("hinge", 256, ("color", "translation", "cutout"))
    assert (config.optimizer.lr, config.optimizer.betas, config.train.batch, config.data.size) == (2e-4, (0.0, 0.99), 64, 256)
    assert config.train.steps is not None
    assert config.train.steps * config.train.batch == 10_000_000
    config, model = game("wgan-gp")  # Gulrajani et al. 2017
    assert (model.loss, model.penalty, model.penalty_weight, model.critic_steps) == ("wasserstein", "gradient", 10.0, 5)
    assert (config.optimizer.lr, config.optimizer.betas, config.train.steps) == (2e-4, (0.0, 0.9), 100_000)
    config, model = game("wgan")  # Arjovsky et al. 2017
    assert (model.clip_weights, model.critic_steps, config.optimizer.name, config.optimizer.lr) == (0.01, 5, "rmsprop", 5e-5)
    config, model = game("dcgan")  # Radford et al. 2016
    assert (config.optimizer.lr, config.optimizer.betas, config.train.batch, model.latent) == (2e-4, (0.5, 0.999), 128, 100)
    config, model = game("sagan")  # Zhang et al. 2019
    assert (config.optimizer.lr, model.discriminator_lr_mult, config.optimizer.betas) == (1e-4, 4.0, (0.0, 0.9))
    config, model = game("biggan")  # Brock et al. 2019
    assert (model.orthogonal_weight, model.critic_steps, config.optimizer.betas, config.train.batch) == (1e-4, 4, (0.0, 0.999), 50)
    assert config.train.ema_images == pytest.approx(math.log(0.5) / math.log(0.9999) * 4 * 50, rel=0.01)  # of 200 images a step
    config, model = game("progan")  # Karras et al. 2018
    assert (model.loss, model.penalty, model.penalty_weight, model.drift, model.latent) == ("wasserstein", "gradient", 10.0, 1e-3, 512)
    assert (config.optimizer.lr, config.optimizer.betas) == (1e-3, (0.0, 0.99))
    config, model = game("stylegan2")  # Karras et al. 2020
    assert (model.penalty, model.penalty_weight, model.penalty_every, model.path_length_weight) == ("r1", 0.01, 16, 0.0)
    assert (config.optimizer.lr, config.train.batch, config.train.ema, config.train.ema_images) == (2.5e-3, 64, 0.05, 500_000)
    config, model = game("r3gan")  # Huang et al. 2024
    assert (model.loss, model.penalty, model.penalty_weight, model.penalty_weight_end) == ("relativistic_pairing", "r1_r2", 0.05, 0.005)
    assert (model.augment, model.augment_end) == (("adaptive",), 0.55)
    assert (config.optimizer.lr, config.optimizer.betas, config.optimizer.beta2_end) == (2e-4, (0.0, 0.9), 0.99)
    assert (config.schedule.kind, config.schedule.final, config.train.batch, config.train.ema_images) == ("cosine", 0.25, 512, 5_000_000)


def test_a_game_that_was_published_on_other_networks_says_where() -> None:
    with pytest.raises(UserError, match=r"rpgan has no published preset \(the paper of this game has it on the networks of r3gan\): "):
        named("rpgan", "published")
    assert all(name in RECIPES and name not in PUBLISHED for name in ELSEWHERE)


def test_every_published_game_has_a_laptop_preset() -> None:
    assert all(name in RECIPES for name in PUBLISHED)
