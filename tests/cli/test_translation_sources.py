"""The sources that translators learn from, as a user types them: what works, and what is told where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from calotype.cli import main

QUICK = ["--steps", "2", "--train.batch", "4", "--train.threads", "1", "--model.width", "4", "--report", "False", "--out", "run"]


def scene(number: int, size: int = 24) -> Image.Image:
    """A picture of its own colors and edges."""
    rng = np.random.RandomState(number)
    coarse = rng.randint(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def fill(folder: Path, numbers: range, how: str = "as it is") -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        picture = scene(number)
        if how == "negative":
            picture = ImageOps.invert(picture)
        elif how == "beside its negative":
            picture = Image.fromarray(np.concatenate([np.asarray(picture), 255 - np.asarray(picture)], 1))
        elif how == "shifted":
            picture = ImageOps.invert(scene(number, 36).crop((5, 0, 29, 24)))
        elif how == "cut":
            picture = scene(number, 36).crop((0, 0, 24, 24))
        elif how == "larger":
            picture = scene(number, 30)
        picture.save(folder / f"{number}.png")


@pytest.fixture
def here(runs: Path) -> Path:
    """A folder of every kind, good and bad."""
    for side, first in (("A", 0), ("B", 100)):
        fill(runs / f"sides/train{side}", range(first, first + 10))
        fill(runs / f"sides/test{side}", range(first + 20, first + 24))
    fill(runs / "pairs/A", range(12))
    fill(runs / "pairs/B", range(12), "negative")
    fill(runs / "halves", range(12), "beside its negative")
    fill(runs / "half/trainA", range(10))
    (runs / "empty").mkdir()
    fill(runs / "others", range(50, 62))
    fill(runs / "larger", range(12), "larger")
    fill(runs / "cut", range(12), "cut")
    fill(runs / "shifted", range(12), "shifted")
    fill(runs / "copied/A/train", range(12))
    fill(runs / "copied/A/test", range(4))
    fill(runs / "copied/B/train", range(12), "negative")
    fill(runs / "copied/B/test", range(4), "negative")
    return runs


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["cyclegan", "--data", "sides"], "unpaired pictures"),
        (["cut", "--data", "sides"], "unpaired pictures"),
        (["cyclegan", "--data", "pairs/B", "--data.partner", "others"], "unpaired pictures"),
        (["pix2pix", "--data", "pairs/B", "--data.partner", "pairs/A"], "pairs"),
        (["pix2pix", "--data", "halves", "--data.partner", "halves"], "pairs"),
        (["pix2pix", "--data", "halves", "--data.partner", "halves:right"], "pairs"),
        (["cyclegan", "--data", "pairs/A", "--data.partner", "gray"], "gray of other pictures"),
        (["cut", "--data", "pairs/A", "--data.partner", "season"], "season of other pictures"),
        (["pix2pix", "--data", "pairs/A", "--data.partner", "edges"], "edges"),
        (["pix2pix", "--data", "pairs/A", "--data.partner", "invert"], "invert"),
    ],
)
def test_every_kind_of_source_trains(here: Path, capsys: pytest.CaptureFixture[str], words: list[str], made: str) -> None:
    assert main(["train", *words, *QUICK]) == 0
    err = capsys.readouterr().err
    assert f"(from: {made})" in err
    assert (here / "run/model/model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["cyclegan", "--data", "half"], "half has a folder trainA but no trainB"),
        (["cyclegan", "--data", "empty"], "empty is empty"),
        (["cyclegan", "--data", "pairs/B", "--data.partner", "empty"], "empty is empty"),
        (["cyclegan", "--data", "pairs/B", "--data.partner", "grau"], "or for --data.partner: auto, halves"),
        (["pix2pix", "--data", "empty", "--data.partner", "halves"], "empty is empty: give a folder with images in it"),
        (["pix2pix", "--data", "sides", "--data.paired", "False"], "pix2pix learns from pairs"),
        (["pix2pix", "--data", "pairs/B", "--data.partner", "others"], "have a partner of their name"),
        (["pix2pix", "--data", "pairs/B", "--data.partner", "larger"], "12 pairs of 12 differ in size"),
        (["pix2pix", "--data", "shifted", "--data.partner", "cut"], "do not lie over each other: the image is 0 pixels down and 5 left"),
        (["pix2pix", "--data", "copied/B", "--data.partner", "copied/A"], "every held-out picture of copied/B is among the training"),
    ],
)
def test_what_cannot_be_learned_from_is_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], tells: str
) -> None:
    assert main(["train", *words, *QUICK]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("calotype: ")]
    assert len(lines) == 1
    assert tells in lines[0]
    assert not (here / "run").exists()
