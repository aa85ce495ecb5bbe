from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from calotype.errors import DamagedError, UserError
from calotype.serve.job_requests import MOST_IMAGES
from calotype.serve.job_store import JobStore, QueuedJob
from calotype.serve.jobs import JobQueue
from calotype.serve.refusal import Refusal
from calotype.serve.work import PIXELS
from calotype.serve.worker import LONGEST, Perform, WorkerProcess
from tests.serve.pieces import perform

SOON = 120.0


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    jobs = started(tmp_path / "jobs", capacity=4, seconds=60)
    yield jobs
    jobs.close()


def started(folder: Path, capacity: int = 64, seconds: float = 3600) -> JobQueue:
    jobs = JobQueue(folder, perform, capacity=capacity, seconds=seconds)
    jobs.start()
    return jobs


def until(holds: Callable[[], object], seconds: float = SOON) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def running(queue: JobQueue, job: str) -> bool:
    return queue.get(job).state == "running" and queue.get(job).done > 0


def worker_of(queue: JobQueue, job: QueuedJob) -> int:
    """The process that sleeps for a job, as it says itself."""
    return int(queue.get(job.id).what.split()[-1])


def test_jobs_are_done_in_their_order_by_one_worker_that_is_no_thread_of_the_service(queue: JobQueue) -> None:
    jobs = [queue.submit("double", {"n": n}) for n in range(4)]
    done = [queue.wait(job.id, SOON) for job in jobs]
    assert [job.state for job in done] == ["done"] * 4
    assert [job.result["twice"] for job in done if job.result] == [0, 2, 4, 6]
    assert len({job.result["pid"] for job in done if job.result} - {os.getpid()}) == 1
    ends = [job.ended for job in done if job.ended]
    assert ends == sorted(ends)


def test_what_goes_wrong_in_a_job_is_one_line(queue: JobQueue) -> None:
    refused, bug, odd = (queue.submit(kind, {}) for kind in ("refuse", "bug", "infinite"))
    assert queue.wait(refused.id, SOON).error == {"message": "`n`: give less", "field": "n", "allowed": "a whole number from 1 to 3"}
    error = queue.wait(bug.id, SOON).error
    assert error is not None
    assert "an error of calotype itself" in error["message"]
    assert "\x1b" not in error["message"]
    assert queue.wait(odd.id, SOON).state == "failed"
    assert queue.wait(queue.submit("noise", {}).id, SOON).result == {"quiet": True}


def test_a_full_queue_refuses_and_says_when_to_ask_again(queue: JobQueue) -> None:
    jobs = [queue.submit("sleep", {"n": n}) for n in range(4)]
    with pytest.raises(Refusal, match="as many jobs wait or run as may, which are 4") as caught:
        queue.submit("double", {"n": 1})
    assert caught.value.status == 429
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 600
    assert [queue.public(job.id)["position"] for job in jobs[1:]] in ([0, 1, 2], [1, 2, 3])
    queue.cancel(jobs[3].id)
    assert queue.get(jobs[3].id).state == "cancelled"
    assert queue.submit("double", {"n": 1}).state == "queued"


def test_who_asks_for_what_waits_or_runs_already_gets_that(queue: JobQueue) -> None:
    runs = queue.submit("sleep", {}, {"of": "one", "page": "a.html"})
    waits = queue.submit("sleep", {}, {"of": "two", "page": "b.html"})
    until(lambda: running(queue, runs.id))
    again = [queue.submit("sleep", {}, {"of": of, "page": "c.html"}) for of in ("one", "two")]
    assert [job.id for job in again] == [runs.id, waits.id]
    assert queue.page(runs.id) == "a.html"
    assert queue.submit("double", {"n": 1}, {"of": "one", "page": "c.html", "n": 1}).id not in (runs.id, waits.id)
    queue.submit("sleep", {}, {"of": "six", "page": "d.html"})
    assert queue.submit("sleep", {}, {"of": "one", "page": "c.html"}).id == runs.id  # also where the queue is full
    with pytest.raises(Refusal, match="as many jobs wait or run as may"):
        queue.submit("sleep", {}, {"of": "ten", "page": "c.html"})
    for job in queue.newest():
        queue.cancel(job["id"])
    until(lambda: queue.get(runs.id).over)
    assert queue.submit("sleep", {}, {"of": "one", "page": "c.html"}).id != runs.id


