"""Whether two checkouts train to the same bits: what a refactoring must leave alone.

    git worktree add /tmp/before COMMIT
    python benchmarks/same_bits.py /tmp/before . [--recipes gan,vae] [--steps 6] [--keep FOLDER]

Each recipe is trained by both for so many steps on the pictures inside the package, with one thread. Then a run that the first
checkout stopped half-way is continued by both, and the model that the first exported is sampled by both. Printed for each recipe: whether
the logged losses, the weights, the continued weights and the samples are the same, and where they are not the first difference.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from calotype import earlier

CLOCKS = {"seconds", "images_per_second", "time", "left"}  # of log lines: what no two runs share


def ran(checkout: Path, words: list[str]) -> str:
    """What a command of that checkout prints, or "" where it failed (and why, on the terminal)."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "calotype", *words], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        print(f"  {checkout}: calotype {' '.join(words)}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
    return done.stdout if not done.returncode else ""


def weights(run: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Every tensor of the newest checkpoint of a run."""
    folders = sorted(run.glob("checkpoints/*/"))
    files = sorted(folders[-1].glob("*.safetensors")) if folders else []
    return {earlier.parameter(name): tensor for path in files for name, tensor in load_file(path).items()}


def differs(a: dict[str, Any], b: dict[str, Any]) -> str:
    """ "same", or what differs first."""
    if not a or not b:
        return "MISSING"
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b:
            return f"DIFFERS: {name} is only in {'the first' if name in a else 'the second'}"
        if not np.array_equal(np.asarray(a[name]), np.asarray(b[name])):
            return f"DIFFERS: {name}"
    return "same"


def losses(run: Path) -> dict[str, float]:
    """Every logged number by step and name."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] if (run / "log.jsonl").exists() else []
    return {f"{r['step']}/{k}": v for r in lines for k, v in r.items() if k not in CLOCKS and isinstance(v, float)}


def draws(run: Path) -> bool:
    """Whether its model makes images from noise alone."""
    path = run / "model" / "config.json"
    told = json.loads(path.read_text()) if path.exists() else {}
    return bool(told) and told["model"]["kind"] != "classifier" and not told["spec"].get("source")


def samples(checkout: Path, model: Path, out: Path) -> dict[str, Any]:
    """Four pictures that a model draws."""
    ran(checkout, ["sample", str(model), "--count", "4", "--seed", "3", "--npy", str(out), "--device", "cpu"])
    return {"pictures": np.load(out)} if out.exists() else {}


def main() -> None:
    """Print one line a recipe; exit code 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--recipes", default="")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--keep", type=Path, help="the runs of the first checkout, made where they are missing")
    options = parser.parse_args()
    names = options.recipes.split(",") if options.recipes else list(json.loads(ran(options.before, ["recipes", "--json"])))
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        kept = options.keep or Path(folder) / "before"
        for name in names:
            half, whole = kept / name / "half", kept / name / "whole"
            words = ["train", name, "--train.batch", "4", "--train.threads", "1", "--report", "False", "--device", "cpu"]
            for run, steps in ((half, options.steps // 2), (whole, options.steps)):
                if not (run / "config.json").exists():
                    ran(options.before, [*words, "--steps", str(steps), "--out", str(run)])
            fresh, first, second = (Path(folder) / f"{name}-{k}" for k in ("fresh", "first", "second"))
            ran(options.after, [*words, "--steps", str(options.steps), "--out", str(fresh)])
            for checkout, run in ((options.before, first), (options.after, second)):
                shutil.copytree(half, run)
                ran(checkout, ["train", "--resume", str(run), "--steps", str(options.steps), "--report", "False"])
            found = {
                "losses": differs(losses(whole), losses(fresh)),
                "weights": differs(weights(whole), weights(fresh)),
                "continued": differs(weights(first), weights(second)),
            }
            if draws(whole):
                a, b = (samples(c, whole, Path(folder) / f"{name}-{i}.npy") for i, c in enumerate((options.before, options.after)))
                found["samples"] = differs(a, b)
            failed |= any(verdict != "same" for verdict in found.values())
            print(f"{name:18} " + ", ".join(f"{k} {v}" for k, v in found.items()), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
