"""How well priors that were trained to draw digits restore digits: `calotype restore --prior`, measured through the command itself.

    calotype train flow-matching --minutes 10 --train.threads 1 --out runs/digits
    python benchmarks/prior_scores.py runs/digits                                  # the four halves, and the other tasks
    python benchmarks/prior_scores.py runs/digits --methods auto diffpir ddrm      # by several methods
    python benchmarks/prior_scores.py runs/gan --count 100 --tasks lower right     # some of it

Results accumulate in a file, with a table beside it: what is in it is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from calotype import pictures
from calotype.data import load
from calotype.degrade import classical
from calotype.files import read_json, write_json, write_text
from calotype.metrics.features_kinds import digits
from calotype.metrics.features_space import FeatureSpace
from calotype.metrics.manifold import wilson
from calotype.networks.recognizer import Recognizer
from calotype.tasks.inverse_problem import problem
from calotype.tasks.model_inputs import to_tensor
from calotype.types import ImageSpec, Noise

NOTES = """
Images are the first of the 500 that the embedded digits hold out, none of which priors were trained on. A half of each is taken away and
made up again; the recognizer that the package carries, which was trained on other digits, then reads the PNG files that the command
wrote: each sample by itself, their mean, and the class that most samples have. It reads the truth and what needs no prior, too. "From
the half" is what another recognizer, trained for a minute on halves of the digits that priors are trained on, makes of the half itself;
"drawn" is how often classes that are drawn as often as it thinks them likely are right, which no good sampler exceeds by much.

90% intervals are made of the samples, over missing pixels, and hold the truth as often as said; "ties by share" counts a truth that
equals samples for its share only, which makes it 90% for good samples even where pixels are certain; "not certain" is that over pixels
where samples and truth are not all of one value. Intervals of shares are at 95%, those of samples by image.
"""

DIGITS, SPEC = "mnist5k", ImageSpec(28, 1, tuple("0123456789"))
SIDES = ("right", "left", "lower", "upper")
OTHERS = ("denoise", "deblur", "super-resolve")
STEPS, BATCH = 1000, 128  # of the recognizer of halves
COMMAND = "python benchmarks/prior_scores.py"
THREADS = {"OMP_NUM_THREADS": "1"}
Row = dict[str, Any]


def restored(run: Path, task: str, out: Path, options: argparse.Namespace, method: str) -> Row:
    """What the command says that the table takes, and the processor seconds that an image took."""
    words = ["--task", "inpaint", "--mask", task] if task in SIDES else ["--task", task]
    words += ["--count", options.count if task in SIDES else min(options.count, 50), "--samples", options.samples]
    words += ["--seed", options.seed, "--method", method, "--score", "--json"]
    command = [sys.executable, "-m", "calotype", "restore", "--prior", run, DIGITS, out, *words]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, env=os.environ | THREADS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = json.loads(done.stdout)
    kept = ("method", "steps", "samples", "seed", "images", "residual", "noise", "std", "mean", "calibration", "files")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {name: facts[name] for name in kept} | {"seconds": seconds / facts["images"]}


def read(space: FeatureSpace, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The digit that the recognizer sees in each image (N, 28, 28, 1)."""
    probabilities = space.of(pixels).probabilities
    assert probabilities is not None
    seen: NDArray[np.int64] = np.asarray(probabilities).argmax(1)
    return seen


def written(place: Path) -> NDArray[np.uint8]:
    """A picture that the command wrote, (28, 28, 1)."""
    return np.asarray(Image.open(place))[..., None]


def right(seen: NDArray[np.int64], labels: NDArray[np.int64]) -> list[float]:
    """The share that is read rightly, with its 95% interval."""
    hits = int((seen == labels).sum())
    return [hits / len(labels), *wilson(hits, len(labels))]


def other(run: Path, task: str, options: argparse.Namespace, method: str) -> Row:
    """Another task by one method."""
    with tempfile.TemporaryDirectory() as folder:
        row = restored(run, task, Path(folder) / "out", options, method)
    row.pop("files")
    return row


