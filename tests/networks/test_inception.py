"""Inception v3 of the 2015 graph, checked without its weights: counts, names, pooling, resizing, normalization."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calotype.networks.inception import FEATURES, OUTPUTS, BlockE, ConvBnRelu, Inception, average, resize


@pytest.fixture(scope="module")
def network() -> Inception:
    torch.manual_seed(0)
    network = Inception().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        elif isinstance(module, torch.nn.Conv2d):
            module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5)
    return network


def test_the_number_of_parameters_is_the_published_one(network: Inception) -> None:
    # Keras publishes 23,851,784 for 1,000 classes: convolutions, the last layer, and three numbers a normalized channel (17,216 of them);
    # this graph has 1,008 outputs and here a fourth number, the scale of the normalization, of which mean and variance are buffers
    normalized = sum(m.num_features for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert normalized == 17_216
    count = sum(p.numel() for p in network.parameters())
    assert count == 23_851_784 - 3 * normalized + 2 * normalized + (OUTPUTS - 1000) * (FEATURES + 1) == 23_850_960


def test_names_and_shapes_are_those_of_the_published_file(network: Inception) -> None:
    shapes = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    assert sum(name.endswith("conv.weight") for name in shapes) == 94
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert shapes["Mixed_5b.branch_pool.conv.weight"] == (32, 192, 1, 1)
    assert shapes["Mixed_5d.branch3x3dbl_3.bn.running_var"] == (96,)
    assert shapes["Mixed_6a.branch3x3.conv.weight"] == (384, 288, 3, 3)
    assert shapes["Mixed_6b.branch7x7_2.conv.weight"] == (128, 128, 1, 7)
    assert shapes["Mixed_6e.branch7x7dbl_2.conv.weight"] == (192, 192, 7, 1)
    assert shapes["Mixed_7a.branch7x7x3_4.conv.weight"] == (192, 192, 3, 3)
    assert shapes["Mixed_7b.branch3x3dbl_1.conv.weight"] == (448, 1280, 1, 1)
    assert shapes["Mixed_7c.branch3x3_2a.conv.weight"] == (384, 384, 1, 3)
    assert shapes["fc.weight"] == (1008, 2048)


def test_the_maps_have_the_published_sizes(network: Inception) -> None:
    seen: dict[str, tuple[int, ...]] = {}
    hooks = [m.register_forward_hook(lambda _, __, out, name=n: seen.update({name: tuple(out.shape)})) for n, m in network.named_children()]
    features, logits = network(torch.zeros(1, 1, 28, 28))
    for hook in hooks:
        hook.remove()
    assert seen["Conv2d_2b_3x3"] == (1, 64, 147, 147)  # Szegedy et al. 2016, table 1
    assert seen["Mixed_5d"] == (1, 288, 35, 35)
    assert seen["Mixed_6e"] == (1, 768, 17, 17)
    assert seen["Mixed_7c"] == (1, 2048, 8, 8)
    assert features.shape == (1, 2048)
    assert logits.shape == (1, 1008)


def test_pixels_come_in_as_the_graph_takes_them(network: Inception) -> None:
    seen: list[torch.Tensor] = []
    hook = network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(torch.tensor([0.0, 128.0, 255.0]).view(3, 1, 1, 1).expand(3, 3, 10, 10))
    hook.remove()
    assert seen[0].shape == (3, 3, 299, 299)
    assert [(float(image.min()), float(image.max())) for image in seen[0]] == [(v, v) for v in (-1.0, 0.0, 127 / 128)]


def test_logits_leave_the_bias_out(network: Inception) -> None:
    x = torch.rand(1, 3, 75, 75) * 255
    features, logits = network(x)
    assert torch.allclose(logits, features @ network.fc.weight.T, atol=1e-4)
    assert not torch.allclose(logits, network.fc(features), atol=1e-4)


def test_gray_is_color_with_three_equal_channels(network: Inception) -> None:
    x = torch.rand(1, 1, 40, 40) * 255
    assert torch.allclose(network(x)[0], network(x.repeat(1, 3, 1, 1))[0], atol=1e-5)


def tensorflow_1(image: np.ndarray, size: int) -> np.ndarray:
    """ResizeBilinear with align_corners=False of TensorFlow 1, pixel by pixel."""
    height, width = image.shape
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            y, x = i * height / size, j * width / size
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
            out[i, j] = upper + (lower - upper) * (y - top)
    return out


@pytest.mark.parametrize(("before", "after"), [(5, 13), (13, 5), (8, 8), (7, 14), (32, 45)])
def test_resizing_is_that_of_tensorflow_1(before: int, after: int) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (before, before))
    ours = resize(torch.from_numpy(image).float()[None, None], after)[0, 0].numpy()
    assert np.abs(ours - tensorflow_1(image, after)).max() < 1e-3
    assert np.abs(ours[0, 0] - image[0, 0]) < 1e-4  # the first pixel stays where it is; with half pixels it would move
    half_pixels = torch.nn.functional.interpolate(torch.from_numpy(image)[None, None], (after, after), mode="bilinear")[0, 0].numpy()
    assert before == after or np.abs(ours - half_pixels).max() > 1


def test_resizing_a_known_row() -> None:
    row = torch.tensor([0.0, 10.0]).expand(1, 1, 2, 2)
    assert resize(row, 4)[0, 0, 0].tolist() == [0.0, 5.0, 10.0, 10.0]


def test_average_pools_do_not_count_the_padding() -> None:
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(average(ones), ones)  # with the padding counted, corners would be 4/9
    corner = torch.zeros(1, 1, 3, 3)
    corner[0, 0, 0, 0] = 36.0
    assert average(corner)[0, 0].tolist() == [[9.0, 6.0, 0.0], [6.0, 4.0, 0.0], [0.0, 0.0, 0.0]]


def test_only_the_last_block_takes_the_maximum(network: Inception) -> None:
    assert (network.Mixed_7b.maximum, network.Mixed_7c.maximum) == (False, True)
    for maximum in (False, True):
        block = BlockE(4, maximum=maximum).eval().requires_grad_(False)
        block.branch_pool.conv.weight.zero_()
        block.branch_pool.conv.weight[0, 0] = 1.0
        x = torch.rand(1, 4, 6, 6)
        pooled = block(x)[:, -192]
        want = torch.nn.functional.max_pool2d(x, 3, 1, 1) if maximum else average(x)
        assert torch.allclose(pooled, want[:, 0] / (1 + 0.001) ** 0.5, atol=1e-6)


def test_a_convolution_normalizes_as_its_closed_form() -> None:
    torch.manual_seed(1)
    layer = ConvBnRelu(3, 4, 3).eval().requires_grad_(False)
    mean, variance, scale, shift = torch.randn(4), torch.rand(4) + 0.5, torch.rand(4) + 0.5, torch.randn(4)
    layer.bn.running_mean, layer.bn.running_var = mean, variance  # type: ignore[assignment]
    layer.bn.weight.copy_(scale)
    layer.bn.bias.copy_(shift)
    x = torch.randn(2, 3, 8, 8)
    factor = scale / (variance + 0.001).sqrt()
    folded = torch.nn.functional.conv2d(x, layer.conv.weight * factor[:, None, None, None], shift - mean * factor).relu()
    assert torch.allclose(layer(x), folded, atol=1e-5)
