from __future__ import annotations

import pytest
import torch
from torch import nn

from calotype.errors import UserError
from calotype.networks.blocks import evaluating
from calotype.networks.conditional_norm import ConditionalNorm
from calotype.networks.dcgan import DCGANDiscriminator, DCGANGenerator, KernelSide
from calotype.networks.norms import NormName

SIZES = [8, 9, 11, 13, 16, 23, 28, 31, 32, 45, 64, 97, 127, 128, 251, 256]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(size: int, channels: int) -> None:
    shape = (channels, size, size)
    generator, discriminator = DCGANGenerator(shape, latent=5, width=2), DCGANDiscriminator(shape, width=2)
    images = generator(torch.randn(2, 5))
    logits = discriminator(images)
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    assert logits.shape == (2,)
    assert logits.dtype == images.dtype == torch.float32


def _shapes(net: nn.Module, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    return [tuple(layer.weight.shape) for layer in net.modules() if isinstance(layer, kind)]


def test_the_shape_of_the_paper_at_64() -> None:
    generator, discriminator = DCGANGenerator((3, 64, 64), latent=100, width=128), DCGANDiscriminator((3, 64, 64), width=128)
    want = [(100, 1024, 4, 4), (1024, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4), (128, 3, 4, 4)]
    assert _shapes(generator, nn.ConvTranspose2d) == want
    assert _shapes(discriminator, nn.Conv2d) == [(128, 3, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4), (1024, 512, 4, 4)]
    assert tuple(discriminator.head.linear.weight.shape) == (1, 1024 * 16)
    # batch normalization everywhere but at the generator's output and the discriminator's input
    assert [n.num_features for n in generator.modules() if isinstance(n, nn.BatchNorm2d)] == [1024, 512, 256, 128]
    assert [n.num_features for n in discriminator.modules() if isinstance(n, nn.BatchNorm2d)] == [256, 512, 1024]
    assert {layer.negative_slope for layer in discriminator.modules() if isinstance(layer, nn.LeakyReLU)} == {0.2}
    for net in (generator, discriminator):
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert abs(layer.weight.std().item() - 0.02) < 0.002


@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize("same_size", [False, True])
def test_any_kernel_makes_any_size(kernel: KernelSide, same_size: bool) -> None:
    for size in (8, 9, 28, 31, 45, 64):
        shape = (1, size, size)
        generator = DCGANGenerator(shape, latent=3, width=2, kernel=kernel, same_size=same_size)
        discriminator = DCGANDiscriminator(shape, width=2, kernel=kernel, same_size=same_size)
        images = generator(torch.randn(2, 3))
        assert images.shape == (2, *shape)
        assert discriminator(images).shape == (2,)
        sides = {layer.kernel_size[0] for layer in discriminator.modules() if isinstance(layer, nn.Conv2d) and layer.stride[0] == 2}
        assert sides <= ({kernel} if kernel % 2 else {kernel, 3})  # an even one makes no odd size


def test_the_shape_of_the_networks_of_spectral_normalization() -> None:
    """Miyato et al. 2018, table 3."""
    generator = DCGANGenerator((3, 32, 32), latent=128, same_size=True)
    discriminator = DCGANDiscriminator((3, 32, 32), norm="none", spectral=True, same_size=True)
    down = [(64, 3, 3, 3), (64, 64, 4, 4), (128, 64, 3, 3), (128, 128, 4, 4), (256, 128, 3, 3), (256, 256, 4, 4), (512, 256, 3, 3)]
    assert _shapes(discriminator, nn.Conv2d) == down
    assert _shapes(generator, nn.ConvTranspose2d) == [(128, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4)]
    assert _shapes(generator, nn.Conv2d) == [(3, 64, 3, 3)]


def test_channels_double_up_to_eight_times_the_width() -> None:
    assert [w[0] for w in _shapes(DCGANDiscriminator((1, 256, 256), width=2), nn.Conv2d)] == [2, 4, 8, 16, 16, 16]
    assert [w[0] for w in _shapes(DCGANDiscriminator((1, 28, 28), width=2), nn.Conv2d)] == [2, 4, 8]


def test_size_out_of_range_is_the_users_error() -> None:
    for size in (7, 257):
        with pytest.raises(UserError, match=str(size)):
            DCGANGenerator((1, size, size))
        with pytest.raises(UserError, match=str(size)):
            DCGANDiscriminator((1, size, size))


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group", "none"])
@pytest.mark.parametrize("spectral", [False, True])
def test_discriminator_mixes_images_only_as_declared(norm: NormName, spectral: bool) -> None:
    torch.manual_seed(0)
    net = DCGANDiscriminator((1, 16, 16), width=8, norm=norm, spectral=spectral)
    image, others = torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16)
    with evaluating(net):
        together, alone = net(torch.cat([image, others]))[:2], net(image)
    # a batch normalization without running statistics mixes in evaluation, too
    assert net.mixes_batch == (norm == "batch")
    assert torch.allclose(together, alone, atol=1e-5) != net.mixes_batch


