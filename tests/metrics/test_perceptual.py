"""The distance in features: zero, symmetric, rising with damage, and of more use than the mean squared error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from calotype import degrade
from calotype.losses.perceptual import FLOOR, feature_distance
from calotype.metrics import perceptual
from calotype.metrics.features_kinds import RANDOM_SEEDS
from calotype.metrics.features_photos import PHOTOS
from calotype.metrics.perceptual import perceptual_distance, perceptual_distances, perceptual_name
from calotype.metrics.quality import psnr
from calotype.networks.published import lite
from calotype.networks.recognizer import RandomNetwork
from calotype.types import Noise
from tests.degrade.photographs import piece

NAMES = ("astronaut", "chelsea", "flower", "china")
EYES = pytest.mark.parametrize("through", [(), (PHOTOS.network,)], ids=["photographs", "random"])


@pytest.fixture(scope="module")
def photos() -> Tensor:
    return torch.cat([piece(name, 100, 100, 96, 96) for name in NAMES])


def degraded(photos: Tensor, spec: str) -> Tensor:
    return degrade.parse(spec)(photos, Noise(len(photos), 1)).image


def test_features_are_compared_relative_to_their_size() -> None:
    """The formula of one level, written out."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 5, 3, 4, generator=generator) for _ in range(2))

    def unit(x: Tensor) -> Tensor:
        return torch.stack(
            [x[:, :, i, j] / (x[:, :, i, j].pow(2).mean(1, keepdim=True) + FLOOR**2).sqrt() for i in range(3) for j in range(4)]
        )

    expected = (unit(a) - unit(b)).pow(2).mean((0, 2))
    torch.testing.assert_close(feature_distance([a], [b]), expected)
    torch.testing.assert_close(feature_distance([a, a], [b, b]), 2 * expected)
    assert float((feature_distance([a], [3 * a]) / feature_distance([a], [b])).max()) < 0.01  # contrast is little
    assert feature_distance([a], [-a]).tolist() == pytest.approx([4, 4], rel=0.02)


def test_equal_images_are_no_distance_apart_and_both_ways_are_as_far(photos: Tensor) -> None:
    other = degraded(photos, "blur:2")
    found = perceptual_distance(photos, other)
    assert found.dtype == torch.float64
    assert found.shape == (4,)
    assert perceptual_distance(photos, photos).tolist() == [0] * 4
    torch.testing.assert_close(perceptual_distance(other, photos), found, rtol=1e-5, atol=1e-8)
    alone = perceptual_distance(photos[2:3], other[2:3])
    torch.testing.assert_close(alone, found[2:3], rtol=1e-4, atol=1e-7)
    both = perceptual_distances([other, photos], photos)
    torch.testing.assert_close(both[0], found)
    assert both[1].tolist() == [0] * 4


def test_it_is_the_mean_over_three_random_networks(photos: Tensor) -> None:
    other = degraded(photos, "jpeg:20")
    networks = [RandomNetwork(3, seed) for seed in RANDOM_SEEDS]
    theirs = torch.stack([feature_distance(network.maps(other), network.maps(photos)) for network in networks]).mean(0)
    torch.testing.assert_close(perceptual_distance(other, photos, [PHOTOS.network]), theirs.double(), rtol=1e-4, atol=1e-7)
    assert float((perceptual_distance(other, photos) / theirs).min()) > 5  # which no network of photographs says


def test_it_is_the_sum_over_five_stages_of_a_network_of_photographs(photos: Tensor) -> None:
    other, network = degraded(photos, "jpeg:20"), lite(PHOTOS)
    with torch.no_grad():
        ours, theirs = (network.maps((x * 127.5 + 127.5 - 127) / 128)[:5] for x in (other, photos))
    torch.testing.assert_close(perceptual_distance(other, photos), feature_distance(ours, theirs).double(), rtol=1e-4, atol=1e-7)
    gray = degraded(photos, "gray")
    repeated = gray.expand(-1, 3, -1, -1)
    torch.testing.assert_close(perceptual_distance(gray, gray * 0.5), perceptual_distance(repeated, repeated * 0.5), rtol=1e-4, atol=1e-7)


def test_without_the_weights_random_networks_stand_in(photos: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "file_of", lambda weights: None)
    other = degraded(photos, "blur:2")
    assert torch.equal(perceptual_distance(other, photos), perceptual_distance(other, photos, [PHOTOS.network]))
    assert perceptual_name(3).startswith("feature distance[random x3@")


