from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.modern import (
    GAIN,
    InvertedBottleneck,
    ModernDiscriminator,
    ModernGenerator,
    Resampled,
    triangles,
)

SMALL: dict[str, Any] = {"width": 8, "wide": 2, "blocks": 1}


def both(shape: tuple[int, int, int], classes: int = 0, **settings: Any) -> tuple[ModernGenerator, ModernDiscriminator]:
    """Networks some steps into a training: no weight is zero."""
    torch.manual_seed(0)
    settings = {**SMALL, **settings}
    networks = ModernGenerator(shape, latent=5, classes=classes, **settings), ModernDiscriminator(shape, classes=classes, **settings)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return networks


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("size", "classes", "generator", "discriminator"),
    [
        (32, 0, 20_732_160, 20_683_776),
        (32, 10, 20_781_952, 21_280_512),
        (64, 0, 22_429_824, 22_381_440),
        (256, 0, 23_057_952, 23_009_568),
    ],
)
def test_sizes_are_the_published_ones(size: int, classes: int, generator: int, discriminator: int) -> None:
    with torch.device("meta"):
        assert count(ModernGenerator((3, size, size), latent=64, classes=classes)) == generator
        assert count(ModernDiscriminator((3, size, size), classes=classes)) == discriminator


@pytest.mark.parametrize(("size", "channels"), [(8, 3), (28, 1), (28, 3), (33, 1), (64, 3)])
def test_images_of_any_size(size: int, channels: int) -> None:
    generator, discriminator = both((channels, size, size))
    images = generator(3 * torch.randn(2, 5)).detach()
    assert images.shape == (2, channels, size, size)
    assert images.dtype == torch.float32
    assert 0.5 < float(images.abs().max()) <= 1
    assert discriminator(images).shape == (2,)
    assert not discriminator.mixes_batch


@pytest.mark.parametrize(("before", "after"), [(7, 14), (14, 28), (4, 7), (9, 17), (14, 7), (28, 14), (7, 4), (17, 9), (5, 5)])
def test_lines_are_interpolated_and_shrunk_as_pytorch_does_it(before: int, after: int) -> None:
    line = torch.randn(1, 1, 1, before, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(line, (1, after), mode="bilinear", align_corners=False, antialias=after < before)
    weights = triangles(before, after)
    assert torch.allclose(line @ weights.T, expected, atol=1e-6)
    assert torch.allclose(weights, weights.flip(0, 1), atol=1e-6), "leans to one side"


def test_both_axes_are_resampled_and_nothing_else() -> None:
    image = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    down, up = Resampled(6, 3, 3, 3), Resampled(6, 12, 3, 3)
    assert torch.allclose(down(image), F.interpolate(image, (3, 3), mode="bilinear", antialias=True), atol=1e-6)
    assert torch.allclose(up(image), F.interpolate(image, (12, 12), mode="bilinear"), atol=1e-6)
    layout = image.contiguous(memory_format=torch.channels_last)
    assert up(layout).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(up(layout), up(image))


def test_channels_change_where_maps_are_small() -> None:
    seen: list[int] = []
    for layer in (Resampled(4, 8, 6, 2), Resampled(8, 4, 2, 6)):
        layer.mix.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0].shape[2]))
        layer(torch.randn(1, 6 if layer.grows else 2, 4 if layer.grows else 8, 4 if layer.grows else 8))
    assert seen == [4, 4]


def test_a_block_begins_as_nothing_and_its_scale_falls_with_their_number() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, 5, 5)
    for total in (1, 16):
        block = InvertedBottleneck(64, 2, 16, total)
        assert torch.equal(block(x), x)
        first, grouped, last = (layer for layer in block.layers if isinstance(layer, nn.Conv2d))
        assert grouped.groups == 8
        for layer, inputs in ((first, 64), (grouped, 16 * 9)):
            assert float(layer.weight.detach().std()) == pytest.approx(GAIN * total**-0.25 * inputs**-0.5, rel=0.05)
        nn.init.ones_(last.weight)
        assert not torch.allclose(block(x), x)


def test_a_deep_network_begins_with_the_scale_that_comes_in() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 3, 16, 16)
    deep, shallow = (ModernDiscriminator((3, 16, 16), width=16, blocks=blocks) for blocks in (20, 1))
    with torch.no_grad():
        assert 0.3 < float(deep(images).std() / shallow(images).std()) < 3


