"""What a report says of sizes, limits and chance, and that no two parts of it disagree."""

from __future__ import annotations

import math

import pytest

from calotype.diagnose.verdict import Status, Verdict
from calotype.evaluation.result import ClassCounts, Report
from calotype.report.page import html
from calotype.report.text import measures


@pytest.mark.parametrize(
    ("status", "effect", "said", "unsaid"),
    [
        (
            "FAIL",
            0.4,
            "Size of the trouble: 0.4 (share that is missing); a warning from 0.1 on, a failure from 0.3 on.",
            "beyond the limit",
        ),
        ("WARN", 0.4, "That is beyond the limit, but chance may explain it.", "none ("),
        ("PASS", 0.2, "That is beyond the limit, but chance may explain it.", "none ("),
        ("PASS", 0.05, "Were nothing wrong, as much would show in about 40 of 100 cases", "beyond the limit"),
        ("PASS", -0.2, "Size of the trouble: none (share that is missing: -0.2)", "Were nothing wrong"),
    ],
)
def test_the_size_of_a_trouble_stands_beside_its_limits(status: Status, effect: float, said: str, unsaid: str) -> None:
    found = " ".join(measures(Verdict("blur", status, "", effect, 0.4, measure="share that is missing", limits=(0.1, 0.3))))
    assert said in found
    assert unsaid not in found


def test_limits_that_are_none_and_sizes_without_a_unit_are_left_out() -> None:
    (said,) = measures(Verdict("harm", "FAIL", "", 0.4, measure="share", limits=(1e-9, math.inf)))
    assert said == "Size of the trouble: 0.4 (share)."
    assert measures(Verdict("divergence", "PASS", "", 0.0, detectable=math.inf)) == []


def test_a_dot_is_red_where_the_verdict_names_the_class_and_nowhere_else() -> None:
    """The interval of "b" ends under half of its share; whether it is too rare, the verdict alone says."""
    counts = ClassCounts(("a", "b"), (490, 10), (250, 250), ((0.96, 0.99), (0.01, 0.04)), "Counted.")
    passed = Verdict("mode-collapse", "PASS", "No class is missing.", data={"rare": []})
    failed = Verdict("mode-collapse", "FAIL", "Hardly makes: b.", data={"rare": ["b"]})
    for verdicts, red in (((), False), ((passed,), False), ((failed,), True)):
        source = html(Report("x", classes=counts, verdicts=verdicts))
        drawing = source[source.index('id="classes"') :]
        assert ("var(--alert)" in drawing) == red
        assert ("too rare" in drawing) == red
