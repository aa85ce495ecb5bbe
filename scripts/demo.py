"""``make demo``: train the default recipe on the embedded digits, or show the run that an earlier call made."""

from __future__ import annotations

import sys
from pathlib import Path

from calotype.cli import main


def demo(run: Path) -> int:
    """Train into ``run``, finish what was interrupted there, or point at what is there."""
    if not (run / "config.json").exists():
        return main(["train", "--out", str(run)])
    from calotype.engine.checkpoint import load_newest

    saved = load_newest(run / "checkpoints")
    if saved is None or saved.facts["step"] < saved.facts["steps"]:
        return main(["train", "--resume", str(run)])
    grid = max((run / "samples").glob("*.png"))
    print(f"already trained\n  samples  {grid}\n  run      {run}\n  draw     calotype sample {run} --count 64 --out grid.png")
    return 0


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")))
