"""Networks of styles: the paper's counts and identities, what noise, mixing and truncation do, and that images stand by themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.losses.regularizers import path_lengths, r1
from calotype.networks.blocks import MinibatchStd
from calotype.networks.style import MEAN_DECAY, MappingNetwork, ModulatedConv, StyleDiscriminator, StyleGenerator


def _generator(size: int = 28, channels: int = 1, classes: int = 0, mixing: float = 0.0) -> StyleGenerator:
    torch.manual_seed(0)
    network = StyleGenerator((channels, size, size), latent=6, width=4, widest=16, styles=8, mixing=mixing, classes=classes)
    for name, parameter in network.named_parameters():
        if name.endswith("strength"):
            nn.init.constant_(parameter, 0.3)  # noise is unheard at first
    return network


@pytest.mark.parametrize(
    ("size", "width", "depth", "residual", "of_generator", "of_discriminator"),
    [
        (1024, 32, 8, True, 30_370_060, 29_012_513),
        (256, 64, 8, True, 24_767_458, 24_001_089),
        (64, 512, 8, True, 27_032_600, 26_488_833),
        (32, 512, 2, False, 19_947_539, 20_720_641),
    ],
)
def test_the_parameters_of_the_paper(size: int, width: int, depth: int, residual: bool, of_generator: int, of_discriminator: int) -> None:
    with torch.device("meta"):
        generator = StyleGenerator((3, size, size), latent=512, width=width, widest=512, styles=512, depth=depth)
        discriminator = StyleDiscriminator((3, size, size), width=width, widest=512, residual=residual)
    assert sum(p.numel() for p in generator.parameters()) == of_generator
    assert sum(p.numel() for p in discriminator.parameters()) == of_discriminator


def _for_each(conv: ModulatedConv, style: Tensor) -> Tensor:
    """Weights for each image, (N, O, I, k, k), by equations 1 and 3."""
    weight = conv.weight / conv.weight[0].numel() ** 0.5 * conv.affine(style)[:, None, :, None, None]
    return weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt() if conv.demodulate else weight


def _grouped(x: Tensor, weights: Tensor, padding: int) -> Tensor:
    n, outputs = weights.shape[:2]
    found = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weights.flatten(0, 1), padding=padding, groups=n)
    return found.view(n, outputs, *found.shape[2:])


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_scaled_maps_equal_weights_for_each_image(up: bool, demodulate: bool) -> None:
    torch.manual_seed(0)
    conv = ModulatedConv(5, 7, 3, 4, demodulate=demodulate, up=up).double()
    x = torch.randn(3, 5, 6, 6, dtype=torch.double, requires_grad=True)
    style = torch.randn(3, 4, dtype=torch.double, requires_grad=True)
    weights = _for_each(conv, style)
    if up:  # zeros between all places, the weights, and the filter 1-3-3-1 of sum 2 for each side
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.double) / 4
        spread = F.conv_transpose2d(x, torch.eye(5, dtype=torch.double)[:, :, None, None], stride=2, output_padding=1)
        rough = _grouped(F.pad(spread, (2, 1, 2, 1)), weights.flip(3, 4), 0)
        wanted = _grouped(
            rough, torch.outer(taps, taps) * torch.eye(7, dtype=torch.double)[None, :, :, None, None].expand(3, 7, 7, 4, 4), 1
        )
    else:
        wanted = _grouped(x, weights, 1)
    found = conv(x, style)
    assert found.shape == ((3, 7, 12, 12) if up else (3, 7, 6, 6))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    of = (x, style, conv.weight)
    for ours, theirs in zip(torch.autograd.grad(found.square().sum(), of), torch.autograd.grad(wanted.square().sum(), of), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_demodulated_weights_have_unit_norm(gain: float) -> None:
    """Seen from outside: what impulses at each input come out as, for every image and output together."""
    torch.manual_seed(0)
    conv = ModulatedConv(5, 7, 3, 4, gain=gain)
    style = torch.randn(1, 4)
    impulses = torch.zeros(5, 5, 5, 5)
    impulses[range(5), range(5), 2, 2] = 1.0
    norms = conv(impulses, style.expand(5, -1)).square().sum((0, 2, 3)).sqrt()
    torch.testing.assert_close(norms, torch.full((7,), gain), rtol=1e-5, atol=1e-5)
    conv.demodulate = False
    assert conv(impulses, style.expand(5, -1)).square().sum((0, 2, 3)).sqrt().std() > 0.01


def test_equal_images_have_no_standard_deviation() -> None:
    discriminator = StyleDiscriminator((1, 28, 28), width=4, widest=16)
    assert isinstance(discriminator.head.spread, MinibatchStd)
    assert discriminator.head.spread.group == 4
    x = torch.randn(1, 3, 4, 4)
    assert discriminator.head.spread(x.expand(4, -1, -1, -1))[:, 3].abs().max() < 1e-3
    assert discriminator.head.spread(torch.randn(4, 3, 4, 4))[:, 3].min() > 0.3


def test_the_way_up_is_smooth() -> None:
    """A constant map stays constant within its borders: zeros between places and transposed kernels leave no grid behind."""
    torch.manual_seed(0)
    conv = ModulatedConv(3, 2, 3, 4, up=True)
    out = conv(torch.ones(1, 3, 10, 10), torch.randn(1, 4))[..., 4:-4, 4:-4]
    assert out.abs().max() > 0.1
    even, odd = out[..., ::2, ::2], out[..., 1::2, 1::2]
    assert (even - odd).abs().max() < 1e-5


def test_noise_is_fresh_in_training_and_always_the_same_in_evaluation() -> None:
    network = _generator()
    latent = torch.randn(4, 6)
    first, second = network(latent), network(latent)
    assert not torch.allclose(first, second, atol=1e-3)
    network.eval()
    fixed = network(latent)
    assert torch.equal(fixed, network(latent))
    torch.testing.assert_close(network(latent[1:3]), fixed[1:3])
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if name.endswith("noise"):
                buffer.zero_()
    assert not torch.allclose(network(latent), fixed, atol=1e-3)
    assert "synthesis.up.0.noise" in network.state_dict()


def test_the_mean_style_learns_in_training_alone() -> None:
    torch.manual_seed(0)
    mapping = MappingNetwork(6, 8, 2)
    latent = torch.randn(16, 6)
    styles = mapping(latent)
    torch.testing.assert_close(mapping.running_mean, (1 - MEAN_DECAY) * styles.mean(0))
    for _ in range(2_000):
        mapping(latent)
    torch.testing.assert_close(mapping.running_mean, styles.mean(0), rtol=1e-2, atol=1e-3)
    before = mapping.running_mean.clone()
    mapping.eval()(torch.randn(4, 6))
    assert torch.equal(mapping.running_mean, before)
    assert "running_mean" in mapping.state_dict()
    assert not mapping.running_mean.requires_grad


def test_truncation_moves_styles_to_their_mean() -> None:
    network = _generator().eval()
    with torch.no_grad():
        network.mapping.running_mean.copy_(torch.randn(8))
    latent = torch.randn(4, 6)
    whole, half, none = (network.styles(latent, truncation=share) for share in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half, 0.5 * whole + 0.5 * none)
    torch.testing.assert_close(none, network.mapping.running_mean.expand_as(none))
    images = network(latent, truncation=0.0)
    torch.testing.assert_close(images, images[:1].expand_as(images))
    spread = [network(latent, truncation=share).std(0).mean() for share in (1.0, 0.5)]
    assert spread[0] > spread[1] > 0.01


def test_mixed_styles_are_of_two_latents_from_coarse_to_fine() -> None:
    network = _generator(mixing=1.0)
    latent = torch.randn(200, 6)
    styles = network.styles(latent)
    own = network.mapping(latent)[:, None].expand_as(styles)
    same = (styles == own).all(2)
    assert styles.shape == (200, 8, 8)
    assert same[:, 0].all()  # the coarsest is always one's own
    assert not same[:, -1].any()
    assert (same.int().diff(dim=1) <= 0).all()  # one crossing
    assert set(same.sum(1).tolist()) == set(range(1, 8))
    torch.testing.assert_close(styles[~same], styles[:, -1:].expand_as(styles)[~same])
    network.mixing = 0.5
    crossed = (network.styles(latent) != own).flatten(1).any(1).float().mean().item()
    assert crossed == pytest.approx(0.5, abs=0.12)
    network.eval()
    assert torch.equal(network.styles(latent), own)


def test_coarse_styles_move_what_is_large() -> None:
    """The style of the first layer reaches the image, and so does that of the last, on its own size alone."""
    network = _generator().eval()
    styles = network.styles(torch.randn(1, 6)).detach().clone()
    image = network.synthesis(styles)
    for layer in range(network.synthesis.layers):
        other = styles.clone()
        other[:, layer] += 2.0
        assert not torch.allclose(network.synthesis(other), image, atol=1e-3), layer


def test_path_lengths_by_styles() -> None:
    """Of a generator whose images depend on one layer's style linearly, they are the norm of that map."""
    network = _generator(size=8).eval()
    latent = torch.randn(6, 6)
    styles = network.styles(latent)
    images = network.synthesis(styles)
    lengths = path_lengths(images, styles, torch.Generator().manual_seed(0))
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) / 8
    jacobian = torch.autograd.functional.jacobian(lambda s: network.synthesis(s[None])[0], styles[2].detach())
    by_layer = torch.einsum("chwlz,chw->lz", jacobian, direction[2])
    torch.testing.assert_close(lengths[2], by_layer.square().sum(1).mean().sqrt(), rtol=1e-3, atol=1e-5)
    grads = torch.autograd.grad((lengths - 1).square().mean(), [p for p in network.parameters() if p.ndim > 1], allow_unused=True)
    used = [g for g in grads if g is not None]
    assert len(used) >= 12
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in used)


