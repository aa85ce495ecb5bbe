"""BigGAN: the published parameter counts, what classes and parts of the latent reach, truncated latents and standing statistics."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import is_parametrized

from calotype.errors import UserError
from calotype.networks.biggan import BigGANDiscriminator, BigGANGenerator
from calotype.networks.conditional_norm import ConditionalNorm
from calotype.networks.truncation import standing_statistics, truncated_normal
from calotype.types import Noise

IMAGENET = {"classes": 1000}


@pytest.mark.parametrize(
    ("size", "generator", "discriminator", "counts"),
    [
        (32, {"latent": 128, "width": 64, "shared": 0, "classes": 10}, {"width": 64, "classes": 10}, (4_304_387, 4_207_361)),
        (64, {"latent": 120, "width": 64, "attention": 32}, {"width": 64, "attention": 32}, (31_969_540, 20_571_842)),
        (128, {"latent": 120, "width": 96, "attention": 64}, {"width": 96, "attention": 64}, (70_433_988, 87_982_370)),
        (256, {"latent": 140, "width": 96, "attention": 64}, {"width": 96, "attention": 64}, (82_235_844, 99_225_890)),
    ],
)
def test_published_parameter_counts(size: int, generator: dict[str, Any], discriminator: dict[str, Any], counts: tuple[int, int]) -> None:
    shape = (3, size, size)
    with torch.device("meta"):
        made = BigGANGenerator(shape, **{**IMAGENET, **generator}), BigGANDiscriminator(shape, **{**IMAGENET, **discriminator})
    assert tuple(sum(p.numel() for p in network.parameters() if p.requires_grad) for network in made) == counts


@pytest.mark.parametrize("size", [8, 28, 32, 45, 64, 100])
@pytest.mark.parametrize(("channels", "classes", "shared"), [(1, 0, 128), (3, 3, 6), (1, 3, 0)])
def test_any_size_and_channels_with_classes_and_without(size: int, channels: int, classes: int, shared: int) -> None:
    torch.manual_seed(0)
    shape = (channels, size, size)
    generator = BigGANGenerator(shape, latent=11, width=2, classes=classes, shared=shared)
    discriminator = BigGANDiscriminator(shape, width=2, classes=classes)
    label = torch.tensor([0, 2]) if classes else None
    images = generator(torch.randn(2, 11), label)
    logits = discriminator(images, label)
    assert images.shape == (2, *shape)
    assert 0 < images.abs().max() <= 1
    assert logits.shape == (2,)
    assert logits.dtype == images.dtype == torch.float32
    assert not discriminator.mixes_batch


def test_sizes_and_latents_that_do_not_fit_are_the_users_error() -> None:
    with torch.device("meta"):
        for size in (7, 513):
            with pytest.raises(UserError, match=f"the biggan network takes images of 8 to 512 pixels, not {size}"):
                BigGANGenerator((1, size, size), latent=8)
            with pytest.raises(UserError, match=str(size)):
                BigGANDiscriminator((1, size, size))
        with pytest.raises(UserError, match=r"into 4 parts: give a `model.latent` of at least"):
            BigGANGenerator((1, 28, 28), latent=3, classes=2)
        BigGANGenerator((1, 28, 28), latent=4, classes=2)
        BigGANGenerator((1, 28, 28), latent=3)  # whole without classes


def _norms(network: nn.Module) -> list[ConditionalNorm]:
    return [module for module in network.modules() if isinstance(module, ConditionalNorm)]


def test_each_part_of_the_latent_reaches_its_block_and_all_of_it_counts() -> None:
    """What a block is told beside the class moves its gains; the numbers before and after it do not."""
    torch.manual_seed(0)
    network = BigGANGenerator((1, 28, 28), latent=11, width=2, classes=3, shared=5).eval()
    told: list[Tensor] = []
    for norm in _norms(network):
        norm.register_forward_pre_hook(lambda _m, args: told.append(args[1]))
    z, label = torch.randn(1, 11), torch.tensor([2])
    images = network(z, label)
    parts = z.split([3, 3, 3, 2], dim=1)
    assert len(told) == 6
    for i, vector in enumerate(told):
        assert torch.equal(vector, torch.cat([network.shared.weight[2:3], parts[1 + i // 2]], 1))  # type: ignore[union-attr]
    for index in range(11):
        moved = z.clone()
        moved[0, index] += 1
        assert not torch.allclose(network(moved, label), images)


@pytest.mark.parametrize("shared", [0, 5])
def test_labels_change_what_comes_out(shared: int) -> None:
    torch.manual_seed(0)
    generator = BigGANGenerator((1, 28, 28), latent=8, width=2, classes=3, shared=shared).eval()
    discriminator = BigGANDiscriminator((1, 28, 28), width=2, classes=3).eval()
    z, image = torch.randn(1, 8), torch.randn(1, 1, 28, 28)
    one, two = torch.tensor([1]), torch.tensor([2])
    assert not torch.allclose(generator(z, one), generator(z, two))
    assert not torch.allclose(discriminator(image, one), discriminator(image, two))
    for network, given in ((generator, z), (discriminator, image)):
        with pytest.raises(ValueError, match="labels"):
            network(given)


def test_orthogonal_weights_and_spectral_norm_everywhere_but_on_the_generators_classes() -> None:
    torch.manual_seed(0)
    generator = BigGANGenerator((1, 28, 28), latent=8, width=2, classes=3, shared=5, attention=14)
    discriminator = BigGANDiscriminator((1, 28, 28), width=2, classes=3, attention=14)
    for network in (generator, discriminator):
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
                assert is_parametrized(layer) == (layer is not generator.shared)
                weight = layer.weight.detach().flatten(1)
                small = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
                torch.testing.assert_close(small, torch.eye(len(small)), atol=1e-4, rtol=0)
                if is_parametrized(layer):
                    assert layer.parametrizations["weight"][0].eps == 1e-6  # type: ignore[index]


@pytest.mark.parametrize("classes", [0, 3])
def test_every_parameter_gets_a_gradient_also_through_gradients(classes: int) -> None:
    torch.manual_seed(0)
    generator = BigGANGenerator((1, 28, 28), latent=8, width=2, classes=classes, shared=5, attention=14)
    discriminator = BigGANDiscriminator((1, 28, 28), width=2, classes=classes, attention=14)
    label = torch.tensor([0, 1, 2, 0]) if classes else None
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            if name.endswith("attention.gain"):
                nn.init.constant_(parameter, 0.5)
    images = generator(torch.randn(4, 8), label)
    loss = discriminator(images, label).square().mean() + (images - 0.1).square().mean()
    for network in (generator, discriminator):
        names, parameters = zip(*network.named_parameters(), strict=True)
        for name, gradient in zip(names, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True):
            assert gradient.isfinite().all(), name
            assert gradient.abs().max() > 0 or name.endswith("bias"), name
    image = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(image, label).sum(), image, create_graph=True)
    gradient.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in discriminator.parameters())
    assert sum(p.grad is not None for p in discriminator.parameters()) > 10


def test_float32_results_under_autocast_in_any_layout_and_of_copies() -> None:
    torch.manual_seed(0)
    generator = BigGANGenerator((3, 28, 28), latent=8, width=2, classes=3, shared=5, attention=14)
    discriminator = BigGANDiscriminator((3, 28, 28), width=2, classes=3, attention=14)
    z, label = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    generator(z, label)
    for network in (generator, discriminator):
        network.eval()
    plain = discriminator(generator(z, label), label)
    copies = copy.deepcopy(generator), copy.deepcopy(discriminator)
    for network in copies:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(copies[1](copies[0](z, label), label), plain, atol=1e-3, rtol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        images = copies[0](z, label)
        logits = copies[1](images, label)
    assert images.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(logits, plain, atol=0.2, rtol=0.1)
    torch.testing.assert_close(generator(z[1:2], label[1:2]), generator(z, label)[1:2], atol=1e-5, rtol=1e-4)


def test_truncated_numbers_are_drawn_again_and_not_clipped() -> None:
    limit = 0.5
    plain, cut = Noise(400, seed=3).normal(50), truncated_normal(Noise(400, seed=3), limit, 50)
    assert cut.abs().max() <= limit
    inside = plain.abs() <= limit
    assert torch.equal(cut[inside], plain[inside])
    again = cut[~inside]
    assert (again.abs() == limit).float().mean() < 1e-3
    assert len(again.unique()) > 0.99 * len(again)  # each image's own
    # the variance of a standard normal number that lies within the limit: 1 - 2 t phi(t) / (2 Phi(t) - 1)
    t = torch.tensor(limit, dtype=torch.double)
    wanted = 1 - 2 * t * torch.exp(-t * t / 2) / (2 * torch.pi) ** 0.5 / torch.erf(t / 2**0.5)
    for numbers in (cut, again):
        assert numbers.double().var().item() == pytest.approx(wanted.item(), rel=0.03)
        assert abs(numbers.mean().item()) < 0.01
    with pytest.raises(ValueError, match=r"at least 0\.01"):
        truncated_normal(Noise(1), 0.0, 3)


def test_truncation_leaves_the_batch_and_what_is_drawn_afterwards_alone() -> None:
    many = truncated_normal(Noise(5, seed=1), 0.3, 7)
    assert torch.equal(truncated_normal(Noise(2, seed=1, start=3), 0.3, 7), many[3:])
    assert torch.equal(truncated_normal(Noise(5, seed=1), 1e6, 7), Noise(5, seed=1).normal(7))
    noises = Noise(5, seed=1), Noise(5, seed=1)
    truncated_normal(noises[0], 0.3, 7)
    noises[1].normal(7)
    assert torch.equal(noises[0].uniform(), noises[1].uniform())
    noise = Noise(5, seed=1)
    assert not torch.equal(truncated_normal(noise, 0.3, 7), truncated_normal(noise, 0.3, 7))


def test_standing_statistics_are_means_over_passes_and_leave_the_generator() -> None:
    torch.manual_seed(0)
    generator = BigGANGenerator((1, 28, 28), latent=8, width=2, classes=3, shared=5).train()
    before = copy.deepcopy(generator.state_dict())
    found = standing_statistics(generator, 8, 3, limit=0.7, passes=4, batch=5)
    assert generator.training
    assert all(torch.equal(one, before[name]) for name, one in generator.state_dict().items())
    assert set(found) == {name for name in before if name.endswith(("running_mean", "running_var"))}

    # by hand, of the first norm, whose input follows from the weights alone
    generator.eval()
    means, variances = [], []
    for start in range(0, 20, 5):
        first = truncated_normal(Noise(5, 0, start), 0.7, 8).tensor_split(4, dim=1)[0]
        maps = generator.body.first(first).view(5, 4, 4, -1).permute(0, 3, 1, 2)
        means.append(maps.mean((0, 2, 3)))
        variances.append(maps.var((0, 2, 3)))
    name = "body.blocks.0.norms.0.norm"
    torch.testing.assert_close(found[f"{name}.running_mean"], torch.stack(means).mean(0))
    torch.testing.assert_close(found[f"{name}.running_var"], torch.stack(variances).mean(0))

    again = standing_statistics(generator, 8, 3, limit=0.7, passes=4, batch=5)
    assert all(torch.equal(again[name], found[name]) for name in found)
    for other in (
        standing_statistics(generator, 8, 3, passes=4, batch=5),
        standing_statistics(generator, 8, 3, limit=0.7, seed=1, passes=4),
    ):
        assert not torch.allclose(other[f"{name}.running_var"], found[f"{name}.running_var"])


def test_images_with_standing_statistics_are_normalized_for_the_weights_of_today() -> None:
    torch.manual_seed(0)
    generator = BigGANGenerator((1, 28, 28), latent=8, width=2).eval()
    seen: list[Tensor] = []
    generator.body.last_norm.register_forward_hook(lambda _m, _i, out: seen.append(out))
    found = standing_statistics(generator, 8)
    z = torch.randn(200, 8)
    generator(z)
    untrained = seen.pop()
    images = functional_call(generator, found, (z, None))
    standing = seen.pop()
    assert not torch.allclose(images, generator(z))
    assert abs(standing.var((0, 2, 3)).mean().item() - 1) < 0.2
    assert abs(untrained.var((0, 2, 3)).mean().item() - 1) > 0.2
    assert standing_statistics(nn.Linear(8, 2), 8) == {}