def halves(run: Path, side: str, options: argparse.Namespace, method: str) -> Row:
    """One missing half by one method."""
    space, labels = digits(), held_out(options.count)[1]
    with tempfile.TemporaryDirectory() as folder:
        row = restored(run, side, Path(folder) / "out", options, method)
        places = [Path(folder) / "out" / file["folder"] for file in row.pop("files")]
        means = read(space, np.stack([written(place / "mean.png") for place in places]))
        drawn = [read(space, np.stack([written(file) for file in sorted((place / "samples").iterdir())])) for place in places]
    samples = np.stack(drawn)
    votes = np.array([np.bincount(one, minlength=10).argmax() for one in drawn])
    each = (samples == labels[:, None]).mean(1)
    reach = 1.96 * float(each.std(ddof=1)) / len(each) ** 0.5  # samples of one image depend on each other
    mean = float(each.mean())
    read_right = {"sample": [mean, mean - reach, mean + reach], "mean": right(means, labels), "vote": right(votes, labels)}
    return row | {"read": read_right}


def held_out(count: int) -> tuple[Tensor, NDArray[np.int64]]:
    """The images that are judged, and their digits."""
    images = load(DIGITS, holdout=0.1).holdout
    assert images.labels is not None
    return to_tensor(np.asarray(images.pixels[:count])), np.asarray(images.labels[:count]).astype(np.int64)


def without(side: str, count: int, reader: Recognizer) -> Row:
    """What is read without any prior, and what a half says."""
    space, degradation, (truth, labels) = digits(), problem("inpaint", SPEC, mask=side), held_out(count)
    degraded = degradation(truth, Noise(len(truth)))
    images = {"truth": truth, **classical.baselines(degraded, degradation, (28, 28))}
    found: Row = {name: right(read(space, pictures.to_uint8(image.clamp(-1, 1))), labels) for name, image in images.items()}
    assert degraded.conditioning is not None
    with torch.no_grad():
        chances = reader(torch.cat([degraded.image, degraded.conditioning], 1)).softmax(1)
    return found | {"from the half": right(chances.argmax(1).numpy(), labels), "drawn": float(chances.square().sum(1).mean())}


