"""Every restorer, trained equally long on the same photographs, judged by its own report: the table of restorers.

    python benchmarks/restoration_table.py                                   # a minute each, on the embedded photographs
    python benchmarks/restoration_table.py --minutes 10 --data photos/ --threads 1 --recipes denoise upscale

Runs are those of ``calotype train``, in --runs; one that is there already is judged and not repeated. Scores are those of ``calotype
evaluate RUN``: all held-out tiles, in the convention that each report names, beside the best method that needs no training. The table is
written to --out, and with it a picture of one held-out tile of each recipe (before, after, truth).
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import calotype
from calotype import pictures
from calotype.engine.run import Run
from calotype.evaluation.result import Report
from calotype.files import write_text

RECIPES = ("denoise", "upscale", "deblur", "dejpeg", "inpaint", "enhance", "colorize", "real")
SIDE = 150  # pixels of the pieces in the picture


def train(recipe: str, folder: Path, options: argparse.Namespace) -> None:
    """In a process of its own."""
    if (folder / "model").is_dir():
        return
    words = ["train", recipe, "--data", options.data, "--minutes", f"{options.minutes:g}", "--out", str(folder), "--report", "False"]
    words += ["--train.threads", str(options.threads)] if options.threads else []
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(options.threads)} if options.threads else {})}
    subprocess.run([sys.executable, "-m", "calotype", *words], check=True, env=environment)


def row(recipe: str, folder: Path, report: Report) -> str:
    """A line of the table."""
    found, cost = report.restoration, report.cost
    assert found is not None
    assert cost is not None
    own, best = found.methods[0], found.methods[1]
    assert best.gain is not None
    low, high = best.gain.interval or (float("nan"), float("nan"))
    bad = [f"{verdict.name} {verdict.status}" for verdict in report.verdicts if verdict.status in ("WARN", "FAIL")]
    last = [line for line in Run.open(folder).log().read() if "event" not in line][-1]
    cells = [
        f"`{recipe}`",
        f"`{found.degradation}`",
        f"{last['step']:,}",
        f"{last['seconds']:.0f}",
        f"{own.psnr.value:.2f} / {own.ssim.value:.3f}",
        f"{best.name} {best.psnr.value:.2f} / {best.ssim.value:.3f}",
        f"{best.gain.value:+.2f} [{low:+.2f}, {high:+.2f}]",
        ", ".join(bad) or "none",
    ]
    return "| " + " | ".join(cells) + " |"


def shown(report: Report) -> list[np.ndarray]:
    """Before, after and truth of the median picture."""
    crop = report.pictures.crops[len(report.pictures.crops) // 2]
    made = []
    assert crop.truth is not None
    for image in (crop.before, crop.after, crop.truth):
        piece = image if image.shape[2] == 3 else np.repeat(image, 3, 2)
        piece = piece[:SIDE, :SIDE]
        made.append(np.pad(piece, ((0, SIDE - piece.shape[0]), (0, SIDE - piece.shape[1]), (0, 0)), constant_values=255))
    return made


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--data", default="photos")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--runs", type=Path, default=Path("runs/restorers"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/restorers.md"))
    options = parser.parse_args()
    threads = f"{options.threads} thread(s)" if options.threads else f"{torch.get_num_threads()} threads"
    lines = [
        f"# Restorers after {options.minutes:g} minute(s) on {options.data}",
        "",
        f"`python benchmarks/restoration_table.py --minutes {options.minutes:g} --data {Path(options.data).name}`, seed 0, {threads} of "
        f"{platform.machine()}, torch {torch.__version__}. PSNR in dB and SSIM of the held-out tiles; gain over the best method that needs "
        "no training, with its 95% interval over tiles.",
        "",
        "| recipe | damage | steps | s | this model | best without training | gain, dB | warnings |",
        "|---|---|---:|---:|---|---|---|---|",
    ]
    tiles = []
    for recipe in options.recipes:
        folder = options.runs / f"{recipe}-{Path(options.data).stem}-{options.minutes:g}min"
        train(recipe, folder, options)
        report = calotype.evaluate(folder)
        lines.append(row(recipe, folder, report))
        print(lines[-1], flush=True)
        tiles += shown(report)
    write_text(options.out, "\n".join(lines) + "\n")
    pictures.save(pictures.grid(np.stack(tiles), columns=6), options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
