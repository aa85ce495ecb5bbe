"""The path of denoising, of a denoiser whose answers are known in closed form."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from calotype.diffusion.path import PATHS, NoiseLevel
from calotype.diffusion.samplers import Denoiser
from calotype.errors import UserError
from calotype.explanation.denoising import BANDS, DenoisingPath, chosen_places, denoising_path, share_decided
from calotype.explanation.section import LinePlot
from calotype.types import ImageSpec, Model, Noise, Player

SPEC = ImageSpec(16, 1)
SPREAD = 0.2  # standard deviation of every pixel


class Normal(Model):
    """Images whose pixels are independent and normal: the expected image is linear in the state (Tweedie's formula)."""

    spec = SPEC

    def players(self) -> Sequence[Player]:
        return ()

    @property
    def needs_label(self) -> bool:
        return False

    def timesteps(self, steps: int) -> list[NoiseLevel]:
        return PATHS["rectified"].timesteps(steps)

    def denoiser(self, label: Tensor | None = None, guidance: float = 1.0, *, clip: bool = False) -> Denoiser:
        def denoise(x: Tensor, level: NoiseLevel) -> Tensor:
            variance = level.alpha**2 * SPREAD**2 + level.sigma**2
            return level.alpha * SPREAD**2 / variance * x

        return denoise


def test_what_is_decided_is_what_the_formula_says() -> None:
    path = denoising_path(Normal(), Noise(64, seed=3), steps=64)
    assert float(path.final.std()) == pytest.approx(SPREAD, rel=0.03)
    assert path.times[0] == 0
    assert list(path.times) == sorted(path.times)
    for name in BANDS:
        for time, share in zip(path.times, path.decided[name], strict=True):
            # along the equation the state is sqrt(variance) / SPREAD times the image: alpha SPREAD / sqrt(variance) of it is expected
            kept = time * SPREAD / (time**2 * SPREAD**2 + (1 - time) ** 2) ** 0.5
            assert share == pytest.approx(1 - (1 - kept) ** 2, abs=0.04)
    assert path.decided["fine"][0] == pytest.approx(0, abs=0.05)
    assert path.decided["fine"][-1] > 0.98


def test_a_classifier_sees_what_comes_first() -> None:
    path = denoising_path(Normal(), Noise(64, seed=3), classes_of=lambda x: (x.flatten(1).mean(1) > 0).long())
    assert path.named[-1] == 1.0
    assert 0.3 < path.named[0] < 0.7  # at first all images are expected to be the same
    assert path.named[len(path.named) // 2] > 0.9
    assert not path.label_given


def test_bands_are_told_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(32) / 32
    slow = torch.randn(8, 1, 1, 1, generator=generator) * torch.sin(2 * torch.pi * rows)[:, None].expand(32, 32)
    quick = torch.randn(8, 1, 1, 1, generator=generator) * torch.sin(2 * torch.pi * 8 * rows)[None, :].expand(32, 32)
    assert share_decided(slow, slow + quick, *BANDS["coarse"]) == pytest.approx(1)
    assert share_decided(slow, slow + quick, *BANDS["fine"]) == pytest.approx(
        1 - float(quick.square().mean() / (quick - quick.mean(0)).square().mean())
    )
    assert share_decided(0.5 * slow, slow - slow.mean(0), *BANDS["coarse"]) < 0.8
    assert share_decided(slow, torch.zeros_like(slow), *BANDS["coarse"]) is None


def test_a_band_in_which_images_do_not_differ_has_no_curve() -> None:
    times = (0.0, 0.5)
    path = DenoisingPath(times, torch.zeros(2, 2, 1, 8, 8), torch.zeros(2, 1, 8, 8), {"coarse": (None, None), "fine": (0.2, 0.9)})
    assert path.halves == {"coarse": None, "fine": 0.5}
    (plot,) = [one for one in path.exhibits() if isinstance(one, LinePlot)]
    assert set(plot.lines) == {"details"}
    json.dumps(path.data(), allow_nan=False)


def test_the_bands_are_all_there_is() -> None:
    ends = [end for band in BANDS.values() for end in band]
    assert ends[0] == 0
    assert ends[1:-1:2] == ends[2:-1:2]
    assert ends[-1] > 2**-0.5


def test_places_are_spread_over_the_way() -> None:
    def path(*values: float) -> Tensor:
        return torch.tensor(values).view(-1, 1, 1, 1, 1).expand(-1, 2, 1, 4, 4)

    assert chosen_places(path(0.0, 0.25, 0.5, 0.75, 1.0), 3) == [0, 2, 4]
    assert chosen_places(path(0.0, 0.9, 0.95, 1.0), 3) == [0, 1, 3]
    assert chosen_places(path(0.5, 0.5, 0.5), 3) == [0, 2]


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(UserError, match="two or more"):
        denoising_path(Normal(), Noise(1))
    with pytest.raises(UserError, match="no denoiser"):
        denoising_path(Model(), Noise(2))
