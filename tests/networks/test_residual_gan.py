"""Residual networks: the published parameter counts, any size and channels, what labels, attention and the kinds of blocks change."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from calotype.errors import UserError
from calotype.networks.blocks import evaluating
from calotype.networks.conditional_norm import ConditionalNorm
from calotype.networks.norms import NormName
from calotype.networks.resampling import halved
from calotype.networks.residual import BlockKind, HeadName
from calotype.networks.residual_gan import ResNetDiscriminator, ResNetGenerator
from calotype.networks.self_attention import SelfAttention

CIFAR, LARGE = (3, 32, 32), (3, 128, 128)


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("shape", "generator", "discriminator", "counts"),
    [
        (CIFAR, {"width": 256}, {"width": 128}, (4_276_739, 1_053_824)),
        (LARGE, {"classes": 1000}, {"classes": 1000, "hidden": "inputs"}, (41_996_931, 30_005_013)),
        (LARGE, {"classes": 1000, "attention": 64, "spectral": True}, {"classes": 1000, "attention": 64}, (42_017_412, 39_448_258)),
    ],
    ids=["SNGAN-32", "SNGAN-128", "SAGAN-128"],
)
def test_published_parameter_counts(
    shape: tuple[int, int, int], generator: dict[str, Any], discriminator: dict[str, Any], counts: tuple[int, int]
) -> None:
    with torch.device("meta"):
        made = ResNetGenerator(shape, latent=128, **generator), ResNetDiscriminator(shape, **discriminator)
    assert tuple(map(_parameters, made)) == counts


@pytest.mark.parametrize("size", [8, 13, 28, 31, 32, 45, 64, 97, 200])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_channels(size: int, channels: int) -> None:
    torch.manual_seed(0)
    shape = (channels, size, size)
    generator, discriminator = ResNetGenerator(shape, latent=5, width=2), ResNetDiscriminator(shape, width=2)
    images = generator(torch.randn(2, 5))
    logits = discriminator(images)
    assert images.shape == (2, *shape)
    assert 0 < images.abs().max() <= 1
    assert logits.shape == (2,)
    assert logits.dtype == images.dtype == torch.float32
    assert logits.isfinite().all()


def test_the_last_maps_are_those_of_the_papers() -> None:
    """Small images end at 8 places a side, after two halvings; those of 128 at 4, after five."""
    seen: list[tuple[int, ...]] = []
    for size in (32, 28, 64, 128):
        network = ResNetDiscriminator((3, size, size), width=2)
        network.blocks[-1].register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
        network(torch.zeros(1, 3, size, size))
    assert seen == [(2, 8, 8), (2, 7, 7), (32, 4, 4), (32, 4, 4)]


@pytest.mark.parametrize("size", [8, 512])
def test_sizes_at_the_ends_and_beyond_them(size: int) -> None:
    beyond = size - 1 if size == 8 else size + 1
    with torch.device("meta"):
        ResNetGenerator((1, size, size), latent=4, width=1)
        ResNetDiscriminator((1, size, size), width=1)
        with pytest.raises(UserError, match=f"8 to 512 pixels, not {beyond}"):
            ResNetGenerator((1, beyond, beyond), latent=4)
        with pytest.raises(UserError, match=f"8 to 512 pixels, not {beyond}"):
            ResNetDiscriminator((1, beyond, beyond))


@pytest.mark.parametrize("side", [4, 5, 8])
def test_halving_equals_a_convolution_and_a_mean(side: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, side, side, dtype=torch.double, requires_grad=True)
    weight = torch.randn(5, 3, 3, 3, dtype=torch.double, requires_grad=True)
    bias = torch.randn(5, dtype=torch.double)
    odd = side % 2  # one more row and column of zeros
    wanted = F.avg_pool2d(F.conv2d(F.pad(x, (0, odd, 0, odd)), weight, bias, padding=1), 2)
    found = halved(x, weight, bias)
    assert found.shape[-1] == (side + 1) // 2
    torch.testing.assert_close(found, wanted)
    ours, theirs = (torch.autograd.grad(out.square().sum(), (x, weight)) for out in (found, wanted))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_a_residual_block_is_the_sum_that_the_papers_draw() -> None:
    """Up: x is doubled beside a normalized ReLU of it that is doubled and convolved twice. Down: the mean of the places of both."""
    torch.manual_seed(0)
    generator, discriminator = ResNetGenerator(CIFAR, latent=4, width=6).eval(), ResNetDiscriminator(CIFAR, width=6, spectral=False)
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter)
    up = generator.body.blocks[1]
    x = torch.randn(2, 6, 8, 8)
    double = lambda maps: F.interpolate(maps, scale_factor=2)  # noqa: E731
    inner = up.first(double(up.norms[0](x).relu()))
    wanted = up.second(up.norms[1](inner).relu()) + up.join(double(x))
    torch.testing.assert_close(up(x), wanted, atol=1e-5, rtol=1e-4)

    first, second, third, _ = discriminator.blocks
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(
        first(image), F.avg_pool2d(first.second(first.first(image).relu()) + first.join(image), 2), atol=1e-5, rtol=1e-4
    )
    wanted = F.avg_pool2d(second.second(second.first(x.relu()).relu()) + second.join(x), 2)
    torch.testing.assert_close(second(x), wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(third(x), third.second(third.first(x.relu()).relu()) + x, atol=1e-5, rtol=1e-4)


def test_logits_are_of_the_sum_over_places_or_of_their_mean() -> None:
    torch.manual_seed(0)
    image = torch.randn(3, 3, 32, 32)
    for spectral, places in ((True, 1), (False, 64)):
        network = ResNetDiscriminator(CIFAR, width=4, spectral=spectral).eval()
        maps = nn.Sequential(*network.blocks)(image).relu()
        torch.testing.assert_close(network(image), network.head(maps.sum((2, 3)) / places))


def test_weights_begin_as_those_of_glorot_and_bengio() -> None:
    torch.manual_seed(0)
    generator, discriminator = ResNetGenerator(CIFAR, latent=64, width=64), ResNetDiscriminator(CIFAR, width=64, spectral=False)
    for network in (generator, discriminator):
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                fans = (layer.weight[0].numel() + layer.weight[:, 0].numel()) / 2
                gain = 2 if layer.weight.shape[2:] == (3, 3) and layer is not generator.body.last else 1  # squared
                assert layer.weight.var().item() == pytest.approx(gain / fans, rel=0.25)
                assert layer.bias is None or not layer.bias.any()


def _both(shape: tuple[int, int, int], classes: int = 3, **settings: Any) -> tuple[ResNetGenerator, ResNetDiscriminator]:
    norm: NormName = settings.pop("norm", "batch")
    head: HeadName = settings.pop("head", "projection")
    of_judge: NormName = "none" if norm == "batch" else norm
    return (
        ResNetGenerator(shape, latent=5, width=4, classes=classes, norm=norm, **settings),
        ResNetDiscriminator(shape, width=4, classes=classes, norm=of_judge, head=head, **settings),
    )


@pytest.mark.parametrize("blocks", ["residual", "dense", "plain"])
@pytest.mark.parametrize(
    ("norm", "spectral", "attention"), [("batch", True, 14), ("instance", False, 0), ("layer", False, 7), ("none", True, 0)]
)
def test_every_parameter_gets_a_gradient(blocks: BlockKind, norm: NormName, spectral: bool, attention: int) -> None:
    torch.manual_seed(0)
    generator, discriminator = _both((1, 28, 28), norm=norm, spectral=spectral, attention=attention, blocks=blocks)
    label = torch.tensor([0, 1, 2, 0])
    for net in (generator, discriminator):
        for module in net.modules():
            if isinstance(module, SelfAttention):
                nn.init.constant_(module.gain, 0.5)
    images = generator(torch.randn(4, 5), label)
    loss = discriminator(images, label).square().mean() + (images - 0.1).square().mean()
    for net in (generator, discriminator):
        names, parameters = zip(*net.named_parameters(), strict=True)
        for name, gradient in zip(names, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True):
            assert gradient.isfinite().all(), name
            # a bias right before a normalization of each channel moves nothing
            assert gradient.abs().max() > 0 or name.endswith("bias"), name


def test_kinds_of_blocks_differ_in_what_leads_past_the_convolutions() -> None:
    """With its convolutions at zero a plain block gives nothing, a residual one its input, a dense one a mixture of all it has."""
    torch.manual_seed(0)
    image = torch.randn(2, 3, 32, 32)
    kinds: tuple[BlockKind, ...] = ("plain", "residual", "dense")
    for kind in kinds:
        block = ResNetDiscriminator(CIFAR, width=4, blocks=kind, spectral=False).blocks[0]
        for layer in (block.first, block.second):
            nn.init.zeros_(layer.weight)
        out = block(image)
        assert out.shape == (2, 4, 16, 16)
        if kind == "plain":
            assert not out.any()
        else:
            weight = block.join.weight[:, :3]
            torch.testing.assert_close(out, F.conv2d(F.avg_pool2d(image, 2), weight), atol=1e-6, rtol=1e-4)
        up, x = ResNetGenerator(CIFAR, latent=5, width=4, blocks=kind).body.blocks[0], torch.randn(2, 4, 4, 4)
        for layer in (up.first, up.second):
            nn.init.zeros_(layer.weight)
        wanted = F.conv2d(F.interpolate(x, scale_factor=2), up.join.weight[:, :4]) if up.join is not None else torch.zeros(2, 4, 8, 8)
        torch.testing.assert_close(up(x), wanted, atol=1e-6, rtol=1e-4)
    dense = ResNetDiscriminator(CIFAR, width=4, blocks="dense").blocks[1]
    assert dense.second.weight.shape[:2] == (2, 4 + 2)
    assert dense.join.weight.shape[:2] == (4, 4 + 2 + 2)


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group", "none"])
def test_labels_change_what_comes_out(norm: NormName) -> None:
    torch.manual_seed(0)
    generator, discriminator = _both((1, 28, 28), norm=norm)
    generator.eval()
    for module in generator.modules():
        if isinstance(module, ConditionalNorm):
            nn.init.normal_(module.gain.weight)
            nn.init.normal_(module.bias.weight)
    z, image = torch.randn(1, 5), torch.randn(1, 1, 28, 28)
    one, two = torch.tensor([1]), torch.tensor([2])
    assert not torch.allclose(generator(z, one), generator(z, two))
    assert not torch.allclose(discriminator(image, one), discriminator(image, two))
    for network, given in ((generator, z), (discriminator, image)):
        with pytest.raises(ValueError, match="labels"):
            network(given)


def test_conditional_norms_begin_as_plain_ones_and_are_told_by_class_or_vector() -> None:
    torch.manual_seed(0)
    x, label = torch.randn(4, 6, 5, 5), torch.tensor([0, 1, 1, 2])
    norm = ConditionalNorm("batch", 6, classes=3)
    torch.testing.assert_close(norm(x, label), nn.BatchNorm2d(6, affine=False)(x))
    nn.init.normal_(norm.gain.weight)
    nn.init.normal_(norm.bias.weight)
    plain = nn.BatchNorm2d(6, affine=False)(x)
    gain, bias = norm.gain.weight[label], norm.bias.weight[label]
    torch.testing.assert_close(norm(x, label), plain * (1 + gain)[:, :, None, None] + bias[:, :, None, None])
    told, vector = ConditionalNorm("batch", 6, features=2), torch.randn(4, 2)
    gain, bias = vector @ told.gain.weight.T, vector @ told.bias.weight.T
    torch.testing.assert_close(told(x, vector), plain * (1 + gain)[:, :, None, None] + bias[:, :, None, None])


@pytest.mark.parametrize("side", [6, 7])
def test_attention_is_the_papers_and_begins_as_nothing(side: int) -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16), torch.randn(2, 16, side, side)
    assert torch.equal(layer(x), x)
    nn.init.constant_(layer.gain, 0.7)
    query, key, value = layer.query(x).flatten(2), layer.key(x), layer.value(x)
    assert (query.shape[1], key.shape[1], value.shape[1]) == (2, 2, 8)
    odd = side % 2  # of an odd map the last row and column are pooled by themselves
    key, value = (F.max_pool2d(F.pad(part, (0, odd, 0, odd), value=-1e9), 2).flatten(2) for part in (key, value))
    wanted = torch.empty(2, 8, side**2)
    for n in range(2):
        for place in range(side**2):
            share = (query[n, :, place] @ key[n]).softmax(0)
            wanted[n, :, place] = value[n] @ share
    torch.testing.assert_close(layer(x), x + 0.7 * layer.out(wanted.view(2, 8, side, side)))
    assert SelfAttention(1)(torch.randn(1, 1, side, side)).shape == (1, 1, side, side)


def test_attention_sits_at_the_map_that_was_asked_for() -> None:
    seen: list[int] = []
    for asked, side, players in ((16, 16, "both"), (32, 32, "generator"), (8, 8, "both"), (9, 16, "both"), (33, 32, "generator")):
        seen.clear()
        networks: list[nn.Module] = [ResNetGenerator(CIFAR, latent=4, width=2, attention=asked)]
        if players == "both":
            networks.append(ResNetDiscriminator(CIFAR, width=2, attention=asked))
        for network in networks:
            found = [module for module in network.modules() if isinstance(module, SelfAttention)]
            assert len(found) == 1
            found[0].register_forward_hook(lambda _m, _i, out: seen.append(out.shape[-1]))
            network(torch.randn(2, 4) if isinstance(network, ResNetGenerator) else torch.randn(2, *CIFAR))
        assert seen == [side] * len(networks)


def test_an_auxiliary_head_tells_classes_apart_and_judges_without_them() -> None:
    torch.manual_seed(0)
    image, label = torch.randn(4, *CIFAR), torch.tensor([0, 1, 2, 0])
    network = ResNetDiscriminator(CIFAR, width=4, classes=3, head="auxiliary").eval()
    logits, of_classes = network.judge_and_classify(image)
    assert of_classes.shape == (4, 3)
    assert of_classes.dtype == torch.float32
    torch.testing.assert_close(logits, network(image))
    torch.testing.assert_close(network(image, label), network(image))
    loss = F.cross_entropy(of_classes, label)
    assert all(gradient.abs().max() > 0 for gradient in torch.autograd.grad(loss, list(network.blocks.parameters())))
    heads: tuple[HeadName, ...] = ("projection", "plain")
    for head in heads:
        other = ResNetDiscriminator(CIFAR, width=4, classes=3, head=head).eval()
        with pytest.raises(ValueError, match="auxiliary"):
            other.judge_and_classify(image)
        assert torch.equal(other(image, label), other(image, (label + 1) % 3)) == (head == "plain")


@pytest.mark.parametrize(("norm", "mixes"), [("none", False), ("layer", False), ("instance", False), ("batch", True)])
def test_a_discriminator_mixes_images_only_as_declared(norm: NormName, mixes: bool) -> None:
    torch.manual_seed(0)
    network = ResNetDiscriminator((1, 28, 28), width=4, norm=norm, attention=14)
    nn.init.ones_(network.attention.gain) if network.attention is not None else None
    image, others = torch.randn(2, 1, 28, 28), 2 * torch.randn(2, 1, 28, 28)
    with evaluating(network):
        together, alone = network(torch.cat([image, others]))[:2], network(image)
    assert network.mixes_batch == mixes
    assert torch.allclose(together, alone, atol=1e-4, rtol=1e-4) != mixes


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "none"])
def test_a_generator_makes_each_image_by_itself_in_evaluation(norm: NormName) -> None:
    torch.manual_seed(0)
    network = ResNetGenerator((1, 28, 28), latent=5, width=4, norm=norm, classes=3, spectral=True)
    z, label = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    network(z, label)
    network.eval()
    many = network(z, label)
    torch.testing.assert_close(network(z[2:3], label[2:3]), many[2:3])
    assert torch.equal(network(z, label), many)


def test_spectral_norm_covers_all_weights_but_the_generators_embeddings() -> None:
    torch.manual_seed(0)
    generator, discriminator = _both((1, 28, 28), spectral=True, attention=14)
    layers = [
        layer for net in (generator, discriminator) for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding)
    ]
    for layer in layers:
        assert is_parametrized(layer) != (isinstance(layer, nn.Embedding) and layer is not discriminator.head.embed)
    for _ in range(50):  # power iterations
        generator(torch.randn(2, 5), torch.tensor([0, 1]))
        discriminator(torch.randn(2, 1, 28, 28), torch.tensor([0, 1]))
    generator.eval()
    discriminator.eval()
    for layer in filter(is_parametrized, layers):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def _gradient_of_gradients(network: nn.Module, image: Tensor, label: Tensor) -> list[Tensor]:
    image = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(image, label).sum(), image, create_graph=True)
    assert gradient.abs().max() > 0
    found = torch.autograd.grad(gradient.square().sum(), list(network.parameters()), allow_unused=True)
    return [one for one in found if one is not None]


@pytest.mark.parametrize("blocks", ["residual", "dense", "plain"])
def test_penalties_on_gradients_reach_the_weights(blocks: BlockKind) -> None:
    torch.manual_seed(0)
    network = ResNetDiscriminator((1, 28, 28), width=4, classes=3, norm="layer", attention=14, blocks=blocks)
    assert network.attention is not None
    nn.init.ones_(network.attention.gain)
    found = _gradient_of_gradients(network, torch.randn(3, 1, 28, 28), torch.tensor([0, 1, 2]))
    assert len(found) > 10
    assert all(one.isfinite().all() for one in found)
    z = torch.randn(3, 5, requires_grad=True)
    generator = ResNetGenerator((1, 28, 28), latent=5, width=4, norm="layer", attention=14, blocks=blocks)
    (gradient,) = torch.autograd.grad(generator(z).square().sum(), z, create_graph=True)
    gradient.square().sum().backward()
    assert generator.body.first.weight.grad is not None
    assert generator.body.first.weight.grad.abs().max() > 0


@pytest.mark.parametrize("blocks", ["residual", "dense", "plain"])
def test_float32_results_under_autocast_in_any_layout_and_of_copies(blocks: BlockKind) -> None:
    torch.manual_seed(0)
    generator, discriminator = _both((3, 28, 28), spectral=True, attention=14, blocks=blocks)
    z, label = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    generator(z, label)
    for net in (generator, discriminator):
        net.eval()
    plain = discriminator(generator(z, label), label)
    copies = copy.deepcopy(generator), copy.deepcopy(discriminator)
    for net in copies:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(copies[1](copies[0](z, label), label), plain, atol=1e-4, rtol=1e-3)
    inside: list[torch.dtype] = []
    for module in copies[0].modules():
        if isinstance(module, ConditionalNorm | SelfAttention):
            module.register_forward_hook(lambda _m, _i, out: inside.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        images = copies[0](z, label)
        logits = copies[1](images, label)
    assert inside == [torch.bfloat16] * 7
    assert images.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(logits, plain, atol=0.1, rtol=0.05)
