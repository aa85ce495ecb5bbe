"""Trainings as processes of their own: they go on when the service ends, and it finds them again when it starts."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from calotype.errors import DamagedError, printable
from calotype.files import read_bytes, read_json, write_json
from calotype.serve.processes import ProcessIdentity, command, environment, give_way, identity
from calotype.serve.refusal import ConflictError, FullError

OUTPUT = 1 << 20  # bytes that are read of what a training prints
LOOK = 30.0  # seconds between two looks at whether a training takes too long
SLACK = 600.0  # seconds for what comes before the first step and after the last
KEPT = 200  # trainings that ended, of which the oldest are forgotten first
RETRY = 30  # seconds after which to ask again where all trainings that may run do


@dataclass(frozen=True)
class TrainingProcess:
    """A process that trains, or did."""

    run: str  # its folder
    pid: int
    born: str
    started: float  # seconds since 1970
    stopping: bool = False  # whether it was told to end

    @property
    def alive(self) -> bool:
        """Whether it is there."""
        return ProcessIdentity(self.pid, self.born).alive


class Trainings:
    """The trainings that a service started, now or in an earlier life, by the ids of their runs.

    Args:
        folder: Where it keeps who they are and what they say.
        most: That may run at once.
        minutes: That one may take, whatever its budget is; one that takes longer is told to end in order.
    """

    def __init__(self, folder: Path, most: int, minutes: float = math.inf) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.most, self.minutes = folder, most, minutes
        self._lock = threading.Lock()
        self._known = {path.stem: one for path in sorted(folder.glob("*.json")) if (one := _read(path)) is not None}
        self._closed = threading.Event()
        self._prune()
        if minutes < math.inf:
            threading.Thread(target=self._limit, name="trainings", daemon=True).start()

    def close(self) -> None:
        """Look no longer at how long they take; they go on."""
        self._closed.set()

    def end_overdue(self) -> None:
        """Tell those to end that take longer than they may."""
        for id, one in self.known().items():
            if one.alive and not one.stopping and time.time() - one.started > self.minutes * 60 + SLACK:
                with suppress(OSError, ConflictError):
                    self.stop(id, Path(one.run), None)

    def require_room(self) -> None:
        """Raise `FullError` where as many run as may."""
        running = sum(one.alive for one in self.known().values())
        if running >= self.most:
            raise FullError(f"{running} trainings run already, and {self.most} may: stop one, or wait for it", RETRY)

    def begin(self, id: str, run: Path, config: Mapping[str, Any]) -> TrainingProcess:
        """Start a training of ``config`` into ``run``, a folder that is empty. Raises `FullError`."""
        settings = self.folder / f"{id}.config.json"
        with self._lock:
            self.require_room()
            self._prune()
            write_json(settings, config)
            return self._start(id, run, ["train", "--config", str(settings), "--out", str(run)])

    def go_on(self, id: str, run: Path, more: float | None) -> TrainingProcess:
        """Resume a run, by ``more`` minutes where they are given. Raises `ConflictError` where it is being trained, `FullError`."""
        with self._lock:
            known = self.get(id)
            if known is not None and known.alive:
                raise ConflictError("this run is being trained already: stop it first", "id")
            self.require_room()
            words = [] if more is None else ["--more-minutes", str(more)]
            return self._start(id, run, ["train", "--resume", str(run), *words])

    def stop(self, id: str, run: Path, trainer: int | None) -> None:
        """Tell a training to end in order, once; ``trainer`` is the process that holds the run, where one does.

        Raises:
            ConflictError: where there is nothing to stop, or where it is a process of somebody else.
        """
        with self._lock:
            known = self.get(id)
            if known is None or not known.alive:
                if not trainer:
                    raise ConflictError("this run is not being trained", "id")
                found = identity(trainer)
                known = TrainingProcess(str(run), found.pid, found.born, time.time())
            if known.stopping and known.alive:
                return
            try:
                os.kill(known.pid, signal.SIGTERM)
            except OSError as error:
                raise ConflictError(f"its process cannot be stopped ({error.strerror})", "id") from None
            self._keep(id, replace(known, stopping=True))

    def get(self, id: str) -> TrainingProcess | None:
        """The newest process of a run, be it gone; None where none is known."""
        return self._known.get(id)

    def known(self) -> dict[str, TrainingProcess]:
        """All of them, by the ids of their runs."""
        return dict(self._known)

    def outcome(self, id: str) -> dict[str, Any] | None:
        """What the newest process of a run printed at its end: what `calotype train` says as JSON; None where it said nothing."""
        try:
            lines = read_bytes(self.folder / f"{id}.out", OUTPUT).splitlines()
            said = json.loads(lines[-1])
        except (OSError, ValueError, IndexError):
            return None
        return said if isinstance(said, dict) else None

    def asked(self, id: str) -> dict[str, Any]:
        """The configuration that a training was started with here; empty where none was."""
        with suppress(DamagedError):
            return read_json(self.folder / f"{id}.config.json")
        return {}

    def doing(self, id: str) -> str:
        """The last line of what a training tells people: what it does before its first step, and its last words."""
        with suppress(OSError, ValueError):
            lines = [line for line in read_bytes(self.folder / f"{id}.err", OUTPUT).decode(errors="replace").splitlines() if line.strip()]
            return printable(lines[-1])[:300] if lines else ""
        return ""

    def forget(self, id: str) -> None:
        """Remove all that is kept of a run."""
        self._known.pop(id, None)
        self._remove(id)

    def _limit(self) -> None:
        while not self._closed.wait(LOOK):
            self.end_overdue()

    def _prune(self) -> None:
        """Forget trainings whose runs are gone, the oldest that ended, and files that belong to none."""
        ended = sorted((one.started, id) for id, one in self.known().items() if not one.alive)
        for place, (_, id) in enumerate(reversed(ended)):
            if place >= KEPT or not Path(self._known[id].run).is_dir():
                self.forget(id)
        for id in {path.name.partition(".")[0] for path in self.folder.iterdir()} - self._known.keys():
            self._remove(id)

    def _remove(self, id: str) -> None:
        for suffix in (".json", ".config.json", ".out", ".err"):
            (self.folder / f"{id}{suffix}").unlink(missing_ok=True)

    def _start(self, id: str, run: Path, words: Sequence[str]) -> TrainingProcess:
        with open(self.folder / f"{id}.out", "wb") as out, open(self.folder / f"{id}.err", "wb") as said:
            process = subprocess.Popen(
                command("calotype", *words, "--json"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=said,
                cwd=self.folder,
                start_new_session=True,  # neither a Ctrl-C at the service nor its end reaches it
                env=environment(),
            )
        threading.Thread(target=process.wait, name="training", daemon=True).start()  # it is buried as soon as it ends
        give_way(process.pid)
        found = identity(process.pid)
        training = TrainingProcess(str(run), found.pid, found.born, time.time())
        self._keep(id, training)
        return training

    def _keep(self, id: str, training: TrainingProcess) -> None:
        write_json(self.folder / f"{id}.json", asdict(training))
        self._known[id] = training


def _read(path: Path) -> TrainingProcess | None:
    """What an earlier service wrote of a training; None for every other file."""
    with suppress(DamagedError, TypeError):
        return TrainingProcess(**read_json(path))
    return None
