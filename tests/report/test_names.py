"""Names from outside: they are shown as they are, whatever they look like, and never obeyed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from calotype.diagnose.remedy import Remedy
from calotype.diagnose.verdict import Verdict
from calotype.evaluation.result import ClassCounts, Event, LadderRow, ReferenceData, Report, Series, TrainingCurves
from calotype.report.compare import told
from calotype.report.files import save, save_comparison
from calotype.report.page import compare_html, html
from calotype.report.text import text
from tests.report.test_page import EVIL, Page, whole


def hostile(name: str) -> Report:
    """A report with one name wherever there may be one from outside."""
    full = whole(name)
    return replace(
        full,
        verdicts=(
            Verdict(
                "blur",
                "FAIL",
                name,
                evidence=name,
                remedies=(Remedy(name), Remedy(f"`{name}`")),
                measure=name,
                effect=1.0,
                limits=(0.5, 1.0),
            ),
        ),
        about={name: name},
        notes=(name,),
        command=name,
        scores=(replace(full.scores[0], features=name), replace(full.scores[1], name=name)),
        ladder=(LadderRow(name, {"FD": 2.0, name: 0.5}),),
        classes=ClassCounts((name, "日本\x07"), (490, 10), (250, 250), ((0.96, 0.99), (0.01, 0.04)), name),
        curves=TrainingCurves((Series(f"{name}/{name}", (0, 1), (1.0, 2.0)),), (Event(1, name),)),
        data=ReferenceData(name, 1, 1, name),
        recipe=name,
    )


def test_markup_in_names_stays_text() -> None:
    evil = hostile(EVIL)
    for source in (html(evil), compare_html([evil, replace(evil, train_seed=1)])):
        found = Page(source)
        assert not found.all("script")
        assert " ".join(EVIL.split()) in found.text


@pytest.mark.parametrize("name", ["two\nlines\x1b[2K\x07\x00", "\u202eturned", "half \udcff", "👩\u200d🚀", "", "x" * 9000])
def test_names_of_any_characters_make_a_page_a_file_and_lines(name: str, tmp_path: Path) -> None:
    report = hostile(name)
    page = save(report, tmp_path).read_text(encoding="utf-8")
    Page(page)
    save_comparison([report, replace(report, train_seed=1)], tmp_path / "both.html")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["subject"] == name
    for shown in (page, (tmp_path / "both.html").read_text(encoding="utf-8"), text(report), *told([report, report])):
        assert not set(shown) & set("\x1b\x07\x00\u202e")
    assert text(report, "page.html").splitlines()[-1] == "report: page.html"
    assert ("👩\u200d🚀" in page) == ("🚀" in name)
