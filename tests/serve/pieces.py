"""Work for the queue of jobs that takes no model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calotype.errors import SettingError
from calotype.serve.worker import Say


def perform(kind: str, payload: Mapping[str, Any], say: Say) -> dict[str, Any]:
    if kind == "double":
        return {"twice": 2 * payload["n"], "pid": os.getpid()}
    if kind == "sleep":
        for at in range(1000):
            say(f"sleeping in {os.getpid()}", at, 1000)
            time.sleep(payload.get("seconds", 60) / 1000)
        return {}
    if kind == "die":  # for the first so many times
        tally = Path(payload["tally"])
        tally.write_text(tally.read_text() + "x" if tally.exists() else "x")
        if len(tally.read_text()) <= payload["times"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"begun": len(tally.read_text())}
    if kind == "family":  # a process that it starts, and that would live on
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(payload["pid"]).write_text(str(child.pid))
        time.sleep(60)
    if kind == "refuse":
        raise SettingError("`n`: give less", "n", "a whole number from 1 to 3")
    if kind == "bug":
        raise RuntimeError("secret\x1b[2K")
    if kind == "infinite":
        return {"value": float("inf")}
    if kind == "noise":
        os.write(1, b"this is no JSON\n")
        print("nor this")
        return {"quiet": True}
    raise AssertionError(kind)
