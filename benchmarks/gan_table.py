"""Adversarial recipes trained equally long on the same images, judged by the same report: the table of GANs.

    python benchmarks/gan_table.py --minutes 5 --seeds 3                         # digits, all recipes, as long on the clock
    python benchmarks/gan_table.py --cpu-seconds 120 --judge FOLDER              # as much time of one processor; see default_recipe.py
    python benchmarks/gan_table.py --minutes 30 --data photos/ --size 32 --recipes dcgan projected
    python benchmarks/gan_table.py --minutes 5 --recipes rpgan "rpgan, no labels"

Results accumulate in results.json of --keep, beside runs/ and grids/ (64 samples of each training, not selected): what is in it is not
repeated, and a training that was stopped goes on. The table is of all results there of one budget and one source, whichever recipes were
named last, and stands in benchmarks/results/gans-SOURCE.md; what that file holds from its first second-level heading on was written by
hand, and stays. All judging follows after all training, one model at a time, as in family_table.py.

--cpu-seconds counts processor time: it takes as many steps as need so many seconds, by what some steps cost before, so that what else the
machine does makes no difference to what is learned.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from default_recipe import CANDIDATES, COUNT, Judge, Reference, reference, scores, steps_in, train_judge, with_budget
from family_table import DIGITS, Job, Row, clock, judge, over_seeds, scored, train

import calotype
from calotype import earlier
from calotype.config import Config, to_json
from calotype.files import read_json, safe_name, write_json, write_text
from calotype.metrics.wording import number
from calotype.models import CoupledGANConfig, GANConfig
from calotype.recipes import RECIPES

GANS = {name: recipe for name, recipe in CANDIDATES.items() if isinstance(recipe().model, GANConfig | CoupledGANConfig)}
"""The adversarial recipes, and some of them with other settings."""

SHOWN, SEED = 64, 1  # samples of a grid, and what they are drawn from
UNSEEN = ("> .9", "coverage", "variance")  # what the table takes from the judge that no recipe knows
USUAL = ("PASS", "NOT APPLICABLE")  # what verdicts need not be told


@dataclass(frozen=True)
class GANJob(Job):
    """One training of an adversarial recipe; ``processor`` says that its minutes are those of the processor."""

    processor: bool = False
    steps: int | None = None  # that such a budget takes

    @property
    def budget(self) -> str:
        """What it is given, and of what: the same for all rows of a table."""
        long = f"{60 * self.minutes:g} seconds of processor time" if self.processor else f"{self.minutes:g} minutes"
        return f"{self.data}{f' at {self.size}' if self.size else ''}, {long}, {self.threads or 'all'} thread{'s' * (self.threads != 1)}"

    @property
    def key(self) -> str:
        """What tells results from each other."""
        return f"{self.recipe}; {self.budget}; seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where the run is."""
        return self.runs / "runs" / safe_name(self.key, "run", limit=200)

    @property
    def grid(self) -> Path:
        """Where its samples are."""
        return self.runs / "grids" / f"{self.folder.name}.png"

    def config(self) -> Config:
        """All settings."""
        config = GANS[self.recipe]()
        data = replace(config.data, source=self.data, size=self.size or config.data.size)
        config = replace(config, data=data, train=replace(config.train, threads=self.threads))
        return with_budget(config, seed=self.seed, minutes=None if self.processor else self.minutes, steps=self.steps)

    def command(self) -> list[str]:
        """Trains it, or goes on with it."""
        words = ["--resume", str(self.folder)]
        if not (self.folder / "config.json").is_file():
            settings = self.folder.with_name(f"{self.folder.name}.json")
            write_text(settings, to_json(self.config()))
            words = ["--config", str(settings), "--out", str(self.folder)]
        return [sys.executable, "-m", "calotype", "train", *words, "--report", "False"]


def timed(job: GANJob, costs: dict[str, int]) -> GANJob:
    """With the steps of a budget of processor time, which are the same for all seeds and looked up where they are known."""
    if not job.processor:
        return job
    key = f"{job.recipe}; {job.budget}"
    if key not in costs:
        print(f"{clock()} timing {key}", flush=True)
        torch.set_num_threads(1)
        costs[key] = steps_in(60 * job.minutes, job.config())
    return replace(job, steps=costs[key])


