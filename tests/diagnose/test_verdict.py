from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from calotype.diagnose.remedy import Judged, Remedy, changes, model_settings, sets
from calotype.diagnose.verdict import Finding, Status, Verdict, cannot_tell, conclude, fitting, tail, worst_first
from calotype.models import GANConfig
from calotype.networks.dcgan import DCGANDiscriminatorConfig


def found(name: str = "blur", effect: float = 1.0, **more: object) -> Finding:
    return Finding(name, effect, 0.5, 1.0, {"PASS": "fine", "FAIL": "bad"}, "seen", **more)  # type: ignore[arg-type]


def status(*findings: Finding | Verdict) -> Status:
    (verdict,) = conclude(findings)
    return verdict.status


@pytest.mark.parametrize("z", [-1.0, 0.0, 1.5, 4.0])
def test_tail_is_that_of_the_normal_distribution(z: float) -> None:
    assert tail(z) == pytest.approx(float(norm.sf(z)), rel=1e-12)


@pytest.mark.parametrize(
    ("effect", "p", "wanted"),
    [
        (1.0, None, "FAIL"),
        (0.99, None, "WARN"),
        (0.49, None, "PASS"),
        (1.0, 0.009, "FAIL"),
        (1.0, 0.011, "WARN"),  # large, but not beyond doubt
        (1.0, 0.051, "PASS"),
        (0.7, 0.049, "WARN"),
        (0.2, 1e-9, "PASS"),  # beyond doubt, but small
    ],
)
def test_a_trouble_must_be_large_and_beyond_chance(effect: float, p: float | None, wanted: Status) -> None:
    assert status(found(effect=effect, p=p)) == wanted


def test_many_questions_need_smaller_p_values() -> None:
    alone = conclude([found(p=0.004)])
    among = conclude([found(p=0.004), *(found(f"other {i}", effect=0.0, p=0.9) for i in range(3))])
    assert (alone[0].status, among[0].status) == ("FAIL", "WARN")
    assert among[0].p == pytest.approx(4 * 0.004)


def test_what_could_not_have_been_seen_is_no_pass() -> None:
    assert status(found(effect=0.0, p=0.5, detectable=0.9)) == "PASS"
    assert status(found(effect=0.0, p=0.5, detectable=1.1)) == "CANNOT TELL"
    assert status(found(effect=0.0, p=0.5, detectable=1.1, blind=1.2)) == "PASS"
    assert status(found(effect=0.0, p=0.5, detectable=math.inf)) == "CANNOT TELL"


def test_findings_of_one_name_join_to_the_worse() -> None:
    bad, fine = found(effect=2.0), found(effect=0.0)
    for pair in ([bad, fine], [fine, bad]):
        (verdict,) = conclude(pair)
        assert (verdict.status, verdict.says, verdict.evidence) == ("FAIL", "bad", "seen seen")
    # what one could not see does not undo what another saw
    assert status(found(effect=0.0), cannot_tell("blur", "too small")) == "PASS"


def test_a_pass_says_what_another_measurement_could_not_see() -> None:
    fine, unseen = found(effect=0.0), found(effect=0.0, detectable=9.0)
    for pair in ([fine, unseen], [unseen, fine]):
        (verdict,) = conclude(pair)
        assert (verdict.status, verdict.says) == ("PASS", "fine Too few images to see it.")
    (verdict,) = conclude([found(effect=2.0), unseen])
    assert (verdict.status, verdict.says) == ("FAIL", "bad")


