"""What scores of restored pictures hold, and what they are the means of."""

from __future__ import annotations

import math

import pytest
import torch

from calotype import degrade
from calotype.degrade import Degraded
from calotype.metrics.perceptual import perceptual_distance, perceptual_name
from calotype.metrics.quality import convention_for, published_bicubic
from calotype.tasks.score import Case, Scored, Scores, mean, score
from calotype.types import Noise
from tests.degrade.photographs import piece


def degraded(spec: str, channels: int = 3, side: int = 60) -> Case:
    truth = piece("chelsea", 60, 100, side, side)
    truth = degrade.parse("gray")(truth, Noise(1)).image if channels == 1 else truth
    return Case(truth, degrade.parse(spec)(truth, Noise(1, 3)), None)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_result_and_every_baseline_are_scored_alike(channels: int) -> None:
    one, degradation = degraded("noise:25", channels), degrade.parse("noise:25")
    found = score(one, degradation, one.given)
    assert list(found.baselines) == ["input", "wiener", "nl-means"]
    assert found.own.as_json() == found.baselines["input"].as_json()  # nothing was done to it
    assert found.own.psnr == pytest.approx(float(convention_for(degradation, channels).psnr(one.given[None], one.truth)))
    assert found.own.perceptual == pytest.approx(float(perceptual_distance(one.given[None], one.truth)))
    assert found.baselines["nl-means"].perceptual is not None
    assert found.baselines["nl-means"].perceptual < float(perceptual_distance(one.given[None], one.truth))
    assert perceptual_name(channels) in found.convention
    perfect = score(one, degradation, one.truth[0])
    assert (perfect.own.psnr, perfect.own.perceptual) == (math.inf, 0)
    assert perfect.own.as_json() == {"psnr": None, "ssim": pytest.approx(1), "ms_ssim": None, "perceptual": 0}


def test_large_pictures_have_an_ms_ssim() -> None:
    one = degraded("blur:1.6", 1, 180)
    found = score(one, degrade.parse("blur:1.6"), one.given)
    assert found.own.ms_ssim is not None
    assert 0.7 < found.own.ms_ssim < 0.999


@pytest.mark.parametrize("channels", [1, 3])
def test_bicubic_is_scored_as_in_publications(channels: int) -> None:
    one, degradation = degraded("downsample:3", channels), degrade.parse("downsample:3")
    convention = convention_for(degradation, channels)
    made = torch.zeros_like(one.truth)[0]
    found = score(one, degradation, made)
    exact = published_bicubic(one.truth, 3)
    bicubic = found.baselines["bicubic"]
    assert bicubic.psnr == pytest.approx(float(convention.psnr(exact, one.truth)), abs=1e-9)
    assert bicubic.ssim == pytest.approx(float(convention.ssim(exact, one.truth)), abs=1e-9)
    assert bicubic.perceptual is not None
    assert "as in publications" in found.convention
    both = score(degraded("noise:1+downsample:3", channels), degrade.parse("noise:1+downsample:3"), made)
    assert "as in publications" not in both.convention
    assert both.baselines["bicubic"].psnr == pytest.approx(bicubic.psnr, abs=0.1)


def test_holes_alone_count_where_pixels_are_missing() -> None:
    one, degradation = degraded("mask:half"), degrade.parse("mask:half")
    kept = one.truth[0].clone()
    kept[:, :, :30] = 0  # what was known is lost, what was missing is right
    assert score(one, degradation, kept).own.psnr == math.inf
    assert isinstance(one.degraded, Degraded)


def test_means_are_of_what_all_pictures_have() -> None:
    first = Scored(Scores(30, 0.9, 0.95, 0.1), {"input": Scores(20, 0.5, math.nan, 0.5), "more": Scores(1, 1)}, "a")
    other = Scored(Scores(32, 0.8, 0.85, 0.3), {"input": Scores(22, 0.7, 0.9, 0.7)}, "b")
    found = mean([first, other])
    assert {name: found[name] for name in ("psnr", "ssim", "ms_ssim", "perceptual")} == pytest.approx(
        {"psnr": 31, "ssim": 0.85, "ms_ssim": 0.9, "perceptual": 0.2}
    )
    assert list(found["baselines"]) == ["input"]
    assert found["baselines"]["input"]["ms_ssim"] == 0.9  # of those that have one
    assert found["convention"] == "a / b"
    assert Scores(30, 0.9).as_json() == {"psnr": 30, "ssim": 0.9}
