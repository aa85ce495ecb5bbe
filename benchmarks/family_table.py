"""One recipe of each family, trained equally long on the same images, judged by the same report: the table of families.

    python benchmarks/family_table.py --minutes 10                                  # digits, five recipes, 50 minutes and the judging
    python benchmarks/family_table.py --minutes 10 --seeds 3 --jobs 2 --threads 1   # two trainings side by side, one core each
    python benchmarks/family_table.py --minutes 60 --data cifar10.zip --size 32     # a zip of class folders
    python benchmarks/family_table.py --minutes 10 --recipes hvae pixelcnn          # some recipes

Results accumulate in a file: what is in it is not repeated, and a training that was stopped goes on. From it come a table beside it and
a picture in docs/images. Trainings are those of ``calotype train``, in --runs, where they can be looked at. All judging follows
after all training, one model at a time on all cores, so that the seconds of drawing are those of a quiet machine. The picture shows one
seed, the first; the table the mean over seeds, and the least and the greatest value in brackets.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray
from PIL import Image

import calotype
from calotype import earlier, pictures
from calotype.engine import checkpoint
from calotype.engine.display import Terminal
from calotype.evaluation.result import Report, to_json
from calotype.files import read_json, write_atomic, write_json, write_text
from calotype.metrics.score import CLASS_GIVEN
from calotype.metrics.wording import number
from calotype.models import MODELS
from calotype.recipes import RECIPES, named
from calotype.report.drawing import logarithmic
from calotype.report.files import save

REPRESENTATIVES = ("rpgan", "hvae", "tarflow", "pixelcnn", "flow-matching")
"""A recipe of each family."""

FAMILIES = {"gan": "GAN", "vae": "VAE", "hvae": "VAE", "vqvae": "VAE", "tarflow": "flow"}
"""Families that are called otherwise than the kind of their models."""

COUNT = 2_000  # images judged
LONGEST = 600.0  # seconds that the curve of function evaluations may take
DIGITS = "mnist5k"
SHOWN = 12  # samples of each in the picture
COLORS = ("#1c5d8f", "#7652a5", "#2f7d4f", "#b3261e", "#b07a14", "#5d5a66", "#0f8b8d")
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One training."""

    recipe: str
    seed: int
    minutes: float
    data: str
    size: int | None
    threads: int | None
    runs: Path

    @property
    def key(self) -> str:
        """What tells results from each other."""
        size = f" at {self.size}" if self.size else ""
        return f"{self.recipe}, {self.data}{size}, {self.minutes:g} minutes, {self.threads or 'all'} threads, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where the run is."""
        stem = Path(self.data).stem + (f"-{self.size}" if self.size else "")
        return self.runs / f"{self.recipe}-{stem}-{self.minutes:g}min-{self.threads or 'all'}threads-seed{self.seed}"

    def command(self) -> list[str]:
        """Trains it, or goes on with it."""
        words = ["train", self.recipe, "--data", self.data, "--minutes", f"{self.minutes:g}", "--seed", str(self.seed)]
        words += ["--size", str(self.size)] if self.size else []
        words += ["--train.threads", str(self.threads)] if self.threads else []
        words += ["--out", str(self.folder)]
        if (self.folder / "config.json").is_file():
            words = ["train", "--resume", str(self.folder)]
        return [sys.executable, "-m", "calotype", *words, "--report", "False"]

    def finished(self) -> bool:
        """Whether its whole budget is spent."""
        saved = checkpoint.load_newest(self.folder / "checkpoints") if (self.folder / "checkpoints").is_dir() else None
        return saved is not None and saved.facts["step"] >= saved.facts["steps"]


def train(job: Job) -> str | None:
    """Train in a process of its own; returns what went wrong."""
    if job.finished():
        return None
    print(f"{clock()} training {job.key}", flush=True)
    threads = {"OMP_NUM_THREADS": str(job.threads)} if job.threads else {}
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with open(job.folder.with_name(f"{job.folder.name}.log"), "a", encoding="utf-8") as log:
        done = subprocess.run(job.command(), stdout=log, stderr=subprocess.STDOUT, env=os.environ | threads, check=False)
    print(f"{clock()} trained {job.key}" if not done.returncode else f"{clock()} FAILED {job.key}: see {log.name}", flush=True)
    return None if not done.returncode else f"{job.key}: exit code {done.returncode}"


