"""The family that colors gray images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from calotype import degrade
from calotype.degrade.color import gray8
from calotype.errors import UserError
from calotype.models import Colorizer, ColorizerConfig
from calotype.models.colorizer import colored, colors
from calotype.networks.lab import lab_of
from calotype.pictures import to_uint8
from calotype.types import Batch, Condition, ImageSpec, Noise, Source, Step
from tests.small import split_of

SPEC = ImageSpec(24, 3, (), Source(1, 1, (), "gray"))


def photographs(n: int = 8) -> torch.Tensor:
    pixels = split_of("colorize").train.pixels
    return torch.from_numpy(pixels[:: len(pixels) // n][:n, :24, :24].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1


def batch() -> Batch:
    images = photographs()
    return Batch(images, Condition(source=degrade.parse("gray")(images, Noise(len(images))).source))


def model(**options: object) -> Colorizer:
    torch.manual_seed(0)
    return Colorizer(replace(ColorizerConfig(width=8, depth=1), **options), SPEC)  # type: ignore[arg-type]


def test_the_bins_are_the_colors_of_a_screen() -> None:
    bins = colors()
    assert 180 < len(bins) < 320  # the projection of sRGB onto the plane covers about 21,000 square units
    assert len(bins.unique(dim=0)) == len(bins)
    assert any(torch.equal(row, torch.zeros(2)) for row in bins)
    far = torch.cdist(lab_of(torch.rand(1, 3, 64, 64) * 2 - 1)[0, 1:].flatten(1).T, bins).amin(1)
    assert float(far.max()) < 15  # no color is far from all of them


def test_the_gray_image_is_kept() -> None:
    gray = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    for color in ([0.0, 0.0], [40.0, 30.0], [-100.0, 90.0], [90.0, -100.0]):
        made = colored(gray, torch.tensor(color).view(1, 2, 1, 1).expand(1, 2, 16, 16))
        assert float(made.abs().max()) <= 1
        # 8-bit colors have a luma that is at most one level off
        assert float((gray8(torch.from_numpy(to_uint8(made)).permute(0, 3, 1, 2) / 127.5 - 1) - gray).abs().max()) < 1.01 / 127.5
        assert (color == [0.0, 0.0]) == torch.allclose(made, gray.expand(-1, 3, -1, -1), atol=1e-5)


def test_the_true_colors_give_the_true_image() -> None:
    images = photographs()
    made = colored(gray8(images), lab_of(images)[:, 1:])
    assert float((made - images).abs().mean()) < 0.02
    assert float((gray8(images) - images).abs().mean()) > 0.05  # which the gray one is not


def test_soft_labels_are_near_their_color_and_common_ones_weigh_less() -> None:
    net = model()
    color = lab_of(photographs())[:, 1:, ::4, ::4]
    for _ in range(500):
        label, soft = net._soft(color)
    assert torch.allclose(soft.sum(1), torch.ones_like(soft[:, 0]), atol=1e-5)
    assert ((soft > 0).sum(1) == 5).all()
    mean = torch.einsum("nqhw,qc->nchw", soft, net.bins)
    assert float((mean - color).norm(dim=1).quantile(0.9)) < 6
    nearest = torch.cdist(color.permute(0, 2, 3, 1).reshape(-1, 2), net.bins).argmin(1)
    assert torch.equal(label.flatten(), nearest)
    assert torch.allclose(net.common, soft.mean((0, 2, 3)), atol=0.01)  # what was seen again and again
    weight = net._weights()
    assert float((weight * net.common).sum()) == pytest.approx(1, abs=1e-5)
    assert float(weight[net.common.argmax()]) < float(weight[net.common.argmin()])
    assert torch.allclose(model(rebalance=0.0)._weights(), torch.ones(len(net.bins)))


def test_an_untrained_network_loses_the_logarithm_of_the_bins() -> None:
    net = model(rebalance=0.0)
    with torch.no_grad():
        for parameter in net.network[1].parameters():
            parameter.zero_()
    terms = net.players()[0].loss(batch(), Step(0, torch.Generator()))
    assert float(terms["loss"]) == pytest.approx(float(torch.tensor(float(len(net.bins))).log()), rel=1e-4)


def test_it_learns_colors_memorized_and_beats_the_palette() -> None:
    net, given = model(width=16, rebalance=0.0), batch()
    optimizer = torch.optim.Adam(net.network.parameters(), 5e-3)
    for index in range(80):
        optimizer.zero_grad()
        net.players()[0].loss(given, Step(index, torch.Generator()))["loss"].backward()
        optimizer.step()
    watched = net.eval().watch(given, given, Step(0, torch.Generator()))
    assert float(watched["psnr_holdout"]) > float(watched["psnr_palette_holdout"]) + 2


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (ImageSpec(24, 1, (), Source(1)), "learned from color images"),
        (ImageSpec(24, 3, (), Source(3, 1, (), "noise:25")), "leave `data.degrade` at gray"),
        (ImageSpec(24, 3), "leave `data.degrade` at gray"),
    ],
)
def test_what_is_not_gray_and_color_is_refused(spec: ImageSpec, text: str) -> None:
    with pytest.raises(UserError, match=text):
        Colorizer(ColorizerConfig(), spec)


def test_a_palette_is_the_mean_color_of_each_gray_level() -> None:
    net, given = model(), batch()
    gray, color = given.condition.source, lab_of(given.image)[:, 1:]
    assert gray is not None
    net._tint(gray, color)
    level = ((gray[:, 0] + 1) * 127.5).round().long()
    common = int(level.flatten().bincount().argmax())
    expected = color.permute(0, 2, 3, 1)[level == common].mean(0)
    assert torch.allclose(net.tint[common, :2] / net.tint[common, 2], expected, atol=0.05)
    made = net.by_palette(gray)
    assert torch.allclose(gray8(made), gray, atol=1.01 / 127.5)
    assert len(made.permute(0, 2, 3, 1)[level == common].unique(dim=0)) == 1
    flat = colored(gray, expected.view(1, 2, 1, 1).expand(len(gray), 2, *gray.shape[2:]))
    assert float((made - given.image).square().mean()) < float((flat - given.image).square().mean())


def test_a_lower_temperature_gives_stronger_colors() -> None:
    net, given = model(), batch()
    with torch.no_grad():
        net.network[1].weight.normal_(generator=torch.Generator().manual_seed(1))  # type: ignore[operator, union-attr]
    cold = model(temperature=0.05)
    cold.load_state_dict(net.state_dict())
    warm = model(temperature=1.0)
    warm.load_state_dict(net.state_dict())
    chroma = [float(lab_of(m.eval().sample(Noise(1), given.condition))[:, 1:].norm(dim=1).mean()) for m in (cold, warm)]
    assert chroma[0] > 1.2 * chroma[1]


def test_other_images_than_the_source_are_refused() -> None:
    with pytest.raises(UserError, match=r"leave out `data\.paired"):
        Colorizer(ColorizerConfig(), ImageSpec(24, 3, (), Source(1, degradation="gray", paired=False)))
