"""Verdicts on translators: what fails is planted, and honest translators must pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from calotype import degrade
from calotype.data import Augmentation, Loader, load
from calotype.diagnose.checks import answers
from calotype.diagnose.translated import LEVEL, Translated, translate
from calotype.diagnose.translation import carried, collapse, hidden, identity, inversion, paired_error
from calotype.diagnose.verdict import Verdict, conclude
from calotype.models import CUTConfig, CycleGANConfig, CycleGANSampling, build
from calotype.types import Batch, Condition, ImageSpec, Noise, Source


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return Loader(load("mnist5k").holdout, 64, 0).batch_at(0).image.contiguous()


@pytest.fixture(scope="module")
def photos() -> Tensor:
    return Loader(load("photos", size=64, fit="tile").train, 64, 0).batch_at(0).image.contiguous()


def noisy(x: Tensor, levels: float = 6.0) -> Tensor:
    return (x + levels * LEVEL * Noise(len(x), 3).normal(*x.shape[1:])).clamp(-1, 1)


def soft(x: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def negatives(digits: Tensor, made: Callable[[Tensor], Tensor] = torch.neg) -> Translated:
    """Digits to be made of their negatives; the way back is honest."""
    return Translated(-digits, made(-digits), digits, True, back=lambda x: -x)


def judged(found: Translated) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in conclude(answers(found))}


def test_a_good_translator_passes_everything(digits: Tensor) -> None:
    found = judged(negatives(digits, lambda x: noisy(soft(-x))))
    assert {name: v.status for name, v in found.items()} == dict.fromkeys(
        ("identity-collapse", "color-inversion", "collapsed-translation", "hidden-information", "paired-error"), "PASS"
    )
    assert "source and truth themselves: -1.00" in found["color-inversion"].evidence


def test_a_translator_that_returns_its_input_fails_by_the_truth(digits: Tensor) -> None:
    found = judged(negatives(digits, noisy))
    assert found["identity-collapse"].status == "FAIL"
    assert found["paired-error"].status == "FAIL"
    assert found["color-inversion"].status == "FAIL"  # the negative of what is wanted is what it was given
    assert found["collapsed-translation"].status == "PASS"


def test_the_share_of_the_way_that_is_gone_is_exact(digits: Tensor) -> None:
    for share in (0.0, 0.3, 1.0, 1.2):
        one = identity(negatives(digits, lambda x, s=share: x + s * (-2 * x)))  # type: ignore[misc]
        assert not isinstance(one, Verdict)
        assert one.effect == pytest.approx(1 - share, abs=1e-6)


def test_without_a_truth_the_input_fails_and_one_map_of_colors_is_doubtful(photos: Tensor) -> None:
    source, image = photos[:32], photos[32:]
    cases = {
        "FAIL": noisy(source, 1.0),
        "WARN": (0.7 * source[:, [1, 2, 0]] - 0.2).clamp(-1, 1),
        "PASS": degrade.parse("edges")(source, Noise(32)).image.expand(-1, 3, -1, -1),
    }
    for status, made in cases.items():
        assert [v.status for v in conclude([identity(Translated(source, made, image, False))])] == [status]


def test_what_only_drops_color_is_not_judged_without_a_truth_nor_with_one(photos: Tensor) -> None:
    gray = degrade.parse("gray")(photos, Noise(len(photos))).image
    for paired in (False, True):
        (verdict,) = conclude([identity(Translated(photos, gray, gray, paired))])
        assert verdict.status == "CANNOT TELL"
    (verdict,) = conclude([paired_error(Translated(photos, noisy(gray), gray, True))])
    assert verdict.status == "PASS"
    assert "one flat color" in verdict.evidence
    assert conclude([identity(Translated(gray, photos, photos, True))])[0].status == "PASS"


def test_exchanged_light_and_dark_fails_with_and_without_a_truth(photos: Tensor) -> None:
    source, winter = photos, degrade.parse("season")(photos, Noise(len(photos))).image
    for paired in (False, True):
        assert conclude([inversion(Translated(source, winter, winter, paired))])[0].status == "PASS"
        (verdict,) = conclude([inversion(Translated(source, noisy(-winter), winter, paired))])
        assert verdict.status == "FAIL"
        assert verdict.effect is not None
        assert verdict.effect > 0.8
        assert ("Right only where" in verdict.says) == (not paired)


def test_opposite_colors_of_the_right_lightness_fail_by_the_truth(photos: Tensor) -> None:
    luma = (photos * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    opposite = 2 * luma - photos  # not clipped: lightness is exactly the truth's
    (verdict,) = conclude([inversion(Translated(luma, opposite, photos, True))])
    assert verdict.status == "FAIL"
    assert "Colors" in verdict.says
    assert verdict.effect == pytest.approx(1, abs=1e-5)


def test_a_message_in_the_low_bits_is_found_and_an_honest_cycle_is_not_accused(photos: Tensor) -> None:
    step = 8 * LEVEL

    def coarse(x: Tensor) -> Tensor:
        return (x / step).round() * step

    gray = photos.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    hiding = coarse(gray) + 2 * LEVEL * photos

    def reads(x: Tensor) -> Tensor:
        return ((x - coarse(x)) / (2 * LEVEL)).clamp(-1, 1)

    bad = Translated(photos, hiding, gray, False, back=reads)
    assert float((reads(hiding) - photos).square().mean()) < 1e-8  # a perfect cycle
    (verdict,) = conclude([hidden(bad)])
    assert verdict.status == "FAIL"
    assert float((hiding - coarse(gray)).abs().max()) <= 2 * LEVEL + 1e-6  # that nobody sees
    for translated, back in ((-photos, torch.neg), (0.25 * photos, lambda x: 4 * x), (soft(photos), lambda x: x)):
        honest = Translated(photos, translated, translated, False, back=back)
        assert conclude([hidden(honest)])[0].status == "PASS"


def test_color_that_is_written_into_gray_as_a_pattern_is_found_although_noise_does_not_erase_it(photos: Tensor) -> None:
    gray = degrade.parse("gray")(photos, Noise(len(photos))).image
    warmth = soft(soft(photos[:, :1] - photos[:, 2:]))  # of red against blue, without its detail
    dots = 1 - 2 * ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float()

    def writes(strength: float) -> Tensor:
        return gray + strength * dots * warmth

    def reads(strength: float) -> Callable[[Tensor], Tensor]:
        def back(x: Tensor) -> Tensor:
            read = soft(dots * (x - soft(x))) / strength
            return torch.cat([soft(x) + read / 2, soft(x), soft(x) - read / 2], 1)

        return back

    for strength in (0.5, 0.25):
        bad = Translated(photos, writes(strength), gray, True, back=reads(strength))
        assert conclude([hidden(bad)])[0].status == "PASS"  # noise of two levels does not disturb it
        (verdict,) = conclude([hidden(bad), carried(bad)])
        assert verdict.status == "FAIL"
        assert "On the way back" in verdict.evidence

    def sepia(x: Tensor) -> Tensor:
        return torch.cat([x, 0.8 * x, 0.6 * x], 1)

    def darker(x: Tensor) -> Tensor:
        return 2 * ((x.clamp(-1, 1) + 1) / 2) ** 1.5 - 1

    def lighter(x: Tensor) -> Tensor:
        return 2 * ((x.clamp(-1, 1) + 1) / 2) ** (1 / 1.5) - 1

    negative = -gray
    for honest in (
        Translated(photos, gray, gray, True, back=sepia),
        Translated(photos, soft(gray), gray, True, back=sepia),
        Translated(photos, noisy(gray), gray, True, back=sepia),
        Translated(photos, darker(gray), gray, True, back=lambda x: sepia(lighter(x))),
        Translated(gray, darker(negative), negative, True, back=lambda x: -lighter(x)),  # an error that both ways agree upon
    ):
        assert carried(honest).effect < 0.05
        assert conclude([carried(honest)])[0].status == "PASS"


def test_growth_of_noise_is_the_gain_of_the_way_back(photos: Tensor) -> None:
    for gain in (0.5, 1.0, 5.0):

        def back(x: Tensor, gain: float = gain) -> Tensor:
            return gain * x

        assert hidden(Translated(photos, photos / gain, photos, False, back)).effect == pytest.approx(gain, rel=1e-4)


def test_one_picture_or_a_few_for_everything_is_a_collapse(digits: Tensor) -> None:
    for count in (1, 4):
        few = digits[torch.arange(len(digits)) % count]
        (verdict,) = conclude([collapse(Translated(-digits, noisy(few, 1.0), digits, True))])
        assert verdict.status == "FAIL"
    for made in (digits, soft(digits), noisy(digits, 20.0)):
        assert conclude([collapse(Translated(-digits, made, digits, True))])[0].status == "PASS"


def test_paired_error_gives_the_psnr_of_the_truth_and_its_interval(digits: Tensor) -> None:
    found = paired_error(negatives(digits, lambda x: noisy(-x, 12.75)))
    mse = (noisy(digits, 12.75) - digits).double().square().mean((1, 2, 3))
    expected = (10 * torch.log10(4 / mse)).numpy()
    assert found.data["psnr"] == pytest.approx(expected.mean(), abs=1e-4)
    half = 1.96 * expected.std(ddof=1) / math.sqrt(len(expected))
    assert found.data["interval"] == pytest.approx([expected.mean() - half, expected.mean() + half], abs=1e-4)


def test_one_flat_color_is_beaten_by_more_than_a_source_that_is_farther_off(digits: Tensor, photos: Tensor) -> None:
    mean = digits.mean((0, 2, 3), keepdim=True).expand_as(digits)
    for share, status in ((0.0, "FAIL"), (0.04, "WARN"), (0.5, "PASS")):  # of the way from that color to the truth
        found = paired_error(negatives(digits, lambda x, s=share: mean + s * (-x - mean)))  # type: ignore[misc]
        (verdict,) = conclude([found])
        assert verdict.status == status
        assert found.data["psnr"] - found.data["before"] == pytest.approx(-20 * math.log10(1 - share), abs=1e-4)
        assert "one flat color" in verdict.says
    # what is near the truth already is the bar where it is nearer than a flat color
    (verdict,) = conclude([paired_error(Translated(soft(photos), noisy(soft(photos), 2.0), photos, True))])
    assert (verdict.status, "the untouched source" in verdict.says) == ("FAIL", True)
    (verdict,) = conclude([paired_error(Translated(soft(photos), noisy(photos, 2.0), photos, True))])
    assert verdict.status == "PASS"


def test_few_pictures_cannot_tell(digits: Tensor) -> None:
    few = Translated(-digits[:4], digits[:4], digits[:4], True)
    assert [v.status for v in conclude(answers(few))] == ["CANNOT TELL"]
    flat = replace(negatives(digits), made=torch.zeros_like(digits))
    assert conclude([inversion(flat)])[0].status == "CANNOT TELL"


@pytest.mark.parametrize(("config", "ways"), [(CycleGANConfig(width=4), 2), (CUTConfig(width=4), 1)])
def test_models_are_asked_in_both_directions(config: CycleGANConfig | CUTConfig, ways: int, photos: Tensor) -> None:
    model = build(config, ImageSpec(64, 3, source=Source(1, degradation="gray", paired=False))).eval()
    batch = Loader(load("photos", size=64, fit="tile").train, 8, 0, Augmentation(degrade=degrade.parse("gray"))).batch_at(0)
    found = translate(model, batch, paired=True)
    assert found.made.shape == batch.image.shape
    assert (found.back is not None) == (ways == 2)
    assert len(answers(found)) == (6 if ways == 2 else 4)
    if ways == 2:
        assert batch.condition.source is not None
        other = translate(model, batch, True, direction="b2a")
        assert other.made.shape == batch.condition.source.shape
        expected = model.sample(Noise(8), Condition(source=batch.image), options=CycleGANSampling(direction="b2a"))
        assert torch.equal(other.made, expected)
    with pytest.raises(ValueError, match="without sources"):
        translate(model, Batch(batch.image), True)
