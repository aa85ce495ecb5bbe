from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from calotype.losses.adversarial import LOSSES, LossName, least_squares, minimax, non_saturating, relativistic_average

REAL = torch.tensor([-5.0, 1.4, 12.5, 2.7])
FAKE = torch.tensor([10.0, 4.4, -5.5, 3.6])

KNOWN: list[tuple[LossName, float, float]] = [
    ("wasserstein", 0.225, -3.125),
    ("hinge", 6.75, -3.125),
    ("least_squares", 41.73375, 17.69625),
    ("non_saturating", 5.83387, 1.38582),
    ("relativistic_pairing", 4.82244, 4.59744),
]


@pytest.mark.parametrize(("name", "discriminator", "generator"), KNOWN)
def test_known_constants(name: LossName, discriminator: float, generator: float) -> None:
    loss = LOSSES[name].function
    assert abs(loss("discriminator", FAKE, REAL).item() - discriminator) < 1e-5
    assert abs(loss("generator", FAKE, REAL).item() - generator) < 1e-5


def test_relativistic_average_constants() -> None:
    real = torch.tensor([-2.0, 0.4, 12.5, 2.7])
    assert abs(relativistic_average("discriminator", FAKE, real).item() - 4.390114) < 1e-5
    assert abs(relativistic_average("generator", FAKE, real).item() - 4.940114) < 1e-5


def test_minimax_is_the_original_game() -> None:
    belief_real, belief_fake = REAL.double().sigmoid(), FAKE.double().sigmoid()
    value = (belief_real.log().mean() + (1 - belief_fake).log().mean()).item()
    assert abs(minimax("discriminator", FAKE, REAL).item() + value) < 1e-5
    assert abs(minimax("generator", FAKE).item() - (1 - belief_fake).log().mean().item()) < 1e-5


@pytest.mark.parametrize("name", LOSSES)
def test_each_player_gains_by_its_own_aim(name: LossName) -> None:
    """The discriminator's loss falls as real logits rise and fake ones fall; the generator's falls as fake logits rise."""
    loss = LOSSES[name].function
    real, fake = torch.tensor([0.1, -0.2], requires_grad=True), torch.tensor([0.3, 0.1], requires_grad=True)
    of_real, of_fake = torch.autograd.grad(loss("discriminator", fake, real), (real, fake))
    assert (of_real < 0).all()
    assert (of_fake > 0).all()
    (of_fake,) = torch.autograd.grad(loss("generator", fake, real), fake)
    assert (of_fake < 0).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_finite_at_extreme_logits(name: LossName, size: float) -> None:
    for side in ("discriminator", "generator"):
        real, fake = torch.full((3,), size, requires_grad=True), torch.full((3,), -size, requires_grad=True)
        value = LOSSES[name].function(side, fake, real)
        grads = torch.autograd.grad(value, (real, fake), allow_unused=True)
        assert value.isfinite()
        assert all(g.isfinite().all() for g in grads if g is not None)


@pytest.mark.parametrize("name", LOSSES)
def test_need_of_real_logits_is_as_declared(name: LossName) -> None:
    entry = LOSSES[name]
    if entry.needs_real:
        with pytest.raises(ValueError, match="real"):
            entry.function("generator", FAKE)
    else:
        assert torch.equal(entry.function("generator", FAKE), entry.function("generator", FAKE, REAL))
    with pytest.raises(ValueError, match="real"):
        entry.function("discriminator", FAKE)


def _cross_entropy(belief: Tensor, target: float) -> float:
    return -(target * belief.log() + (1 - target) * (1 - belief).log()).mean().item()


@pytest.mark.parametrize("function", [minimax, non_saturating])
def test_smoothing_is_cross_entropy_with_a_soft_target(function: object) -> None:
    want = _cross_entropy(REAL.double().sigmoid(), 0.9) + _cross_entropy(FAKE.double().sigmoid(), 0.0)
    assert callable(function)
    assert abs(function("discriminator", FAKE, REAL, target=0.9).item() - want) < 1e-5


def test_smoothing_is_one_sided() -> None:
    """It moves where real logits are best, not the fake ones, and leaves the generator's step alone."""
    for function in (minimax, non_saturating, least_squares):
        assert torch.equal(function("generator", FAKE, target=0.9), function("generator", FAKE))
    real = torch.tensor([math.log(9.0)], requires_grad=True)  # a belief of 0.9
    (grad,) = torch.autograd.grad(non_saturating("discriminator", FAKE[:1], real, target=0.9), real)
    assert abs(grad.item()) < 1e-6
    assert abs(least_squares("discriminator", FAKE, torch.full((4,), 0.9), target=0.9).item() - 0.5 * FAKE.square().mean().item()) < 1e-5


def test_smoothing_losses_are_declared() -> None:
    for name, entry in LOSSES.items():
        if entry.smooths:
            assert entry.function("discriminator", FAKE, REAL, target=0.9) != entry.function("discriminator", FAKE, REAL), name
        else:
            with pytest.raises(TypeError):
                entry.function("discriminator", FAKE, REAL, target=0.9)
