"""``calotype neighbors``: the nearest real images of any model and of any images, by name and at once."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import calotype
from calotype import pictures
from calotype.cli.main import main
from tests.small import small

COLORS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (30, 180, 30), "purple": (140, 30, 160)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of four colors, a model without an encoder trained on them, and a restorer."""
    root = tmp_path_factory.mktemp("neighbors")
    rng = np.random.default_rng(0)
    for name, color in COLORS.items():
        (root / "photos" / name).mkdir(parents=True)
        for n in range(20):
            image = np.clip(rng.normal(0, 12, (24, 32, 3)) + color, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / "photos" / name / f"{n:02d}.png")
    config = small("dcgan", steps=2)
    data = replace(config.data, source=str(root / "photos"), size=16)
    calotype.train(replace(config, data=data), out=root / "run")
    config = small("denoise", 2)
    calotype.train(config, out=root / "restorer")
    return root


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    told = capsys.readouterr()
    return code, told.out, told.err


def found(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[list[object]]]:
    code, out, err = run(capsys, "neighbors", *words, "--json")
    assert code == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


def test_images_have_the_neighbors_that_look_like_them(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("blue", "purple"):
        Image.new("RGB", (40, 40), COLORS[name]).save(f"{name}.png")
    # flat colors, which networks of photographs hardly see
    both = found(capsys, str(root / "run"), "--images", "blue.png", "purple.png", "--nearest", "5", "--features", "random")
    assert both["names"] == ["blue.png", "purple.png"]
    for row, name in enumerate(("blue", "purple")):
        assert {str(file).split("/")[0] for file in both["files"][row]} == {name}
        assert both["distances"][row] == sorted(both["distances"][row])  # type: ignore[type-var]
    sheet = Image.open("neighbors.png")
    assert sheet.size[0] > sheet.size[1]  # two rows of six


def test_a_training_image_is_its_own_neighbor_and_its_file_is_named(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = calotype.data.load(str(root / "photos"), size=16).train
    pictures.to_picture(train.pixels[7]).save("seven.png")
    first = found(capsys, str(root / "run"), "--images", "seven.png")
    assert first["files"][0][0] == train.files[7]
    assert first["neighbors"][0][0] == 7
    assert float(str(first["distances"][0][0])) < 1e-4 < float(str(first["distances"][0][1]))


def test_drawn_images_are_those_that_sample_draws(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = found(capsys, str(root / "run"), "--count", "3", "--seed", "4")
    assert drawn["names"] == ["seed 4, image 0", "seed 4, image 1", "seed 4, image 2"]
    assert main(["sample", str(root / "run"), "--count", "3", "--seed", "4", "--dir", "drawn"]) == 0
    capsys.readouterr()
    for words in (["drawn", "--data", str(root / "photos")], [str(root / "run"), "--images", "drawn"]):
        named = found(capsys, *words, "--out", "again.png")
        assert named["names"] == ["000000.png", "000001.png", "000002.png"]
    assert named["files"] == drawn["files"]


def test_people_read_names_and_distances(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "neighbors", str(root / "run"), "--count", "2", "--nearest", "3", "--out", "p.png")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "seed 0, image 0"
    assert lines[1].split()[1].endswith(".png")
    assert len(lines) == 2 * 4 + 1
    how = "features of photographs and coarse pictures together (1 is usual between two real images)"
    assert lines[-1] == f"nearest of 72 images of photos by {how}; picture: p.png"
    assert "reading photos" in err
    assert "features of real images" in err


def test_photographs_of_any_shape_are_compared_at_a_size(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (50, 40), COLORS["green"]).save("green.png")
    words = ["neighbors", "green.png", "--data", str(root / "photos")]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "50x40: say at which size to compare them, for example --size 32" in err
    code, _, err = run(capsys, *words, "--size", "16")
    assert code == 0
    assert "are brought to 16x16 color" in err
    assert "--fit" not in err  # which other commands have
    near = found(capsys, *words[1:], "--size", "16")
    assert all(str(file).startswith("green/") for file in near["files"][0])
    near = found(capsys, str(root / "photos"), "--data", str(root / "photos"), "--size", "16", "--count", "3")
    assert [files[0] for files in near["files"]] == near["names"]


def test_sources_without_files_name_places(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near = found(capsys, "mnist5k.png", "--data", "mnist5k") if Path("mnist5k.png").exists() else None
    digits = calotype.data.load("mnist5k").train
    pictures.to_picture(digits.pixels[3]).save("three.png")
    near = found(capsys, "three.png", "--data", "mnist5k", "--nearest", "2")
    assert near["files"][0][0] == "mnist5k 3"


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["run", "--count", "0"], "--count: give a whole number from 1"),
        (["run", "--out", "photos"], "it is a folder"),
        (["run", "--out", "nowhere/p.png"], "there is no folder nowhere"),
        (["run", "--label", "red"], "without labels"),
        (["run", "--features", "digits"], "choose other --features"),
        (["run", "--images", "photos", "--label", "red"], "leave out one of them"),
        (["run", "--images", "nowhere"], "nowhere"),
        (["run", "--data", "nowhere"], "nowhere"),
        (["run", "--count", "100000000"], "GB of memory"),
        (["run", "--count", "300", "--nearest", "2", "--out", "p.gif", "--size", "512"], "more than GIF holds"),
        (["run", "--size", "4"], "from 8 to 1,024"),
        (["restorer"], "makes images from images"),
        (["run/model/model.safetensors", "--data", "photos"], "not a source of images"),
        (["photos", "--size", "16"], "--data"),
        (["photos", "--size", "16", "--data", "photos", "--label", "red"], "leave out --images and --label"),
        (["alone"], "with --data"),
        (["moved"], "are not in"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    root: Path, runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], tells: str
) -> None:
    for name in ("run", "restorer", "photos"):
        shutil.copytree(root / name, name)
    shutil.copytree("run/model", "alone")
    shutil.copytree("run", "moved")
    config = json.loads(Path("moved/config.json").read_text())
    config["config"]["data"]["source"] = "gone"
    Path("moved/config.json").write_text(json.dumps(config))
    before = sorted(Path().rglob("*"))
    code, out, err = run(capsys, "neighbors", *words)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("calotype: ")]
    assert tells in line
    assert "drawing" not in err
    assert sorted(Path().rglob("*")) == before


def test_latents_are_asked_with_names_and_after_all_checks(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small("vae", steps=2)
    data = replace(config.data, source=str(root / "photos"), size=16)
    calotype.train(replace(config, data=data), out=runs / "vae")
    Image.new("RGB", (40, 40), COLORS["blue"]).save("blue.png")
    capsys.readouterr()
    words = ["latents", "neighbors", "vae", "--images", "blue.png"]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "name their class with --label" in err
    assert "reading" not in err
    assert "latents of real images" not in err
    code, out, err = run(capsys, *words, "--label", "blue", "--json")
    assert code == 0
    near = json.loads(out)
    assert near["space"] == "latents"
    assert all("/" in file for file in near["files"][0])
    assert "latents of real images" in err
    (root / "coarse").mkdir()
    Image.new("RGB", (12, 10), COLORS["blue"]).save(root / "coarse" / "blue.png")
    Image.new("RGB", (12, 10), COLORS["red"]).save(root / "coarse" / "red.png")
    code, _, err = run(capsys, *words, "--label", "blue", "--data", str(root / "coarse"))
    assert "which makes them soft" in err
    assert not re.search("--(size|fit|holdout)", err)  # options of other commands
    code, _, err = run(capsys, "latents", "neighbors", str(root / "run"))
    assert code == 2
    assert "cannot find the latents" in err
    assert "calotype neighbors" in err
