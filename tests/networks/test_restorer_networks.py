"""Networks of restorers: what they start from, and the sizes that the papers print."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from calotype.networks.body import NAFBlock
from calotype.networks.norms import AffineChannelNorm
from calotype.networks.restorer import FSRCNN, Curves, DnCNN, ResidualRestorer, filled
from calotype.types import Source

NOISY = Source(1, 1, ("sigma",), "noise:0-55")
SMALL = Source(3, 3, (), "downsample:3")


def scrambled(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return network.eval()


@pytest.mark.parametrize("network", ["residual", "naf"])
def test_a_residual_network_starts_at_bicubic_interpolation(network: str) -> None:
    start = ResidualRestorer(SMALL, 3, width=8, depth=1, levels=1, block=network)  # type: ignore[arg-type]
    source = torch.rand(2, 3, 9, 7)
    expected = functional.interpolate(source, scale_factor=3, mode="bicubic", align_corners=False)
    made = start(source)
    assert made.shape == (2, 3, 27, 21)
    # the odd sides are padded, so that interpolation differs at the last border alone
    assert torch.allclose(made[:, :, :-6, :-6], expected[:, :, :-6, :-6], atol=1e-6)
    assert not torch.allclose(scrambled(start)(source), made, atol=1e-2)


def test_curves_start_at_nothing_and_keep_order_black_and_white() -> None:
    network = Curves(Source(1), 1, width=4, depth=1, unshuffle=2).eval()
    ramp = torch.linspace(-1, 1, 64).view(64, 1, 1, 1).expand(-1, 1, 8, 8)
    assert torch.allclose(network(ramp), ramp, atol=1e-6)
    with torch.no_grad():
        assert network.tail.bias is not None
        network.tail.bias.copy_(torch.tensor([0.0, 0.0, 3, -2, 1, -3, 2, 3, -1, 2]))  # levels at nothing, any curves
        bent = network(ramp)[:, 0, 4, 4]
        assert (bent.diff() >= 0).all()
        assert (float(bent[0]), float(bent[-1])) == (-1.0, 1.0)
        assert not torch.allclose(bent, ramp[:, 0, 4, 4], atol=0.1)
        network.tail.bias.copy_(torch.tensor([2.0, 1.0, *[0.0] * 8]))  # levels alone
        black, gain = torch.tanh(torch.tensor([2.0, 1.0]))
        expected = ((ramp[:, 0, 4, 4] / 2 + 0.5 - black) * torch.exp(2 * gain)).clamp(0, 1) * 2 - 1
        assert torch.allclose(network(ramp)[:, 0, 4, 4], expected, atol=1e-5)


def test_sizes_are_those_of_the_papers() -> None:
    def weights(network: nn.Module) -> int:
        return sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))

    assert weights(FSRCNN(Source(1, 3), 1, width=56, depth=4)) == 12_464  # Dong et al. 2016, table 1
    assert weights(DnCNN(Source(1), 1, width=64, depth=17)) == 2 * 9 * 64 + 15 * 9 * 64 * 64


def test_layer_normalization_is_over_the_channels_of_each_place() -> None:
    norm = AffineChannelNorm(6)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = torch.randn(2, 6, 4, 5)
    theirs = functional.layer_norm(x.permute(0, 2, 3, 1), (6,), norm.weight.flatten(), norm.bias.flatten(), 1e-6).permute(0, 3, 1, 2)
    assert torch.allclose(norm(x), theirs, atol=1e-5)


def test_maps_behind_the_picture_are_seen_and_not_added() -> None:
    network = ResidualRestorer(NOISY, 1, width=8, depth=1)
    picture, level = torch.rand(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.5)
    assert torch.equal(network(torch.cat([picture, level], 1)), picture)
    scrambled(network)
    told, blind = (network(torch.cat([picture, m], 1)) for m in (level, -torch.ones_like(level)))
    assert not torch.allclose(told, blind, atol=1e-3)


@pytest.mark.parametrize("size", [(8, 8), (13, 9), (1, 5), (33, 64)])
def test_holes_are_filled_smoothly_from_what_is_around_them(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(2)
    picture = torch.rand(3, 2, *size, generator=generator) * 2 - 1
    known = (torch.rand(3, 1, *size, generator=generator) < 0.3).float()
    known[:, :, 0, 0] = 1
    made = filled(picture * known, known)
    kept = (known == 1).expand(-1, 2, -1, -1)
    assert torch.equal(made[kept], picture[kept])
    low, high = (torch.where(kept, picture, bound).flatten(2) for bound in (torch.tensor(9.0), torch.tensor(-9.0)))
    assert (made.flatten(2) >= low.amin(2, keepdim=True) - 1e-6).all()  # means of known pixels, and nothing beyond them
    assert (made.flatten(2) <= high.amax(2, keepdim=True) + 1e-6).all()
    one = torch.zeros(3, 1, *size)
    one[:, :, -1, -1] = 1
    assert torch.allclose(filled(picture * one, one), picture[:, :, -1:, -1:].expand_as(picture), atol=1e-6)


def test_a_filled_ramp_goes_on_through_its_hole() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    known = torch.ones(1, 1, 64, 64)
    known[:, :, 24:40, 24:40] = 0
    error = (filled(ramp * known, known) - ramp)[known == 0]
    assert float(error.abs().mean()) < 0.06
    assert float(ramp[known == 0].abs().mean()) > 0.1  # which zeros are not


def test_attention_of_naf_sees_the_whole_image() -> None:
    block = scrambled(NAFBlock(4))
    image = torch.rand(1, 4, 32, 32)
    other = image.clone()
    other[:, 0, -4:, -4:] += 3  # of one channel: what all share is taken away by the norm
    far = (block(other) - block(image))[..., :8, :8].abs().max()
    assert 1e-4 < float(far) < 1
