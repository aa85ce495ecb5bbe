"""The UNet: shapes, independence of the images of a batch, conditioning, gradients."""

import pytest
import torch
from torch.nn import functional as F

from calotype.networks.norms import ChannelNorm
from calotype.networks.unet import Attention, Block, UNet


def shaken(module, seed=0):
    """The module with all weights random: a new one puts out zero and hides what it depends on."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * (2.0 / max(1, parameter[0].numel())) ** 0.5)
    return module.eval()


def small(channels=1, **options):
    options = {"width": 8, "multipliers": (1, 2), "depth": (1, 1), "embedding": 16, **options}
    return UNet(channels, **options)


@pytest.mark.parametrize("size", [8, 15, 27, 28, 32, 33, 64, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_output_has_the_shape_of_the_input_at_any_size(size, channels):
    network = shaken(small(channels, unshuffle=2 if size < 64 else 8))
    x = torch.randn(2, channels, size, size)
    out = network(x, torch.rand(2))
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert float(out.detach().std()) > 0


@pytest.mark.parametrize("unshuffle", [1, 2, 4])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_levels_and_unshuffling_combine(unshuffle, levels):
    network = shaken(small(unshuffle=unshuffle, multipliers=(1, 2, 2)[:levels], depth=(1, 2, 1)[:levels], heads=2))
    assert network(torch.randn(1, 1, 28, 28), torch.rand(1)).shape == (1, 1, 28, 28)


def test_every_pixel_can_reach_every_pixel():
    network = shaken(small(heads=2))
    x = torch.randn(1, 1, 28, 28, requires_grad=True)
    (grad,) = torch.autograd.grad(network(x, torch.rand(1))[0, 0, 14, 14], x)
    assert float((grad != 0).float().mean()) > 0.99


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    network = shaken(small(classes=3, heads=2))
    x, time, label = torch.randn(4, 1, 16, 16), torch.rand(4), torch.tensor([0, 1, 2, 3])
    together = network(x, time, label)
    alone = torch.cat([network(x[i : i + 1], time[i : i + 1], label[i : i + 1]) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_time_and_class_change_the_output_and_no_label_is_a_class_of_its_own():
    network = shaken(small(classes=3))
    x, time = torch.randn(1, 1, 16, 16).expand(5, -1, -1, -1), torch.full((5,), 0.5)
    by_class = network(x[:4], time[:4], torch.arange(4)).detach()
    assert len({float(image.sum()) for image in by_class}) == 4
    assert torch.allclose(network(x[:1], time[:1], None), by_class[3:], atol=1e-5)
    by_time = network(x, torch.linspace(0, 1, 5), torch.zeros(5, dtype=torch.long)).detach()
    assert len({float(image.sum()) for image in by_time}) == 5


def test_every_output_of_every_layer_gets_a_gradient():
    network = shaken(small(classes=3, heads=2)).train()
    out = network(torch.randn(8, 1, 16, 16), torch.rand(8), torch.tensor([0, 1, 2, 3] * 2))
    grads = torch.autograd.grad(out.square().mean(), list(network.parameters()))
    for (name, _), grad in zip(network.named_parameters(), grads, strict=True):
        assert float(grad.flatten(1).abs().amax(1).min() if grad.ndim > 1 else grad.abs().min()) > 0, name


def test_a_new_block_and_a_new_attention_are_the_identity():
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(Block(8, 8, 16)(x, torch.randn(2, 16)), x)
    assert torch.equal(Attention(8, heads=2)(x), x)


def test_a_new_network_puts_out_zero():
    assert not small()(torch.randn(1, 1, 16, 16), torch.rand(1)).any()


def test_attention_is_that_of_its_definition():
    attention = shaken(Attention(8, heads=1))
    x = torch.randn(1, 8, 3, 3)
    tokens = ChannelNorm()(x).flatten(2)[0].T
    query, key, value = (tokens @ attention.qkv.weight[:, :, 0, 0].T + attention.qkv.bias).chunk(3, dim=1)
    mixed = torch.softmax(query @ key.T / 8**0.5, dim=1) @ value
    expected = x + (mixed @ attention.out.weight[:, :, 0, 0].T + attention.out.bias).T.view(1, 8, 3, 3)
    assert torch.allclose(attention(x), expected, atol=1e-5)


def test_channel_norm_is_group_norm_of_single_pixels():
    x = 3 + 2 * torch.randn(2, 8, 5, 5)
    flat = x.permute(0, 2, 3, 1).reshape(-1, 8)
    expected = F.group_norm(flat, 1).view(2, 5, 5, 8).permute(0, 3, 1, 2)
    assert torch.allclose(ChannelNorm()(x), expected, atol=1e-5)


def test_the_layout_in_memory_does_not_change_the_result():
    network = shaken(small(heads=2))
    x, time = torch.randn(2, 1, 28, 28), torch.rand(2)
    expected = network(x, time)
    assert torch.allclose(network.to(memory_format=torch.channels_last)(x, time), expected, atol=1e-5)
