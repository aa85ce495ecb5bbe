from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.small import final_state


def torchrun(folder: Path, processes: int) -> str:
    """What the processes print together."""
    words = ["--standalone", f"--nproc-per-node={processes}", "-m", "calotype", "train", "gan", "--steps", "5", "--model.width", "16"]
    words += ["--model.dropout", "0", "--train.batch", "16", "--log.every", "1", "--device", "cpu", "--out", str(folder)]
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", *words], check=True, capture_output=True, timeout=240, text=True)
    return done.stdout


@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    told = torchrun(tmp_path / "two", 2)
    assert told.count("trained 5 steps") == told.count("report.html") == 1  # one of them speaks and judges
    lines = [json.loads(line) for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[-1]["images"] == 80  # of both processes together
    assert all(torch.isfinite(t).all() for t in final_state(tmp_path / "two").values())


def test_the_mean_gradient_of_two_halves_is_that_of_the_whole(tmp_path: Path) -> None:
    """World.average over gloo against arithmetic."""
    code = (
        "import sys, torch; from calotype.engine.distributed import join, leave\n"
        "w = join('cpu'); t = [torch.full((2, 2), float(w.rank)), torch.arange(3.) * w.rank]; w.average(t)\n"
        "assert t[0].tolist() == [[.5, .5], [.5, .5]] and t[1].tolist() == [0, .5, 1], t\n"
        "assert w.agree(w.rank + 7, torch.device('cpu')) == 7 and w.any(w.rank == 1, torch.device('cpu')); leave()"
    )
    (tmp_path / "go.py").write_text(code)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(tmp_path / "go.py")]
    subprocess.run(words, check=True, capture_output=True, timeout=240)
