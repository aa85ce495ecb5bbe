"""Runs side by side, from what they and their reports say: nothing is drawn, so that the answer is there at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from calotype.errors import UserError
from calotype.serve.refusal import Refusal
from calotype.serve.run_files import LogRow, thinned
from calotype.serve.runs import Runs

ROWS = 1_000  # of each log


def compared(runs: Runs, ids: Sequence[str]) -> LogRow:
    """What is alike and what is not: the runs, the settings that differ, the logs, and the scores of reports.

    Scores are ranked where `calotype compare` would rank them: measured alike, and only as far as their intervals allow.

    Raises:
        UnknownError: for an id that is none.
        Refusal: 400 for fewer than two.
    """
    if len(set(ids)) < 2:
        raise Refusal(400, "a comparison needs two different runs or more", "run", "ids of runs")
    views = [runs.view(id) for id in ids]
    logs: dict[str, list[LogRow]] = {}
    for id in ids:
        logs[id] = []
        with suppress(UserError):
            logs[id] = thinned(runs.rows(id), ROWS)
    return {"runs": views, "settings": _settings(runs, ids), "logs": logs, "scores": _scores(runs, ids)}


def _settings(runs: Runs, ids: Sequence[str]) -> list[LogRow]:
    """The settings in which any of the runs differs from the first, with the value of each."""
    from calotype.config import differences

    configs = [runs.configuration(id) for id in ids]
    known = [config for config in configs if config is not None]
    if not known:
        return []
    names = dict.fromkeys(name for config in known[1:] for name in differences(known[0], config) if not name.startswith("reasons"))
    private = {"data.source", "data.partner", "train.start"}  # these may be paths of this machine
    rows = []
    for name in names:
        values = [None if config is None else _at(config, name) for config in configs]
        if name in private:
            values = [None if value is None else str(value).rstrip("/").rpartition("/")[2] for value in values]
        rows.append({"name": name, "values": values})
    return rows


def _at(config: object, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part, None)
    return config if isinstance(config, str | int | float | bool | None) else str(config)


def _scores(runs: Runs, ids: Sequence[str]) -> list[LogRow]:
    """The scores that reports share, one row each; ``ranks`` are the best and the worst place that intervals leave to each."""
    from calotype.evaluation.ranking import comparable, ranks
    from calotype.metrics.score import Score
    from calotype.settings import checked

    found: list[dict[str, Score]] = []
    for id in ids:
        named: dict[str, Score] = {}
        said = runs.results(id).get("scores")
        for one in said if isinstance(said, list) else ():
            with suppress(UserError):
                score = checked(Score, one)
                named.setdefault(score.name, score)
        found.append(named)
    rows = []
    for name in dict.fromkeys(name for named in found for name in named):
        scores = [named.get(name) for named in found]
        there = [score for score in scores if score is not None]
        alike = len(there) > 1 and all(comparable(there[0], other) and other.interval is not None for other in there)
        places = iter(ranks(there)) if alike else None
        values = [
            None
            if score is None
            else {
                "value": score.value,
                "interval": score.interval,
                "baseline": score.baseline,
                "n": score.n,
                "rank": next(places) if places is not None else None,
            }
            for score in scores
        ]
        rows.append({"name": name, "kind": there[0].kind, "features": there[0].features, "values": values, "ranked": alike})
    return rows
