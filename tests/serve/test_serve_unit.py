from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "calotype.service"


def test_the_unit_lets_trainings_go_on_and_write_their_runs() -> None:
    lines = UNIT.read_text().splitlines()
    assert {"KillMode=process", "OOMPolicy=continue", "KillSignal=SIGINT", "StateDirectory=calotype"} <= set(lines)
    command = next(line for line in lines if line.startswith("ExecStart="))
    runs, state = (re.search(rf"--{name} (\S+)", command) for name in ("runs", "state"))
    assert runs
    assert state
    assert state[1] == "/var/lib/calotype"
    assert runs[1].startswith("/var/lib/calotype/")


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if (verify := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd here")
    unit = tmp_path / "calotype.service"
    unit.write_text(UNIT.read_text().replace("/opt/calotype/bin/calotype", sys.executable))
    found = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "calotype.service" not in found.stderr, found.stderr
