from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from calotype.engine.log import Log
from calotype.errors import SettingError
from calotype.serve.events import RunFollower, ServerEvent, Streams
from calotype.serve.processes import born
from calotype.serve.refusal import ConflictError, FullError, UnknownError
from calotype.serve.routes_runs import looked_at
from calotype.serve.run_files import seconds_left, thinned
from calotype.serve.settings import Settings
from calotype.serve.sources import Sources
from calotype.serve.state import State
from calotype.serve.trainings import SLACK, TrainingProcess, Trainings
from calotype.serve.wanted import configuration
from calotype.serve.work import perform
from tests.serve.on_a_socket import service, tiny_run, until

SMALL = {"model.generator.width": 8, "model.discriminator.width": 8, "train.batch": 8, "train.threads": 1, "log.every": 1, "log.grid": 4}
HOSTILE = ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "C:%5Cwindows", "%00", "0" * 11, "g" * 12, "\u202e", "0" * 12]

Service = tuple[httpx.Client, State]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    run = tiny_run(folder / "runs" / "gan-digits-0001")
    odd = folder / "runs" / "<img src=x onerror=alert(1)>\x1b[2K"
    shutil.copytree(run.folder, odd)
    (odd / "log.jsonl").write_text("".join(json.dumps({"step": step, "generator/loss": 1.0}) + "\n" for step in range(1, 5)))
    settings = Settings(runs=folder / "runs", state=folder / "state", trainings=1, streams=3)
    with service(settings) as found:
        yield found
        for training in found[1].runs.trainings.known().values():
            with suppress(OSError):
                os.killpg(training.pid, signal.SIGKILL)


def the_run(served: Service, name: str = "gan-digits-0001") -> dict[str, Any]:
    return next(run for run in served[0].get("/v1/runs").json()["runs"] if run["name"] == name)


def test_a_run_of_the_folder_is_seen_with_all_that_it_holds(served: Service) -> None:
    client, _ = served
    run = the_run(served)
    assert re.fullmatch("[0-9a-f]{12}", run["id"])
    assert (run["state"], run["step"], run["steps"], run["recipe"], run["source"]) == ("finished", 4, 4, "gan", "mnist5k")
    assert run["can"] == {"stop": False, "resume": True, "judge": True}
    assert run["model"] in [model["id"] for model in client.get("/v1/models").json()["models"]]
    whole = client.get(f"/v1/runs/{run['id']}").json()
    assert whole["config"]["train"]["batch"] == 8
    rows = client.get(f"/v1/runs/{run['id']}/log").json()["rows"]
    assert [row["step"] for row in rows] == [2, 4]
    assert [row["step"] for row in client.get(f"/v1/runs/{run['id']}/log?after=2").json()["rows"]] == [4]
    samples = client.get(f"/v1/runs/{run['id']}/samples").json()["samples"]
    assert [one["step"] for one in samples] == [2, 4]
    picture = client.get(f"/v1/runs/{run['id']}/samples/{samples[-1]['n']}")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert client.get(f"/v1/runs/{run['id']}/samples/3").status_code == 404


@pytest.mark.parametrize("id", HOSTILE)
def test_an_id_that_is_none_leads_nowhere(served: Service, id: str) -> None:
    for path in (f"/v1/runs/{id}", f"/v1/runs/{id}/log", f"/v1/runs/{id}/samples/1", f"/v1/runs/{id}/report", f"/v1/runs/{id}/events"):
        answer = served[0].get(path)
        assert answer.status_code in (404, 422), path
        assert set(answer.json()["error"]) == {"message", "field", "allowed"}
    assert served[0].post(f"/v1/runs/{id}/stop", json={}).status_code in (404, 422)


def test_names_from_outside_hold_nothing_that_a_page_or_a_terminal_obeys(served: Service) -> None:
    odd = next(run for run in served[0].get("/v1/runs").json()["runs"] if run["name"].startswith("<img"))
    assert "\x1b" not in odd["name"]
    assert odd["id"] not in odd["name"]


