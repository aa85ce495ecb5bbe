"""The table of verdicts: whole, the source of all that is told of them, and the only place that a new one touches."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from calotype.diagnose.check import Check
from calotype.diagnose.checks import CHECKS, answers, asked_of, by_name, table, unanswered
from calotype.diagnose.generated import Generated
from calotype.diagnose.known_modes import CountedModes
from calotype.diagnose.likelihood import HeldOut, Posterior
from calotype.diagnose.recognition import RecognitionEvidence
from calotype.diagnose.restored import RestorationEvidence
from calotype.diagnose.training import History
from calotype.diagnose.translated import Translated
from calotype.evaluation.schema import schema
from calotype.report.glossary import QUESTIONS, TERMS
from calotype.selftest.training import OF_TRAINING

DOCS = Path(__file__).parents[2] / "docs" / "report.md"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.name} of {check.of.__name__}")
def test_every_entry_is_whole(check: Check[object]) -> None:
    assert check.question.endswith("?")
    assert check.about.endswith(".")
    assert check.measures
    assert check.limits
    assert bool(check.remedies) != bool(check.hopeless)
    assert bool(check.of_files) == (check.of is Generated)  # of files there is nothing else to judge
    assert bool(check.curves) == (check.shows == "log")
    assert QUESTIONS[check.name] == check.question
    assert TERMS[check.name] == f"{check.question} {by_name()[check.name].about}"


def test_a_name_stands_for_one_question_about_one_kind_of_evidence() -> None:
    assert len({(check.name, check.of) for check in CHECKS}) == len(CHECKS)
    assert all(by_name()[check.name].question == check.question for check in CHECKS)


def test_the_docs_hold_the_table() -> None:
    said = DOCS.read_text(encoding="utf-8")
    for kinds in ((Generated, History, Posterior, HeldOut), (CountedModes,), (RestorationEvidence,), (Translated,), (RecognitionEvidence,)):
        assert table(*kinds) in said


def test_what_is_not_there_answers_nothing() -> None:
    assert asked_of(Generated) == ["mode-collapse", "copying", "blur", "noise"]
    assert {v.status for v in unanswered(History, "NOT APPLICABLE", "None.")} == {"NOT APPLICABLE"}
    assert [v.name for v in unanswered(HeldOut, "CANNOT TELL", "None.")] == ["likelihood-overfit"]
    assert answers(object()) == []


def test_who_trained_what_decides_which_questions_a_log_answers() -> None:
    names = {kind: [f.name for f in answers(History([], of=kind))] for kind in ("generator", "translator", "restorer", "classifier")}  # type: ignore[arg-type]
    assert len(names["generator"]) == 4
    assert names["translator"] == ["overfitting-discriminator", "divergence"]
    assert names["restorer"] == names["classifier"] == ["divergence"]


def test_the_lists_of_names_are_those_of_the_table() -> None:
    assert schema()["properties"]["verdicts"]["items"]["properties"]["name"]["enum"] == list(by_name())
    assert sorted(OF_TRAINING) == sorted(asked_of(History) + asked_of(Posterior) + asked_of(HeldOut))


PLANTED = """
import json
from calotype.diagnose import checks
from calotype.diagnose.check import Check
from calotype.diagnose.remedy import sets
from calotype.diagnose.training import History
from calotype.diagnose.verdict import Finding, conclude

def find(history):
    return [Finding("planted", 1.0, 0.5, 0.9, {"PASS": "Fine.", "FAIL": "Bad."}, "Seen.", remedies=CHECK.remedies)]

CHECK = Check("planted", question="Is it planted?", about="A planted trouble.", of=History, run=find, measures="nothing", limits="1 / 2",
              remedies=(sets({"train.ema": 0.7}),))
checks.CHECKS += (CHECK,)

from calotype.evaluation.result import Report, to_json
from calotype.evaluation.schema import schema
from calotype.report.compare import compare_html
from calotype.report.glossary import text as glossary
from calotype.report.page import html
from calotype.report.text import text
from calotype.selftest.measure import of_trainings, table

verdicts = tuple(v for v in conclude(checks.answers(History([]))) if v.name == "planted")
report = Report("x", verdicts=verdicts)
names = schema()["properties"]["verdicts"]["items"]["properties"]["name"]["enum"]
print(json.dumps({"json": to_json(report), "page": html(report), "text": text(report), "names": names, "glossary": glossary(),
                  "comparison": compare_html([report, report]), "docs": checks.table(History), "selftest": table(of_trainings(1))}))
"""


def test_a_new_entry_is_on_the_page_in_text_and_in_json() -> None:
    """It touches nothing but the table."""
    done = subprocess.run([sys.executable, "-c", PLANTED], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    (verdict,) = said["json"]["verdicts"]
    assert (verdict["name"], verdict["status"], verdict["remedies"]) == ("planted", "FAIL", ["--train.ema 0.7"])
    assert "planted" in said["names"]
    for part in ("page", "comparison"):
        assert "Is it planted?" in said[part]
        assert "A planted trouble." in said[part]
    assert "--train.ema" in said["page"]
    assert "FAIL         planted  Bad." in said["text"]
    assert "try: --train.ema 0.7" in said["text"]
    assert "- **planted**: Is it planted? A planted trouble." in said["glossary"]
    assert "| `planted` | nothing | 1 / 2 |" in said["docs"]
    assert "planted |" in said["selftest"]
