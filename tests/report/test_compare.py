"""The comparison: it ranks what intervals separate and nothing else, and tells seeds from samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calotype.diagnose.verdict import Verdict, not_applicable
from calotype.errors import UserError
from calotype.evaluation import ranking
from calotype.evaluation.result import ReferenceData, Report
from calotype.metrics.score import Score
from calotype.report.compare import by_recipe
from calotype.report.page import compare_html
from calotype.report.text import QUESTIONS
from tests.report.test_page import Page, fd, whole


def named(*values: float, half: float = 0.5) -> list[Report]:
    return [replace(whole(f"m{i}"), scores=(fd(v, half),), recipe=f"r{i}") for i, v in enumerate(values)]


def test_intervals_that_touch_do_not_separate() -> None:
    assert ranking.separated(fd(1.0), fd(2.1))
    assert not ranking.separated(fd(1.0), fd(2.0))
    assert not ranking.separated(fd(1.0), fd(1.2))
    assert not ranking.separated(fd(1.0, None), fd(99.0))


@pytest.mark.parametrize("change", [{"n": 501}, {"m": 901}, {"features": "other"}, {"kind": "higher"}, {"name": "KID"}])
def test_other_protocols_are_never_separated(change: dict[str, object]) -> None:
    assert not ranking.separated(fd(1.0), replace(fd(99.0), **change))  # type: ignore[arg-type]


def test_ranks_are_only_as_sure_as_the_intervals() -> None:
    assert ranking.ranks([fd(9.0), fd(1.0), fd(1.3)]) == [(3, 3), (1, 2), (1, 2)]
    assert ranking.ranks([fd(0.2, 0.1, kind="higher"), fd(0.9, 0.1, kind="higher")]) == [(2, 2), (1, 1)]
    near, far = fd(1.1, 0.05, kind="match"), fd(0.2, 0.05, kind="match")
    assert ranking.ranks([far, near]) == [(2, 2), (1, 1)]
    below, above = fd(0.92, 0.01, kind="match"), fd(1.085, 0.01, kind="match")
    assert ranking.separated(below, above)
    assert ranking.ranks([below, above]) == [(1, 2), (1, 2)]  # which of them is closer to 1 is open
    around = fd(1.01, 0.06, kind="match")
    assert ranking.ranks([around, fd(1.2, 0.06, kind="match")]) == [(1, 1), (2, 2)]


def test_a_chain_of_overlaps_is_told_as_two_groups() -> None:
    said = ranking.ties([("A", fd(1.0)), ("B", fd(1.8)), ("C", fd(2.6)), ("D", fd(9.0, None))])
    assert said == [
        "A and B cannot be told apart at N = 500.",
        "B and C cannot be told apart at N = 500.",
        "D cannot be ranked: no interval is known.",
    ]


def test_the_comparison_ranks_what_is_separated() -> None:
    said = Page(compare_html(named(1.0, 9.0))).text
    assert "m0 is better than all others beyond doubt" in said
    assert "cannot be told apart" not in said
    said = Page(compare_html(named(1.0, 1.2, 9.0))).text
    assert "m0 and m1 cannot be told apart at N = 500." in said
    assert "at N = 500 the intervals do not say which" in said
    assert "beyond doubt" not in said
    assert "1 to 2" in said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"protocol": {"reference": "other"}}, "Different reference"),
        ({"data": ReferenceData("other", 1, 1, "ef" * 32)}, "Different real images"),
        ({"data": ReferenceData("mnist5k", 4500, 500, "ab" * 32, "00" * 32)}, "Different held-out images"),
        ({"data": None}, "Different real images"),
        ({"scores": (fd(9.0, n=400),)}, "400 generated"),
    ],
)
def test_different_protocols_are_named_and_not_ranked(change: dict[str, object], why: str) -> None:
    first, second = named(1.0, 9.0)
    found = Page(compare_html([first, replace(second, **change)]))  # type: ignore[arg-type]
    said = found.text
    assert "not ranked" in said
    assert why in said
    assert "beyond doubt" not in said
    assert "Rank" not in said
    assert not found.all("svg")  # no common axis either


def test_two_of_one_name_are_kept_apart() -> None:
    first, _ = named(1.0, 9.0)
    assert "m0 (2)" in Page(compare_html([first, replace(first, scores=(fd(9.0),))])).text


def test_one_report_is_no_comparison() -> None:
    with pytest.raises(UserError, match="two reports"):
        compare_html(named(1.0))


@pytest.mark.parametrize(("seeds", "sampling"), [(3.0, 1.0), (0.5, 2.0), (0.0, 1.0)])
def test_seed_spread_is_told_from_sampling_error(seeds: float, sampling: float) -> None:
    rng = np.random.default_rng(1)
    values = 10 + seeds * rng.normal(size=4000) + sampling * rng.normal(size=4000)
    spread = ranking.seed_spread([fd(float(v), 1.959964 * sampling) for v in values])
    assert spread.sampling == pytest.approx(sampling, rel=1e-6)
    assert spread.seeds**2 == pytest.approx(seeds**2, abs=0.12 * (seeds**2 + sampling**2))


def test_the_interval_of_a_mean_over_seeds_covers_the_recipe() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(400):
        values = 10 + 2.0 * rng.normal(size=3) + 0.5 * rng.normal(size=3)
        low, high = ranking.recipe_score([fd(float(v), 0.98) for v in values]).interval or (0.0, 0.0)
        inside += low <= 10 <= high
    assert 0.92 < inside / 400 < 0.985


def test_runs_alike_by_luck_are_no_surer_than_their_samples() -> None:
    spread = ranking.seed_spread([fd(5.0, 1.0), fd(5.0, 1.0)])
    assert spread.seeds == 0
    assert spread.interval[1] - spread.interval[0] > 1.0


@pytest.mark.parametrize("scores", [[fd(1.0)], [fd(1.0), fd(2.0, None)]])
def test_seed_spread_needs_runs_with_intervals(scores: list[Score]) -> None:
    with pytest.raises(ValueError, match="seed spread needs"):
        ranking.seed_spread(scores)


def seeded(recipe: str, settings: str, seed: int, value: float) -> Report:
    return replace(whole(f"{settings}{seed}"), scores=(fd(value, 0.1),), recipe=recipe, settings=settings, train_seed=seed)


def test_runs_of_one_recipe_with_other_settings_are_not_seeds_of_one_another() -> None:
    narrow, wide = ([seeded("dcgan", settings, i, v) for i in range(2)] for settings, v in (("0a", 1.0), ("1b", 9.0)))
    assert by_recipe([narrow[0], wide[1]]) == {}
    assert by_recipe(narrow) == {"dcgan": narrow}
    assert by_recipe([*narrow, *wide]) == {"dcgan (0a)": narrow, "dcgan (1b)": wide}
    assert by_recipe([narrow[0], narrow[0]]) == {}  # the same run twice
    assert by_recipe([replace(r, settings="") for r in narrow]) == {}


@pytest.mark.parametrize(("name", "low", "high"), [("FD", 0.0, 18.3), ("KID", -15.3, 18.3), ("recall", 0.0, 1.0)])
def test_an_interval_over_seeds_stays_where_the_score_can_be(name: str, low: float, high: float) -> None:
    """Two runs at 0.2 and 2.8 by Student's t: 1.5 +- 12.706 * 1.8385 / sqrt(2)."""
    found = ranking.seed_spread([replace(fd(v, 0.1), name=name) for v in (0.178, 2.822)]).interval
    assert found == pytest.approx((low, high), abs=0.1)


def test_recipes_of_several_seeds_get_their_own_table() -> None:
    runs = [seeded(name, name, i, v + 0.1 * i) for name, v in (("a", 1), ("b", 9)) for i in range(3)]
    said = Page(compare_html(runs)).text
    assert "Recipes over several seeds" in said
    assert "a is better than all others beyond doubt" in said
    assert "Recipes over several seeds" not in Page(compare_html([runs[0], runs[0]])).text
    assert "Recipes over several seeds" not in Page(compare_html(named(1.0, 9.0))).text


def test_a_question_for_one_family_alone_stays_open_for_the_other() -> None:
    idle = tuple(not_applicable(name, "This family has no such thing.") for name in ("posterior-collapse", "overfitting-discriminator"))
    gan, flow = named(1.0, 9.0)
    gan = replace(gan, verdicts=(idle[0], Verdict("overfitting-discriminator", "PASS", "Fine.")))
    said = Page(compare_html([gan, replace(flow, verdicts=idle)])).text
    assert QUESTIONS["overfitting-discriminator"] in said
    assert QUESTIONS["posterior-collapse"] not in said
    assert "CANNOT TELL" not in said