def test_the_page_of_a_report_can_do_nothing_but_be_seen_and_links_are_not_followed(served: Service, tmp_path: Path) -> None:
    client, state = served
    run = the_run(served)
    folder = state.runs.run(run["id"]).folder
    assert client.get(f"/v1/runs/{run['id']}/report").status_code == 404
    (folder / "report").mkdir()
    (folder / "report" / "report.html").write_text("<script>alert(1)</script>")
    page = client.get(f"/v1/runs/{run['id']}/report")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "frame-ancestors 'self'" in policy
    (folder / "report" / "report.html").unlink()
    (tmp_path / "secret").write_text("secret")
    (folder / "report" / "report.html").symlink_to(tmp_path / "secret")
    (folder / "samples" / "step-000000009.png").symlink_to(tmp_path / "secret")
    assert client.get(f"/v1/runs/{run['id']}/report").status_code == 404
    assert client.get(f"/v1/runs/{run['id']}/samples/9").status_code == 404
    shutil.rmtree(folder / "report")
    (folder / "samples" / "step-000000009.png").unlink()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"recipe": "nonesuch"}, "recipe"),
        ({"settings": {"train.batch": 0}}, "train.batch"),
        ({"settings": {"train.batch": "32"}}, "train.batch"),
        ({"settings": {"train.bach": 4}}, "train.bach"),
        ({"settings": {"__class__.x": 4}}, "__class__.x"),
        ({"settings": {"data": 4}}, "data"),
        ({"settings": {"data.source": "/etc"}}, "data.source"),
        ({"settings": {"train.device": "cuda:/x"}}, "train.device"),
        ({"settings": {"data.degrade": "nonesuch:9"}}, "data.degrade"),
        ({"settings": {"train.steps": 5}}, "minutes"),
        ({"minutes": 100_000}, "train.minutes"),
    ],
)
def test_what_a_training_cannot_be_is_told_by_its_setting(served: Service, change: dict[str, Any], field: str) -> None:
    answer = served[0].post("/v1/runs", json={"recipe": "gan", "source": "mnist5k", "settings": {}, "minutes": 1} | change)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field


@pytest.mark.parametrize("settings", [{"data.partner": "/etc"}, {"data.partner": "classes:/etc"}, {"train.start": "../../etc"}])
def test_no_setting_is_a_path(served: Service, settings: dict[str, Any]) -> None:
    answer = served[0].post("/v1/runs", json={"recipe": "cyclegan", "source": "mnist5k", "settings": settings, "minutes": 1})
    assert answer.status_code == 404
    assert served[0].post("/v1/runs", json={"recipe": "gan", "source": "/etc", "minutes": 1}).status_code == 404


def test_every_setting_that_is_free_text_is_known_to_be_no_path() -> None:
    from dataclasses import fields, is_dataclass
    from typing import get_type_hints

    from calotype.config import Config
    from calotype.recipes import RECIPES
    from calotype.settings import takes

    free: set[str] = set()

    def walk(thing: Any, prefix: str) -> None:
        hints = get_type_hints(type(thing), include_extras=True)
        for one in fields(thing):
            value = getattr(thing, one.name)
            if is_dataclass(value):
                walk(value, f"{prefix}{one.name}.")
            elif "str" in repr(hints[one.name]) and not takes(hints[one.name]) and "Literal" not in repr(hints[one.name]):
                free.add(prefix + one.name)

    configs: list[Config] = [make() for make in RECIPES.values()]
    for config in configs:
        walk(config, "")
    assert free == {"recipe", "reasons", "data.source", "data.degrade", "data.partner", "train.start", "train.device"}


def test_sources_are_known_by_name_alone(tmp_path: Path) -> None:
    sources = Sources({"birds": tmp_path})
    assert sources.place("birds") == str(tmp_path)
    assert sources.name(str(tmp_path)) == "birds"
    assert str(tmp_path) not in json.dumps(sources.listed)
    with pytest.raises(UnknownError):
        sources.place(str(tmp_path))
    config = configuration("cyclegan", "birds", {"data.partner": "birds"}, 1.0, sources, str, 10.0)
    assert config.data.partner == config.data.source == str(tmp_path)
    with pytest.raises(SettingError, match="both say how long"):
        configuration("gan", "birds", {"train.steps": 3}, 1.0, sources, str, 10.0)