def test_who_asks_anew_for_what_is_being_called_off_gets_a_new_job(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite3")
    first = store.add("double", {}, {"n": 1}, 9)
    assert first is not None
    same, anew = store.add("double", {}, {"n": 1}, 9), store.add("double", {}, {"n": 1}, 9, ending={first.id})
    assert same == first
    assert anew is not None
    assert anew.id != first.id
    store.close()


def test_a_running_job_is_cancelled_with_all_that_it_started(queue: JobQueue, tmp_path: Path) -> None:
    job = queue.submit("family", {"pid": str(tmp_path / "pid")})
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    queue.cancel(job.id)
    assert queue.wait(job.id, SOON).state == "cancelled"
    until(lambda: not alive(child))
    assert queue.wait(queue.submit("double", {"n": 3}).id, SOON).state == "done"
    assert queue.cancel(job.id).state == "cancelled"
    with pytest.raises(Refusal, match="no such job"):
        queue.cancel("0" * 16)


def alive(pid: int) -> bool:
    """Whether a process is there and not merely not yet buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_job_that_takes_too_long_fails(tmp_path: Path) -> None:
    queue = started(tmp_path, seconds=0.3)
    try:
        job = queue.wait(queue.submit("sleep", {}).id, SOON)
        assert job.state == "failed"
        assert job.error is not None
        assert "took longer" in job.error["message"]
    finally:
        queue.close()


def test_a_job_whose_worker_dies_is_begun_once_more_and_then_lost(queue: JobQueue, tmp_path: Path) -> None:
    once = queue.submit("die", {"tally": str(tmp_path / "a"), "times": 1})
    twice = queue.submit("die", {"tally": str(tmp_path / "b"), "times": 2})
    after = queue.submit("double", {"n": 5})
    assert queue.wait(once.id, SOON).result == {"begun": 2}
    lost = queue.wait(twice.id, SOON)
    assert lost.state == "lost"
    assert lost.error is not None
    assert "died 2 times (it was killed by SIGKILL)" in lost.error["message"]
    assert queue.wait(after.id, SOON).state == "done"


def test_a_worker_killed_from_outside_again_and_again_hangs_nothing(queue: JobQueue) -> None:
    for _ in range(3):
        job = queue.submit("sleep", {"seconds": 60})
        for _ in range(2):
            until(lambda job=job: running(queue, job.id))
            with suppress(ProcessLookupError):
                os.kill(worker_of(queue, job), signal.SIGKILL)
            until(lambda job=job: not running(queue, job.id))
        assert queue.wait(job.id, SOON).state == "lost"
    assert queue.wait(queue.submit("double", {"n": 1}).id, SOON).state == "done"


def test_a_queue_that_is_closed_goes_on_where_it_was(tmp_path: Path) -> None:
    queue = started(tmp_path)
    first, second = queue.submit("sleep", {"seconds": 0.3}), queue.submit("double", {"n": 4})
    until(lambda: running(queue, first.id))
    pid = worker_of(queue, first)
    with pytest.raises(UserError, match="another service uses"):
        JobQueue(tmp_path, perform)
    queue.close()
    assert not alive(pid)
    again = started(tmp_path)
    try:
        assert again.wait(first.id, SOON).state == "done"
        assert again.get(first.id).attempts == 1
        assert again.wait(second.id, SOON).result is not None
    finally:
        again.close()


def test_what_ran_when_the_service_died_is_marked_and_what_waited_goes_on(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite3")
    ran, waits = store.add("double", {"n": 1}, {"n": 1}, 9), store.add("double", {"n": 2}, {"n": 2}, 9)
    assert ran is not None
    assert waits is not None
    claimed = store.claim()
    assert claimed is not None
    assert claimed.id == ran.id
    store.close()  # as a kill does
    queue = started(tmp_path)
    try:
        assert queue.get(ran.id).state == "lost"
        assert queue.wait(waits.id, SOON).result is not None
        assert queue.counts() == {"lost": 1, "done": 1}
    finally:
        queue.close()


def test_a_full_disk_and_a_process_that_cannot_be_started_end_no_queue(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [sqlite3.OperationalError("database or disk is full"), OSError("no more processes")]
    claim, worker = queue._store.claim, WorkerProcess

    def claimed() -> QueuedJob | None:
        if failures and isinstance(failures[0], sqlite3.Error):
            raise failures.pop(0)
        return claim()

    def begun(perform: Perform) -> WorkerProcess:
        if failures:
            raise failures.pop(0)
        return worker(perform)

    monkeypatch.setattr(queue._store, "claim", claimed)
    monkeypatch.setattr("calotype.serve.jobs.WorkerProcess", begun)
    first, second = queue.submit("double", {"n": 1}), queue.submit("double", {"n": 2})
    failed = queue.wait(first.id, SOON)
    assert failed.state == "failed"
    assert failed.error is not None
    assert "no more processes" in failed.error["message"]
    assert queue.wait(second.id, SOON).state == "done"


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite3").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(DamagedError, match="move it away"):
        JobStore(tmp_path / "jobs.sqlite3")


def test_old_jobs_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.serve.job_store.KEPT", 3)
    store = JobStore(tmp_path / "jobs.sqlite3")
    for n in range(6):
        job = store.add("double", {"n": n}, {}, 9)
        assert job is not None
        assert store.end(job.id, "done", result={"n": n})
        assert not store.end(job.id, "failed")
    assert [job.request["n"] for job in store.newest(9)] == [5, 4, 3, 2]
    store.close()


def test_uploads_are_read_by_whoever_works_on_them_alone_and_go_with_the_end(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite3")
    upload, page, other = {"image": "A" * 100_000}, {"page": "x.html"}, {"image": "B" * 100_000}
    jobs = [store.add("restore", {}, given, 9) for given in (upload, page, other)]
    ids = [job.id for job in jobs if job is not None]
    assert [job.payload for job in (*store.newest(9), *(store.get(id) for id in ids)) if job] == [{}] * 6
    claimed = store.claim()
    assert claimed is not None
    assert claimed.payload == store.payload(ids[0]) == upload
    assert store.end(ids[0], "done", result={})
    assert store.end(ids[1], "done", result={})
    assert store.cancel_waiting(ids[2])
    assert [store.payload(id) for id in ids] == [{}, page, {}]
    assert store.done("restore", page) is not None
    store.close()


def test_a_job_that_goes_back_to_the_queue_while_it_is_cancelled_is_cancelled(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requeue = queue._store.requeue

    def meanwhile(job: str, *, uncounted: bool = False) -> None:
        queue.cancel(job)
        requeue(job, uncounted=uncounted)

    monkeypatch.setattr(queue._store, "requeue", meanwhile)
    job = queue.submit("die", {"tally": str(tmp_path / "a"), "times": 1})
    assert queue.wait(job.id, SOON).state == "cancelled"
    assert not queue._cancelled


def test_a_worker_ends_when_the_service_says_so_and_not_by_a_ctrl_c(queue: JobQueue) -> None:
    job = queue.submit("sleep", {"seconds": 1})
    until(lambda: running(queue, job.id))
    pid = worker_of(queue, job)
    os.kill(pid, signal.SIGINT)
    assert queue.wait(job.id, SOON).attempts == 1
    assert queue.get(job.id).state == "done"
    after = queue.wait(queue.submit("double", {"n": 1}).id, SOON).result
    assert after is not None
    assert after["pid"] == pid


def test_noise_of_as_many_pixels_as_a_job_may_draw_fits_a_line() -> None:
    each = (LONGEST - PIXELS * 3 * 4 / 3) / MOST_IMAGES  # bytes that are left for what each image says of itself
    assert each > 4096