@pytest.mark.parametrize(("error", "others"), [(0.05, 0), (0.05, 12), (0.15, 0), (0.15, 12)])
def test_what_is_detectable_is_seen_nine_times_of_ten(error: float, others: int) -> None:
    """A WARN needs an effect and a corrected p-value: where one of them decides, the other is nearly certain."""
    rng = np.random.default_rng(0)
    idle = [found(f"other {i}", effect=0.0, p=0.9) for i in range(others)]
    size = conclude([found(effect=0.0, p=0.5, error=error), *idle])[0].detectable
    assert size is not None
    assert size == pytest.approx(max(0.5 + 1.2816 * error, (norm.isf(0.05 / (1 + others)) + 1.2816) * error), abs=1e-4)

    def seen(true: float) -> float:
        drawn = (true + error * rng.standard_normal(1000)).tolist()
        runs = [conclude([found(effect=x, p=tail(x / error), error=error), *idle])[0] for x in drawn]
        return float(np.mean([run.status in ("WARN", "FAIL") for run in runs]))

    assert seen(size) == pytest.approx(0.9, abs=0.03)
    assert seen(size - 0.5 * error) < 0.85


def test_a_finding_that_could_only_see_more_than_a_failure_is_no_pass() -> None:
    assert status(found(effect=0.0, p=0.5, error=0.3)) == "PASS"
    assert status(found(effect=0.0, p=0.5, error=0.4)) == "CANNOT TELL"
    assert status(found(effect=0.0, p=0.5, error=0.4, detectable=0.3)) == "PASS"  # its own knowledge counts
    assert status(found(effect=0.0, p=0.5, error=0.4, blind=1.5)) == "PASS"


def test_remedies_are_for_troubles_only() -> None:
    remedies = (sets({"train.ema": 0.1}),)
    (verdict,) = conclude([found(effect=0.0, remedies=remedies)])
    assert verdict.remedies == ()
    (verdict,) = conclude([found(effect=2.0, remedies=remedies)])
    assert verdict.remedies == remedies


def test_false_alarms_stay_rare_among_many_questions() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(
        any(v.status in ("WARN", "FAIL") for v in conclude([found(str(i), effect=9.0, p=float(p)) for i, p in enumerate(rng.random(10))]))
        for _ in range(1000)
    )
    assert 0.03 < alarms / 1000 < 0.07


def test_settings_of_other_families_and_those_taken_already_are_no_remedies() -> None:
    std, ema, wider = sets({"model.minibatch_std": True}), sets({"train.ema": 0.1}), changes("a larger", "model.width")
    both = sets({"model.width": 3, "model.beta": 2})
    verdict = Verdict("a", "FAIL", "", remedies=(std, ema, wider, both))

    def of(verdict: Verdict, **settings: object) -> tuple[Remedy, ...]:
        return fitting(verdict, Judged(model_settings(settings))).remedies

    assert of(verdict, width=3, depth=1) == (ema, wider)
    assert of(verdict, width=3, minibatch_std=False, beta=1) == verdict.remedies
    assert of(verdict, width=3, minibatch_std=True, beta=2) == (ema, wider)
    nested = (sets({"model.discriminator.dropout": 0.3}), sets({"model.dropout": 0.3}), changes("a larger", "model.generator.width"))
    verdict = Verdict("a", "FAIL", "", remedies=nested)
    assert of(verdict, **vars(GANConfig())) == (nested[0], nested[2])
    taken = replace(GANConfig(), discriminator=DCGANDiscriminatorConfig(dropout=0.3))
    assert of(verdict, **vars(taken)) == (nested[2],)


def test_nothing_depends_on_the_words_of_a_remedy() -> None:
    judged = Judged({"model.width": 3}, recipe="dcgan")
    harmful = replace(sets({"model.width": 4}), harms=("projected",))
    assert harmful.fits(judged)
    assert not harmful.fits(replace(judged, recipe="projected"))
    assert replace(harmful, small_gray=True).fits(judged)
    assert not replace(harmful, small_gray=False).fits(judged)
    assert Remedy("calotype train dcgan, or set `model.beta=2`").fits(judged)
    assert not Remedy("something else", recipe="dcgan").fits(judged)
    assert not Remedy("something else", {"model.beta": 2}).fits(judged)
    assert not Remedy("something else", option="steps").fits(judged)


def test_worst_comes_first() -> None:
    order = [
        v.name for v in worst_first([Verdict("a", "PASS", ""), Verdict("b", "FAIL", ""), cannot_tell("c", ""), Verdict("d", "WARN", "")])
    ]
    assert order == ["b", "d", "c", "a"]
