"""Verdicts on images, and the failures planted into them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import beta

from calotype.diagnose import modes, planted, sharpness
from calotype.diagnose.copies import copying
from calotype.diagnose.verdict import Finding, Verdict, conclude
from calotype.metrics import copying as measured
from calotype.metrics.classes import Shares
from calotype.metrics.kinds import Kinds
from calotype.metrics.score import Estimate
from calotype.metrics.spectrum import grain, top_octave

Bytes = NDArray[np.uint8]


def judged(finding: Finding) -> Verdict:
    (verdict,) = conclude([finding])
    return verdict


def textures(n: int, seed: int, size: int = 32) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, size, size, 1)) * 40 + 128
    return np.clip(x, 0, 255).astype(np.uint8)


def around(value: float, half: float) -> Estimate:
    return Estimate(value, (value - half, value + half))


def cover(coverage: float, half: float = 0.01, density: float = 1.0, recall: float = 0.9, precision: float = 0.9) -> dict[str, Estimate]:
    return {
        "coverage": around(coverage, half),
        "density": around(density, 0.01),
        "precision": around(precision, 0.01),
        "recall": around(recall, 0.01),
    }


@pytest.mark.parametrize(
    ("coverage", "half", "wanted"),
    [(0.95, 0.01, "PASS"), (0.89, 0.01, "WARN"), (0.6, 0.01, "FAIL"), (0.85, 0.2, "CANNOT TELL"), (1.0, 0.01, "PASS")],
)
def test_coverage_against_that_of_real_images(coverage: float, half: float, wanted: str) -> None:
    assert judged(modes.coverage(cover(coverage, half), cover(0.95))).status == wanted


def test_malformed_images_are_not_called_a_collapse() -> None:
    verdict = judged(modes.coverage(cover(0.3, density=0.3), cover(0.95)))
    assert verdict.status == "WARN"
    assert "made too badly" in verdict.says
    assert judged(modes.coverage(cover(0.8, precision=0.7), cover(0.95))).status == "WARN"
    assert judged(modes.coverage(cover(0.8, precision=0.88), cover(0.95))).status == "FAIL"
    verdict = judged(modes.coverage(cover(0.3, density=0.3, recall=0.4), cover(0.95)))
    assert verdict.status == "FAIL"


@pytest.mark.parametrize(
    ("found", "distance", "wanted"),
    [
        (cover(0.3, density=0.3, recall=0.4), 1.2, "WARN"),
        (cover(0.3, density=0.3, recall=0.4), 0.8, "FAIL"),
        (cover(0.3, density=0.3, recall=0.2), 1.2, "FAIL"),  # speckles
        (cover(0.3, recall=0.4), 1.2, "FAIL"),  # well made, and some are missing
    ],
)
def test_malformed_images_that_do_not_repeat_each_other_are_no_collapse(found: dict[str, Estimate], distance: float, wanted: str) -> None:
    verdict = judged(modes.coverage(found, cover(0.95), distance))
    assert verdict.status == wanted
    assert f"{distance:.2f} times as far apart" in verdict.evidence


def test_images_that_repeat_each_other_are_nearer_than_real_ones() -> None:
    rng = np.random.default_rng(0)
    real, other = rng.standard_normal((2, 300, 8))
    assert modes.spread(other, real) == pytest.approx(1, abs=0.05)
    assert modes.spread(2 * other, real) == pytest.approx(2, abs=0.1)
    assert modes.spread(other[:100], real) == pytest.approx(1, abs=0.1)  # of as many of both
    assert modes.spread(other[rng.integers(0, 10, 300)] + 0.1 * rng.standard_normal((300, 8)), real) < 0.2
    assert modes.spread(other, np.zeros((300, 8))) == 1


def test_a_dropped_class_is_named_and_a_rare_one_within_chance_is_not() -> None:
    real = np.full(10, 450)
    lost = np.array([0, *[111] * 9])
    verdict = judged(modes.dropped([f"c{i}" for i in range(10)], lost, real))
    assert verdict.status == "FAIL"
    assert verdict.effect == pytest.approx(0.1)
    assert "c0 (0 of 999" in verdict.evidence
    assert "c1" not in verdict.evidence
    few = np.array([80, *[102] * 9])
    assert judged(modes.dropped([f"c{i}" for i in range(10)], few, real)).status == "PASS"
    # the bound is that of Clopper and Pearson: at 33 of 1000 its upper end lies above half of the share, at 24 below
    at, bound = 0.025 / 10, 0.5 * 0.1
    assert beta.ppf(1 - at, 25, 976) < bound < beta.ppf(1 - at, 36, 965)
    for count, wanted in ((24, "FAIL"), (35, "WARN")):
        rest = np.full(9, (1000 - count) // 9)
        rest[0] += 1000 - count - rest.sum()
        assert judged(modes.dropped([f"c{i}" for i in range(10)], np.array([count, *rest]), real)).status == wanted


def test_too_few_images_cannot_show_a_dropped_class() -> None:
    assert judged(modes.dropped(["a", "b"] * 10, np.ones(20, int), np.full(20, 50))).status == "CANNOT TELL"
    real = np.array([*[100] * 9, 2])
    verdict = judged(modes.dropped([f"c{i}" for i in range(10)], real, real))
    assert verdict.status == "CANNOT TELL"
    assert verdict.says == "Too rare to judge: c9."
    # what reaches everything else passes, and says what it could not judge
    (verdict,) = conclude([modes.coverage(cover(0.95), cover(0.95)), modes.dropped([f"c{i}" for i in range(10)], real, real)])
    assert verdict.status == "PASS"
    assert verdict.says.endswith("Too rare to judge: c9.")


@pytest.mark.parametrize("reals", [100, 200, 500])
@pytest.mark.parametrize("made", [600, 2000])
def test_counts_of_few_real_images_raise_no_false_alarms(reals: int, made: int) -> None:
    """Both sides are samples of equal or unequal shares: the real counts are no exact shares."""
    rng = np.random.default_rng(reals + made)
    alarms = 0
    for trial in range(200):
        shares = rng.dirichlet(np.full(10, (1.0, 20.0)[trial % 2]))
        verdict = judged(modes.dropped([f"c{i}" for i in range(10)], rng.multinomial(made, shares), rng.multinomial(reals, shares)))
        alarms += verdict.status in ("WARN", "FAIL")
    assert alarms <= 6


def test_missing_classes_are_found_against_counts_of_as_many() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        made = rng.multinomial(1000, [0.0] * 3 + [1 / 7] * 7)
        verdict = judged(modes.dropped([f"c{i}" for i in range(10)], made, rng.multinomial(1000, [0.1] * 10)))
        assert verdict.status == "FAIL"
        assert verdict.effect == pytest.approx(0.3, abs=0.06)


def test_the_test_of_half_a_share_is_honest_on_its_border() -> None:
    """Generated classes at exactly half of their share: seldom a FAIL."""
    rng = np.random.default_rng(0)
    half = np.array([0.05] * 4 + [0.8 / 6] * 6)
    names, fails = [f"c{i}" for i in range(10)], 0
    for _ in range(200):
        fails += judged(modes.dropped(names, rng.multinomial(2000, half), rng.multinomial(1000, [0.1] * 10))).status == "FAIL"
    assert fails <= 10


def test_shares_that_are_estimated_need_larger_differences() -> None:
    names, even = [f"c{i}" for i in range(10)], np.full(10, 200)
    lost = np.array([0.005, *[0.995 / 9] * 9])
    sharp, vague = (Shares(lost, np.full(10, error), 0.6) for error in (0.01, 0.06))
    assert judged(modes.thinned(names, sharp, even, 1000)).status == "FAIL"
    verdict = judged(modes.thinned(names, vague, even, 1000))
    assert verdict.status == "CANNOT TELL"
    assert "c0, c1, c2, c3, c4, c5 and 4 more" in verdict.says
    # the real shares are counts too: of 40 images a tenth is 4
    assert judged(modes.thinned(names, sharp, np.full(10, 4), 1000)).status != "FAIL"


@pytest.mark.parametrize(
    ("found", "reached", "wanted"),
    [
        (Kinds(1e-6, 0.2, 0.01, 30), False, "FAIL"),
        (Kinds(1e-6, 0.2, 0.01, 30), True, "WARN"),
        (Kinds(1e-6, 0.05, 0.01, 30), False, "WARN"),
        (Kinds(0.3, 0.05, 0.01, 30), False, "PASS"),
        (Kinds(1e-6, 0.01, 0.01, 30), False, "PASS"),
        (Kinds(0.3, 0.05, 0.1, 30), False, "CANNOT TELL"),
    ],
)
def test_kinds_without_names_are_rare_by_their_share_and_beyond_chance(found: Kinds, reached: bool, wanted: str) -> None:
    verdict = judged(modes.rarely(found, 1000, reached, reached))
    assert verdict.status == wanted
    assert ("too badly" in verdict.says) == (reached and wanted == "WARN")


def test_blur_and_noise_by_the_power_of_the_finest_octave() -> None:
    rng = np.random.default_rng(0)
    power = rng.lognormal(0, 0.3, (3, 500))
    assert judged(sharpness.blur(power[0], power[1], power[2])).status == "PASS"
    assert judged(sharpness.blur(0.4 * power[0], power[1], power[2])).status == "FAIL"
    assert judged(sharpness.blur(0.65 * power[0], power[1], power[2])).status == "WARN"
    assert judged(sharpness.excess(power[0], power[1])).status == "PASS"
    assert judged(sharpness.excess(2.5 * power[0], power[1])).status == "FAIL"
    assert sharpness.blur(0.4 * power[0], power[1], power[2]).effect == pytest.approx(0.6, abs=0.05)


def blobs(seed: int, n: int, size: int = 28, sigma: float = 1.0, noise: float = 0.0) -> Bytes:
    """Smooth random images with a spectrum that falls, as natural ones have."""
    rng = np.random.default_rng(seed)
    light = gaussian_filter(rng.normal(size=(n, size, size)), (0, sigma, sigma), mode="wrap")
    return levels(127.5 + 38 * light / light.std() + 255 * noise * rng.normal(size=light.shape))


def levels(light: NDArray[np.float64]) -> Bytes:
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)[..., None]


def test_blur_and_noise_of_images_are_told_apart() -> None:
    real, same, other = (top_octave(blobs(i, 300)) for i in range(3))
    soft, rough = top_octave(planted.blur(blobs(1, 300), 1.0)), top_octave(blobs(1, 300, noise=0.07))
    assert [judged(sharpness.blur(x, real, other)).status for x in (same, soft, rough)] == ["PASS", "FAIL", "PASS"]
    assert [judged(sharpness.excess(x, real)).status for x in (same, soft, rough)] == ["PASS", "PASS", "FAIL"]


def test_the_excess_of_known_noise_is_known() -> None:
    flat = np.full((400, 28, 28), 127.5)
    one, two = (top_octave(levels(flat + 255 * s * np.random.default_rng(i).normal(size=flat.shape))) for i, s in enumerate((0.05, 0.1)))
    assert sharpness.excess(two, one).effect == pytest.approx(3, abs=0.12)


def test_rounding_to_bytes_is_neither_noise_nor_detail() -> None:
    """Images so smooth that rounding is all there is at high frequencies; some from floats, some rounded on a coarser path."""
    rng = np.random.default_rng(0)
    rise = np.linspace(0, 1, 32)[:, None] * rng.uniform(5, 25, (300, 1, 1))
    slope = rng.uniform(100, 150, (300, 1, 1)) + rise + np.zeros((1, 1, 32))
    real = top_octave(levels(slope + rng.uniform(-0.05, 0.05, slope.shape)))
    made = top_octave(levels(slope + rng.normal(0, 0.3, slope.shape)))
    assert made.mean() > 1.5 * real.mean()
    assert judged(sharpness.excess(made, real)).status == "PASS"
    assert judged(sharpness.blur(real, made, made)).status == "PASS"
    constant = top_octave(np.full((50, 28, 28, 1), 77, np.uint8))
    assert judged(sharpness.blur(constant, top_octave(blobs(0, 50)), top_octave(blobs(1, 50)))).status == "FAIL"


def test_grain_is_seen_beside_hard_edges_that_drown_it_in_the_spectrum() -> None:
    rng = np.random.default_rng(0)

    def strokes(sigma: float = 0.0) -> Bytes:
        light = 255.0 * (gaussian_filter(rng.normal(size=(200, 28, 28)), (0, 2, 2)) > 0.1)
        return levels(light + sigma * rng.normal(size=light.shape))

    real, same, noisy = strokes(), strokes(), strokes(10)
    assert judged(sharpness.excess(top_octave(noisy), top_octave(real))).status == "PASS"
    assert judged(sharpness.grain(grain(same), grain(real))).status == "PASS"
    assert judged(sharpness.grain(grain(noisy), grain(real))).status in ("WARN", "FAIL")


def test_p_values_of_sharpness_are_no_smaller_than_they_should_be() -> None:
    pairs = [(top_octave(blobs(2 * i, 60)), top_octave(blobs(2 * i + 1, 60))) for i in range(120)]
    small = [(sharpness.excess(a, b).p or 0) < 0.05 for a, b in pairs] + [(sharpness.blur(a, b, b).p or 0) < 0.05 for a, b in pairs]
    assert 0.01 < np.mean(small) < 0.1


def test_grain_is_judged_against_that_of_real_images() -> None:
    rng = np.random.default_rng(0)
    real = 2 + 0.2 * rng.standard_normal(300)
    assert judged(sharpness.grain(real + 0.5, real)).status == "PASS"
    assert judged(sharpness.grain(real + 2.0, real)).status == "WARN"
    assert judged(sharpness.grain(real + 5.0, real)).status == "FAIL"


def test_planted_blur_is_a_gaussian_filter() -> None:
    x = textures(3, 0)
    wanted = gaussian_filter(x.astype(float), (0, 1.3, 1.3, 0), mode="nearest", truncate=4 / 1.3)
    assert np.abs(planted.blur(x, 1.3).astype(float) - wanted).max() <= 1
    assert (planted.blur(np.full((1, 9, 9, 1), 77, np.uint8), 2.0) == 77).all()


def test_planted_failures_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    x, train = textures(200, 1), textures(300, 2)
    labels = np.arange(200) % 10
    assert planted.noise(np.full((50, 16, 16, 1), 128, np.uint8), 9, rng).std() == pytest.approx(9, rel=0.05)
    collapsed = planted.collapse(x, labels, 3, rng)
    assert len({row.tobytes() for row in collapsed}) == 200  # a collapse of classes is not one of repeats
    kept = {row.tobytes() for row in collapsed & 254}
    assert len({labels[i] for i, row in enumerate(x & 254) if row.tobytes() in kept}) == 7
    copied = planted.copies(x, train, 0.1, rng)
    known = {row.tobytes() for row in train}
    assert sum(row.tobytes() in known for row in copied) == 20
    shrunk = planted.shrink(x, 0.1, rng)
    assert len({row.tobytes() for row in shrunk & 254}) <= 20 < len({row.tobytes() for row in shrunk}) == 200
    assert len({row.tobytes() for row in planted.repeats(x, 0.1, rng)}) in (180, 181)
    pale = planted.copies(np.zeros_like(x), np.full_like(x, 228), 0.5, rng, 0.8)
    assert sorted({int(row.max()) for row in pale}) == [0, 208]
    swapped = planted.swap(x, rng)
    assert (swapped[:, :, :16] == x[:, :, :16]).all()
    assert not (swapped[:, :, 16:] == x[:, :, 16:]).all()
    assert sorted(r.tobytes() for r in swapped[:, :, 16:]) == sorted(r.tobytes() for r in x[:, :, 16:])


def test_copies_must_show_in_both_spaces() -> None:
    rng = np.random.default_rng(0)
    train, held, fresh = (rng.standard_normal((n, 24)).astype(np.float32) for n in (800, 200, 800))
    copied = fresh.copy()
    copied[:60] = train[:60] + 0.01 * rng.standard_normal((60, 24)).astype(np.float32)
    clean, dirty = measured.copying(fresh, train, held), measured.copying(copied, train, held)
    assert judged(copying(dirty, dirty, ("a", "b"))).status == "FAIL"
    assert judged(copying(dirty, clean, ("a", "b"))).status != "FAIL"
    assert judged(copying(clean, clean, ("a", "b"))).status == "PASS"