def unseen(job: GANJob, by: Judge, against: Reference) -> Row:
    """What the judge that no recipe knows says of a run."""
    found = scores(by, calotype.load(job.folder).sample(COUNT, seed=SEED), against)
    return {name: found[name] for name in UNSEEN}


def draw(job: GANJob) -> None:
    """The grid of samples of a run."""
    generator = calotype.load(job.folder)
    job.grid.parent.mkdir(parents=True, exist_ok=True)
    calotype.save_grid(generator.sample(SHOWN, seed=SEED), job.grid, marker=generator.marker(SHOWN, seed=SEED))


def verdicts(rows: Sequence[Row]) -> str:
    """Those that are not as they should be, the worst first, with the number of seeds where there are several."""
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        for name, status in row["verdicts"].items():
            if status not in USUAL:
                found[status, name] = found.get((status, name), 0) + 1
    many = "" if len(rows) == 1 else f" of {len(rows)}"
    told = [
        f"{status}: " + ", ".join(name + (f" ({count}{many})" if many else "") for (s, name), count in found.items() if s == status)
        for status in ("FAIL", "WARN", "CANNOT TELL")
        if any(s == status for s, _ in found)
    ]
    return "; ".join(told) or "none"


def classes(rows: Sequence[Row]) -> str:
    """How many classes are there, in the worst of the seeds, and the share of the rarest in all of them."""
    known = [row for row in rows if row["classes"] is not None and row["complete"] is not None]
    if not known:
        return "unknown"
    shares = [min(row["classes"]["generated"]) / max(1, sum(row["classes"]["generated"])) for row in known]
    return f"{min(row['complete'][0] for row in known)} of {known[0]['complete'][1]} ({min(shares):.1%})"


def cells(rows: Sequence[Row], by_judge: bool) -> list[str]:
    """One line of the table: all seeds of a recipe."""
    judged = [row for row in rows if "unseen" in row]
    by_class = rows[0]["classes"] is not None and getattr(GANS[rows[0]["recipe"]]().model, "conditional", False)
    return [
        f"`{rows[0]['recipe']}`" + " (labels)" * by_class,
        over_seeds(rows, lambda row: row["cost"]["steps"]),
        scored(rows, "FD"),
        scored(rows, "coverage"),
        *([over_seeds(judged, lambda row, name=name: row["unseen"][name]) for name in UNSEEN] if by_judge else []),  # type: ignore[misc]
        classes(rows),
        over_seeds(rows, lambda row: row["cost"]["images_per_second"]),
        over_seeds(rows, lambda row: row["cost"]["seconds_per_1000"]),
        verdicts(rows),
    ]


def markdown(groups: dict[str, list[Row]], of: GANJob, source: str, command: str) -> str:
    """The table, with all that is needed to repeat and to doubt it."""
    by_judge = any("unseen" in row for rows in groups.values() for row in rows)
    some = next(iter(groups.values()))[0]
    head = ["recipe", "steps", "FD [95%]", "coverage [95%]", *(f"{name}, unseen" for name in UNSEEN if by_judge)]
    head += ["classes (rarest)", "images/s", "s for 1,000", "verdicts but PASS"]
    real = {s["name"]: s["baseline"] for s in some["scores"]}
    empty = [""] * (len(UNSEEN) * by_judge + 4)
    last = ["real images", "", *("" if real.get(name) is None else number(real[name]) for name in ("FD", "coverage")), *empty]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 2) + "---|"]
    lines += ["| " + " | ".join(row) + " |" for row in [*(cells(rows, by_judge) for rows in groups.values()), last]]
    fd, seeds = next(s for s in some["scores"] if s["name"] == "FD"), sorted({row["seed"] for rows in groups.values() for row in rows})
    dates = sorted({row["date"] for rows in groups.values() for row in rows})
    versions = ", ".join(f"{name} {version}" for name, version in some["versions"].items())
    notes = [
        f"# What the GAN recipes make of {source}",
        "",
        f"    {command}",
        "",
        f"{some['processor']}, {some['cores']} cores; each trained on {of.budget}, images drawn on {some['cost']['threads']}; seeds "
        f"{', '.join(map(str, seeds))}; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}; {versions}. Of several seeds the mean, and "
        "the least and the greatest value in brackets.",
        "",
        f"FD: Frechet distance in {fd['features']}, N = {fd['n']:,} against {fd['m']:,}. Coverage: share of real images with a generated "
        "one near. Classes: those not shown, at 95%, to come out at less than half of their share, and the share of the rarest one. "
        "Labels: trained with them."
        + (
            " Unseen: by a recognizer of other digits that no recipe and no report knows; the columns are those of "
            "[docs/recipes.md](../../docs/recipes.md)."
            if by_judge
            else ""
        ),
        "",
    ]
    return "\n".join([*notes, *lines]) + "\n"