def judge(job: Job) -> Row:
    """The full report of a finished run, and what the table takes from it."""
    print(f"{clock()} judging {job.key}", flush=True)
    terminal = Terminal()
    report = calotype.evaluate(job.folder, count=COUNT, longest=LONGEST, say=terminal.show)
    terminal.close()
    save(report, job.folder / "report")
    tree = to_json(report)
    kept = ("scores", "cost", "evaluations", "classes", "status", "versions", "units")
    verdicts = {v["name"]: v["status"] for v in tree["verdicts"]}
    made = {"recipe": job.recipe, "seed": job.seed, "minutes": job.minutes, "data": job.data, "size": job.size, "threads": job.threads}
    return made | {name: tree[name] for name in kept} | {"verdicts": verdicts, "complete": complete(report), **machine()}


def complete(report: Report) -> list[int] | None:
    """How many classes are not shown, at 95%, to come out at less than half of their share, and how many there are."""
    counts = report.classes
    if counts is None:
        return None
    real = sum(counts.real)
    there = [high >= 0.5 * share / real for (_, high), share in zip(counts.interval, counts.real, strict=True)]
    return [sum(there), len(there)]


def machine() -> Row:
    """What the seconds depend on, and when."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    processor = names[0] if names else platform.processor() or platform.machine()
    return {"processor": processor, "cores": os.cpu_count(), "date": datetime.now(UTC).strftime("%Y-%m-%d")}


def clock() -> str:
    return datetime.now(UTC).strftime("%H:%M:%S")


def value(row: Row, name: str) -> float | None:
    found = next((s["value"] for s in row["scores"] if s["name"] == name), None)
    return None if found is None else float(found)


def over_seeds(rows: Sequence[Row], of: Callable[[Row], float | None]) -> str:
    """The mean, and for several seeds the least and the greatest value."""
    found = [v for row in rows if (v := of(row)) is not None]
    if not found:
        return "none"
    spread = f" ({number(min(found))} to {number(max(found))})" if len(found) > 1 else ""
    return number(statistics.fmean(found)) + spread


def scored(rows: Sequence[Row], name: str) -> str:
    """A score with the interval of one seed, or the range over several."""
    score = next((s for s in rows[0]["scores"] if s["name"] == name), None)
    if len(rows) > 1 or score is None:
        return over_seeds(rows, lambda row: value(row, name))
    span = "" if score["interval"] is None else f" [{number(score['interval'][0])}, {number(score['interval'][1])}]"
    return number(score["value"]) + span


def likely(rows: Sequence[Row]) -> str:
    """Bits per dimension with their standard error, one for each kind."""
    kinds: dict[str, list[Row]] = {}
    for score in (s for row in rows for s in row["scores"] if s["name"] == "bits/dim"):
        kinds.setdefault(score["features"].removesuffix(CLASS_GIVEN), []).append(score)
    cells = []
    for kind, scores in kinds.items():
        error = max((s["interval"][1] - s["interval"][0]) / 2 / 1.96 for s in scores)
        cells.append(f"{statistics.fmean(s['value'] for s in scores):.3f} ± {error:.3f} {kind}")
    return "; ".join(cells) or "none"


def cells(rows: Sequence[Row]) -> list[str]:
    """One line of the table: all seeds of a recipe."""
    cost, kind = rows[0]["cost"], named(rows[0]["recipe"]).model.kind
    whole = [row["complete"] for row in rows if row["complete"] is not None]
    return [
        f"`{rows[0]['recipe']}`",
        FAMILIES.get(kind, kind),
        f"{cost['parameters']:,}",
        f"{statistics.fmean(row['cost']['steps'] for row in rows):,.0f}",
        over_seeds(rows, lambda row: row["cost"]["images_per_second"]),
        scored(rows, "FD"),
        over_seeds(rows, lambda row: value(row, "coverage")),
        over_seeds(rows, lambda row: value(row, "recognized")),
        f"{min(made for made, _ in whole)} of {whole[0][1]}" if whole else "unknown",
        likely(rows),
        over_seeds(rows, lambda row: row["cost"]["seconds_per_1000"]),
        "none" if cost["passes"] is None else number(cost["passes"]),
    ]


HEAD = (
    *("recipe", "family", "parameters", "steps", "images/s", "FD [95%]", "coverage", "recognized", "classes", "bits/dim ± s.e., kind"),
    *("s for 1,000", "evaluations"),
)


def markdown(groups: dict[str, list[Row]], title: str, command: str) -> str:
    """The table, with all that is needed to repeat and to doubt it."""
    some = next(iter(groups.values()))[0]
    threads = f"{some['threads'] or 'all'} thread{'s' * (some['threads'] != 1)}"
    baselines = {s["name"]: s["baseline"] for s in some["scores"]}
    real = [
        "real images",
        "",
        "",
        "",
        "",
        *("" if baselines.get(n) is None else number(baselines[n]) for n in ("FD", "coverage", "recognized")),
    ]
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|" + "---:|" * (len(HEAD) - 2)]
    lines += ["| " + " | ".join(row) + " |" for row in [*(cells(rows) for rows in groups.values()), [*real, "", "", "", ""]]]
    fd, seeds = next(s for s in some["scores"] if s["name"] == "FD"), sorted({row["seed"] for rows in groups.values() for row in rows})
    versions = ", ".join(f"{name} {version}" for name, version in some["versions"].items())
    dates = sorted({row["date"] for rows in groups.values() for row in rows})
    notes = [
        f"# {title}",
        "",
        f"    {command}",
        "",
        f"{some['processor']}, {some['cores']} cores; each trained for {some['minutes']:g} minutes on {threads}, "
        f"images drawn on {some['cost']['threads']}; seeds {', '.join(map(str, seeds))}; "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}; {versions}.",
        "",
        f"FD: Frechet distance in {fd['features']}, N = {fd['n']:,} against {fd['m']:,}. Coverage: share of real images with a generated "
        "one near. Recognized: share of images that the recognizer is over 90% sure of. Classes: those not shown, at 95%, to come out at "
        "less than half of their share. Bits/dim: of held-out images; different kinds are not to be ranked, because a bound is only a "
        "floor under the likelihood. Evaluations: passes of an image through the network.",
        "",
    ]
    return "\n".join([*notes, *lines, *curves(groups)]) + "\n"


def curves(groups: dict[str, list[Row]]) -> list[str]:
    """FD by the number of function evaluations, where it can be chosen."""
    lines: list[str] = []
    for name, rows in groups.items():
        if points := rows[0]["evaluations"]:
            if not lines:
                lines = ["", f"FD by the number of function evaluations (first seed, N = {points[0]['n']}):", ""]
            told = "; ".join(f"{number(p['nfe'])}: {number(p['fd'])} ({number(p['seconds_per_1000'])} s for 1,000)" for p in points)
            lines.append(f"- `{name}`: {told}; real images {number(points[0]['baseline'])}")
    return lines


def samples(job: Job) -> NDArray[np.uint8] | None:
    """The last fixed-noise grid of a run, (N, H, W, C)."""
    spec = calotype.load(job.folder).spec
    grids = sorted((job.folder / "samples").glob("step-*.png"))
    if not grids:
        return None
    with Image.open(grids[-1]) as grid:
        return pictures.ungrid(grid, 64, spec.size, spec.channels)


def picture(groups: dict[str, list[Row]], drawn: dict[str, NDArray[np.uint8] | None], title: str, path: Path) -> None:
    """Quality against time on the left, samples on the right."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    scatter(left, groups)
    height = 0
    strips, at = [], []
    for name in groups:
        images = drawn.get(name)
        if images is None:
            continue
        row = np.concatenate(list(images[:SHOWN]), 1)
        at.append((height + row.shape[0] / 2, name))
        strips += [row, np.full((max(1, row.shape[0] // 6), *row.shape[1:]), 255, np.uint8)]
        height += strips[-2].shape[0] + strips[-1].shape[0]
    if strips:
        sheet = np.concatenate(strips[:-1])
        right.imshow(sheet.repeat(3, -1) if sheet.shape[-1] == 1 else sheet, interpolation="nearest")
        right.set_yticks([y for y, _ in at], [name for _, name in at])
    right.set_xticks([])
    right.tick_params(length=0)
    right.set_title("samples, not selected", loc="left", fontsize=11)
    for axes in (left, right):
        axes.spines[:].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, lambda stream: figure.savefig(stream, format="png", dpi=130))


def scatter(axes: Axes, groups: dict[str, list[Row]]) -> None:
    """One dot a recipe with its interval; a line through other numbers of function evaluations."""
    low = []
    for color, (name, rows) in zip(COLORS * 3, groups.items(), strict=False):
        row = rows[0]
        score = next(s for s in row["scores"] if s["name"] == "FD, bias removed")
        seconds = row["cost"]["seconds_per_1000"]
        axes.plot([seconds, seconds], score["interval"], color=color, linewidth=2)
        axes.scatter([seconds], [score["value"]], s=60, color=color, zorder=3)
        axes.annotate(name, (seconds, score["value"]), (8, 6), textcoords="offset points", fontsize=11, color=color)
        points = [(p["seconds_per_1000"], p["unbiased"], p["nfe"]) for p in row["evaluations"]]
        if len(points) > 1:
            axes.plot([p[0] for p in points], [p[1] for p in points], color=color, linewidth=1, marker="o", markersize=3)
            for x, y, nfe in points:
                axes.annotate(number(nfe), (x, y), (0, -12), textcoords="offset points", fontsize=8, color=color, ha="center")
        low += [score["value"], *(p[1] for p in points)]
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        if axis is axes.xaxis or min(low) > 0:
            logarithmic(scale, axis)
            axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.margins(x=0.18)
    axes.set_xlabel("seconds for 1,000 images (small numbers: function evaluations)")
    axes.set_ylabel("Frechet distance, bias removed (0 for real images)")
    axes.grid(color="#e2dcd2", linewidth=0.6)
    axes.set_axisbelow(True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="of each training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each recipe")
    parser.add_argument("--data", default=DIGITS, help="any source that calotype train takes")
    parser.add_argument("--size", type=int, help="of the images, where the source's own is not wanted")
    parser.add_argument(
        "--recipes", nargs="+", default=list(REPRESENTATIVES), choices=[name for name in RECIPES if MODELS[type(named(name).model)].draws]
    )
    parser.add_argument("--threads", type=int, help="of each training; by measurement where none is given")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time; give --threads so that they share the cores")
    parser.add_argument("--runs", type=Path, default=Path("runs/families"))
    parser.add_argument("--out", type=Path, help="file of results; benchmarks/results/families-NAME.json where none is given")
    parser.add_argument("--picture", type=Path, help="docs/images/families-NAME.png where none is given")
    return parser.parse_args()


def main() -> int:
    given = options()
    name = "digits" if given.data == DIGITS else Path(given.data).stem
    out = given.out or Path(f"benchmarks/results/families-{name}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Row] = {key: earlier.report(row) for key, row in read_json(out).items()} if out.exists() else {}
    jobs = [
        Job(recipe, seed, given.minutes, given.data, given.size, given.threads, given.runs)
        for seed in range(given.seeds)
        for recipe in given.recipes
    ]
    with ThreadPoolExecutor(given.jobs) as pool:
        failed = [reason for reason in pool.map(train, [job for job in jobs if job.key not in results]) if reason]
    torch.set_num_threads(os.cpu_count() or 1)
    for job in jobs:
        if job.key not in results and job.finished():
            results[job.key] = judge(job)
            write_json(out, results)
    groups: dict[str, list[Row]] = {}
    for job in jobs:
        if job.key in results:
            groups.setdefault(job.recipe, []).append(results[job.key])
    if groups:
        title = f"Families on {name}, {given.minutes:g} minutes each"
        words = markdown(groups, title, " ".join(["python", "benchmarks/family_table.py", *sys.argv[1:]]))
        write_text(out.with_suffix(".md"), words)
        first = {job.recipe: samples(job) for job in jobs if job.seed == 0 and job.folder.is_dir()}
        picture(groups, first, title, given.picture or Path(f"docs/images/families-{name}.png"))
        print(words)
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
