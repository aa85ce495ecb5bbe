"""A training process is killed at random instants and at the worst ones, resumed, and compared with an undisturbed run."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.small import final_state, same, tiny_gan

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")

STEPS, EVERY = 240, 15
COMPLETE, FAILED = 0, 1


def go(folder: str, failpoint: str | None = None) -> None:
    """Train into ``folder``, or continue what is there; the life of one child process."""
    import torch

    from calotype.engine.train import resume, train
    from calotype.errors import CalotypeError, UserError

    torch.set_num_threads(1)
    if failpoint is not None:
        plant(failpoint)
    config = tiny_gan(STEPS)
    config = replace(config, log=replace(config.log, checkpoints=EVERY))
    try:
        if (Path(folder) / "config.json").is_file():  # perhaps without a checkpoint
            resume(Path(folder))
        else:
            train(config, out=Path(folder))
    except UserError as error:  # killed after its last checkpoint, before its last breath
        sys.exit(COMPLETE if "is complete" in str(error) else str(error))
    except CalotypeError:
        sys.exit(FAILED)


def plant(failpoint: str) -> None:
    """Make the third checkpoint of this process fail at a named place."""
    from calotype import files
    from calotype.engine import checkpoint

    saves, original = 0, checkpoint.save

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def partial(path: Path, write: Callable[..., object]) -> None:
        path.write_bytes(b"half of it")
        die()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def save(folder: Path, *rest: object) -> Path:
        nonlocal saves
        saves += 1
        if saves == 3:
            match failpoint:
                case "partial write":
                    checkpoint.write_atomic = partial
                case "no space left":
                    os.fsync = full
                case "before the manifest":
                    checkpoint.sha256 = die
                case "before the rename":
                    real = os.replace
                    os.replace = lambda a, b: die() if Path(b).name.startswith("step-") else real(a, b)
                case "before the old generation goes":
                    checkpoint.sync_folder = die
                case "while the model is exported":
                    files.sync_folder = lambda f: die() if Path(f).name == "model" else None
        return original(folder, *rest)

    checkpoint.save = save


def start(folder: Path, failpoint: str | None = None) -> BaseProcess:
    """A child that has PyTorch loaded already, so that its life is spent training."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "calotype.engine.train", "calotype.recipes", "tests.small"])
    process = context.Process(target=go, args=(str(folder), failpoint))
    process.start()
    return process


def exported(run: Path) -> bytes:
    """The weights to sample from."""
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that nobody touched, and how long it took."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    start(folder.with_name("warm")).join()
    began = time.perf_counter()
    process = start(folder)
    process.join()
    assert process.exitcode == COMPLETE
    return folder, time.perf_counter() - began


def test_sigkill_at_random_instants(runs: Path, undisturbed: tuple[Path, float], kills: int) -> None:
    reference, seconds = undisturbed
    random.seed(1839)
    expected, killed, rounds = final_state(reference), 0, 0
    while killed < kills:
        folder, rounds = runs / f"run{rounds}", rounds + 1
        while True:
            process = start(folder)
            process.join(random.uniform(0, 0.6 * seconds) if killed < kills else None)
            if process.exitcode is not None:
                assert process.exitcode == COMPLETE
                break
            process.kill()
            process.join()
            killed += 1
        assert same(final_state(folder), expected)
        assert exported(folder) == exported(reference)


@pytest.mark.parametrize(
    ("failpoint", "exitcode"),
    [
        ("partial write", -signal.SIGKILL),
        ("no space left", FAILED),
        ("before the manifest", -signal.SIGKILL),
        ("before the rename", -signal.SIGKILL),
        ("before the old generation goes", -signal.SIGKILL),
        ("while the model is exported", -signal.SIGKILL),
    ],
)
def test_failpoints_in_saving(runs: Path, undisturbed: tuple[Path, float], failpoint: str, exitcode: int) -> None:
    process = start(runs / "run", failpoint)
    process.join()
    assert process.exitcode == exitcode
    process = start(runs / "run")
    process.join()
    assert process.exitcode == COMPLETE
    assert same(final_state(runs / "run"), final_state(undisturbed[0]))
    assert not list((runs / "run" / "checkpoints").glob(".*"))  # nothing half-written stays behind
