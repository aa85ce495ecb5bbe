"""What carries the name of a published score."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from calotype.evaluation.scores import in_table_order, mean_of, mean_over, scored
from calotype.metrics.features import Extracted, pick
from calotype.metrics.inputs import InSpace, Published
from calotype.metrics.score import Estimate, Score
from calotype.metrics.table import METRICS, by_name, clamped, computed
from calotype.types import ImageSpec


def test_only_inception_features_of_fifty_thousand_images_give_a_fid() -> None:
    rng = np.random.default_rng(0)
    space = replace(pick("random", ImageSpec(16, 3))[0], name="inception")
    train = Extracted(rng.standard_normal((3_000, 3)).astype(np.float32))
    drawn = Extracted((rng.standard_normal((50_000, 3)) + np.array([1, 0, 0])).astype(np.float32))
    (score,) = scored([Published(space, drawn, train)], [], space.label, len(drawn), len(train))
    assert (score.name, score.n, score.m, score.baseline) == ("FID", 50_000, 3_000, None)
    assert score.value == pytest.approx(1, abs=0.1)
    assert computed(Published(space, drawn[:49_999], train)) == {}
    assert computed(Published(replace(space, name="random1"), drawn, train)) == {}


def test_what_the_recognizer_is_sure_of_is_counted() -> None:
    rng = np.random.default_rng(0)
    beliefs = np.full((200, 10), 0.02, np.float32)
    beliefs[:150, 3], beliefs[150:, 3] = 0.95, 0.82
    beliefs /= beliefs.sum(1, keepdims=True)
    points = rng.standard_normal((200, 4)).astype(np.float32)
    found = computed(InSpace(Extracted(points, beliefs), Extracted(rng.standard_normal((200, 4)).astype(np.float32))))["recognized"]
    assert beliefs[0, 3] < 0.9
    assert found.value == 0
    beliefs[:150, 3] = 9
    found = computed(InSpace(Extracted(points, beliefs / beliefs.sum(1, keepdims=True)), Extracted(points)))["recognized"]
    assert found.value == 0.75
    assert found.interval == pytest.approx((0.686, 0.805), abs=0.002)  # Wilson's, of 150 among 200


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("coverage", 0, 1),
        ("FD", 0, math.inf),
        ("SSIM, a2b", -1, 1),
        ("AuthPct", 0, 100),
        ("KID", -math.inf, math.inf),
        ("bits/dim", 0, math.inf),
        ("FD, bias removed", -math.inf, math.inf),
        ("density", 0, math.inf),
        ("different bins", 0, 1),
        ("class score", 1, math.inf),
    ],
)
def test_an_interval_ends_where_the_score_does(name: str, least: float, most: float) -> None:
    low, high = clamped(name, (-500.0, 500.0)) or (0.0, 0.0)
    assert (low, high) == (max(least, -500.0), min(most, 500.0))
    assert clamped(name, None) is None


def test_means_over_spaces_and_over_images_keep_to_that() -> None:
    wide = [
        {"FD": Estimate(1.0, (0.9, 1.1)), "KID": Estimate(0.1, (0.0, 0.2))},
        {"FD": Estimate(9.0, (8.0, 10.0)), "KID": Estimate(0.9, (0.8, 1.0))},
    ]
    found = mean_over(wide)
    assert found["FD"].interval is not None
    assert found["FD"].interval[0] == 0
    assert found["KID"].interval is not None
    assert found["KID"].interval[0] < 0
    assert mean_of("SSIM", np.array([0.99, 0.2])).interval == pytest.approx((-1, 1))
    assert mean_of("PSNR", np.array([30.0, 20.0])).interval == pytest.approx((25 - 63.53, 25 + 63.53), abs=0.01)


def test_the_table_of_metrics_is_whole() -> None:
    assert len(by_name()) == len(METRICS)
    for metric in METRICS:
        assert metric.says.endswith((".", ";"))
        assert metric.bounds[0] < metric.bounds[1]
    assert sorted(metric.first for metric in METRICS if metric.first) == list(range(1, 14))


def test_scores_stand_in_the_order_of_the_table() -> None:
    found = [Score(name, 1.0, None, None, 1, 1, "", "lower") for name in ("MS-SSIM", "bits/dim", "FD", "different bins")]
    assert [score.name for score in in_table_order(found)] == ["FD", "MS-SSIM", "different bins", "bits/dim"]


PLANTED = """
import json
from calotype.metrics import table
from calotype.metrics.inputs import Drawn
from calotype.metrics.metric import Metric
from calotype.metrics.score import Estimate

brightness = Metric("brightness", "How light images are.", "match", Drawn, lambda made: Estimate(float(made.pixels.mean())), first=1)
table.METRICS += (brightness,)

import numpy as np
from calotype.evaluation.result import Report, to_json
from calotype.evaluation.scores import in_table_order, scored
from calotype.report.compare import compare_html
from calotype.report.glossary import text as glossary
from calotype.report.page import html
from calotype.report.text import text

black, white = (Drawn(np.full((2, 4, 4, 1), level, np.uint8)) for level in (0, 255))
report = Report("x", scores=tuple(in_table_order(scored([black], [white], "pixels", 2, 2))))
print(json.dumps({"json": to_json(report), "page": html(report), "comparison": compare_html([report, report]), "text": text(report),
                  "glossary": glossary()}))
"""


def test_a_new_entry_is_a_score_on_the_page_in_text_and_in_json() -> None:
    """It touches nothing but the table."""
    said = json.loads(subprocess.run([sys.executable, "-c", PLANTED], capture_output=True, text=True, check=True).stdout)
    (score,) = said["json"]["scores"]
    assert (score["name"], score["value"], score["baseline"], score["kind"]) == ("brightness", 0.0, 255.0, "match")
    assert "brightness  0, real images 255" in said["text"]
    assert all("How light images are." in said[part] for part in ("page", "comparison", "glossary"))
