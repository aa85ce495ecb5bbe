"""EfficientNet-Lite against the package that others wrote, on random weights and on the published ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calotype.data import load
from calotype.metrics.features_photos import PHOTOS
from calotype.networks.efficientnet import SIZE, EfficientNetLite, folded, prepared
from calotype.networks.published import published

DEPTHS = {"efficientnet-lite0": 1.0, "efficientnet-lite1": 1.1}
SIZES = {"efficientnet-lite0": (SIZE, 96), "efficientnet-lite1": (240,)}  # the package pads as fits its own size; 240 leads to an odd one


def oracle(name: str) -> nn.Module:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    torch.manual_seed(0)
    network: nn.Module = package.EfficientNet.from_name(name).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.8, 1.2)
            module.bias.normal_(0, 0.3)
            module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        elif isinstance(module, nn.Conv2d):
            module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5)  # as it comes, the signal vanishes on its way
    return network


def ours(theirs: nn.Module, name: str) -> EfficientNetLite:
    network = EfficientNetLite(DEPTHS[name]).eval().requires_grad_(False)
    network.load_state_dict(folded(theirs.state_dict()))
    return network


def photographs(size: int) -> Tensor:
    """The photographs that the package carries, the cat and the coffee last."""
    split = load("photos", size=size)
    pixels = np.concatenate([split.train.pixels, split.holdout.pixels])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


def check(own: EfficientNetLite, theirs: nn.Module, x: Tensor) -> None:
    """Equal but for the rounding of one order of sums against another, on images that it tells apart."""
    features, logits = own(x)
    want = theirs(x)
    assert logits.shape == want.shape == (len(x), 1000)
    assert float((logits - want).abs().max()) < 1e-4 * float(want.abs().max())
    assert float(want.std(0).mean()) > 0.02 * float(want.std())
    pooled = theirs.extract_features(x).mean((2, 3))  # type: ignore[operator]
    assert float((features - pooled).abs().max()) < 1e-4 * float(pooled.abs().max())


@pytest.mark.parametrize("name", list(DEPTHS))
def test_it_equals_the_package_on_random_weights(name: str) -> None:
    theirs = oracle(name)
    own = ours(theirs, name)
    for size in SIZES[name]:
        check(own, theirs, torch.randn(3, 3, size, size))


def test_it_equals_the_package_on_photographs_with_the_published_weights() -> None:
    theirs, tensors = oracle("efficientnet-lite0"), published(PHOTOS)
    theirs.load_state_dict(tensors)
    own = ours(theirs, "efficientnet-lite0")
    check(own, theirs, prepared(photographs(256)))


def test_with_the_published_weights_it_knows_a_cat_and_a_coffee() -> None:
    network = EfficientNetLite().eval().requires_grad_(False)
    network.load_state_dict(folded(published(PHOTOS)))
    cat, coffee = network(prepared(photographs(256)[-2:]))[1].argmax(1).tolist()
    assert 281 <= cat <= 285  # tabby to Egyptian cat
    assert coffee == 967  # espresso
    network.load_state_dict(EfficientNetLite().state_dict())
    assert len(set(network(prepared(photographs(256)))[1].argmax(1).tolist())) == 1  # that nothing was learned shows


def test_the_number_of_parameters_is_the_published_one() -> None:
    # 4,652,008 with the two numbers a channel of normalizations, which are folded into one bias here
    network = EfficientNetLite()
    channels = sum(len(t) for name, t in network.state_dict().items() if name.endswith("bias") and not name.startswith("classify"))
    assert sum(p.numel() for p in network.parameters()) + channels == 4_652_008


def test_maps_halve_where_the_paper_does_at_any_size() -> None:
    network = EfficientNetLite().eval().requires_grad_(False)
    for size in (224, 75):
        shapes = [tuple(m.shape) for m in network.maps(torch.zeros(1, 3, size, size))]
        sides = [-(-size // step) for step in (2, 4, 8, 16, 16, 32, 32)]
        widths = (16, 24, 40, 80, 112, 192, 320)
        assert shapes == [(1, width, side, side) for width, side in zip(widths, sides, strict=True)]
        assert [m.shape for m in network.maps(torch.zeros(1, 3, size, size), 2)] == shapes[:2]


def test_images_are_brought_to_the_scale_of_the_training() -> None:
    ends = prepared(torch.tensor([0.0, 127.0, 255.0]).view(3, 1, 1, 1).expand(3, 1, 20, 20), 40)
    assert ends.shape == (3, 3, 40, 40)
    assert [float(image.mean()) for image in ends] == pytest.approx([-127 / 128, 0.0, 1.0], abs=1e-6)
    sharp = torch.zeros(1, 3, 40, 40)
    sharp[..., ::2] = 255.0
    assert float(prepared(sharp, 40).std()) > 0.9  # an image of the right size is not resampled


def test_one_image_knows_nothing_of_the_others() -> None:
    network = EfficientNetLite().eval().requires_grad_(False)
    network.load_state_dict(folded(published(PHOTOS)))
    x = prepared(photographs(64), 64)
    assert torch.allclose(network(x)[0][2:3], network(x[2:3])[0], atol=1e-4)


def test_a_state_without_one_of_its_layers_is_refused() -> None:
    tensors = oracle("efficientnet-lite0").state_dict()
    del tensors["_blocks.7._bn1.running_var"]
    with pytest.raises(KeyError, match=r"_blocks\.7\._bn1\.running_var"):
        folded(tensors)
