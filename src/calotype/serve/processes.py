"""Processes that outlive the service, and how one is told from another that has its number by now."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NICE, KILLED_FIRST = 5, 800
TOKEN = "CALOTYPE_TOKEN"  # the variable of the environment that may hold the token of a service


@dataclass(frozen=True)
class ProcessIdentity:
    """A process: its number alone says little, for numbers are given again."""

    pid: int
    born: str  # when it began, in whatever way the system says it

    @property
    def alive(self) -> bool:
        """Whether it is there, and no other has its number."""
        return bool(self.born) and born(self.pid) == self.born


def command(module: str, *words: str) -> list[str]:
    """What runs a module in a process of its own; ``-P`` keeps the working folder out of what it imports."""
    return [sys.executable, "-P", "-m", module, *words]


def environment() -> dict[str, str]:
    """For such a process: it finds the modules that this one does, and does not know the token of the service."""
    path = os.pathsep.join(place for place in sys.path if place)
    own = {name: value for name, value in os.environ.items() if name != TOKEN}
    return {"GOMP_SPINCOUNT": "10000", **own, "PYTHONPATH": path}


def give_way(pid: int) -> None:
    """Let the service have the processor before a process, and let that one be ended first where memory runs out."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, min(19, os.getpriority(os.PRIO_PROCESS, pid) + NICE))
    with suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as stream:
        stream.write(str(KILLED_FIRST))


def identity(pid: int) -> ProcessIdentity:
    """The process that has a number now."""
    return ProcessIdentity(pid, born(pid))


def born(pid: int) -> str:
    """When a process began; empty where there is none, or one that ended and was not buried yet."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # clock ticks since the machine started (proc(5), field 22)
    if os.name == "nt":
        return ""
    said = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return "" if said.startswith("Z") else said.partition(" ")[2]
