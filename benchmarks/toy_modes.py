"""How many modes of the testbeds do recipes reach, and how near to them do their points lie? The table of testbeds.

    python benchmarks/toy_modes.py --seeds 5                                   # ring and grid by gan and points: 20 trainings
    python benchmarks/toy_modes.py --seeds 1 --sources ring --recipes points   # one training
    python benchmarks/toy_modes.py --seeds 1 --sources stacked5k --recipes dcgan rpgan --steps 3000

Results accumulate in a file: what is in it is not repeated, and a training that was stopped goes on. From it comes a table beside it. Runs
are those of ``calotype train``, in --runs, where they can be looked at; the steps are given, so that a busy machine changes nothing but
the seconds, which are those of the processor. Each is judged as ``calotype evaluate`` does it, by 2,500 points or 26,000 stacks of digits.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import calotype
from calotype.data.toy import NAMES, POINTS
from calotype.engine import checkpoint
from calotype.engine.display import Display
from calotype.engine.run import Run
from calotype.files import read_json, write_json, write_text
from calotype.recipes import RECIPES, named

STEPS = {"ring": 5_000, "grid": 30_000}
"""Of a training, where none are given."""

SCORES = ("modes hit", "high-quality share", "KL to uniform")
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One training."""

    recipe: str
    source: str
    steps: int
    seed: int
    runs: Path

    @property
    def key(self) -> str:
        """What tells results from each other."""
        return f"{self.recipe}, {self.source}, {self.steps:,} steps, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where the run is."""
        return self.runs / f"{self.recipe}-{self.source}-{self.steps}-seed{self.seed}"

    def train(self) -> float:
        """Train, or go on with it; returns seconds of the processor."""
        began, run = time.process_time(), Run(self.folder)
        saved = checkpoint.load_newest(run.checkpoints) if run.begun else None
        if saved is not None and saved.step == self.steps:  # judging it was interrupted
            return 0.0
        if run.begun:
            result = calotype.resume(self.folder, display=Display())
        else:
            config = named(self.recipe)
            train = replace(config.train, minutes=None, epochs=None, steps=self.steps, seed=self.seed, threads=1)
            config = replace(config, train=train, data=replace(config.data, source=self.source))
            result = calotype.train(config, out=self.folder, display=Display())
        if not result.complete:
            raise SystemExit(f"{self.key}: stopped at step {result.step:,}; the same command goes on")
        return time.process_time() - began

    def row(self) -> Row:
        """What became of it."""
        seconds = self.train()
        report = calotype.evaluate(self.folder, short=self.source in POINTS, say=lambda what, done, total: None)
        scores = {score.name: score for score in report.scores if score.name in SCORES}
        found = {name: score.value for name, score in scores.items()}
        verdict = next(v.status for v in report.verdicts if v.name == "mode-collapse")
        real = {name: score.baseline for name, score in scores.items()}
        return {"recipe": self.recipe, "source": self.source, "steps": self.steps, "seed": self.seed, "seconds": round(seconds, 1)} | {
            "scores": found,
            "real": real,
            "verdict": verdict,
        }


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, and the least and the greatest where there are several."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(rows: Sequence[Row]) -> str:
    """All results in Markdown, a line for each recipe, source and number of steps."""
    lines = ["| source | recipe | steps | seeds | modes hit | high-quality share | KL to uniform | verdict FAIL | s |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for source in dict.fromkeys(row["source"] for row in rows):
        here = [row for row in rows if row["source"] == source]
        cells = [spread([row["real"][name] for row in here if name in row["real"]], d) if any(name in row["real"] for row in here) else ""
                 for name, d in zip(SCORES, (1, 3, 4), strict=True)]  # fmt: skip
        lines.append(f"| {source} | real data | | | {' | '.join(cells)} | | |")
        for recipe, steps in dict.fromkeys((row["recipe"], row["steps"]) for row in here):
            of = [row for row in here if (row["recipe"], row["steps"]) == (recipe, steps)]
            cells = []
            for name, digits in zip(SCORES, (1, 3, 4), strict=True):
                values = [row["scores"][name] for row in of if name in row["scores"]]
                cells.append(spread(values, digits) if values else "")
            failed = sum(row["verdict"] == "FAIL" for row in of)
            seconds = statistics.mean(row["seconds"] for row in of)
            lines.append(f"| {source} | {recipe} | {steps:,} | {len(of)} | {' | '.join(cells)} | {failed} of {len(of)} | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    return (
        "# Modes of the testbeds\n\n"
        "    OMP_NUM_THREADS=1 python benchmarks/toy_modes.py\n\n"
        f"{table(rows)}\n"
        "Means over the seeds, with the least and the greatest value. A mode is hit by one point within 3 standard deviations; the\n"
        "share of points that lie so near to a mode is that of high quality. The verdict is the one on mode collapse, which fails\n"
        "where a mode is missing or comes out at less than half of its share. Seconds are those of one thread of the processor.\n\n"
        "Published, by longer trainings: on the ring a GAN reaches 6.3 modes at 98% of high quality and PacGAN 7.9 at 96%, on the grid\n"
        "a GAN 17.3 at 95% and PacGAN 24.8 at 94% (Lin et al. 2018). [docs/testbeds.md](../../docs/testbeds.md) says more.\n"
    )


def main() -> None:
    """Do what is not done yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["gan", "points"], choices=RECIPES)
    parser.add_argument("--sources", nargs="+", default=list(POINTS), choices=NAMES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="5,000 on the ring, 30,000 on the grid and 3,000 on digits where none are given")
    parser.add_argument("--runs", type=Path, default=Path("runs/toy-modes"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "toy-modes.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, Row] = read_json(asked.out) if asked.out.is_file() else {}
    steps = {source: asked.steps or STEPS.get(source, 3_000) for source in asked.sources}
    jobs = [Job(r, s, steps[s], seed, asked.runs) for seed in range(asked.seeds) for s in asked.sources for r in asked.recipes]
    for job in jobs:
        if job.key not in rows:
            rows[job.key] = job.row()
            write_json(asked.out, rows)
            print(f"{job.key}: {rows[job.key]['scores']}, {rows[job.key]['seconds']} s", flush=True)
    ordered = sorted(rows.values(), key=lambda row: (NAMES.index(row["source"]), row["recipe"], row["steps"], row["seed"]))
    write_text(asked.out.with_suffix(".md"), page(ordered))


if __name__ == "__main__":
    main()