@pytest.mark.parametrize(("size", "channels", "classes"), [(28, 1, 0), (31, 3, 0), (32, 3, 4), (45, 1, 0), (64, 3, 4)])
@pytest.mark.parametrize("residual", [False, True])
def test_images_and_logits_of_any_size(size: int, channels: int, classes: int, residual: bool) -> None:
    generator = _generator(size, channels, classes, mixing=0.9)
    discriminator = StyleDiscriminator((channels, size, size), width=4, widest=16, classes=classes, residual=residual)
    label = torch.tensor([0, 1, 3, 2]) if classes else None
    images = generator(torch.randn(4, 6), label)
    logits = discriminator(images, label)
    assert images.shape == (4, channels, size, size)
    assert images.abs().max() <= 1
    assert images.std() > 0.1
    assert logits.shape == (4,)
    assert images.dtype == logits.dtype == torch.float32
    parameters = [*generator.parameters(), *discriminator.parameters()]
    grads = torch.autograd.grad(logits.square().mean(), parameters)
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in grads)


@pytest.mark.parametrize("residual", [False, True])
def test_a_block_of_the_discriminator_keeps_the_scale_of_what_passes(residual: bool) -> None:
    """Of a smooth map, which the filter leaves as it is: in the mean over many weights."""
    torch.manual_seed(0)
    block = StyleDiscriminator((3, 28, 28), width=64, widest=64, residual=residual).blocks[0]
    x = torch.randn(16, 64, 1, 1).expand(-1, -1, 28, 28)
    out = block(x)[..., 3:-3, 3:-3]  # where no border is near
    assert out.shape == (16, 64, 8, 8)
    assert out.square().mean().sqrt().item() == pytest.approx(1.0, abs=0.2)


