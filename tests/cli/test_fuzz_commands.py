"""Command lines made of every option of every command with the edges of its type: exit code 0, 1 or 2, one line, nothing unforeseen."""

from __future__ import annotations

import dataclasses
import io
import random
import shutil
import typing
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from PIL import Image

from calotype.cli import (
    classify,
    complete,
    data,
    degrade,
    detect,
    evaluate,
    latents,
    main,
    neighbors,
    prior,
    probe,
    recipes,
    restore,
    sample,
    selftest,
    share,
    trace,
    train,
    translate,
    watermark,
)
from calotype.cli.main import COMMANDS
from calotype.detect import train as train_detector
from calotype.engine.display import Display
from calotype.shipping.share import push
from tests.cli.test_cli import TINY
from tests.fuzz import attempt

NUMBERS = ("0", "-1", "1", "3", "1.5", "nan", "inf", "-inf", "1e308", "1e-320", "9" * 30, "-" + "9" * 30, "", "x", "\u0663")
WORDS = ("", " ", "-", "--", "x" * 300, "~nosuchuser/x", "../..", "\u00e9\udcff", "a\nb\x1b[2J", "None", "%s", "{}", "0", "$x", "a,b", "*")
PATHS = ("others", "others/0.png", "gan", "gan/model", "denoise", "vae", "empty", "text.txt", "no/such.png", "/dev/null", ".")

LINES: dict[str, tuple[type, str]] = {
    "train": (train.Options, f"train {' '.join(TINY)} --report False --out NEW"),
    "sample": (sample.Options, "sample gan --count 2 --out NEW.png"),
    "complete": (complete.Options, "complete pixelcnn --images pictures --out NEW.png"),
    "restore": (restore.Restore, "restore denoise pictures/0.png NEW.png"),
    "prior": (prior.Options, "restore --prior flow pictures/0.png NEW --task inpaint"),
    "upscale": (restore.Upscale, "upscale upscale pictures/0.png NEW.png"),
    "translate": (translate.Options, "translate cyclegan pictures/0.png NEW.png"),
    "classify": (classify.Options, "classify resnet pictures/0.png --out NEW.csv"),
    "detect": (detect.ScoreOptions, "detect score detector pictures/0.png --out NEW.csv"),
    "degrade": (degrade.Options, "degrade noise:25 pictures/0.png NEW.png"),
    "probe": (probe.Options, "probe vae --data mnist5k --count 50"),
    "reconstruct": (latents.ReconstructOptions, "latents reconstruct vae --label 0 --images pictures --out NEW.png"),
    "interpolate": (latents.InterpolateOptions, "latents interpolate vae --seeds 1 2 3 --out NEW.png"),
    "neighbors": (latents.NeighborsOptions, "latents neighbors vae --count 1 --out NEW.png"),
    "trace": (trace.Options, "trace gan/samples/step-000000001.png --model gan"),
    "nearest": (neighbors.Options, "neighbors vae --data mnist5k --count 1 --out NEW.png"),
    "plane": (latents.PlaneOptions, "latents plane vae --side 2 --out NEW.png"),
    "evaluate": (evaluate.Options, "evaluate pictures --data mnist5k --count 70 --out NEW"),
    "compare": (evaluate.CompareOptions, "compare pictures twins --data mnist5k --count 70 --out NEW.html"),
    "selftest": (selftest.Options, "selftest --data pictures --count 2 --trials 1"),
    "check": (data.CheckOptions, "data check pictures"),
    "prepare": (data.PrepareOptions, "data prepare pictures NEW"),
    "recipes": (recipes.Options, "recipes"),
    "watermark": (watermark.KeyOptions, "watermark key NEW"),
    "push": (share.PushOptions, "push gan NEW"),
    "pull": (share.PullOptions, "pull shared --out NEW"),
}
"""The options of each command, and a short line that does its work; NEW is the name of a result."""

BARE = {
    name: (import_module(f"calotype.cli.{command.module}").Options, name)
    for name, command in COMMANDS.items()
    if name not in {"serve", *(line.split()[0] for _, line in LINES.values())}
}
"""Commands without such a line: their name alone, whatever comes of it; one that ends only when it is told to has tests of its own."""

SLOW = {"--train.compile"}  # what is right, but takes longer than an attempt may