@pytest.mark.parametrize(("width", "group", "groups"), [(8, 16, 1), (12, 16, 3), (24, 16, 3), (5, 16, 5), (768, 16, 96)])
def test_any_width_can_be_grouped(width: int, group: int, groups: int) -> None:
    with torch.device("meta"):
        grouped = InvertedBottleneck(width, 2, group, 1).layers[2]
    assert isinstance(grouped, nn.Conv2d)
    assert grouped.groups == groups


@pytest.mark.parametrize("wide", [1, 2, 9])
def test_maps_become_narrower_where_they_are_large(wide: int) -> None:
    with torch.device("meta"):
        generator = ModernGenerator((1, 28, 28), latent=5, width=64, wide=wide, blocks=1)
    widths = [block.layers[0].in_channels for block in generator.stages if isinstance(block, InvertedBottleneck)]  # type: ignore[union-attr]
    assert widths == {1: [64, 32, 16, 8], 2: [64, 64, 32, 16], 9: [64] * 4}[wide]


def test_labels_change_what_comes_out() -> None:
    generator, discriminator = both((1, 16, 16), classes=3)
    z, image = torch.randn(1, 5), torch.randn(1, 1, 16, 16)
    one, two = torch.tensor([1]), torch.tensor([2])
    assert not torch.allclose(generator(z, one), generator(z, two))
    assert not torch.allclose(discriminator(image, one), discriminator(image, two))
    for call in (lambda: generator(z), lambda: discriminator(image)):
        with pytest.raises(ValueError, match="labels"):
            call()


def test_images_are_made_and_judged_one_by_one() -> None:
    generator, discriminator = both((3, 28, 28))
    z = torch.randn(4, 5)
    images = generator(z)
    assert torch.allclose(images[1:2], generator(z[1:2]), atol=1e-5)
    assert torch.allclose(discriminator(images)[1:2], discriminator(images[1:2]), atol=1e-5)


@pytest.mark.parametrize("classes", [0, 3])
def test_every_parameter_gets_a_gradient(classes: int) -> None:
    generator, discriminator = both((3, 13, 13), classes)
    label = torch.tensor([0, 1, 2, 0]) if classes else None
    images = generator(torch.randn(4, 5), label)
    loss = discriminator(images, label).square().mean()
    for network in (generator, discriminator):
        grads = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        assert all(g.isfinite().all() and g.abs().max() > 0 for g in grads)


def test_the_gradient_of_a_gradient_is_right() -> None:
    """Of a penalty on the gradient by the image, against differences."""
    discriminator = both((1, 8, 8))[1].double()
    image = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    network = nn.Sequential(discriminator.first, discriminator.stages)
    direction = torch.randn(network(image).shape, dtype=torch.float64)
    weights = [p for p in network.parameters() if p.ndim == 4]

    def penalty() -> Tensor:
        (gradient,) = torch.autograd.grad((network(image) * direction).sum(), image, create_graph=True)
        return gradient.square().sum()

    def moved(weight: nn.Parameter, step: Tensor) -> float:
        with torch.no_grad():
            weight.add_(step)
        found = float(penalty().detach())
        with torch.no_grad():
            weight.sub_(step)
        return found

    for weight, slope in zip(weights, torch.autograd.grad(penalty(), weights), strict=True):
        size = float(slope.norm())
        assert size > 0
        step = 1e-6 * slope / size  # too small to bend anything another way
        assert (moved(weight, step) - moved(weight, -step)) / 2e-6 == pytest.approx(size, rel=1e-4)


def test_float32_logits_and_images_under_autocast_in_any_layout() -> None:
    generator, discriminator = both((3, 28, 28))
    z = torch.randn(4, 5)
    plain = discriminator(generator(z)).detach()
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(z)
        logits = discriminator(images)
    assert images.dtype == logits.dtype == torch.float32
    assert torch.allclose(discriminator(generator(z)), plain, atol=1e-4)
    assert torch.allclose(logits, plain, atol=0.1 * float(plain.abs().max()))


def test_a_copy_is_the_same_network() -> None:
    generator, discriminator = both((1, 28, 28))
    z = torch.randn(2, 5)
    images = copy.deepcopy(generator)(z)
    assert torch.equal(images, generator(z))
    assert torch.equal(copy.deepcopy(discriminator)(images), discriminator(images))
    assert not [name for name in generator.state_dict() if name.endswith("weights")], "filters follow from sizes and are not saved"