def test_the_mapping_network_learns_a_hundred_times_slower() -> None:
    torch.manual_seed(0)
    mapping = MappingNetwork(100, 100, 2)
    assert [layer.weight.std().item() for layer in mapping.layers] == pytest.approx([100.0, 100.0], rel=0.05)
    assert mapping(torch.randn(50, 100)).square().mean().item() == pytest.approx(1.0, abs=0.3)


def test_networks_built_without_memory_are_whole_once_they_have_their_weights() -> None:
    generator, discriminator = _generator().eval(), StyleDiscriminator((1, 28, 28), width=4, widest=16)
    with torch.device("meta"):
        twin = StyleGenerator((1, 28, 28), latent=6, width=4, widest=16, styles=8).eval()
        judge = StyleDiscriminator((1, 28, 28), width=4, widest=16)
    twin.load_state_dict(generator.state_dict(), assign=True)
    judge.load_state_dict(discriminator.state_dict(), assign=True)
    latent = torch.randn(4, 6)
    images = twin(latent)
    assert torch.equal(images, generator(latent))
    assert torch.equal(judge(images), discriminator(images))


def test_labels_change_what_comes_out() -> None:
    generator = _generator(classes=3).eval()
    discriminator = StyleDiscriminator((1, 28, 28), width=4, widest=16, classes=3)
    z, image = torch.randn(1, 6), torch.randn(1, 1, 28, 28)
    one, two = torch.tensor([1]), torch.tensor([2])
    assert not torch.allclose(generator(z, one), generator(z, two), atol=1e-3)
    assert not torch.allclose(discriminator(image, one), discriminator(image, two), atol=1e-3)
    torch.testing.assert_close(generator(5 * z, one), generator(z, one))  # latents are normalized
    with pytest.raises(ValueError, match="labels"):
        generator(z)


def test_the_discriminator_sees_a_batch_together_and_penalties_teach_it() -> None:
    torch.manual_seed(0)
    discriminator = StyleDiscriminator((1, 28, 28), width=4, widest=16)
    image = torch.randn(4, 1, 28, 28)
    assert discriminator.mixes_batch
    assert not torch.allclose(discriminator(torch.cat([image, 5 * image]).roll(2, 0))[2:6], discriminator(image), atol=1e-4)
    image.requires_grad_()
    weights = [p for p in discriminator.parameters() if p.ndim > 1]
    grads = torch.autograd.grad(r1(discriminator(image), image), weights)
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in grads)


def test_bfloat16_and_any_layout() -> None:
    generator, discriminator = _generator(channels=3).eval(), StyleDiscriminator((3, 28, 28), width=4, widest=16)
    latent = torch.randn(4, 6)
    plain = generator(latent)
    logits = discriminator(plain)
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(discriminator(generator(latent)), logits, atol=1e-4, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert generator.mapping(latent).dtype == torch.float32
        images = generator(latent)
        coarse = discriminator(images)
    assert images.dtype == coarse.dtype == torch.float32
    assert (images - plain).abs().mean() < 0.03
    assert (coarse - logits).abs().max() < 0.2
