"""report.json keeps to the schema in the docs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from calotype.diagnose.verdict import Verdict, cannot_tell
from calotype.evaluation.result import VERDICTS, Report, to_json
from calotype.evaluation.schema import schema, text
from tests.report.test_page import fd, whole

DOCS = Path(__file__).parents[2] / "docs" / "report.schema.json"


def valid(tree: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(json.dumps(tree, allow_nan=False)), schema(), jsonschema.Draft202012Validator)


def test_the_docs_hold_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert DOCS.read_text(encoding="utf-8") == text()


@pytest.mark.parametrize("report", [whole(), Report("nothing")], ids=["whole", "bare"])
def test_a_report_keeps_to_the_schema(report: Report) -> None:
    valid(to_json(report))


def test_the_names_that_programs_rely_on() -> None:
    tree = to_json(whole())
    assert set(tree["scores"][0]) >= {"name", "value", "interval", "baseline", "n", "features", "kind"}
    assert set(tree["verdicts"][0]) >= {"name", "status", "effect", "p", "detectable", "evidence", "remedies"}
    assert tree["scores"][0]["interval"] == [7.5, 8.5]
    assert [v["status"] for v in tree["verdicts"]] == ["FAIL", "WARN", "CANNOT TELL", "PASS"]
    assert tree["status"] == "FAIL"
    assert (
        *("mode-collapse", "oscillation", "vanishing-gradient", "overfitting-discriminator", "copying"),
        *("blur", "noise", "posterior-collapse", "likelihood-overfit", "divergence"),
        *("worse-than-classical", "harm", "color-drift", "overfitting", "noise-level"),
        *("translation", "identity-collapse", "color-inversion", "collapsed-translation", "hidden-information", "paired-error"),
        *("accuracy-gap", "miscalibration", "unpredicted-class", "label-noise"),
    ) == VERDICTS


def test_numbers_that_json_lacks_become_null() -> None:
    odd = Verdict("blur", "WARN", "odd", np.float32(0.5), float("nan"), float("inf"), data={"x": np.arange(3), "y": (np.nan, 1)})
    tree = to_json(Report("x", scores=(fd(float("nan"), float("nan")),), verdicts=(odd,)))
    valid(tree)
    assert tree["scores"][0]["value"] is None
    assert tree["scores"][0]["interval"] is None
    verdict = tree["verdicts"][0]
    assert (verdict["effect"], verdict["p"], verdict["detectable"]) == (0.5, None, None)
    assert verdict["data"] == {"x": [0, 1, 2], "y": [None, 1]}


def broken(change: str) -> dict[str, Any]:
    tree = copy.deepcopy(to_json(whole()))
    score, verdict = tree["scores"][0], tree["verdicts"][0]
    match change:
        case "status":
            verdict["status"] = "MAYBE"
        case "verdict":
            verdict["name"] = "bad-luck"
        case "interval":
            score["interval"] = [1.0]
        case "kind":
            score["kind"] = "best"
        case "missing":
            del score["n"]
        case "extra":
            tree["date"] = "today"
        case "p":
            verdict["p"] = 1.5
    return tree


@pytest.mark.parametrize("change", ["status", "verdict", "interval", "kind", "missing", "extra", "p"])
def test_the_schema_refuses_what_is_wrong(change: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        valid(broken(change))


def test_cannot_tell_has_no_numbers() -> None:
    verdict = to_json(Report("x", verdicts=(cannot_tell("copying", "no holdout"),)))["verdicts"][0]
    assert [verdict[key] for key in ("effect", "p", "detectable")] == [None, None, None]