def half_reader(seed: int) -> Recognizer:
    """A recognizer of halves, trained on those of the digits that priors are trained on."""
    torch.manual_seed(seed)
    train = load(DIGITS, holdout=0.1).train
    images, labels = to_tensor(np.asarray(train.pixels)), torch.from_numpy(np.asarray(train.labels).astype(np.int64))
    blank = torch.ones(1, 1, 28, 28)
    masks = torch.cat([problem("inpaint", SPEC, mask=side)(blank, Noise(1)).image for side in SIDES])
    network = Recognizer(2, 10, 28, width=8)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(images), (BATCH,))
        turn = torch.eye(2, 3) + torch.tensor([0.1, 0.1, 0.05]) * torch.randn(BATCH, 2, 3)
        grid = nn.functional.affine_grid(turn, [BATCH, 1, 28, 28], align_corners=False)
        x = nn.functional.grid_sample(images[chosen] + 1, grid, align_corners=False) - 1
        known = masks[torch.randint(len(masks), (BATCH,))]
        loss = nn.functional.cross_entropy(network(torch.cat([x * known, known], 1)), labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def share(value: list[float]) -> str:
    return f"{value[0]:.1%} [{value[1]:.1%}, {value[2]:.1%}]"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Of markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def markdown(found: Row) -> str:
    """Both tables, with what is needed to repeat them."""
    rows = found["rows"].values()
    inpainted, others = ([row for row in rows if (row["task"] in SIDES) == wanted] for wanted in (True, False))
    lines = [
        "# Digits restored by priors",
        "",
        *(f"    {command}" for command in found["commands"]),
        "",
        f"{found['machine']}; processor seconds on one thread.",
        "",
    ]
    lines += [NOTES.strip(), "", "## A missing half", ""]
    head = ["prior", "missing", "method, steps", "images", "one sample read rightly", "their mean", "most samples"]
    head += ["90% intervals hold", "ties by share", "not certain", "std and error", "s an image"]
    lines += table(head, [_half(row) for row in inpainted])
    if found["without"]:
        names = list(next(iter(found["without"].values())))
        cells = [[side, *(share(v) if isinstance(v, list) else f"{v:.1%}" for v in row.values())] for side, row in found["without"].items()]
        lines += ["Without a prior:", "", *table(["missing", *names], cells)]
    if others:
        lines += ["## Other tasks", "", "PSNR in dB, of the baselines the best one; residual beside noise on the scale of 0 to 255.", ""]
        head = ["prior", "task", "method, steps", "images", "mean", "one sample", "best baseline", "residual", "noise"]
        head += ["90% intervals hold", "ties by share", "std and error", "s an image"]
        lines += table(head, [_other(row) for row in others])
    return "\n".join(lines)


def _half(row: Row) -> list[str]:
    found = row["calibration"]
    cells = [f"`{row['prior']}`", row["task"], f"{row['method']}, {row['steps']}", str(row["images"])]
    cells += [share(row["read"][name]) for name in ("sample", "mean", "vote")]
    return [*cells, *_held(found), f"{found['coverage_varied']:.1%} of {found['varied']:.0%}", *_last(row)]


def _other(row: Row) -> list[str]:
    mean = row["mean"]
    best = max(mean["baselines"], key=lambda name: mean["baselines"][name]["psnr"])
    cells = [f"`{row['prior']}`", row["task"], f"{row['method']}, {row['steps']}", str(row["images"]), f"{mean['psnr']:.2f}"]
    cells += [
        f"{mean['sample']['psnr']:.2f}",
        f"{mean['baselines'][best]['psnr']:.2f} {best}",
        f"{row['residual']:.2f}",
        f"{row['noise']:.2f}",
    ]
    return [*cells, *_held(row["calibration"]), *_last(row)]


def _held(found: Row) -> list[str]:
    return [f"{found['coverage']:.1%}", f"{found['coverage_even']:.1%} ± {found['error']:.1%}"]


def _last(row: Row) -> list[str]:
    return [f"{row['calibration']['correlation']:.2f}", f"{row['seconds']:.2f}"]


def machine() -> str:
    """What the seconds depend on, and when."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}"


def main() -> None:
    """Measure what is not in the file yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--tasks", nargs="+", default=[*SIDES, *OTHERS], choices=[*SIDES, *OTHERS])
    parser.add_argument("--methods", nargs="+", default=["auto"])
    parser.add_argument("--count", type=int, default=200, help="images; for other tasks than a missing half 50 at most")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/prior-digits.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: Row = read_json(options.out) if options.out.is_file() else {"rows": {}, "without": {}}
    if set(SIDES) & set(options.tasks) and not found["without"]:
        reader = half_reader(options.seed)
        found["without"] = {side: without(side, options.count, reader) for side in SIDES}
    for run in options.runs:
        for task in options.tasks:
            for method in options.methods:
                key = f"{run.name}, {task}, {method}, {options.count} images, {options.samples} samples, seed {options.seed}"
                if key not in found["rows"]:
                    print(f"{datetime.now(UTC):%H:%M:%S} {key}", flush=True)
                    row = (halves if task in SIDES else other)(run, task, options, method)
                    found["rows"][key] = {"prior": run.name, "task": task} | row
                    write_json(options.out, found)
    words = [f"runs/{Path(word).name}" if Path(word).is_dir() else word for word in sys.argv[1:]]
    found |= {"machine": machine(), "commands": [*dict.fromkeys([*found.get("commands", []), " ".join([COMMAND, *words])])]}
    write_json(options.out, found)
    text = markdown(found)
    write_text(options.out.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
