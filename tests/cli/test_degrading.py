"""calotype degrade as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calotype import degrade
from calotype.cli import main


@pytest.fixture
def photos(runs: Path) -> Path:
    folder = runs / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (31, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(np.dstack([pixels, pixels[..., 0]])).save(folder / "b.png")
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["degrade", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_color_becomes_gray_as_pillow_makes_it(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "gray", "photos/a.png", "gray.png")
    assert (code, out) == (0, "gray.png: 40x31\n")
    made = Image.open("gray.png")
    assert made.mode == "L"
    assert np.abs(np.asarray(made).astype(int) - np.asarray(Image.open("photos/a.png").convert("L"))).max() <= 1


def test_a_folder_by_seed_and_number(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def made(out: str, seed: str) -> np.ndarray:
        code, said, _ = run(capsys, "noise:25", "photos", out, "--seed", seed, "--json")
        assert code == 0
        assert [row["file"] for row in json.loads(said)["files"]] == ["a.png", "b.png"]
        return np.asarray(Image.open(f"{out}/a.png")).astype(int)

    first = made("one", "1")
    assert (first == made("two", "1")).all()
    assert (first != made("three", "2")).any()
    middle = np.asarray(Image.open("photos/a.png")).astype(int)
    inside = (middle > 100) & (middle < 155)  # four standard deviations from either end
    assert (first - middle)[inside].std() == pytest.approx(25, rel=0.1)
    assert Image.open("one/b.png").mode == "RGBA"


def test_smaller_pictures_lose_what_does_not_fit(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "downsample:3", "photos", "small")
    assert code == 0
    assert "b.png: the transparency was left out" in err
    assert [Image.open(f"small/{name}.png").size for name in "ab"] == [(13, 10)] * 2
    code, _, err = run(capsys, "gray", "photos", "small")
    text = "small/a.png exists: give another OUT, --overwrite to replace it, or --skip-existing to go on with the others"
    assert (code, err) == (2, f"calotype: {text}\n")


def test_mistakes_get_one_line(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, tells in (
        (("nose:3", "photos", "out"), "did you mean noise"),
        (("gray", "nowhere", "out"), "nowhere"),
        (("gray", "photos"), "OUT is missing"),
        (("gray", "photos/a.png", ""), "OUT is empty"),
        (("gray", "", "out"), "IN is empty"),
        (("gray", "photos", "photos"), "photos"),
        (("jpeg:30", "photos", "out", "--quality", "0"), "1 to 100"),
        (("downsample:8", "photos/tiny.png", "out.png"), "too small"),
    ):
        Image.fromarray(np.zeros((5, 5), np.uint8)).save("photos/tiny.png")
        code, _, err = run(capsys, *words)
        assert (code, len(err.splitlines())) == (2, 1)
        assert tells in err
        assert not Path("out").exists()


def test_a_slash_names_a_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "gray", "photos/a.png", "new.png/")[:2] == (0, "new.png/a.png: 40x31\n")


def test_help_lists_every_degradation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["degrade", "--help"])
    out = capsys.readouterr().out
    assert all(f"- {example}" in out for example, _ in degrade.kinds().values())
    assert "Examples:" in out


def test_a_season_needs_colors(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "gray", "photos/a.png", "gray.png")[0] == 0
    code, _, err = run(capsys, "season", "gray.png", "winter.png")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "these images are gray" in err
    assert not Path("winter.png").exists()
