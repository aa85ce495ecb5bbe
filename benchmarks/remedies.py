"""What each remedy of a report does to the trouble that it is named for: trained with and without it, on digits and on photographs.

    python benchmarks/remedies.py --out remedies/                       # all of them, which takes hours; what is there is kept

For each trouble there is a training that has it, planted (settings that are known for it) or real (a recipe as it is, in a short
budget). It is then trained again with one remedy more, in as many steps, from the same seed. The table tells the verdict on the
trouble before and after, its effect in the verdict's own measure (the more, the worse) and the Frechet distance, with the interval, in
the features that a report of these images has: a remedy that ends the trouble by making worse images is none.

*digits* are the embedded MNIST, *photographs* the embedded clothing at 32 pixels.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETS = {"digits": "--data mnist5k", "photographs": "--data clothing --size 32"}


@dataclass(frozen=True)
class Trouble:
    """A training that has a trouble, and what is said to help."""

    verdict: str
    base: str  # the words after ``calotype train``
    remedies: tuple[str, ...]  # further words, or, before a semicolon, other words for the recipe
    planted: bool = True
    steps: int = 1_500
    only: str = ""  # of the sets, where not both

    def runs(self, steps: int) -> Iterator[tuple[str, str]]:
        """What a row is called, and the words of its training."""
        yield "", f"{self.base} --steps {steps}"
        for remedy in self.remedies:
            if remedy == LONGER:
                yield remedy, f"{self.base} --steps {3 * steps}"
            elif remedy == SHORTER:
                yield remedy, f"{self.base} --steps {steps // 3}"
            elif remedy.startswith("train "):
                yield remedy, f"{remedy.removeprefix('train ')} --steps {steps}"
            else:
                yield remedy, f"{self.base} --steps {steps} {remedy}"


LONGER, SHORTER = "three times as long", "a third as long"
R1 = "--model.penalty r1"
SPECTRAL = "--model.discriminator.spectral True --model.discriminator.norm none"
FLIP = "--data.flip True"
TROUBLES = (
    Trouble(
        "vanishing-gradient",
        "dcgan --model.loss minimax --model.discriminator_lr_mult 10 --data.flip False",
        (
            "--model.loss non_saturating",
            "--model.loss relativistic_pairing --model.penalty r1_r2 --model.penalty_weight 0.1",
            "--model.discriminator_lr_mult 0.25",
            "--model.instance_noise 0.1",
            "--model.smooth 0.9",
        ),
    ),
    Trouble(
        "mode-collapse",
        "dcgan --optimizer.lr 0.004 --optimizer.betas 0.9 0.999 --data.flip False",
        ("--model.discriminator.minibatch_std True", R1 + " --model.penalty_weight 0.1", SPECTRAL, "--model.conditional True", LONGER),
    ),
    Trouble(
        "mode-collapse",
        "dcgan --data.flip False",
        (
            "--model.discriminator.minibatch_std True",
            R1 + " --model.penalty_weight 0.1",
            SPECTRAL,
            "train rpgan",
            "--model.conditional True",
            LONGER,
        ),
        planted=False,
        steps=500,
    ),
    Trouble(
        "oscillation",
        "dcgan --schedule.kind constant --train.ema 0 --optimizer.betas 0.5 0.9 --optimizer.lr 0.002 --data.flip False",
        ("--schedule.kind linear", "--train.ema 0.1", "--optimizer.lr 0.0005", "--optimizer.betas 0 0.99", R1),
    ),
    Trouble(
        "overfitting-discriminator",
        "sngan --data.holdout 0.9 --data.flip False",
        (FLIP, "--model.discriminator.dropout 0.3", R1, SHORTER),
    ),
    Trouble(
        "copying",
        "flow-matching --data.holdout 0.95 --data.flip False",
        ("--model.width 16", SHORTER, FLIP, "--optimizer.weight_decay 0.01 --optimizer.name adamw"),
    ),
    Trouble(
        "blur",
        "vae --data.flip False",
        (LONGER, "train rpgan", "train projected", "--train.ema 0.01", "--model.width 64"),
        planted=False,
    ),
    Trouble(
        "noise",
        "flow-matching --schedule.kind constant --train.ema 0 --data.flip False",
        ("--train.ema 0.1", "--schedule.kind cosine", "--model.steps 32", LONGER),
        steps=300,
    ),
    Trouble(
        "posterior-collapse",
        "vae --model.beta 20 --data.flip False",
        ("--model.free_bits 0.1", "--model.warmup 0.3", "--model.warmup 0.5 --model.cycles 4", "--model.beta 0.5"),
        steps=600,
    ),
    Trouble(
        "likelihood-overfit",
        "pixelcnn --data.holdout 0.9 --data.flip False",
        (SHORTER, "--model.dropout 0.2", "--optimizer.weight_decay 0.01"),
        steps=600,
    ),
    Trouble(
        "divergence",
        "dcgan --optimizer.lr 1000 --schedule.kind constant --data.flip False",
        ("--optimizer.lr 0.001", "--optimizer.clip 1", "--schedule.warmup 0.05", "--train.precision fp32"),
        steps=200,
    ),
)


def train(words: str, run: Path, threads: int) -> dict[str, Any] | None:
    """The report of a training, made where it is not there yet; none where there is only an error, whose line is kept beside."""
    report, failed = run / "report" / "report.json", run.with_suffix(".error")
    if not report.exists() and not failed.exists():
        command = [sys.executable, "-m", "calotype", "train", *shlex.split(words), "--out", str(run), "--train.threads", str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not report.exists():
            failed.write_text(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}")
    found: dict[str, Any] | None = json.loads(report.read_text()) if report.exists() else None
    return found


def cells(report: dict[str, Any], verdict: str) -> tuple[str, str, str]:
    """The verdict, its effect, and the distance."""
    asked = next(v for v in report["verdicts"] if v["name"] == verdict)
    distance = next(s for s in report["scores"] if s["name"] == "FD")
    low, high = distance["interval"]
    effect = "" if asked.get("effect") is None else f"{asked['effect']:.2g}"
    return asked["status"], effect, f"{distance['value']:.3g} [{low:.3g}, {high:.3g}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--data", nargs="*", default=list(SETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print("| trouble | images | trained | verdict | effect | FD [95%] |\n|---|---|---|---|---|---|", flush=True)
    for number, trouble in enumerate(TROUBLES):
        if options.only and trouble.verdict not in options.only:
            continue
        for name in options.data:
            for row, (remedy, words) in enumerate(trouble.runs(round(trouble.steps * options.share))):
                run = options.out / f"{number}-{trouble.verdict}-{name}-{row}"
                report = train(f"{words} {SETS[name]}", run, options.threads)
                what = f"`{words}`" if not remedy else f"with `{remedy}`"
                found = cells(report, trouble.verdict) if report else ("", "", run.with_suffix(".error").read_text())
                kind = "planted" if trouble.planted else "real"
                print(f"| {trouble.verdict}, {kind} | {name} | {what} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
