from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from calotype.engine import peers
from tests.small import final_state


def torchrun(folder: Path, processes: int) -> str:
    """What the processes print together."""
    words = [
        "--standalone",
        f"--nproc-per-node={processes}",
        "-m",
        "calotype",
        "train",
        "gan",
        "--minutes",
        "0.01",
        "--model.generator.width",
        "16",
    ]
    words += [
        "--model.discriminator.width",
        "16",
        "--model.discriminator.dropout",
        "0",
        "--train.batch",
        "16",
        "--log.every",
        "1",
        "--device",
        "cpu",
        "--out",
        str(folder),
    ]
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", *words], check=True, capture_output=True, timeout=240, text=True)
    return done.stdout


TWICE = """
import sys
from calotype.engine.distributed import joined
from calotype.errors import ElsewhereError, UserError

for turn in range(3):
    try:
        with joined() as world:
            assert world.first(lambda: 10 * turn) == 10 * turn
            assert world.all(world.rank + turn) == [turn, 1 + turn]
            assert world.any(world.rank == 1)
            if turn == 1 and world.is_main:
                raise UserError("once")
    except UserError:
        assert turn == 1 and world.is_main
    except ElsewhereError as error:
        assert turn == 1 and not world.is_main and error.exit_code == 2
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    told = torchrun(tmp_path / "two", 2)
    (steps,) = re.findall(r"trained ([\d,]+) steps", told)  # one of them speaks and judges
    assert told.count("report.html") == 1
    lines = [json.loads(line) for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "event" not in line]
    assert [line["step"] for line in lines] == list(range(1, int(steps.replace(",", "")) + 1))
    assert lines[-1]["images"] == 16 * len(lines)  # of both processes together
    assert all(torch.isfinite(t).all() for t in final_state(tmp_path / "two").values())


@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
def test_processes_may_join_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(TWICE)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(tmp_path / "twice.py")]
    subprocess.run(words, check=True, capture_output=True, timeout=240)


def test_a_frozen_process_is_missed_within_a_minute() -> None:
    # the tests of that make it quicker
    assert 30 < peers.BEAT * (peers.SILENT + 1) + peers.GRACE < 60