RUNS = {
    "gan": ["gan", "--model.generator.width", "8", "--model.discriminator.width", "8"],
    "vae": ["vae", "--model.width", "8"],
    "flow": ["flow-matching", "--model.width", "8"],
    "pixelcnn": ["pixelcnn", "--model.width", "8", "--model.depth", "1"],
    "denoise": ["denoise", "--model.width", "8", "--model.depth", "1"],
    "upscale": ["upscale", "--model.width", "8", "--model.depth", "1"],
    "cyclegan": ["cyclegan", "--model.width", "8"],
    "resnet": ["resnet", "--model.width", "4"],
}
"""The models that the lines work with."""


def options_of(kind: Any, prefix: str = "--") -> Iterator[tuple[str, Any]]:
    """The options of a command and their types, as its dataclasses say them."""
    for name, hint in typing.get_type_hints(kind).items():
        inner = [k for k in (hint, *get_args(hint)) if dataclasses.is_dataclass(k)]
        for one in inner:
            yield from options_of(one, f"{prefix}{name}.".replace("_", "-"))
        if not inner:
            yield f"{prefix}{name}".replace("_", "-"), hint


def edges(hint: Any) -> tuple[str, ...]:
    """Words at the edges of a type and beyond them."""
    text = str(hint)
    if get_origin(hint) is Literal:
        return (*map(str, get_args(hint)), *WORDS[:4], "None")
    if "Path" in text:
        return (*PATHS, *WORDS)
    if "int" in text or "float" in text:
        return NUMBERS
    return (*WORDS, *NUMBERS, *PATHS)


KEPT = {"detector", "shared", "pictures", "twins", "others", "empty", "text.txt", "cache", *RUNS}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small pictures and a model of each kind that commands ask for."""
    root = tmp_path_factory.mktemp("fuzz")
    (root / "pictures").mkdir()
    (root / "others").mkdir()
    (root / "empty").mkdir()
    (root / "text.txt").write_text("no picture")
    rng = np.random.default_rng(0)
    for number in range(80):
        Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(root / "pictures" / f"{number}.png")
    shutil.copytree(root / "pictures", root / "twins")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, words in RUNS.items():
            said = io.StringIO()
            with redirect_stderr(said), redirect_stdout(said):
                code = main(
                    [
                        "train",
                        *words,
                        "--steps",
                        "1",
                        "--train.batch",
                        "4",
                        "--log.grid",
                        "1",
                        "--device",
                        "cpu",
                        "--report",
                        "False",
                        "--out",
                        name,
                    ]
                )
            assert code == 0, said.getvalue()
        push("gan", "shared")
        train_detector("mnist5k", "clothing", count=100, degradations=(), groups=("spectra",), display=Display()).save("detector")
    return root


@pytest.mark.parametrize("command", [*LINES, *BARE])
def test_any_value_of_any_option_ends_in_order(command: str, place: Path, fuzz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    rng = random.Random(command)
    kind, line = {**LINES, **BARE}[command]
    options, short = [found for found in options_of(kind) if found[0] not in SLOW], line.replace("NEW", "new").split()
    assert options
    for number in range(fuzz // 4 + 1):
        words = list(short)
        for name, hint in rng.sample(options, min(len(options), rng.choice((1, 1, 2)))) if number else ():
            words += [name, *(rng.choice(edges(hint)) for _ in range(rng.choice((1, 1, 1, 2) if "tuple" in str(hint) else (1, 1, 1, 0))))]
        if number and rng.random() < 0.2:
            words[rng.randrange(len(short))] = rng.choice((*PATHS, *WORDS))
        free = number > 0 or command == "selftest" or command in BARE
        attempt(lambda words=words, codes=(0, 1, 2) if free else (0,): _ends(words, codes))
        shutil.copytree(place / "pictures", place / "others", dirs_exist_ok=True)
        for path in place.iterdir():
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _ends(words: list[str], codes: tuple[int, ...]) -> None:
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = err.getvalue()
    assert code in codes, (words, code, said)
    assert "an error of calotype itself" not in said, (words, said)
    assert "Traceback" not in said + out.getvalue(), (words, said)
    if code == 2:
        lines = [line for line in said.splitlines() if line.startswith("calotype: ")]
        assert len(lines) == 1, (words, said)
        assert said.endswith(lines[0] + "\n"), (words, said)
        assert len(lines[0]) < 2_000, (words, said)


def test_every_line_is_of_a_command() -> None:
    assert {line.split()[0] for _, line in {**LINES, **BARE}.values()} == {*COMMANDS} - {"serve"}
