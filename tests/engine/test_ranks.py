"""Two processes train together; what each found is in ranks.py, which they ran."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from calotype.engine.device import take_device
from calotype.engine.display import Terminal
from calotype.engine.train import resume
from calotype.errors import UserError
from tests.engine.ranks import BUDGETED, BUDGETS, FAMILIES, SCENES

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
every_family = pytest.mark.parametrize("name", FAMILIES)
Pair = tuple[dict[str, Any], dict[str, Any]]


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start(words: list[str], folder: Path) -> list[subprocess.Popen[str]]:
    """Two processes with the variables of torchrun, but nobody who looks after them."""
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    common |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "CALOTYPE_CACHE": str(folder / "cache")}
    return [
        subprocess.Popen(
            [sys.executable, *words],
            env={**common, "RANK": rank, "LOCAL_RANK": rank},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """What both processes found; where pytest runs tests by several workers, one of them starts the two and the others wait."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "two"
    folder.mkdir(exist_ok=True)
    import fcntl  # which Windows has not, and where these tests are left out

    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "1.pt").exists():
            together_in(folder)
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2))
    return first, second


def together_in(folder: Path) -> None:
    both = start(["-m", "tests.engine.ranks", str(folder), *(free_port() for _ in SCENES)], folder)
    try:
        said = [process.communicate(timeout=900) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], said


@every_family
def test_gradients_are_those_of_one_process_with_both_parts(pair: Pair, name: str) -> None:
    far = pair[0][name]["far"]
    assert far == pair[1][name]["far"]
    assert max(far.values()) < 1e-6
    assert all(gap < 1e-6 for gap in pair[0][name]["buffers"].values())


@every_family
def test_all_state_and_all_that_is_logged_agree(pair: Pair, name: str) -> None:
    first, second = (found[name] for found in pair)
    assert [tensor for tensor, digest in first["state"].items() if second["state"][tensor] != digest] == []
    assert first["log"] == second["log"]
    assert first["log"]


@pytest.mark.parametrize("name", BUDGETED)
@pytest.mark.parametrize("budget", BUDGETS)
def test_every_budget_comes_to_an_end_after_the_same_step(pair: Pair, name: str, budget: str) -> None:
    step, steps, complete = pair[0][name][budget]
    assert (step, steps, complete) == pair[1][name][budget]
    assert complete
    assert step == steps >= 1


@pytest.mark.parametrize("kind", ["ActNorm", "Histogram"])
def test_what_the_first_batch_sets_is_set_by_all_of_it(pair: Pair, kind: str) -> None:
    for found in pair:
        ours, alone = found["set"][kind]
        assert torch.allclose(ours, alone, atol=1e-5)
    assert torch.equal(pair[0]["set"][kind][0], pair[1]["set"][kind][0])


def test_the_clock_of_the_first_alone_makes_steps_of_minutes(pair: Pair) -> None:
    assert pair[0]["timed"] == pair[1]["timed"] == ("", 0, (18, 18))


@pytest.mark.parametrize(
    ("scene", "speaks", "kind", "code", "words"),
    [
        ("no_place", 0, "UserError", 2, "not empty"),
        ("no_space", 0, "OSError", 1, "No space"),
        ("no_score", 0, "OSError", 1, "No space"),
        ("no_memory", 1, "CalotypeError", 1, "not enough memory"),
    ],
)
def test_where_one_fails_all_end_and_one_speaks(pair: Pair, scene: str, speaks: int, kind: str, code: int, words: str) -> None:
    assert pair[speaks][scene][:2] == (kind, code)
    assert words in pair[speaks][scene][2]
    assert pair[1 - speaks][scene][:2] == ("ElsewhereError", code)


def test_different_images_are_refused_by_one_of_them(pair: Pair) -> None:
    ends = sorted(found["other_images"] for found in pair)
    assert [end[:2] for end in ends] == [("ElsewhereError", 2), ("UserError", 2)]
    assert "2 different sets of images" in ends[1][2]


def test_a_number_that_one_finds_not_finite_sends_both_back(pair: Pair) -> None:
    (kind, _, (step, states)), other = pair[0]["not_finite"], pair[1]["not_finite"]
    assert (kind, step, len(states)) == ("", 6, 1)
    assert other == ("", 0, (step, states))


DIES = """
import os, signal, sys
os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # as main does before PyTorch is imported, which here is too late
from calotype.cli import main
from calotype.engine import peers
from calotype.engine.trainer import Trainer
peers.BEAT, peers.SILENT, peers.GRACE, peers.FAREWELL = 0.1, 100, 1.0, 0.5
step = Trainer.step
def stepped(trainer, watch=False):
    log = step(trainer, watch)
    if trainer.progress.step == 5 and os.environ["RANK"] == sys.argv[2]:
        os.kill(os.getpid(), int(sys.argv[1]))
    return log
Trainer.step = stepped
words = "train gan --steps 8 --log.checkpoints 2 --model.generator.width 16 --model.discriminator.width 16"
words += " --train.batch 8 --device cpu --report False --out run"
sys.exit(main(words.split()))
"""


@pytest.mark.parametrize(("number", "victim"), [(signal.SIGKILL, 0), (signal.SIGKILL, 1), (signal.SIGSTOP, 1)])
def test_where_one_dies_or_freezes_the_other_ends_and_the_run_goes_on(tmp_path: Path, number: int, victim: int) -> None:
    """Nobody but the other process itself notices: these two were started by hand."""
    both = start(["-c", DIES, str(int(number)), str(victim)], tmp_path)
    try:
        said, errors = both[1 - victim].communicate(timeout=300)
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert both[1 - victim].returncode == 1, errors
    assert said == ""
    complaints = [line for line in errors.splitlines() if not re.match(r"run |training ", line)]
    assert len(complaints) == 1
    assert re.match(r"calotype: (a process|process 1) of this training ended without a word", complaints[0])
    told = io.StringIO()
    assert resume(tmp_path / "run", display=Terminal(told)).complete
    assert "the number of processes was 2 and is 1 from here on" in told.getvalue()
    assert "at step 4 of 8" in told.getvalue()


def test_each_of_several_processes_takes_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert take_device("auto", 1, 2).type == "cpu"
    with pytest.raises(UserError, match="several processes cannot train on one Apple GPU"):
        take_device("mps", 1, 2)
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert take_device("auto", 1, 3) == torch.device("cuda", 1)
    assert taken == [torch.device("cuda", 1)]
    with pytest.raises(UserError, match="start 2 with torchrun --nproc-per-node 2"):
        take_device("cuda", 2, 3)
    assert take_device("cpu", 2, 3).type == "cpu"


def test_of_two_processes_one_says_that_options_are_wrong(tmp_path: Path) -> None:
    both = start(["-m", "calotype", "train", "gan", "--stepz", "5"], tmp_path)
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [2, 2]
    assert "".join(out for out, _ in said) == ""
    assert "".join(err for _, err in said) == "calotype: unknown option --stepz: did you mean --steps?\n"


def test_two_processes_resume_bit_for_bit_from_what_the_first_one_finds(pair: Pair) -> None:
    assert pair[0]["resumed"] == pair[1]["resumed"] == ("", 0, (6, True))


def test_a_signal_to_one_stops_both_after_the_same_step(pair: Pair) -> None:
    assert pair[0]["stopped"] == pair[1]["stopped"]
    step, complete = pair[0]["stopped"][2]
    assert 3 <= step < 100_000
    assert not complete
