"""What a device without double precision is asked to do, which no test machine has: nothing that Apple's GPUs cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from calotype.capabilities import Completes, HasEncoder
from calotype.data.images import make_images
from calotype.degrade import parse
from calotype.engine.distributed import World
from calotype.engine.trainer import Trainer, TrainState
from calotype.metrics.features_kinds import coarse, digits, random
from calotype.models import build, diffusion
from calotype.precise import doubled, normal_quantile
from calotype.recipes import RECIPES
from calotype.tasks.prior import MethodName, restore_with_prior
from calotype.tasks.sample import Generator
from calotype.types import ImageSpec, Noise
from tests.elsewhere import THERE, Elsewhere, elsewhere
from tests.small import condition_for, small, split_of


def test_the_device_is_what_it_is_meant_to_be() -> None:
    with elsewhere() as device:
        x = torch.randn(3, 2, device=THERE, generator=torch.Generator(THERE).manual_seed(0), requires_grad=True)
        (slope,) = torch.autograd.grad((x.square() * torch.tensor([1.0, 2.0], device=THERE)).sum(), x)
        assert isinstance(slope, Elsewhere)
        assert torch.equal(slope.cpu(), 2 * x.detach().cpu() * torch.tensor([1.0, 2.0]))
        assert torch.special.ndtri(x.cpu().double().sigmoid()).dtype == torch.float64
        assert device.impossible == set()
        torch.special.ndtri(x.sigmoid())
        x.double()
        assert device.impossible == {"special_ndtri", "_to_copy of torch.float64"}


def test_what_it_lacks_the_processor_does() -> None:
    shares = torch.rand(100, generator=torch.Generator().manual_seed(0))
    with elsewhere() as device:
        there = shares.to(THERE)
        quantiles, twice = normal_quantile(there), doubled(there)
        assert quantiles.device == THERE
        assert torch.equal(quantiles.cpu(), normal_quantile(shares))
        assert torch.equal(twice, shares.double())
        assert device.impossible == set()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_samples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion, "ODE_STEPS", 2)
    config = small(name)
    config = replace(config, train=replace(config.train, precision="fp32"))
    split = split_of(name)
    with elsewhere() as device:
        trainer = Trainer(config, split, TrainState(steps=100), THERE, World())
        for step in range(2):
            trainer.step(watch=step == 1)
        assert trainer.all_finite()
        model, batch = trainer.best.eval(), trainer.loader.batch_at(0)
        few, rng = batch.condition[:2], torch.Generator(THERE).manual_seed(0)
        with torch.no_grad():
            if isinstance(model, Completes):  # pixel by pixel, of which a row is enough
                model.complete(batch.image[:2], model.spec.size - 1, Noise(2, 1, 0, THERE), few)
            elif model.draws:
                made = model.sample(Noise(2, 1, 0, THERE), condition_for(model.spec, 2).to(THERE))
                assert made.device == THERE
            for way in model.likelihoods():
                if not way.slow:
                    way.nats(batch.image[:2], few, rng)
            if isinstance(model, HasEncoder):
                model.decode(model.encode(batch.image[:2], few), few)
    assert device.calls > 100
    assert device.impossible == set()


@pytest.mark.parametrize("method", ["dps", "diffpir", "ddrm", "inversion"])
@pytest.mark.parametrize("task", ["blur:1+noise:10", "downsample:2", "mask:box"])
def test_every_prior_restores(method: MethodName, task: str) -> None:
    recipe = "vae" if method == "inversion" else "flow-matching"
    model = build(small(recipe).model, ImageSpec(8, 1))
    degraded = parse(task)(torch.rand(2, 1, 8, 8), Noise(2))
    with elsewhere() as device:
        generator = Generator(model, recipe, THERE)
        restore_with_prior(generator, degraded.source[:, :1], degraded.operator, samples=2, steps=2, method=method)
    assert device.calls > 100
    assert device.impossible == set()


def test_features_are_taken() -> None:
    spec = ImageSpec(28, 1)
    images = make_images(np.random.RandomState(0).randint(0, 256, (4, 28, 28, 1), np.uint8), None, (), "noise")
    with elsewhere() as device:
        for space in (digits(THERE), coarse(spec, THERE), *random(spec, THERE)):
            assert np.isfinite(space.of(images.pixels).features).all()
    assert device.calls > 100
    assert device.impossible == set()
