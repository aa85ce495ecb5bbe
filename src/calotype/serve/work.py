"""What a worker does: the kinds of jobs, each a function of plain data that calls what the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calotype.serve.job_requests import MOST_IMAGES, PICTURES
from calotype.serve.worker import Say

if TYPE_CHECKING:
    from calotype.evaluation.request import Request
    from calotype.serve.settings import Settings

Payload = Mapping[str, Any]
MOST_STEPS, PIXELS = 10_000, 16 << 20  # of a job: steps of a sampler, pixels of all that is drawn: noise in color fits a line of `worker`


def perform(kind: str, payload: Payload, say: Say) -> Mapping[str, Any]:
    """Do a job of one of `KINDS`."""
    return KINDS[kind](payload, say)


def check(payload: Payload, say: Say) -> dict[str, Any]:
    """Look at every image of a source, and advise what to train on it, as ``calotype data check`` does."""
    from dataclasses import asdict
    from functools import partial

    from calotype.data import check as look
    from calotype.data import toy
    from calotype.engine.display import progress
    from calotype.engine.expected import minutes
    from calotype.recipes.choice import POINTS, configured, of_check, recognition_of_check

    place, name = payload["place"], payload["name"]
    if place in toy.POINTS:
        advice = {"recipe": POINTS, "reasons": {"recipe": "points in the plane"}, "minutes": None}
        return {"source": name, "about": toy.PointSource(toy.POINTS[place]).about, "check": None, "advice": advice, "recognition": None}
    found = look(place, progress=progress(say, "looking"), compared=partial(say, "comparing"))
    advised, recognition = of_check(found), recognition_of_check(found)
    say("timing the recipe that is advised", 0, 0)
    expected = minutes(configured(advised), len(found.classes))
    return {
        "source": name,
        "check": found.to_dict() | {"source": name},
        "advice": asdict(advised) | {"usable_after_minutes": None if expected is None else round(expected, 1)},
        "recognition": None if recognition is None else asdict(recognition),
    }


def sample(payload: Payload, say: Say) -> dict[str, Any]:
    """Draw many images, the same as the service draws at once."""
    from calotype.serve.batching import asked_options, draw_rows, width_of
    from calotype.serve.job_requests import ManySamplesRequest
    from calotype.serve.performing import rows_of, sampled
    from calotype.tasks.sample import load

    with _weights(payload):
        asked, generator = ManySamplesRequest(**payload["request"]), load(payload["path"], payload["device"])
    options, width = generator.check(asked_options(asked.options)), width_of(generator)
    rows, drawn = rows_of(generator, asked, _limits(PIXELS)), list[Any]()
    say("drawing", 0, asked.n)
    for first in range(0, asked.n, width):
        drawn += list(draw_rows(generator, rows[first : first + width], options))
        say("drawing", len(drawn), asked.n)
    return sampled(generator, rows, drawn, asked).as_json()


def ask(payload: Payload, say: Say) -> dict[str, Any]:
    """What a model answers to a request of any ability, however long that takes."""
    from calotype.serve.performing import made
    from calotype.serve.requests import parsed
    from calotype.serve.shelf import look_at

    say(payload["ability"], 0, 0)
    with _weights(payload):
        held = look_at(Path(payload["path"]), payload["device"])
        asked = parsed(payload["ability"], payload["request"])
        return made(held, payload["ability"], asked, _limits(payload["max_pixels"])).as_json()


@contextmanager
def _weights(payload: Payload) -> Iterator[None]:
    """See that a model has the weights that were asked for while it is loaded. Raises `ConflictError`."""
    from calotype.files import sha256
    from calotype.models import stored
    from calotype.serve.refusal import ConflictError

    def require() -> None:
        wanted = payload.get("sha256")
        if wanted is not None and sha256(stored.find(Path(payload["path"])).folder / stored.WEIGHTS) != wanted:
            raise ConflictError("the model has other weights by now: ask for it again, by its new id", "model")

    require()
    yield
    require()


def _limits(pixels: int) -> Settings:
    """What a job may be asked for: what stands in the way of a request alone is its time."""
    from calotype.serve.settings import Settings

    return Settings(max_images=MOST_IMAGES, max_pixels=pixels, max_steps=MOST_STEPS)


def evaluate(payload: Payload, say: Say) -> dict[str, Any]:
    """Judge a run or a model, as ``calotype evaluate`` does; the report of a run goes into its folder."""
    from calotype.evaluation.evaluate import opened
    from calotype.evaluation.result import to_json
    from calotype.files import write_text
    from calotype.report.files import save
    from calotype.report.page import html

    asked, path = payload["request"], Path(payload["path"])
    wanted = _request(payload, say, short=asked["short"])
    with _weights(payload):
        judge = opened(path, wanted)
    report = judge()
    if (path / "checkpoints").is_dir():
        save(report, path / "report")
    write_text(Path(payload["page"]), html(report))
    said = to_json(report)
    return {name: said[name] for name in ("status", "verdicts", "scores", "notes")} | {"page": True}


def compare(payload: Payload, say: Say) -> dict[str, Any]:
    """Judge several runs alike and put them on one page, as ``calotype compare`` does."""
    from calotype.evaluation.evaluate import evaluate_alike
    from calotype.report.compare import told
    from calotype.report.files import save_comparison

    wanted = _request(payload, say)
    reports = evaluate_alike([Path(path) for path in payload["paths"]], wanted)
    save_comparison(reports, Path(payload["page"]))
    return {"told": told(reports), "page": True}


def _request(payload: Payload, say: Say, *, short: bool = False) -> Request:
    """How to judge, as a client asked for it."""
    from calotype.evaluation.request import Request

    asked = payload["request"]
    return Request(count=asked["count"], seed=asked["seed"], device=payload["device"], short=short, slow=not asked["short"], say=say)


KINDS: dict[str, Callable[[Payload, Say], dict[str, Any]]] = {
    "check": check,
    "sample": sample,
    **dict.fromkeys(PICTURES, ask),
    "evaluate": evaluate,
    "compare": compare,
}
