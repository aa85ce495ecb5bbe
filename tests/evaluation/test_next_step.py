"""Remedies that agree with each other, and the one command at the end of a report."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from calotype.diagnose.remedy import LONGER, SHORTER, Judged, Remedy, changes, sets, trains
from calotype.diagnose.verdict import Status, Verdict
from calotype.evaluation.next_step import agreeing, next_step
from calotype.evaluation.target import Subject
from calotype.metrics.score import Score


def verdict(name: str, status: Status, *remedies: Remedy) -> Verdict:
    return Verdict(name, status, "It is so.", remedies=remedies)


def test_what_contradicts_a_worse_verdict_is_left_out_and_all_else_stays() -> None:
    a, b = sets({"train.ema": 0.1}), sets({"train.ema": 0.01})
    found = agreeing(
        [verdict("copying", "WARN", SHORTER, b, trains("vae")), verdict("blur", "FAIL", LONGER, a), verdict("noise", "WARN", a)]
    )
    assert [v.name for v in found] == ["copying", "blur", "noise"]
    assert [v.remedies for v in found] == [(trains("vae"),), (LONGER, a), (a,)]


def test_a_change_and_another_way_of_it_contradict() -> None:
    larger, smaller = changes("a larger", "model.width"), changes("a smaller", "model.width")
    found = agreeing([verdict("blur", "FAIL", larger), verdict("copying", "FAIL", smaller)])
    assert [v.remedies for v in found] == [(larger,), ()]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "my run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


SUBJECT = Subject("my run", recipe="dcgan", judged=Judged({}, "dcgan", {"data.source": "my photos", "data.size": 64}))
FAR, NEAR = (Score("FD", value, None, 1.0, 400, 1000, "photos", "lower") for value in (5.0, 1.1))


@pytest.mark.parametrize(
    ("remedy", "command"),
    [
        (LONGER, ["calotype", "train", "--resume", "RUN", "--more-minutes", "4"]),
        (sets({"optimizer.betas": (0, 0.99)}), ["calotype", "train", "--config", "RUN/config.json", "--optimizer.betas", "0", "0.99"]),
        (trains("projected"), ["calotype", "train", "projected", "--data", "my photos", "--size", "64", "--minutes", "4"]),
    ],
)
def test_the_first_remedy_of_the_worst_verdict_as_a_complete_command(run: Path, remedy: Remedy, command: list[str]) -> None:
    troubles = [verdict("noise", "WARN", SHORTER), verdict("blur", "FAIL", Remedy("look at your images"), remedy)]
    step = next_step(run, SUBJECT, troubles, [FAR], 4.0)
    assert step is not None
    assert shlex.split(step.command) == [word.replace("RUN", str(run)) for word in command]
    assert step.minutes == 4
    assert "blur" in step.shows


def test_without_trouble_more_training_or_samples(run: Path) -> None:
    fine = [verdict("blur", "PASS")]
    more, enough = (next_step(run, SUBJECT, fine, [score], 4.0) for score in (FAR, NEAR))
    assert more is not None
    assert enough is not None
    assert "--more-minutes 4" in more.command
    assert enough.command.startswith("calotype sample ")
    assert enough.minutes is None


def test_of_files_and_models_nothing_is_said(tmp_path: Path) -> None:
    assert next_step(tmp_path, SUBJECT, [], [FAR], 4.0) is None
