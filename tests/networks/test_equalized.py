"""Equalized layers: their scales at first, what an optimizer does to them, and the resampling that goes with them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calotype.networks.equalized import (
    Blur,
    EqualConv2d,
    EqualHead,
    EqualLinear,
    NormalizedLatents,
    enlarged,
    pixel_norm,
    reduced,
)


@pytest.mark.parametrize(("gain", "lr_mult"), [(2**0.5, 1.0), (1.0, 1.0), (2**0.5, 0.01)])
def test_what_passes_keeps_its_scale_times_the_gain(gain: float, lr_mult: float) -> None:
    torch.manual_seed(0)
    layer = EqualLinear(500, 400, gain=gain, lr_mult=lr_mult, start=0.25)
    assert layer.weight.std().item() == pytest.approx(1 / lr_mult, rel=0.01)
    out = layer(torch.randn(300, 500))
    assert out.std().item() == pytest.approx(gain, rel=0.02)
    assert out.mean().item() == pytest.approx(0.25, abs=0.02)
    if lr_mult == 1:
        conv = EqualConv2d(40, 50, 3, gain=gain)
        assert conv.scaled().std().item() == pytest.approx(gain / math.sqrt(360), rel=0.02)
        x = torch.randn(4, 40, 12, 12)
        torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight * gain / math.sqrt(360), conv.bias, padding=1))


def test_adam_moves_every_layer_by_an_alike_share() -> None:
    """Of ordinary layers it moves the wide ones more, whose weights are smaller."""
    torch.manual_seed(0)

    def share(layer: EqualLinear) -> float:
        before = (layer.weight * layer.scale).detach()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        layer(torch.randn(64, layer.in_features)).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float((layer.weight.detach() * layer.scale - before).abs().mean() / before.std())

    narrow, wide, slow = EqualLinear(20, 30), EqualLinear(2000, 30), EqualLinear(200, 30, lr_mult=0.01)
    assert [share(layer) for layer in (narrow, wide, slow)] == pytest.approx([0.01, 0.01, 0.0001], rel=0.1)


def test_the_blur_is_the_filter_of_binomials() -> None:
    impulse = torch.zeros(1, 2, 7, 7)
    impulse[0, 1, 3, 3] = 64.0
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    out = Blur()(impulse, padding=0)
    assert torch.equal(out[0, 1], torch.outer(taps, taps))
    assert not out[0, 0].any()
    torch.testing.assert_close(Blur()(torch.ones(2, 3, 8, 8), padding=1)[..., 1:-1, 1:-1], torch.ones(2, 3, 5, 5))


@pytest.mark.parametrize(("small", "side"), [(4, 8), (4, 7), (7, 14), (23, 45)])
def test_reducing_takes_enlarging_back(small: int, side: int) -> None:
    image = torch.randn(2, 3, small, small)
    large = enlarged(image, side)
    assert large.shape == (2, 3, side, side)
    assert torch.equal(large[..., ::2, ::2], image)
    torch.testing.assert_close(reduced(large), image)
    noise = torch.randn(2, 3, side, side)
    assert reduced(noise)[0, 0, 0, 0].item() == pytest.approx(noise[0, 0, :2, :2].mean().item(), abs=1e-6)
    assert not torch.allclose(enlarged(reduced(noise), side), noise)


def test_pixels_are_normalized_one_by_one() -> None:
    x = 7 * torch.randn(3, 16, 5, 5)
    out = pixel_norm(x)
    torch.testing.assert_close(out.square().mean(1), torch.ones(3, 5, 5))
    torch.testing.assert_close(out[:, :, 2, 3], F.normalize(x[:, :, 2, 3]) * 4)


def test_latents_and_labels_are_normalized_each_for_itself() -> None:
    torch.manual_seed(0)
    join = NormalizedLatents(6, classes=3)
    label = torch.tensor([2, 0])
    joined = join(9 * torch.randn(2, 6), label)
    assert joined.shape == (2, join.features) == (2, 12)
    torch.testing.assert_close(joined.view(2, 2, 6).square().mean(2), torch.ones(2, 2))
    assert join.embed is not None
    torch.testing.assert_close(joined[:, 6:], pixel_norm(join.embed(label)))
    assert NormalizedLatents(6)(torch.randn(2, 6)).shape == (2, 6)


def test_logits_are_projections_in_float32() -> None:
    torch.manual_seed(0)
    head = EqualHead(100, classes=3)
    features, label = torch.randn(5, 100), torch.tensor([0, 2, 1, 1, 0])
    nn.init.constant_(head.linear.bias, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        logits: Tensor = head(features, label)
    assert head.embed is not None
    wanted = features @ head.linear.weight[0] / 10 + 0.5 + (features * head.embed.weight[label]).sum(1) / 10
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, wanted)
    with pytest.raises(ValueError, match="labels"):
        head(features)
