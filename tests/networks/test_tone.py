"""One curve for a whole picture."""

from __future__ import annotations

import pytest
import torch

from calotype import degrade
from calotype.degrade.color import Luma
from calotype.degrade.tone import stretch
from calotype.networks.tone import Tone, recolored
from calotype.types import Noise, Source
from tests.degrade.photographs import piece


def network(channels: int = 3) -> Tone:
    torch.manual_seed(0)
    return Tone(Source(channels), channels, width=4, depth=2).eval()


def scrambled(tone: Tone) -> Tone:
    with torch.no_grad():
        tone.curve.weight.normal_(0, 2)
        tone.curve.bias.normal_(0, 2)
    return tone


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().abs().mean())


def photographs() -> torch.Tensor:
    places = [("chelsea", 60, 100), ("coffee", 100, 200), ("chelsea", 10, 200), ("coffee", 200, 80)]
    return torch.cat([piece(name, top, left, 64, 64) for name, top, left in places])


@pytest.mark.parametrize("channels", [1, 3])
def test_it_starts_at_stretching_the_histogram(channels: int) -> None:
    dark = degrade.parse("contrast:0.5+dark:2")(photographs()[:, :channels], Noise(4)).image
    tone = network(channels)
    assert torch.allclose(tone(dark).clamp(-1, 1), stretch(dark), atol=0.02)  # the two round the places of their quantiles otherwise
    assert apart(dark, stretch(dark)) > 0.2
    assert apart(scrambled(tone)(dark).clamp(-1, 1), stretch(dark)) > 0.05


def test_brighter_stays_brighter_and_gray_stays_gray() -> None:
    tone = scrambled(network())
    image = torch.cat([photographs(), photographs().mean(1, keepdim=True).expand(-1, 3, -1, -1)])
    made = tone(image)
    for before, after in zip(image.flatten(1), made.flatten(1), strict=True):
        assert (after[before.argsort()].diff() >= -1e-5).all()
    assert torch.allclose(made[4:, :1].expand(-1, 3, -1, -1), made[4:], atol=1e-6)
    assert apart(made[:4, :1], made[:4]) > 0.05


def test_a_part_gets_the_curve_of_the_whole() -> None:
    tone, image = scrambled(network()), photographs()
    part = image[:, :, :32, 8:40]
    assert torch.allclose(tone(part, image), tone(image)[:, :, :32, 8:40], atol=1e-5)
    assert apart(tone(part), tone(image)[:, :, :32, 8:40]) > 0.05


def test_training_sees_other_colors_and_less_evidence() -> None:
    image = (photographs() + 1) / 2
    made = recolored(image)
    luma = Luma()
    assert torch.allclose(luma.forward(made).mean((2, 3)), luma.forward(image).mean((2, 3)), atol=1e-5)  # as bright as before
    assert apart(made, image) > 0.02
    assert apart(made[:, 0], luma.forward(image)[:, 0]) > 0.02
    gray = image[:, :1]
    assert torch.equal(recolored(gray), gray)
    tone = scrambled(network())
    curves = torch.stack([tone.train().curves(image * 2 - 1)[2] for _ in range(8)])
    fixed = torch.stack([tone.eval().curves(image * 2 - 1)[2] for _ in range(2)])
    assert apart(fixed[0], fixed[1]) == 0
    assert float(curves.detach().std(0).mean()) > 0.02
    assert apart(tone.train().curves(image * 2 - 1)[1], tone.eval().curves(image * 2 - 1)[1]) == 0  # begins and reaches as ever


def test_it_learns_what_light_was_there() -> None:
    truth, degradation = photographs(), degrade.parse("contrast:0.4-1+dark:1-3")
    tone = Tone(Source(3), 3, width=8, depth=3).train()
    optimizer = torch.optim.Adam(tone.parameters(), 3e-3)
    for index in range(60):
        optimizer.zero_grad()
        (tone(degradation(truth, Noise(4, 1, 4 * index)).image) - truth).abs().mean().backward()
        optimizer.step()
    dark = degradation(truth, Noise(4, 2)).image
    assert apart(tone.eval()(dark).clamp(-1, 1), truth) < 0.6 * apart(stretch(dark), truth)