def test_photographs_are_seen_in_color(photos: Tensor) -> None:
    gray = degraded(photos, "gray").expand(-1, 3, -1, -1)
    light = photos + (gray - photos).square().mean((1, 2, 3), keepdim=True).sqrt()  # as far as gray by the squared error, or nearly
    assert bool((perceptual_distance(gray, photos) > 3 * perceptual_distance(light, photos)).all())
    half = (gray + photos) / 2
    assert bool((perceptual_distance(half, photos) < 0.5 * perceptual_distance(gray, photos)).all())


def test_what_no_file_would_hold_is_rounded_first(photos: Tensor) -> None:
    assert perceptual_distance(photos, photos + 0.4 / 127.5).tolist() == [0] * 4
    assert torch.equal(perceptual_distance(2 * photos, photos), perceptual_distance((2 * photos).clamp(-1, 1), photos))


@pytest.mark.parametrize(
    "specs",
    [
        ("noise:2", "noise:5", "noise:10", "noise:25", "noise:50"),
        ("blur:0.6", "blur:1", "blur:1.6", "blur:3", "blur:6"),
        ("jpeg:95", "jpeg:60", "jpeg:25", "jpeg:5"),
        ("motion:3,30", "motion:9,30", "motion:21,30"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
@EYES
def test_more_damage_is_farther_away(photos: Tensor, specs: tuple[str, ...], channels: int, through: tuple[str, ...]) -> None:
    truth = degraded(photos, "gray") if channels == 1 else photos
    found = torch.stack([perceptual_distance(degraded(truth, spec), truth, through) for spec in specs])
    assert bool((found.diff(dim=0) > 0).all())


def at_psnr(truth: Tensor, make: Callable[[float], Tensor], target: float, most: float) -> Tensor:
    """What is made with the strength that gives a PSNR."""
    low, high = 0.0, most
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if float(psnr(make(middle), truth)[0]) > target else (low, middle)
    return make(low)


@EYES
def test_at_the_same_psnr_light_is_nothing_and_lost_detail_is_much(photos: Tensor, through: tuple[str, ...]) -> None:
    """What a squared error cannot tell apart."""
    for truth in photos.split(1):
        mean = truth.mean((1, 2, 3), keepdim=True)
        noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
        ways: list[tuple[Callable[[float], Tensor], float]] = [
            (lambda s, x=truth: x + s, 0.5),
            (lambda s, x=truth, m=mean: m + (x - m) * (1 - s), 0.9),
            (lambda s, x=truth: torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, s + 0.05, s + 0.05))), 20),
            (lambda s, x=truth, n=noise: x + s * n, 0.6),
        ]
        made = [at_psnr(truth, make, 27, most) for make, most in ways]
        assert [float(psnr(one, truth)[0]) for one in made] == pytest.approx([27] * 4, abs=0.1)
        light, contrast, blur, grain = (float(perceptual_distance(one, truth, through)[0]) for one in made)
        assert light < contrast < 0.5 * min(blur, grain)


def test_large_images_are_looked_at_in_squares(photos: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    other = degraded(photos, "noise:20")
    monkeypatch.setattr(perceptual, "SQUARE", 50)  # four squares of 48 pixels
    pieces = [(x, y) for x in (0, 48) for y in (0, 48)]
    apart = [perceptual_distance(other[:, :, x : x + 48, y : y + 48], photos[:, :, x : x + 48, y : y + 48]) for x, y in pieces]
    torch.testing.assert_close(perceptual_distance(other, photos), torch.stack(apart).mean(0), rtol=1e-5, atol=1e-8)
    monkeypatch.setattr(perceptual, "SQUARES", 2)
    torch.testing.assert_close(perceptual_distance(other, photos), torch.stack([apart[1], apart[3]]).mean(0), rtol=1e-5, atol=1e-8)
    assert bool(torch.isfinite(perceptual_distance(torch.zeros(1, 1, 101, 7), torch.ones(1, 1, 101, 7))).all())


def test_the_name_says_what_the_features_are() -> None:
    assert perceptual_name(3) == f"feature distance[efficientnet-lite0 stages 1-5@{PHOTOS.sha256[:8]}]"
    color, gray = (perceptual_name(channels, [PHOTOS.network]) for channels in (3, 1))
    assert color != gray
    assert color.startswith("feature distance[random x3@")
