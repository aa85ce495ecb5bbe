"""What to do next: one command, complete as it stands, how long it takes and what it will show."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from calotype.diagnose.remedy import Remedy
from calotype.diagnose.verdict import Verdict, worst_first
from calotype.evaluation.result import NextStep
from calotype.evaluation.target import Subject, run_of
from calotype.metrics.frechet import FD, FID
from calotype.metrics.score import Score
from calotype.spelling import option

FAR = 1.25  # times the distance of real images, from which on more training is worth a try


def agreeing(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts, in their order, without remedies that contradict those of a worse one: another value, or a change the other way."""
    given: dict[str, object] = {}
    kept: dict[str, tuple[Remedy, ...]] = {}
    for verdict in worst_first(verdicts):
        fine = []
        for remedy in verdict.remedies:
            asked = {**remedy.settings, **dict.fromkeys(remedy.changes, remedy.says)}
            if all(given.get(name, value) == value for name, value in asked.items()):
                given |= asked
                fine.append(remedy)
        kept[verdict.name] = tuple(fine)
    return [replace(verdict, remedies=kept[verdict.name]) for verdict in verdicts]


def next_step(path: Path, subject: Subject, verdicts: Sequence[Verdict], scores: Sequence[Score], minutes: float | None) -> NextStep | None:
    """What to do about the worst trouble of a run, or what to do with it where there is none; None for what is no run.

    ``minutes`` are those of its training.
    """
    run = run_of(path)
    if run is None or subject.judged is None or subject.recipe is None:
        return None
    folder = str(run.folder)
    troubles = [v for v in worst_first(verdicts) if v.status in ("FAIL", "WARN")]
    for trouble in troubles:
        for remedy in trouble.remedies:
            if words := _words(remedy, folder, subject, minutes):
                judged = f"whether more training helps against {trouble.name}"
                judge = "calotype compare" if subject.draws else "calotype evaluate"
                beside = f"whether that helps against {trouble.name}: judge both runs by `{judge}`"
                return NextStep(shlex.join(words), minutes, judged if remedy.longer else beside)
    distance = next((s for s in scores if s.name in (FID.name, FD.name)), None)
    if minutes is not None and distance is not None and distance.baseline and distance.value > FAR * distance.baseline:
        shows = f"whether twice as much training brings its {distance.name} nearer to that of real images"
        return NextStep(shlex.join(_longer(folder, minutes)), minutes, shows)
    if troubles:
        return None
    if not subject.draws:
        words = ["calotype", "classify", folder, str(subject.judged.run.get("data.source", "."))]
        return NextStep(shlex.join(words), None, "what it takes images for, by name: put a picture or folder of your own in the last place")
    draw = ["calotype", "sample", folder, option("count"), "64", option("out"), "grid.png"]
    return NextStep(shlex.join(draw), None, "64 new images")


def _words(remedy: Remedy, folder: str, subject: Subject, minutes: float | None) -> list[str]:
    """A remedy as the words of a command that has all that it needs; none where it is no training."""
    if minutes is None or subject.judged is None:
        return []
    if remedy.recipe:
        given = {"data.source": subject.judged.run.get("data.source"), "data.size": subject.judged.run.get("data.size")}
        return ["calotype", "train", remedy.recipe, *_given({**given, "train.minutes": f"{minutes:.3g}"})]
    if remedy.longer:
        return _longer(folder, minutes)
    if remedy.settings:
        return ["calotype", "train", *_given({"config": str(Path(folder, "config.json")), **remedy.settings})]
    return []


def _longer(folder: str, minutes: float) -> list[str]:
    return ["calotype", "train", *_given({"resume": folder, "more.minutes": f"{minutes:.3g}"})]


def _given(settings: Mapping[str, object]) -> list[str]:
    """Settings as options; of those that have no value none."""
    several = {name: value if isinstance(value, list | tuple) else (value,) for name, value in settings.items() if value is not None}
    return [word for name, values in several.items() for word in (option(name), *map(str, values))]
