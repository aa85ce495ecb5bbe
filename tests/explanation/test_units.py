"""Latent units: divergences against torch.distributions, activity and traversals of a model whose latents are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from calotype.errors import UserError
from calotype.explanation.units import moves_single_units, traversal, unit_activity
from calotype.models import build
from calotype.recipes import named
from calotype.types import Condition, ImageSpec, Model, Player


class Known(Model):
    """Four latents: the first is the brightness of the left half, the second that of the right, the third says little, the last nothing."""

    spec = ImageSpec(4, 1)
    SCALES = torch.tensor([0.1, 0.2, 0.9, 1.0])
    GAINS = torch.tensor([2.0, 1.0, 0.05, 0.0])

    def players(self) -> Sequence[Player]:
        return ()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (4,)

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        left, right = x[..., :2].mean((1, 2, 3)), x[..., 2:].mean((1, 2, 3))
        return torch.stack([left, right, left, left], 1) * self.GAINS

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        left, right = z[:, 0, None, None, None] / 10, z[:, 1, None, None, None] / 20
        return torch.cat([left.expand(-1, 1, 4, 2), right.expand(-1, 1, 4, 2)], 3)

    def posterior(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        means = self.encode(x)
        return means, kl_divergence(Normal(means, self.SCALES.expand_as(means)), Normal(0.0, 1.0))


def images(count: int, size: int = 4) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_units_are_ranked_and_those_that_vary_are_active() -> None:
    model, x = Known(), images(60)
    found = unit_activity(model, x)
    means, nats = model.posterior(x)
    assert np.allclose(found.nats, nats.double().mean(0).numpy(), atol=1e-5)
    assert np.allclose(found.activity, means.double().var(0).numpy(), atol=1e-6)
    assert found.order.tolist() == [0, 1, 2, 3]
    assert found.active.tolist() == [True, True, False, False]
    assert found.images == 60


@pytest.mark.parametrize("conditional", [False, True])
def test_the_divergence_of_a_vae_is_that_of_torch(conditional: bool) -> None:
    torch.manual_seed(0)
    spec = ImageSpec(28, 1, ("a", "b") if conditional else ())
    model = build(replace(named("vae").model, width=8, latent=6), spec).eval()  # type: ignore[type-var]
    x, label = images(5, 28), torch.tensor([0, 1, 0, 1, 1]) if conditional else None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        # what the parts of the model say, put together by torch
        means, log_scales = model.network.encode(x)
        prior = model.network.prior
        zero, one = torch.zeros_like(means), torch.ones_like(means)
        standard_mean, standard_log_scale = prior.standardize(means, log_scales, label)
        expected = kl_divergence(Normal(standard_mean, standard_log_scale.exp()), Normal(zero, one))
    found = unit_activity(model, x, label)
    assert np.allclose(found.nats, expected.double().mean(0).numpy(), rtol=1e-4, atol=1e-6)
    assert float(expected.mean()) > 1e-3
    assert moves_single_units(model, len(found.nats))
    assert not moves_single_units(model, 5)


def test_the_latents_that_vary_most_move_the_image() -> None:
    model, x = Known(), images(60)
    found = traversal(model, x, x[:1], rows=4, columns=5)
    assert found.latents == (0, 1)  # the others vary too little to be shown
    assert found.values == (-3.0, -1.5, 0.0, 1.5, 3.0)
    assert found.images.shape == (2, 5, 1, 4, 4)
    assert torch.allclose(found.images[0, :, 0, 0, 0], torch.tensor(found.values) / 10)
    assert torch.equal(found.images[0, 0, 0, :, 2:], found.images[0, 4, 0, :, 2:])  # the other half stays
    assert found.moved[0] == pytest.approx(0.6 / 2**0.5, rel=1e-5)
    assert found.moved[1] == pytest.approx(0.3 / 2**0.5, rel=1e-5)


def test_what_has_no_such_latents_is_refused() -> None:
    for ask in (lambda: unit_activity(Model(), images(2)), lambda: traversal(Model(), images(2), images(1))):
        with pytest.raises(UserError, match="VAEs"):
            ask()
    with pytest.raises(UserError, match="two images"):
        unit_activity(Known(), images(1))
