"""Models of several families side by side: kinds of likelihood are kept apart, and times are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calotype.evaluation.result import Cost, Evaluations, Report, Units
from calotype.metrics.score import LikelihoodKind, Score
from calotype.report.compare import told
from calotype.report.families import incompatible, proven, trained_alike
from calotype.report.page import compare_html, html
from calotype.report.text import text
from tests.report.test_compare import named
from tests.report.test_page import Page, fd, whole


def bits(value: float, kind: str, half: float = 0.02, n: int = 500) -> Score:
    name, _, given = kind.partition(", given")
    accuracy = {"exact": "exact", "ODE estimate": "estimate"}.get(name, "lower bound")
    of = LikelihoodKind(name, accuracy, bool(given))  # type: ignore[arg-type]
    assert str(of) == kind
    return Score("bits/dim", value, (value - half, value + half), None, n, n, kind, "lower", of)


def costing(minutes: float | None, threads: int = 1, seconds: float = 3.0) -> Cost:
    return Cost(1000, 600, 15.0, seconds, 2, "cpu", 400, minutes, 250.0, threads)


def likely(*scores: Score, **more: object) -> list[Report]:
    reports = named(*range(1, 1 + len(scores)), half=0.1)
    return [replace(r, scores=(*r.scores, s), **more) for r, s in zip(reports, scores, strict=True)]  # type: ignore[arg-type]


def test_kinds_of_likelihood_stand_in_the_way_of_their_own_ranking_alone() -> None:
    reports = likely(bits(1.0, "exact"), bits(1.1, "exact"), bits(0.9, "ELBO"))
    page = Page(compare_html(reports)).text
    assert "m0 is better than all others beyond doubt" in page  # by FD
    assert "not ranked: they were not measured alike" not in page
    assert "Numbers of different kinds are not ranked against each other (exact: m0 and m1; ELBO: m2)" in page
    assert any(line.startswith("Numbers of different kinds") for line in told(reports))


def test_one_kind_is_ranked_and_says_nothing_of_others() -> None:
    reports = likely(bits(1.0, "exact"), bits(1.5, "exact"))
    assert incompatible(reports) == ""
    assert incompatible(likely(bits(1.0, "ELBO"))) == ""
    page = Page(compare_html(reports)).text
    assert "different kinds" not in page
    assert "m0 exact 1 1 0.98 to 1.02 500 m1 exact 2 1.5 1.48 to 1.52 500" in page


@pytest.mark.parametrize(
    ("a", "b", "proves"),
    [
        (bits(1.0, "ELBO"), bits(1.2, "exact"), True),
        (bits(1.0, "IWAE-50", n=100), bits(1.2, "exact"), True),
        (bits(1.19, "ELBO"), bits(1.2, "exact"), False),  # the intervals touch
        (bits(1.2, "ELBO"), bits(1.0, "exact"), False),  # the truth behind the bound may be anywhere below it
        (bits(1.0, "ELBO"), bits(1.2, "dequantized bound"), False),
        (bits(1.0, "ODE estimate"), bits(1.2, "exact"), False),
        (bits(1.0, "ELBO, given the class"), bits(1.2, "exact"), False),
        (bits(1.0, "ELBO, given the class"), bits(1.2, "exact, given the class"), True),
    ],
)
def test_a_bound_proves_only_what_it_can(a: Score, b: Score, proves: bool) -> None:
    said = proven(likely(a, b))
    assert bool(said) == proves
    if proves:
        assert said[0].startswith(f"The bound of m0 (1, {a.features}) is below the exact number of m1 (1.2): m0 predicts")


def test_equal_and_unequal_training_is_told() -> None:
    def of(*minutes: float | None, threads: tuple[int, ...] = (1, 1, 1)) -> str:
        return " ".join(trained_alike([Report(f"m{i}", cost=costing(m, threads[i])) for i, m in enumerate(minutes)]))

    assert of(10.0, 10.4) == "Equal training: 10.0 min to 10.4 min each."
    assert of(10.0, 3.0).startswith("Unequal training: m0 10.0 min; m1 3.0 min.")
    assert "different numbers of threads" in of(10.0, 10.0, threads=(1, 2))
    assert of(10.0, None) == "How long m1 trained is not known."
    assert of(10.0, 10.0, None).endswith("How long m2 trained is not known.")


def test_the_table_and_the_picture_show_what_each_takes() -> None:
    rows = tuple(Evaluations(n, n, 10 / n, (9 / n, 11 / n), 9 / n, 0.1, 400, n / 2) for n in (5, 10, 20))
    free = fd(1.0, name="FD, bias removed", baseline=0.0)
    reports = [replace(r, scores=(*r.scores, free), cost=costing(10.0, seconds=3.0 * (i + 1))) for i, r in enumerate(named(1.0, 9.0))]
    reports[0] = replace(reports[0], evaluations=rows)
    page = Page(compare_html(reports))
    assert "At a glance" in page.text
    assert "1,000 10.0 min 1 thread 250 3 15" in page.text
    drawing = [a["aria-label"] for a in page.all("svg") if str(a.get("aria-label")).startswith("FD, bias removed against the seconds")]
    assert drawing == ["FD, bias removed against the seconds that 1,000 images take. m0: 1 in 3 s; m1: 1 in 6 s"]
    assert "At a glance" not in Page(compare_html(named(1.0, 9.0))).text  # of folders nothing is known


def test_the_page_of_one_model_shows_its_cost_its_curve_and_its_latents() -> None:
    rows = tuple(Evaluations(n, n, v, (v - 0.1, v + 0.1), v - 0.2, 0.1, 400, n / 2) for n, v in ((5, 3.0), (10, 1.05), (20, 1.0)))
    report = Report("x", cost=costing(10.0), evaluations=rows, units=Units(1, 4, (3.0, 0.2, 0.0, 0.0)))
    page = Page(html(report))
    assert {"cost", "latents"} <= {a.get("id") for a in page.all("section")}
    assert "1,000, of which 600 take part in drawing" in page.text
    assert "With 10 function evaluations its images score within 10% of what they do with 20." in page.text
    assert "function evaluations: 15 for one image" in text(report)
    labels = [str(a.get("aria-label")) for a in page.all("svg")]
    assert any(label.startswith("FD against function evaluations. 5: 3; 10: 1.05; 20: 1") for label in labels)
    assert any(label.startswith("What each latent unit says of an image; 1 of 4 vary") for label in labels)
    slow = replace(report, evaluations=(*rows[:1], replace(rows[1], fd=2.0), rows[2]))
    assert "With fewer than 20 function evaluations its images score over 10% worse." in Page(html(slow)).text


def test_folders_are_not_said_to_be_drawn_from_noise() -> None:
    bare = Report("x", pictures=whole().pictures)
    assert "drawn from fixed noise" not in Page(html(bare)).text
    assert "drawn from fixed noise" in Page(html(replace(bare, cost=costing(None)))).text
