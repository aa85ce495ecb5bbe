from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from calotype.losses.regularizers import (
    Lazy,
    clip_weights,
    dragan,
    gradient_penalty,
    instance_noise,
    path_lengths,
    r1,
    r1_r2,
    r2,
    squared_gradient,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gradient_penalty_of_a_linear_critic() -> None:
    """D(x) = sum(2x) on 4-vectors: the gradient's norm is 4 everywhere, so the penalty is (4 - 1)^2."""
    real, fake = torch.randn(5, 4), torch.randn(5, 4)
    assert abs(gradient_penalty(lambda x: (2 * x).sum(1), real, fake, rng()).item() - 9.0) < 1e-5


@pytest.mark.parametrize(("slope", "both", "one"), [(0.25, 0.25, 0.0), (1.0, 1.0, 1.0)])
def test_one_sided_penalty_spares_small_gradients(slope: float, both: float, one: float) -> None:
    # on 4-vectors the norm is 2 * slope
    critic = lambda x: slope * x.sum(1)  # noqa: E731
    real, fake = torch.randn(5, 4), torch.randn(5, 4)
    assert abs(gradient_penalty(critic, real, fake, rng()).item() - both) < 1e-5
    assert abs(gradient_penalty(critic, real, fake, rng(), one_sided=True).item() - one) < 1e-5


def test_gradient_penalty_looks_between_real_and_fake() -> None:
    """A quadratic critic's gradient is the point itself: 2 at the real image, 4 at the fake one, uniform in between."""
    real, fake = torch.full((4000, 1), 2.0), torch.full((4000, 1), 4.0)
    value = gradient_penalty(lambda x: 0.5 * x.square().sum(1), real, fake, rng()).item()
    assert abs(value - 13 / 3) < 0.1  # E[(u - 1)^2] for u uniform in [2, 4]


def test_gradient_penalty_of_a_flat_critic_is_finite_with_its_gradient() -> None:
    weight = torch.zeros(4, requires_grad=True)
    value = gradient_penalty(lambda x: x @ weight, torch.randn(3, 4), torch.randn(3, 4), rng())
    (grad,) = torch.autograd.grad(value, weight)
    assert abs(value.item() - 1.0) < 1e-4
    assert grad.isfinite().all()


def _images(*values: float) -> Tensor:
    return torch.tensor(values).view(len(values), 1, 1, 1).expand(-1, 1, 2, 2).clone().requires_grad_()


def _quadratic(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(1)


def test_r1_and_r2_of_a_quadratic_critic() -> None:
    """The gradient of sum(x^2) is 2x, its squared norm 4 * 4 x^2 on four equal pixels."""
    real, fake = _images(1.0, 2.0), _images(3.0, 0.0, 0.0)
    on_real, on_fake = _quadratic(real), _quadratic(fake)
    assert torch.allclose(squared_gradient(on_real, real), torch.tensor([16.0, 64.0]))
    assert abs(r1(on_real, real).item() - 20.0) < 1e-5
    assert abs(r2(on_fake, fake).item() - 24.0) < 1e-5
    assert abs(r1_r2(on_real, real, on_fake, fake).item() - 44.0) < 1e-4


def test_penalties_reach_the_weights() -> None:
    """gamma/2 E|grad|^2 of D(x) = w x is w^2/2 on single pixels, whose derivative is w."""
    weight = torch.tensor(3.0, requires_grad=True)
    real = torch.randn(6, 1, 1, 1, requires_grad=True)
    (grad,) = torch.autograd.grad(r1((weight * real).flatten(1).sum(1), real), weight)
    assert abs(grad.item() - 3.0) < 1e-5


def test_dragan_looks_around_the_real_images_only() -> None:
    real = torch.randn(4000, 1) * 2
    points: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        points.append(x.detach())
        return 3 * x.sum(1)

    assert abs(dragan(critic, real, rng(), scale=0.5).item() - 4.0) < 1e-5
    moved = points[0] - real
    assert moved.min().item() >= 0
    assert 0.9 < moved.max().item() <= real.std().item() * 0.5
    assert torch.equal(dragan(critic, real, rng(3)), dragan(critic, real, rng(3)))


def test_instance_noise_has_the_asked_strength_and_leaves_its_input() -> None:
    images = torch.zeros(8, 1, 32, 32)
    noisy = instance_noise(images, 0.3, rng())
    assert abs(noisy.std().item() - 0.3) < 0.01
    assert (images == 0).all()
    assert torch.equal(noisy, instance_noise(images, 0.3, rng()))
    assert not torch.equal(noisy, instance_noise(images, 0.3, rng(1)))


def test_clip_weights() -> None:
    module = nn.Linear(10, 10)
    with torch.no_grad():
        module.weight.fill_(0.005)
        module.weight[0] = 3.0
        module.bias.fill_(-3.0)
    clip_weights(module, 0.01)
    assert (module.weight[0] == 0.01).all()
    assert (module.weight[1:] == 0.005).all()
    assert (module.bias == -0.01).all()


def test_path_lengths_are_those_of_the_whole_jacobian() -> None:
    """And so is what a penalty on them teaches: the gradient through the gradient."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 2 * 3 * 4), nn.Unflatten(1, (2, 3, 4)), nn.Tanh())
    latents = torch.randn(6, 5, requires_grad=True)
    lengths = path_lengths(generator(latents), latents, rng(1))
    directions = torch.randn(6, 2, 3, 4, generator=rng(1)) / 12**0.5
    jacobians = [torch.autograd.functional.jacobian(lambda z: generator(z[None])[0], z, create_graph=True) for z in latents]
    wanted = torch.stack([torch.einsum("chwz,chw->z", j, y).norm() for j, y in zip(jacobians, directions, strict=True)])
    torch.testing.assert_close(lengths, wanted)
    weights = list(generator.parameters())[:3]  # the last bias moves images, and no path's length but by the tanh
    ours, theirs = (torch.autograd.grad((found - 0.3).square().mean(), weights, retain_graph=True) for found in (lengths, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_path_lengths_of_a_linear_generator_are_the_norm_of_its_matrix() -> None:
    """E |J^T y|^2 is |J|^2 / (H W), whatever the size of the images."""
    for side in (2, 8):
        matrix = torch.randn(3, 1, side, side, generator=rng(side))
        latents = torch.randn(20_000, 3, requires_grad=True)
        lengths = path_lengths(torch.einsum("nz,zchw->nchw", latents, matrix), latents, rng())
        assert lengths.square().mean().item() == pytest.approx(float(matrix.square().sum()) / side**2, rel=0.03)


def test_path_lengths_of_latents_for_each_layer_are_means_of_their_squares() -> None:
    """As many layers that all see the same latent have one length: that of any of them where they are alike."""
    matrix = torch.randn(3, 1, 4, 4, generator=rng(5))
    latents = torch.randn(6, 5, 3, requires_grad=True)
    one = path_lengths(torch.einsum("nz,zchw->nchw", latents[:, 0], matrix), latents, rng())
    every = path_lengths(torch.einsum("nlz,zchw->nchw", latents, matrix), latents, rng())
    single = latents[:, 0].detach().requires_grad_()
    wanted = path_lengths(torch.einsum("nz,zchw->nchw", single, matrix), single, rng())
    torch.testing.assert_close(every, wanted)
    torch.testing.assert_close(one, wanted / 5**0.5)  # the other four lead nowhere


def test_a_lazy_part_weighs_the_same_on_average() -> None:
    lazy, eager = Lazy(2.0, 3), Lazy(2.0)
    penalties = torch.arange(12.0)
    counted = {k: sum(float(k.of(torch.tensor(1.0))) for step in range(12) if k.due(step)) for k in (lazy, eager)}
    assert counted[lazy] == counted[eager] == 24
    assert [step for step in range(7) if lazy.due(step)] == [0, 3, 6]
    assert torch.equal(lazy.of(penalties), 6 * penalties)