def test_minibatch_std_mixes_images() -> None:
    net = DCGANDiscriminator((1, 16, 16), width=4, norm="none", minibatch_std=True)
    image = torch.randn(2, 1, 16, 16)
    assert net.mixes_batch
    assert not torch.allclose(net(torch.cat([image, 5 * image]))[:2], net(image))


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(("norm", "spectral"), [("batch", False), ("group", True), ("none", False)])
def test_every_parameter_gets_a_gradient(conditional: bool, norm: NormName, spectral: bool) -> None:
    classes = 3 if conditional else 0
    label = torch.tensor([0, 1, 2, 0]) if conditional else None
    generator = DCGANGenerator((1, 13, 13), latent=5, width=4, norm=norm, classes=classes)
    discriminator = DCGANDiscriminator((1, 13, 13), width=4, norm=norm, classes=classes, spectral=spectral, minibatch_std=True, dropout=0.1)
    images = generator(torch.randn(4, 5), label)
    loss = discriminator(images, label).square().mean() + images.mean()
    for net in (generator, discriminator):
        grads = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
        assert all(g.isfinite().all() and g.abs().max() > 0 for g in grads)


def test_labels_change_what_comes_out() -> None:
    generator = DCGANGenerator((1, 16, 16), latent=5, width=4, classes=3).eval()
    discriminator = DCGANDiscriminator((1, 16, 16), width=4, norm="none", classes=3)
    z, image = torch.randn(1, 5), torch.randn(1, 1, 16, 16)
    one, two = torch.tensor([1]), torch.tensor([2])
    assert not torch.allclose(generator(z, one), generator(z, two))
    assert not torch.allclose(discriminator(image, one), discriminator(image, two))
    with pytest.raises(ValueError, match="labels"):
        generator(z)


def test_float32_logits_and_images_under_autocast_in_any_layout() -> None:
    torch.manual_seed(0)
    generator, discriminator = DCGANGenerator((3, 28, 28), latent=5, width=4), DCGANDiscriminator((3, 28, 28), width=4)
    generator.eval()
    z = torch.randn(4, 5)
    plain = discriminator(generator(z))
    for net in (generator, discriminator):
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(z)
        logits = discriminator(images)
    assert images.dtype == logits.dtype == torch.float32
    assert torch.allclose(discriminator(generator(z)), plain, atol=1e-4)
    assert torch.allclose(logits, plain, atol=0.1)


def test_dropout_is_the_discriminators_and_only_in_training() -> None:
    net = DCGANDiscriminator((1, 16, 16), width=4, norm="none", dropout=0.5)
    image = torch.randn(4, 1, 16, 16)
    assert not torch.equal(net(image), net(image))
    net.eval()
    assert torch.equal(net(image), net(image))


def test_blocks_begin_with_the_image() -> None:
    for size, minibatch_std, blocks in ((12, True, 1), (28, False, 3), (28, True, 3)):
        early = DCGANDiscriminator((1, size, size), width=2, minibatch_std=minibatch_std).early()
        assert len(early) == blocks
        assert all(isinstance(block[0], nn.Conv2d) for block in early)


def test_labels_choose_gains_and_biases_of_normalizations_where_they_are_to():
    torch.manual_seed(0)
    generator = DCGANGenerator((1, 16, 16), latent=8, width=4, classes=3, condition="norm")
    plain = DCGANGenerator((1, 16, 16), latent=8, width=4)
    assert generator.join.features == 8
    scales = [p for p in plain.layers.modules() if isinstance(p, nn.BatchNorm2d)]
    # a gain and a bias for each class and channel, in place of one of each
    counts = [sum(p.numel() for p in network.parameters()) for network in (generator, plain)]
    assert counts[0] - counts[1] == 2 * (3 - 1) * sum(norm.num_features for norm in scales)
    latent = torch.randn(6, 8)
    same = generator(latent, torch.zeros(6, dtype=torch.long))
    assert torch.equal(same, generator(latent, torch.full((6,), 2)))  # all classes begin alike
    with torch.no_grad():
        next(layer for layer in generator.layers if isinstance(layer, ConditionalNorm)).bias.weight[2] += 1
    assert not torch.allclose(same, generator(latent, torch.full((6,), 2)))
    assert torch.equal(same, generator(latent, torch.zeros(6, dtype=torch.long)))


def test_without_normalizations_labels_come_in_beside_the_latents():
    generator = DCGANGenerator((1, 16, 16), latent=8, width=4, classes=3, norm="none", condition="norm")
    assert generator.join.features == 16
    assert generator(torch.randn(2, 8), torch.tensor([0, 2])).shape == (2, 1, 16, 16)
