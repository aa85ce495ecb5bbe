"""How well generated images are told from real ones: the generators of one training set, each left out once, and what files alone would do.

    python benchmarks/detection_table.py --cifar cifar10-train.zip      # all jobs
    python benchmarks/detection_table.py --jobs digits files            # some of them; those of digits need no data

Results accumulate in a file: what is in it is not repeated. From it comes a table beside it. Generators are trained by ``calotype train``
in --models where they are missing: digits 1.25 minutes each, CIFAR-10 4 minutes each, on one thread. Jobs: ``digits`` (five families),
``cifar`` (a GAN and a VAE), ``features`` (digits, each kind of features alone), ``files`` (the same images on both sides, as files
that differ; with and without equalizing), ``strange`` (images of other kinds, asked of the detector of digits).
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from calotype import __version__, detect
from calotype.data import load
from calotype.engine.display import Display
from calotype.files import read_json, write_json, write_text
from calotype.metrics.residuals import GROUPS

Row = dict[str, Any]
DIGITS = "mnist5k"
FAMILIES = ("hinge", "vae", "flow-matching", "pixelcnn", "glow")
COLOR = ("hinge", "vae")
JOBS = ("digits", "cifar", "features", "files", "strange")
QUALITIES = {"PNG and JPEG of quality 80": 80, "PNG and JPEG of quality 50": 50}
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "box": Image.Resampling.BOX}


def model(given: argparse.Namespace, data: str, recipe: str) -> str:
    """The run of a generator, trained where it is missing."""
    digits = data == DIGITS
    place: Path = given.models / f"{'digits' if digits else 'cifar'}-{recipe}"
    if not (place / "model" / "config.json").is_file():
        words = [sys.executable, "-m", "calotype", "train", recipe, "--data", data, "--minutes", "1.25" if digits else "4"]
        subprocess.run([*words, "--train.threads", "1", "--out", str(place)], check=True)
    return str(place)


def trained(real: str, *generated: str, **options: Any) -> Row:
    """What a detector says of itself, with the seconds of all of it: drawing, training and testing."""
    began = time.monotonic()
    made = detect.train(real, *generated, display=Display(), **options)
    row: Row = asdict(made.facts.results)
    row.pop("curve")
    useful = {"trust": made.facts.trust, "size": made.facts.equalizer.size, "useful": made.facts.useful}
    return row | useful | {"wall": time.monotonic() - began, "count": options["count"], "seed": 0}


def digits(given: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    runs = [model(given, DIGITS, recipe) for recipe in FAMILIES]
    return {"digits, five families": lambda: trained(DIGITS, *runs, count=given.count)}


def cifar(given: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    if given.cifar is None:
        return {}
    runs = [model(given, str(given.cifar), recipe) for recipe in COLOR]
    return {"CIFAR-10, a GAN and a VAE": lambda: trained(str(given.cifar), *runs, count=given.count)}


def features(given: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    runs = [model(given, DIGITS, recipe) for recipe in ("hinge", "vae")]

    def of(groups: Sequence[str]) -> Callable[[], Row]:
        return lambda: trained(DIGITS, *runs, count=given.count, groups=groups, degradations=())

    return {f"features, {name}": of(groups) for name, groups in [*((name, (name,)) for name in GROUPS), ("all of them", tuple(GROUPS))]}


def files(given: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    """The same photographs of clothes on both sides: at one size as PNG and as JPEG files, and at two sizes."""
    images = load("clothing", size=64, holdout=0).train.pixels

    def write(folder: Path, suffix: str, side: int = 64, how: Image.Resampling = Image.Resampling.BOX, **options: Any) -> str:
        folder.mkdir()
        for index, image in enumerate(images):
            picture = Image.fromarray(image)
            shown = picture if side == 64 else picture.resize((side, side), how)
            shown.save(folder / f"{index:04d}{suffix}", **options)
        return str(folder)

    def by_quality(quality: int, equalize: bool) -> Row:
        with tempfile.TemporaryDirectory() as place:
            pair = write(Path(place) / "a", ".png"), write(Path(place) / "b", ".jpg", quality=quality)
            return trained(*pair, count=len(images), equalize=equalize, degradations=())

    def both_jpeg(equalize: bool) -> Row:
        with tempfile.TemporaryDirectory() as place:
            pair = write(Path(place) / "a", ".jpg", quality=50), write(Path(place) / "b", ".jpg", quality=80)
            return trained(*pair, count=len(images), equalize=equalize, degradations=())

    def by_size(how: Image.Resampling, equalize: bool) -> Row:
        with tempfile.TemporaryDirectory() as place:
            pair = write(Path(place) / "a", ".png"), write(Path(place) / "b", ".png", 40, how)
            return trained(*pair, count=len(images), equalize=equalize, degradations=())

    jobs: dict[str, Callable[[], Row]] = {}
    for equalize in (False, True):
        end = "equalized" if equalize else "as they are"
        for name, quality in QUALITIES.items():
            jobs[f"files, {name}, {end}"] = partial(by_quality, quality, equalize)
        jobs[f"files, JPEG of quality 50 and of 80, {end}"] = partial(both_jpeg, equalize)
        for name, how in FILTERS.items():
            jobs[f"files, 64 and 40 pixels ({name}), {end}"] = partial(by_size, how, equalize)
    return jobs


def strange(given: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    runs = [model(given, DIGITS, recipe) for recipe in ("hinge", "vae")]

    def ask() -> Row:
        began = time.monotonic()
        made = detect.train(DIGITS, *runs, count=given.count, degradations=(), display=Display())
        held = load(DIGITS).holdout.pixels[:100]
        rng = np.random.default_rng(0)
        kinds = {
            "clothes": load("clothing", size=28, channels=1, holdout=0).train.pixels[:100],
            "digits, black on white": 255 - held,
            "digits, turned by 180 degrees": held[:, ::-1, ::-1],
            "digits of the same set": held,
            "noise": rng.integers(0, 256, held.shape).astype(np.uint8),
        }
        rows = {}
        with tempfile.TemporaryDirectory() as place:
            for name, images in kinds.items():
                folder = Path(place) / name
                folder.mkdir()
                for index, image in enumerate(images):
                    Image.fromarray(np.ascontiguousarray(image[..., 0])).save(folder / f"{index:03d}.png")
                found = detect.score(made, folder, display=Display())
                rows[name] = {
                    "n": len(found),
                    "unlike": sum((one.unlike or 0) > 1 for one in found),
                    **{which: sum(one.answer == which for one in found) for which in ("REAL", "GENERATED", "CANNOT TELL")},
                }
        return {"kinds": rows, "wall": time.monotonic() - began, "count": given.count, "seed": 0}

    return {"strange images, detector of digits": ask}


def markdown(results: dict[str, Row], command: str) -> str:
    """All tables."""
    lines = ["# Generated images told from real ones", "", f"    {command}", ""]
    versions = f"calotype {__version__}, torch {torch.__version__}, python {platform.python_version()}"
    lines.append(
        f"Two virtual cores, Intel Xeon with AVX-512, bfloat16 and AMX, one thread; {versions}; seed 0. "
        "AUC with the 95% interval of DeLong et al. 1988; 5% were allowed of each wrong answer."
    )
    for name, row in results.items():
        if "left_out" not in row or not row["robustness"]:
            continue
        lines += [
            "",
            f"## {name}",
            "",
            f"{row['count']:,} images of each; {row['wall']:.0f} s with drawing and all tests. {row['trust']}",
            "",
        ]
        errors = f"Calibration error {row['before']['error']:.3f} as learned, {row['after']['error']:.3f} calibrated"
        lines.append(f"{errors}; chance alone makes up to {row['chance']:.3f}.")
        for title, rows in (("test", [row["overall"], *row["each"]]), ("left out", row["left_out"]), ("degraded", row["robustness"])):
            lines += ["", *separations(title, rows)]
    lines += ["", "## Kinds of features alone, and files alone", "", "| job | AUC | images | seconds |", "|---|---:|---:|---:|"]
    for name, row in results.items():
        if name.startswith(("features", "files")):
            lines.append(f"| {name} | {area(row['overall'])} | {sum(row['counts']):,} | {row['wall']:.0f} |")
    for row in (row for row in results.values() if "kinds" in row):
        lines += ["", "## Images of other kinds, asked of the detector of digits", ""]
        lines += ["| images | number | unlike | REAL | GENERATED | CANNOT TELL |", "|---|---:|---:|---:|---:|---:|"]
        lines += ["| " + " | ".join([kind, *map(str, counts.values())]) + " |" for kind, counts in row["kinds"].items()]
    return "\n".join(lines) + "\n"


def separations(title: str, rows: Sequence[Row]) -> list[str]:
    head = f"| {title} | AUC | real: GENERATED | generated: GENERATED | generated: REAL | CANNOT TELL, of each |"
    lines = [head, "|---|---:|---:|---:|---:|---:|"]
    for row in rows:
        shares = [row["real"]["generated"], row["generated"]["generated"], row["generated"]["real"]]
        neither = f"{percent(row['real']['cannot_tell'])}, {percent(row['generated']['cannot_tell'])}"
        lines.append(f"| {row['name']} | {area(row)} | " + " | ".join(map(percent, shares)) + f" | {neither} |")
    return lines


def area(row: Row) -> str:
    return f"{row['area']:.3f} [{row['interval'][0]:.3f}, {row['interval'][1]:.3f}]"


def percent(rate: Row) -> str:
    return f"{100 * rate['share']:.1f}%"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--models", type=Path, default=Path("runs/detection"), help="where the generators are, or will be")
    parser.add_argument("--cifar", type=Path, help="a zip of the training images of CIFAR-10 in class folders")
    parser.add_argument("--count", type=int, default=1_000, help="images of each set")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/detection.json"))
    return parser.parse_args()


def main() -> int:
    given = options()
    torch.set_num_threads(1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Row] = read_json(given.out) if given.out.exists() else {}
    makers = {"digits": digits, "cifar": cifar, "features": features, "files": files, "strange": strange}
    for job in given.jobs:
        for name, run in makers[job](given).items():
            if name not in results:
                print(f"{time.strftime('%X')} {name}", flush=True)
                results[name] = run()
                write_json(given.out, results)
    words = ["python benchmarks/detection_table.py", *(["--cifar cifar10-train.zip"] if given.cifar else [])]
    write_text(given.out.with_suffix(".md"), markdown(results, " ".join(words)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
