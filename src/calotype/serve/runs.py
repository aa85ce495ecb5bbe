"""The runs of a folder as a client may see them: where each stands, its log, samples and report. Ids are made here, never paths."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from calotype.errors import CalotypeError, UserError, printable
from calotype.serve.job_store import iso
from calotype.serve.refusal import ConflictError, Refusal, UnknownError
from calotype.serve.run_files import FileCache, LogRow, changed, file_of, json_of, mark_of, seconds_left, whole_number
from calotype.serve.shelf import Shelf
from calotype.serve.sources import Sources
from calotype.serve.trainings import Trainings

if TYPE_CHECKING:
    from calotype.config import Config
    from calotype.engine.run import Run

RunState = Literal["training", "stopping", "stopped", "finished", "failed"]

MOST = 1_000  # runs of a folder that are shown
SHELVED = 12  # of these, the newest, whose models are put on the shelf when all are listed; others when they are looked at
PNG = b"\x89PNG\r\n\x1a\n"


class Runs:
    """All runs in a folder, and the trainings that write them.

    Args:
        folder: Of the runs; None where none is shown, and none is trained.
        trainings: That this service started.
        sources: That trainings may be started on.
        shelf: On which runs are put once they hold a model and are not being trained.
    """

    def __init__(self, folder: Path | None, trainings: Trainings, sources: Sources, shelf: Shelf) -> None:
        self.folder = None if folder is None else folder.resolve()
        self.trainings, self.sources, self.shelf = trainings, sources, shelf
        self._paths: dict[str, Path] = {}
        self._caches: dict[Path, FileCache] = {}
        self._shelved: dict[Path, tuple[Any, str | None]] = {}
        self._lock = threading.RLock()

    def all(self) -> list[LogRow]:
        """The runs, those that changed last first."""
        found = []
        for place, path in enumerate(self._folders()):
            found.append(self._view(self._id(path), path, shelve=place < SHELVED))
        return found

    def run(self, id: str) -> Run:
        """A run by its id. Raises `UnknownError`."""
        from calotype.engine.run import Run

        return Run(self._path(id))

    def view(self, id: str) -> LogRow:
        """A run as a client sees it. Raises `UnknownError`."""
        return self._view(id, self._path(id))

    def rows(self, id: str) -> list[LogRow]:
        """The whole log, the very same list until it changes. Raises `UnknownError`, `UserError` for one that cannot be read."""
        run = self.run(id)
        with self._lock:
            return self._cache(run.folder).of("log", run.folder / "log.jsonl", run.log().read)

    def samples(self, id: str) -> list[LogRow]:
        """The sample grids on fixed noise, in the order of the training."""
        return [{"n": step, "step": step} for step, _ in self.run(id).grids()]

    def sample(self, id: str, step: int) -> bytes:
        """The picture of a sample grid. Raises `UnknownError`."""
        path = next((path for at, path in self.run(id).grids() if at == step), None)
        data = b"" if path is None else file_of(path)
        if not data.startswith(PNG):
            raise UnknownError("there is no such picture: the samples of the run list them", "n")
        return data

    def report(self, id: str) -> bytes:
        """The page of the report. Raises `UnknownError` where there is none yet."""
        if page := file_of(self.run(id).folder / "report" / "report.html"):
            return page
        raise UnknownError("this run has no report yet: it is made at its end, or as a job of kind evaluate", "id")

    def results(self, id: str) -> LogRow:
        """``report.json``; empty where there is none, or one that is damaged."""
        path = self._path(id) / "report" / "report.json"
        with self._lock:
            return self._cache(self._path(id)).of("report", path, lambda: json_of(path))

    def configuration(self, id: str) -> Config | None:
        """The configuration of a run; None where it has none yet, or a damaged one."""
        return self._facts(self._path(id))[0]

    def start_from(self, id: str) -> str:
        """What `train.start` is for the id of a run. Raises `UnknownError`, and `ConflictError` where it holds no model yet."""
        run = self.run(id)
        if not (run.model / "model.safetensors").is_file():
            raise ConflictError("that run holds no model yet to start from", "train.start")
        return str(run.folder)

    def begin(self, config: Config) -> LogRow:
        """Start a training. Raises `FullError`, and `ConflictError` where there is no folder of runs."""
        from dataclasses import asdict

        from calotype.data.load import short_name
        from calotype.engine.run import Run

        if self.folder is None:
            raise ConflictError("this service was started without a folder of runs: give it `runs` when it starts")
        self.trainings.require_room()
        try:
            run = Run.create(None, f"{config.recipe}-{short_name(Path(config.data.source))}", self.folder)
        except (OSError, UserError) as error:
            raise _unwritable(error) from None
        id = self._id(run.folder)
        try:
            self.trainings.begin(id, run.folder, asdict(config))
        except BaseException as error:
            with suppress(OSError):
                run.folder.rmdir()
            if isinstance(error, OSError):
                raise _unwritable(error) from None
            raise
        return self.view(id)

    def go_on(self, id: str, minutes: float | None) -> LogRow:
        """Resume a run. Raises `UnknownError`, `ConflictError`, `FullError`."""
        view = self.view(id)
        if not view["can"]["resume"]:
            raise ConflictError(f"this run is {view['state']} and cannot be resumed", "id")
        if view["state"] == "finished" and minutes is None:
            raise ConflictError("this run is complete: say how many minutes it is to go on", "minutes", "a number above 0")
        path = self._path(id)
        self.trainings.go_on(id, path, minutes)
        self._unshelve(path)
        return self.view(id)

    def stop(self, id: str) -> LogRow:
        """Tell the training of a run to end in order. Raises `UnknownError`, `ConflictError`."""
        run, state = self.run(id), self.view(id)["state"]
        if state not in ("training", "stopping"):
            raise ConflictError(f"this run is {state}: there is nothing to stop", "id")
        self.trainings.stop(id, run.folder, run.trainer)
        return self.view(id)

    def _folders(self) -> list[Path]:
        """Every run that there is, and every one that was begun and came to nothing."""
        if self.folder is None:
            return []
        begun = {Path(one.run) for one in self.trainings.known().values()}
        try:
            there = [path for path in self.folder.iterdir() if (path / "config.json").is_file() or path in begun]
        except OSError:
            return []
        return sorted((path for path in there if path.is_dir()), key=changed, reverse=True)[:MOST]

    def _path(self, id: str) -> Path:
        """The folder with an id: looked for among those that there are, so that an id leads nowhere else."""
        if id not in self._paths or not self._paths[id].is_dir():
            self._paths = {self._id(path): path for path in self._folders()}
        if (found := self._paths.get(id)) is None:
            raise UnknownError("there is no such run: GET /v1/runs lists them", "id")
        return found

    @staticmethod
    def _id(path: Path) -> str:
        return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]

    def _cache(self, path: Path) -> FileCache:
        return self._caches.setdefault(path, FileCache())

    def _facts(self, path: Path) -> tuple[Config | None, LogRow, str]:
        """The configuration and the facts of a run, and why these cannot be read."""
        from calotype.engine.run import Run

        def read() -> tuple[Config | None, LogRow, str]:
            if not (path / "config.json").is_file():
                return None, {}, ""
            try:
                return *Run(path).read_config(), ""
            except UserError as error:
                return None, {}, str(error)

        with self._lock:
            return self._cache(path).of("config", path / "config.json", read)

    def _view(self, id: str, path: Path, shelve: bool = True) -> LogRow:
        with self._lock:
            found, run = self._seen(id, path)
        known = self.trainings.get(id)
        # a process that was started for a run that is complete changes its weights before long
        about = known is not None and known.alive and changed(run.model / "model.safetensors") < known.started
        resting = found["state"] not in ("training", "stopping") and not about
        found["model"] = self._model(run, resting) if shelve or run.folder in self._shelved else None
        return found

    def _seen(self, id: str, path: Path) -> tuple[LogRow, Run]:
        """All of it but its model, which takes long to look at."""
        from calotype.engine import checkpoint
        from calotype.engine.run import Run

        run, known = Run(path), self.trainings.get(id)
        config, facts, damage = self._facts(path)
        rows: list[LogRow] = []
        with suppress(UserError):
            rows = self._cache(path).of("log", path / "log.jsonl", run.log().read)
        reached = self._cache(path).of("reached", run.checkpoints, lambda: checkpoint.facts_of_newest(run.checkpoints))
        trainer = run.trainer
        alive = known is not None and known.alive
        steps = whole_number(facts.get("resolved", {}).get("steps"))
        saved = whole_number(reached.get("step")) or 0
        step = max([saved, *(row["step"] for row in rows[-1:])]) if trainer is not None else saved
        complete = bool(reached.get("early")) or (steps is not None and saved >= steps)
        stopping = known is not None and known.stopping and (trainer is not None or alive)
        if trainer is not None or (alive and not complete):
            state: RunState = "stopping" if stopping else "training"
            message = self.trainings.doing(id) if alive and not rows else ""
        else:
            state, message = self._ended(id, rows, run, config, complete, damage, bool(rows or reached))
            message = "its report is being made" if alive and state == "finished" else message
        asked = {} if config is not None else self.trainings.asked(id)  # what the folder does not say yet
        source = config.data.source if config is not None else asked.get("data", {}).get("source", "")
        began = known.started if known is not None and config is None else changed(path / "config.json")
        seen = {
            "id": id,
            "name": printable(path.name),
            "recipe": config.recipe if config is not None else asked.get("recipe", ""),
            "source": self.sources.name(source) if source else "",
            "state": state,
            "step": step,
            "steps": steps,
            "seconds_left": seconds_left(rows, steps) if state == "training" else None,
            "started": iso(began),
            "message": message,
            "verdicts": self._verdicts(path, rows),
            "model": None,
            "report": (path / "report" / "report.html").is_file(),
            "samples": len(run.grids()),
            "can": {
                "stop": state == "training",
                "resume": state in ("stopped", "finished") and config is not None,
                "judge": state not in ("training", "stopping") and mark_of(run.model / "model.safetensors") is not None,
            },
        }
        return seen, run

    def _ended(
        self, id: str, rows: list[LogRow], run: Run, config: Config | None, complete: bool, damage: str, begun: bool
    ) -> tuple[RunState, str]:
        """The state of a run that nobody trains, and what there is to say of it; one that is ``begun`` has taken a step."""
        if damage:
            return "failed", printable(damage)
        if complete:
            return "finished", ""
        said = self.trainings.outcome(id) or {}
        known = self.trainings.get(id)
        fresh = known is not None and run.trained_by in (0, known.pid)  # nobody has gone on with it since
        if fresh and isinstance(said.get("error"), str) and said.get("exit_code") != 130:
            return "failed", printable(said["error"])[:1000]
        if rows and rows[-1].get("event") == "gave up":
            return "failed", "its numbers were not finite again and again: train anew with a smaller `optimizer.lr`"
        asked = fresh and ((known is not None and known.stopping) or said.get("exit_code") == 130)
        if asked and not begun:
            return "stopped", "it was stopped before its first step"
        if config is None:
            return "failed", "it ended before its first step" + (f": {told}" if (told := self.trainings.doing(id)) else "")
        if fresh and not said and not asked:
            return "stopped", "its process ended without a word, as one that was killed does: nothing saved is lost, and it can be resumed"
        return "stopped", ""

    def _verdicts(self, path: Path, rows: Iterable[LogRow]) -> list[LogRow]:
        """Those of the report where there is one, and those that the training raised, the last of each name."""
        results = self._cache(path).of("report", path / "report" / "report.json", lambda: json_of(path / "report" / "report.json"))
        found: dict[str, LogRow] = {}
        for row in rows:
            if row.get("event") == "verdict" and isinstance(name := row.get("name"), str):
                found[name] = {"status": row.get("status"), "name": name, "text": row.get("says", ""), "step": row["step"]}
        judged = results.get("verdicts")
        for one in judged if isinstance(judged, list) else ():
            if isinstance(one, dict) and isinstance(one.get("name"), str) and one.get("status") != "NOT APPLICABLE":
                says, name = printable(str(one.get("says", ""))), printable(one["name"])
                found[name] = {"status": str(one.get("status")), "name": name, "text": says, "step": None}
        return list(found.values())

    def _unshelve(self, folder: Path) -> None:
        """Take the model of a run from the shelf, for its weights are about to change."""
        _, id = self._shelved.pop(folder, (None, None))
        with suppress(Refusal):
            for held in self.shelf.models:
                if held.id == id or held.path.resolve() in (folder, folder / "model"):
                    self.shelf.remove(held.id)

    def _model(self, run: Run, resting: bool) -> str | None:
        """The id of its model on the shelf, where it is put once the training rests: weights that change have no id."""
        mark = mark_of(run.model / "model.safetensors")
        before = self._shelved.get(run.folder)
        if mark is None or not resting:
            if before is not None:
                self._unshelve(run.folder)
            return None
        if before is None:  # it may be one of those that were named when the service started
            named = next((held.id for held in self.shelf.models if held.path.resolve() == run.folder), None)
            before = None if named is None else (mark, named)
        if before is None or before[0] != mark:
            if before is not None and before[1] is not None:
                self.shelf.remove(before[1])
            try:
                id: str | None = self.shelf.add(run.folder).id
            except (CalotypeError, OSError):  # a testbed's, or one that is damaged
                id = None
            before = mark, id
        self._shelved[run.folder] = before
        return before[1]


def _unwritable(error: OSError | UserError) -> UserError:
    """That no training can be started, without a path of this machine."""
    reason = getattr(error, "strerror", None) or "they cannot be written"
    return UserError(f"no training can be started here ({reason}): let the service write to its folders of runs and state")