def by_hand(path: Path) -> str:
    """What stands in a file from its first second-level heading on."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    first = next((i for i, line in enumerate(lines) if line.startswith("## ")), len(lines))
    return "".join(lines[first:])


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="of each training, on the clock")
    budget.add_argument("--cpu-seconds", type=float, help="of processor time of each training, on one thread")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each recipe")
    parser.add_argument("--recipes", nargs="+", default=[name for name in GANS if name in RECIPES], choices=list(GANS))
    parser.add_argument("--data", default=DIGITS, help="any source that calotype train takes")
    parser.add_argument("--size", type=int, help="of the images, where the source's own is not wanted")
    parser.add_argument("--threads", type=int, help="of each training with --minutes; by measurement where none is given")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time; give --threads so that they share the cores")
    parser.add_argument("--judge", metavar="FOLDER", help="labeled digits that no recipe trains on: judge by them as well")
    parser.add_argument("--epochs", type=int, default=12, help="of the judge's training")
    parser.add_argument("--keep", type=Path, default=Path("runs/gans"), help="folder of results, runs and grids")
    parser.add_argument("--out", type=Path, help="the table; benchmarks/results/gans-SOURCE.md where none is given")
    given = parser.parse_args()
    if given.judge and (given.data != DIGITS or given.size not in (None, 28)):
        parser.error(f"--judge reads digits of 28 pixels: leave it out, or train on {DIGITS} as it is")
    if given.cpu_seconds and given.threads not in (None, 1):
        parser.error("--cpu-seconds is for one thread: leave out --threads")
    return given


def main() -> int:
    given = options()
    kept, source = given.keep / "results.json", "digits" if given.data == DIGITS else Path(given.data).stem
    given.keep.mkdir(parents=True, exist_ok=True)
    held = read_json(kept) if kept.exists() else {"steps": {}, "rows": {}}
    rows: dict[str, Row] = {key: earlier.report(row) for key, row in held["rows"].items()}
    processor = given.cpu_seconds is not None
    minutes, threads = (given.cpu_seconds / 60, 1) if processor else (given.minutes, given.threads)
    asked = [
        GANJob(recipe, seed, minutes, given.data, given.size, threads, given.keep, processor)
        for seed in range(given.seeds)
        for recipe in given.recipes
    ]
    jobs = []
    for job in asked:
        jobs.append(timed(job, held["steps"]))
        write_json(kept, held)
    with ThreadPoolExecutor(given.jobs) as pool:
        failed = [reason for reason in pool.map(train, [job for job in jobs if job.key not in rows]) if reason]

    torch.set_num_threads(threads or os.cpu_count() or 1)
    of_judge = None
    for job in jobs:
        if not job.finished():
            continue
        if job.key not in rows:
            draw(job)
            rows[job.key] = judge(job) | {"budget": job.budget}
        if given.judge and "unseen" not in rows[job.key]:
            if of_judge is None:
                split = calotype.data.load(DIGITS)
                of_judge = train_judge(given.judge, given.epochs), reference(split.train, split.holdout)[0]
            rows[job.key] |= {"unseen": unseen(job, *of_judge)}
        write_json(kept, held | {"rows": rows})
    groups = {name: [row for row in rows.values() if row["recipe"] == name and row["budget"] == asked[0].budget] for name in GANS}
    if groups := {name: of_recipe for name, of_recipe in groups.items() if of_recipe}:
        out = given.out or Path(f"benchmarks/results/gans-{source}.md")
        words = markdown(groups, asked[0], source, shlex.join(["python", "benchmarks/gan_table.py", *sys.argv[1:]]))
        written = by_hand(out)
        write_text(out, words + ("\n" + written if written else ""))
        print(words)
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
