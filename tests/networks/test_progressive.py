"""Networks that grow: the paper's counts, the schedule, what a stage shows, how one fades into the next, and that nothing is lost."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from calotype.config import Optimizer
from calotype.engine.gradients import Owned
from calotype.engine.optim import make_optimizer
from calotype.losses.regularizers import gradient_penalty
from calotype.networks.progressive import ProgressiveDiscriminator, ProgressiveGenerator, phase_at

SIZES = [4, 7, 14, 28]


def _grown(phase: float, *, size: int = 28, channels: int = 1, classes: int = 0) -> tuple[ProgressiveGenerator, ProgressiveDiscriminator]:
    torch.manual_seed(0)
    shape = (channels, size, size)
    generator = ProgressiveGenerator(shape, latent=6, width=4, widest=16, classes=classes)
    discriminator = ProgressiveDiscriminator(shape, width=4, widest=16, classes=classes)
    for network in (generator, discriminator):
        network.phase.fill_(phase)
    return generator, discriminator


@pytest.mark.parametrize(
    ("size", "width", "of_generator", "of_discriminator"),
    [(32, 512, 20_719_628, 20_726_785), (128, 128, 22_933_394, 22_941_313), (1024, 16, 23_079_115, 23_087_249)],
)
def test_the_parameters_of_the_paper(size: int, width: int, of_generator: int, of_discriminator: int) -> None:
    with torch.device("meta"):
        generator = ProgressiveGenerator((3, size, size), latent=512, width=width, widest=512)
        discriminator = ProgressiveDiscriminator((3, size, size), width=width, widest=512)
    assert sum(p.numel() for p in generator.parameters()) == of_generator
    assert sum(p.numel() for p in discriminator.parameters()) == of_discriminator


@pytest.mark.parametrize("growth", [0.25, 0.6, 1.0])
@pytest.mark.parametrize("last", [1, 3, 8])
def test_every_stage_is_trained_as_long_as_the_next_fades_in(growth: float, last: int) -> None:
    places = [i / 4800 for i in range(4800)]
    phases = [phase_at(progress, growth, last) for progress in places]
    assert phases == sorted(phases)
    assert max(b - a for a, b in pairwise(phases)) < 0.02  # no jumps
    part = growth / (2 * last)
    for stage in range(last):
        alone, fading = sum(p == stage for p in phases) / 4800, sum(stage < p < stage + 1 for p in phases) / 4800
        assert (alone, fading) == (pytest.approx(part, abs=1e-3), pytest.approx(part, abs=1e-3))
    assert sum(p == last for p in phases) / 4800 == pytest.approx(1 - growth, abs=1e-3)
    assert phase_at(0.0, 0.0, last) == last


def test_networks_grow_with_the_run_and_never_back() -> None:
    generator, discriminator = _grown(0.0)
    for network in (generator, discriminator):
        assert network.stage() == (0, 1.0)
        network.reach(0.125)
        assert network.stage() == (1, pytest.approx(0.5))
        network.reach(0.0)
        assert network.stage() == (1, pytest.approx(0.5))
        network.reach(0.5)
        assert network.stage() == (3, 1.0)
        for wrong, stage in ((7.5, 3), (-2.0, 0)):
            network.phase.fill_(wrong)
            assert network.stage() == (stage, 1.0)


def test_steps_take_longer_from_where_a_stage_fades_in() -> None:
    generator = ProgressiveGenerator((1, 28, 28), latent=6, width=4, growth=0.6)
    assert generator.changes_at == pytest.approx((0.1, 0.3, 0.5))
    for stage, share in enumerate(generator.changes_at):
        generator.reach(share - 0.01)
        assert generator.stage() == (stage, 1.0)
        generator.reach(share + 0.01)
        assert generator.stage() == (stage + 1, pytest.approx(0.1, abs=0.01))
    assert ProgressiveGenerator((1, 28, 28), latent=6, width=4, growth=0.0).changes_at == ()


@pytest.mark.parametrize("stage", range(4))
def test_before_it_is_grown_an_image_is_an_enlarged_small_one(stage: int) -> None:
    generator, _ = _grown(stage)
    image = generator(torch.randn(3, 6))
    assert image.shape == (3, 1, 28, 28)
    small, larger = image, image
    for _ in SIZES[stage + 1 :]:
        small = small[..., ::2, ::2]
    assert small.shape[2] == SIZES[stage]
    for side in SIZES[stage + 1 :]:
        small = F.interpolate(small, scale_factor=2.0, mode="nearest")[..., :side, :side]
    assert torch.equal(small, image)
    if stage:  # and not one of an earlier stage
        for _ in SIZES[stage:]:
            larger = larger[..., ::2, ::2]
        for side in SIZES[stage:]:
            larger = F.interpolate(larger, scale_factor=2.0, mode="nearest")[..., :side, :side]
        assert not torch.allclose(larger, image, atol=1e-3)


@pytest.mark.parametrize("stage", range(3))
def test_a_stage_begins_as_the_one_before_ends(stage: int) -> None:
    generator, discriminator = _grown(stage)
    latent = torch.randn(4, 6)
    image = generator(latent)
    real = torch.randn(4, 1, 28, 28)
    logits, seen = discriminator(real), discriminator.faded(real)
    for network in (generator, discriminator):
        network.phase.fill_(stage + 1e-5)
    assert generator.stage()[0] == stage + 1
    torch.testing.assert_close(generator(latent), image, atol=1e-3, rtol=0)
    torch.testing.assert_close(discriminator(real), logits, atol=1e-3, rtol=0)
    torch.testing.assert_close(discriminator.faded(real), seen, atol=1e-3, rtol=0)
    for network in (generator, discriminator):
        network.phase.fill_(stage + 0.5)
    assert not torch.allclose(generator(latent), image, atol=1e-2)
    assert not torch.allclose(discriminator.faded(real), seen, atol=1e-2)


def test_a_fading_image_is_the_mix_of_two() -> None:
    generator, _ = _grown(1.0)
    latent = torch.randn(2, 6)
    before = generator(latent)
    generator.phase.fill_(2.0)
    after = generator(latent)
    generator.phase.fill_(1.25)
    torch.testing.assert_close(generator(latent), 0.75 * before + 0.25 * after)


@pytest.mark.parametrize("stage", range(4))
def test_the_discriminator_sees_no_more_than_its_stage_shows(stage: int) -> None:
    _, discriminator = _grown(stage)
    real = torch.randn(4, 1, 28, 28)
    faded = discriminator.faded(real)
    torch.testing.assert_close(discriminator(faded), discriminator(real))
    torch.testing.assert_close(discriminator.faded(faded), faded)
    assert torch.allclose(faded, real) == (stage == 3)
    assert not torch.allclose(discriminator(real), discriminator(real.roll(2, dims=3)), atol=1e-4)


def test_real_images_fade_as_generated_ones_do() -> None:
    """At 32 pixels and stage 1.25 of 4, 8, 16 and 32: a quarter of what distinguishes 16 pixels from 8."""
    _, discriminator = _grown(1.25, size=32)
    real = torch.randn(2, 1, 32, 32)
    eight, sixteen = (F.interpolate(F.avg_pool2d(real, k), scale_factor=float(k), mode="nearest") for k in (4, 2))
    torch.testing.assert_close(discriminator.faded(real), 0.75 * eight + 0.25 * sixteen)


def _note(ran: set[str], name: str, *_: object) -> None:
    ran.add(name)


def test_layers_that_are_not_reached_cost_nothing_and_stay_as_they_are() -> None:
    for network, given in zip(_grown(1.5), (torch.randn(4, 6), torch.randn(4, 1, 28, 28)), strict=True):
        ran: set[str] = set()
        for name, layer in network.named_modules():
            layer.register_forward_hook(partial(_note, ran, name))
        owned = Owned("player", network)
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        optimizer = make_optimizer(Optimizer("adam", lr=0.01, betas=(0.0, 0.99)), owned.parameters)
        for _ in range(5):
            owned.backward(network(given).square().mean())
            owned.gradients()
            optimizer.step()
            owned.clear()
        moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
        ports = "to_rgb" if isinstance(network, ProgressiveGenerator) else "from_rgb"
        idle = ("blocks.2.", f"{ports}.0.", f"{ports}.3.")
        assert moved == {name for name in before if not name.startswith(idle)}
        assert not any(f"{name}.".startswith(idle) for name in ran)
        assert "blocks.1" in ran


@pytest.mark.parametrize("phase", [1.0, 2.3])
def test_what_is_saved_in_the_middle_of_a_fade_goes_on_there(phase: float) -> None:
    saved = [copy.deepcopy(network.state_dict()) for network in _grown(phase)]
    torch.manual_seed(9)
    generator = ProgressiveGenerator((1, 28, 28), latent=6, width=4, widest=16)
    discriminator = ProgressiveDiscriminator((1, 28, 28), width=4, widest=16)
    generator.load_state_dict(saved[0])
    discriminator.load_state_dict(saved[1])
    latent = torch.randn(4, 6)
    first, second = _grown(phase)
    assert torch.equal(generator(latent), first(latent))
    assert torch.equal(discriminator(first(latent)), second(first(latent)))


@pytest.mark.parametrize(("size", "channels", "classes"), [(8, 3, 0), (28, 1, 4), (32, 3, 0), (45, 1, 0), (64, 3, 4)])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_images_and_logits_of_any_size(size: int, channels: int, classes: int, share: float) -> None:
    generator, discriminator = _grown(0.0, size=size, channels=channels, classes=classes)
    label = torch.tensor([0, 1, 3, 2]) if classes else None
    for progress in (0.0, share * generator.growth, 1.0):
        for network in (generator, discriminator):
            network.reach(progress)
        images = generator(torch.randn(4, 6), label)
        logits = discriminator(images, label)
        assert images.shape == (4, channels, size, size)
        assert images.abs().max() <= 1
        assert images.std() > 0.05
        assert logits.shape == (4,)
        assert images.dtype == logits.dtype == torch.float32
    grads = torch.autograd.grad(logits.square().mean(), [*generator.parameters(), *discriminator.parameters()], allow_unused=True)
    unused = {id(p) for port in (generator.to_rgb, discriminator.from_rgb) for layer in list(port)[:-1] for p in layer.parameters()}
    for parameter, grad in zip([*generator.parameters(), *discriminator.parameters()], grads, strict=True):
        assert (grad is None) == (id(parameter) in unused)
        assert grad is None or (grad.isfinite().all() and grad.abs().max() > 0)


@pytest.mark.parametrize("phase", [0.0, 1.4, 3.0])
def test_bfloat16_and_any_layout(phase: float) -> None:
    generator, discriminator = _grown(phase, channels=3)
    latent = torch.randn(4, 6)
    plain = generator(latent)
    logits = discriminator(plain)
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(discriminator(generator(latent)), logits, atol=1e-4, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(latent)
        coarse = discriminator(images)
    assert images.dtype == coarse.dtype == torch.float32
    assert (images - plain).abs().mean() < 0.03
    assert (coarse - logits).abs().max() < 0.2


def test_every_image_by_itself() -> None:
    generator, discriminator = _grown(2.5)
    generator.eval()
    latent = torch.randn(5, 6)
    torch.testing.assert_close(generator(latent)[1:3], generator(latent[1:3]))
    image = torch.randn(2, 1, 28, 28)
    assert discriminator.mixes_batch
    assert not torch.allclose(discriminator(torch.cat([image, 5 * image]))[:2], discriminator(image))


@pytest.mark.parametrize("phase", [0.5, 3.0])
def test_gradient_penalties_teach(phase: float) -> None:
    generator, discriminator = _grown(phase)
    fake, real = generator(torch.randn(4, 6)).detach(), discriminator.faded(torch.randn(4, 1, 28, 28))
    penalty = gradient_penalty(discriminator, real, fake, torch.Generator().manual_seed(0))
    weights = [p for p in discriminator.parameters() if p.ndim > 1]
    grads = torch.autograd.grad(penalty, weights, allow_unused=True)
    used = [g for g in grads if g is not None]
    assert len(used) >= 6
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in used)


def test_penalties_see_images_of_full_size() -> None:
    """A square of places that make one pixel shares its gradient, so that the squared norm falls with their number."""
    _, discriminator = _grown(0.0, size=32)
    small = torch.randn(4, 1, 4, 4, requires_grad=True)
    large = F.interpolate(small.detach(), scale_factor=8.0, mode="nearest").requires_grad_()
    (of_large,) = torch.autograd.grad(discriminator(large).sum(), large)
    seen = F.interpolate(small, scale_factor=8.0, mode="nearest")
    (of_small,) = torch.autograd.grad(discriminator(seen).sum(), small)
    torch.testing.assert_close(64 * of_large.square().sum(), of_small.square().sum())
    assert of_small.abs().max() > 0


def test_layers_are_modules_that_can_be_copied() -> None:
    for network in _grown(1.5):
        twin = copy.deepcopy(network)
        assert isinstance(twin, nn.Module)
        twin.reach(1.0)
        assert network.stage() == (2, 0.5)
        assert twin.stage() == (3, 1.0)