def test_a_training_is_started_followed_stopped_and_resumed(served: Service) -> None:
    client, state = served
    asked = {"recipe": "gan", "source": "mnist5k", "settings": {**SMALL, "train.steps": 100_000, "log.checkpoints": 50}}
    begun = client.post("/v1/runs", json=asked)
    assert begun.status_code == 202
    run = begun.json()["run"]
    assert (run["state"], run["recipe"], run["source"], run["can"]["stop"]) == ("training", "gan", "mnist5k", True)
    full = client.post("/v1/runs", json=asked)
    assert full.status_code == 429
    assert int(full.headers["retry-after"]) > 0
    seen: list[tuple[str, dict[str, Any]]] = []
    with client.stream("GET", f"/v1/runs/{run['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for name, data in events(stream):
            seen.append((name, data))
            lasts = any(data["seconds_left"] for name, data in seen if name == "state")  # known after the first looks at its pace
            if lasts and sum(name == "log" for name, _ in seen) >= 60:
                break
    steps = [data["step"] for name, data in seen if name == "log"]
    assert steps == list(range(1, len(steps) + 1))
    until(lambda: state.streams.open == 0)
    trainer = state.runs.run(run["id"]).trainer
    assert trainer is not None
    assert os.getpgid(trainer) == trainer != os.getpgid(0)  # no signal to the service reaches it
    assert client.post(f"/v1/runs/{run['id']}/resume", json={}).status_code == 409
    stopped = client.post(f"/v1/runs/{run['id']}/stop", json={})
    assert stopped.status_code == 202
    assert stopped.json()["run"]["state"] in ("stopping", "stopped")
    found = until(lambda: (now := the_run(served, run["name"]))["state"] == "stopped" and now)
    assert found["step"] >= 60
    assert found["can"]["resume"]
    assert found["model"]
    until(lambda: not state.runs.trainings.known()[run["id"]].alive)
    outcome = state.runs.trainings.outcome(run["id"])
    assert outcome is not None
    assert outcome["complete"] is False
    assert client.post(f"/v1/runs/{run['id']}/stop", json={}).status_code == 409
    last = Log(state.runs.run(run["id"]).folder / "log.jsonl").read()[-1]["step"]
    assert client.post(f"/v1/runs/{run['id']}/resume", json={"minutes": 1e6}).status_code == 400
    resumed = client.post(f"/v1/runs/{run['id']}/resume", json={"minutes": 0.001})
    assert resumed.status_code == 202
    done = until(lambda: (now := the_run(served, run["name"]))["state"] == "finished" and now)
    assert last < done["step"] < 100_000
    both = [run["id"], the_run(served)["id"]]
    compared = client.get("/v1/compare", params={"run": both}).json()
    assert [one["id"] for one in compared["runs"]] == both
    assert {"name": "log.every", "values": [1, 2]} in compared["settings"]
    assert len(compared["logs"][both[1]]) == 2
    assert client.get("/v1/compare", params={"run": [both[0], both[0]]}).status_code == 400


def events(stream: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in stream.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_process_that_failed_or_was_killed_is_told(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    client, state = served
    run = the_run(served, "gan-digits-0001")
    folder, trainings = state.runs.run(run["id"]).folder, state.runs.trainings
    facts = json.loads((folder / "config.json").read_text())
    facts["resolved"]["steps"] = 9
    before = (folder / "config.json").read_text()
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / ".lock").unlink()
    record = {"run": str(folder), "pid": 2**22, "born": "1", "started": 1.0, "stopping": False}
    (trainings.folder / f"{run['id']}.json").write_text(json.dumps(record))
    known = Trainings(trainings.folder, 1).known()  # as the next service finds it
    monkeypatch.setattr(trainings, "_known", known)
    killed = client.get(f"/v1/runs/{run['id']}").json()
    assert killed["state"] == "stopped"
    assert "ended without a word" in killed["message"]
    (trainings.folder / f"{run['id']}.out").write_text(json.dumps({"error": "the disk is full\x1b", "exit_code": 1}) + "\n")
    failed = client.get(f"/v1/runs/{run['id']}").json()
    assert (failed["state"], failed["message"]) == ("failed", "the disk is full\ufffd")
    (folder / "config.json").write_text("{")
    assert client.get(f"/v1/runs/{run['id']}").json()["state"] == "failed"
    (folder / "config.json").write_text(before)
    trainings.forget(run["id"])
    assert client.get(f"/v1/runs/{run['id']}").json()["state"] == "finished"


def test_a_training_that_was_stopped_before_its_first_step_has_not_failed(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    client, state = served
    assert state.runs.folder is not None
    words = "import sys, time; print('reading images 20/20 done', file=sys.stderr, flush=True); time.sleep(60)"
    monkeypatch.setattr("calotype.serve.trainings.command", lambda *_: [sys.executable, "-c", words])
    monkeypatch.setattr(state.runs.trainings, "require_room", lambda: None)
    for told in (True, False):
        run = client.post("/v1/runs", json={"recipe": "gan", "source": "mnist5k", "settings": SMALL, "minutes": 1.0}).json()["run"]
        until(lambda run=run: state.runs.trainings.doing(run["id"]))
        process = state.runs.trainings.known()[run["id"]]
        if told:
            assert client.post(f"/v1/runs/{run['id']}/stop", json={}).json()["run"]["state"] in ("stopping", "stopped")
        else:
            os.kill(process.pid, signal.SIGKILL)
        until(lambda process=process: not process.alive)
        ended = client.get(f"/v1/runs/{run['id']}").json()
        said = "it was stopped before its first step" if told else "it ended before its first step: reading images 20/20 done"
        assert (ended["state"], ended["message"]) == ("stopped" if told else "failed", said)
        assert ended["can"] == {"stop": False, "resume": False, "judge": False}
        shutil.rmtree(state.runs.folder / run["name"])
        state.runs.trainings.forget(run["id"])


def test_a_source_is_looked_at_again_only_where_it_changed(tmp_path: Path) -> None:
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "one.png").write_bytes(b"one")
    with service(Settings(state=tmp_path / "state", sources={"birds": tmp_path / "birds"}, log="none")) as (_, state):
        before = looked_at(state, "birds")
        assert before == looked_at(state, "birds")
        assert before["version"]
        (tmp_path / "birds" / "one.png").write_bytes(b"other")
        assert looked_at(state, "birds") != before
        shutil.rmtree(tmp_path / "birds")
        assert looked_at(state, "birds")["version"] == ""  # so that it is looked at, and the job says what is wrong


def test_a_training_that_takes_too_long_is_told_to_end_and_yields_to_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.serve.trainings.command", lambda *words: [sys.executable, "-c", "import time; time.sleep(60)"])
    trainings = Trainings(tmp_path / "trainings", 1, minutes=1.0)
    run = tmp_path / "run"
    run.mkdir()
    begun = trainings.begin("a" * 12, run, {})
    assert os.getpriority(os.PRIO_PROCESS, begun.pid) > os.getpriority(os.PRIO_PROCESS, 0)
    trainings.end_overdue()
    assert begun.alive
    late = replace(begun, started=begun.started - 60 - SLACK)
    monkeypatch.setitem(trainings._known, "a" * 12, late)
    trainings.end_overdue()
    until(lambda: not begun.alive)
    assert trainings.known()["a" * 12].stopping
    trainings.close()
    (trainings.folder / "stray.out").write_text("")
    assert Trainings(trainings.folder, 1).known()
    assert not (trainings.folder / "stray.out").exists()
    run.rmdir()
    assert not Trainings(trainings.folder, 1).known()
    assert not list(trainings.folder.iterdir())


def test_a_folder_that_cannot_be_written_is_said_without_its_place(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret")

    client, state = served
    monkeypatch.setattr(state.runs.trainings, "require_room", lambda: None)
    monkeypatch.setattr(state.runs.trainings, "begin", full)
    answer = client.post("/v1/runs", json={"recipe": "gan", "source": "mnist5k", "settings": SMALL, "minutes": 1.0})
    assert answer.status_code == 400
    assert "No space left" in answer.json()["error"]["message"]
    assert "secret" not in answer.text


def test_a_run_that_goes_on_is_off_the_shelf_and_its_weights_are_checked_in_a_job(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    client, state = served
    run = the_run(served)
    held = state.shelf[run["model"]]
    job = {"request": {"n": 1}, "path": str(held.path), "sha256": held.facts["sha256"], "device": "cpu"}
    assert perform("sample", job, lambda *_: None)["images"]
    with pytest.raises(ConflictError, match="other weights"):
        perform("sample", job | {"sha256": "0" * 64}, lambda *_: None)
    state.runs._unshelve(held.path)
    assert held.id not in [one.id for one in state.shelf.models]
    assert client.get(f"/v1/runs/{run['id']}").json()["model"] == held.id
    own = TrainingProcess(str(held.path), os.getpid(), born(os.getpid()), time.time() + 1)
    monkeypatch.setitem(state.runs.trainings._known, run["id"], own)
    assert client.get(f"/v1/runs/{run['id']}").json()["model"] is None
    assert held.id not in [one.id for one in state.shelf.models]


class FakeRuns:
    """Runs whose log is a list."""

    def __init__(self) -> None:
        self.log: list[dict[str, Any]] = []

    def view(self, id: str) -> dict[str, Any]:
        return {"id": id, "state": "training"}

    def rows(self, id: str) -> list[dict[str, Any]]:
        return self.log


def test_whoever_follows_hears_of_every_row_once_and_of_those_that_are_taken_back() -> None:
    runs: Any = FakeRuns()
    follower = RunFollower(runs, "a", 1)

    def heard() -> list[tuple[Any, ...]]:
        found, last = follower.look()
        assert not last
        return [(one.name, one.data.get("event", one.data.get("step")), one.data.get("to")) for one in found]

    runs.log = [{"step": 1}, {"step": 2}]
    assert heard() == [("log", 2, None), ("state", None, None)]
    assert heard() == []
    runs.log = [*runs.log, {"step": 3}, {"event": "verdict", "step": 3, "name": "n", "status": "WARN", "says": "s"}]
    assert heard() == [("log", 3, None), ("log", "verdict", None), ("verdict", 3, None)]
    runs.log = [{"step": 1}, {"step": 2}, {"step": 3}]
    assert heard() == [("log", "rewind", 3)]
    runs.log = [{"step": 1}, {"event": "rollback", "step": 3, "to": 1}]
    assert heard() == [("log", "rollback", 1)]
    runs.log = [{"step": 1}, {"event": "rollback", "step": 3, "to": 1}, {"step": 2}]
    assert heard() == [("log", 2, None)]


def test_an_event_is_one_block_whatever_it_says() -> None:
    text = ServerEvent("log", {"says": "a\n\ndata: b\u2028"}, 7).text
    assert text.count("\n\n") == 1
    assert text.startswith("event: log\nid: 7\ndata: ")


def test_streams_are_bounded() -> None:
    streams = Streams(0)
    with pytest.raises(FullError):
        streams.response(lambda: ([], True))


def test_long_logs_are_thinned_without_losing_an_event_or_the_last_row() -> None:
    rows: list[dict[str, Any]] = [{"step": step} for step in range(1, 101)]
    rows.insert(50, {"event": "verdict", "step": 50})
    kept = thinned(rows, 10)
    assert len(kept) < 15
    assert rows[50] in kept
    assert kept[-1] == rows[-1]
    assert thinned(rows, 1000) is rows


def test_the_time_that_is_left_is_that_of_the_last_rows() -> None:
    rows = [{"step": 10 * at, "seconds": 100.0 if at < 2 else 100.0 + at} for at in range(1, 9)]
    assert seconds_left(rows, 100) == pytest.approx(2.0)
    assert seconds_left(rows[:1], 20) == pytest.approx(100.0)
    assert seconds_left([], 20) is None
    assert seconds_left(rows, None) is None
