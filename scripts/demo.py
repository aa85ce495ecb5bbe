"""``make demo``: train the default recipe on the embedded digits, or show the run that an earlier call made."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from calotype.cli import main


def demo(run: Path) -> int:
    """Train into ``run``, finish what was interrupted there, or point at what is there."""
    if not (run / "config.json").exists():
        return _told(["train", "--out", str(run)])
    from calotype.engine.checkpoint import load_newest
    from calotype.engine.run import Run
    from calotype.errors import DamagedError

    try:
        saved = load_newest(run / "checkpoints")
    except DamagedError:
        saved = None
    grids = Run(run).grids()
    if saved is None or saved.facts.get("step") != saved.facts.get("steps") or not grids:
        return _told(["train", "--resume", str(run)])
    grid = grids[-1][1]
    quoted = shlex.quote(str(run))
    print(f"already trained\n  samples  {grid}\n  run      {run}\n  draw     {command()} sample {quoted} --count 64 --out grid.png")
    _tell_how_to_activate()
    return 0


def command(python: Path | None = None) -> str:
    """What to type to start calotype: its name where the shell finds it, else where it lies, from the folder we are in."""
    beside = (python or Path(sys.executable)).with_name("calotype")
    found = shutil.which("calotype")
    if found is not None and Path(found).absolute() == beside.absolute():
        return "calotype"
    near = os.path.relpath(beside)
    return shlex.quote(str(beside) if near.startswith("..") else near)


def _told(words: list[str]) -> int:
    """Run a command; the commands that it prints are made such that they work as typed."""
    result = io.StringIO()
    with contextlib.redirect_stdout(result):
        code = main(words)
    print(re.sub(r"(?<![\w/.-])calotype (?=(train|sample|evaluate|compare|data) )", lambda _: f"{command()} ", result.getvalue()), end="")
    if code == 0:
        _tell_how_to_activate()
    return code


def _tell_how_to_activate() -> None:
    if command() != "calotype":
        activate = shlex.quote(str(Path(shlex.split(command())[0]).with_name("activate")))
        print(f"  shorter  source {activate}   (once in a terminal; then calotype alone is enough)")


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")))
