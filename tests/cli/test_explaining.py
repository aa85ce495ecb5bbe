"""``calotype explain``: a page and its numbers for every kind of model, and one line for what cannot be explained."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

import calotype
from calotype.cli.main import main
from calotype.evaluation.explaining import PARTS
from tests.small import small

LATENT = {"named-directions", "unsupervised-directions", "unit-ablation", "inversion", "interpolation", "nearest-training-images"}
QUICK = ("--count", "200", "--steps", "2")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models after two steps: with latents and classes, with an encoder, without latents."""
    root = tmp_path_factory.mktemp("explain")
    for name in ("hinge", "vae", "pixelcnn"):
        calotype.train(small(name, steps=2), out=root / name)
    return root


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["explain", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_page_and_its_numbers(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = ("named-directions", "unsupervised-directions", "interpolation")
    code, out, err = run(capsys, str(root / "hinge"), "--parts", *parts, "--json", *QUICK)
    assert code == 0, err
    found = json.loads(out)
    assert set(found["sections"]) == set(parts)
    assert found["written"] == ["explanation.html"]
    directions = found["sections"]["named-directions"]["directions"]
    assert [one["name"] for one in directions] == ["slant", "thickness", "brightness"]
    for one in directions:
        assert sum(x**2 for x in one["vector"]) == pytest.approx(1, abs=1e-4)
        assert set(one["plain"]["change"]) == {"slant", "thickness", "brightness"}
    page = Path("explanation.html").read_text(encoding="utf-8")
    assert page.count("<h2>") == len(parts) + 1  # and the words
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)  # nothing is loaded from anywhere
    assert "<script" not in page


def test_directions_and_parts_are_asked_for_by_name(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (str(root / "hinge"), "--directions", "slant", "pca-2", "--parts", "named-directions", "unsupervised-directions")
    code, out, err = run(capsys, *words, "--label", "7", "--out", "here/a.html", "--json", *QUICK)
    assert code == 0, err
    found = json.loads(out)["sections"]
    assert [one["name"] for one in found["named-directions"]["directions"]] == ["slant"]
    assert [one["name"] for one in found["unsupervised-directions"]["directions"]] == ["pca-2"]
    assert Path("here/a.html").is_file()


def test_images_of_ones_own_are_sought_in_any_shape(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30), (200, 10, 10)).save("mine.png")
    code, out, err = run(capsys, str(root / "vae"), "--images", "mine.png", "--parts", "inversion", "--json", *QUICK)
    assert code == 0, err
    found = json.loads(out)["sections"]["inversion"]
    assert found["memorized"] is False
    sets = found["sets"]
    assert len(sets["training images"]["psnr"]) == len(sets["held-out images"]["psnr"]) == 24
    assert sets["images given"]["names"] == ["mine.png"]
    Path("broken.png").write_bytes(b"no picture")
    code, _, err = run(capsys, str(root / "vae"), "--images", "broken.png", *QUICK)
    assert code == 2
    assert err.strip().splitlines()[-1].startswith("calotype: broken.png is not a source of images")
    assert not Path("explanation-2.html").exists()


def test_an_animation_is_written_beside_the_page(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, str(root / "hinge"), "--parts", "interpolation", "--animation", "walk.gif", "--frames", "6")
    assert code == 0, err
    assert out.splitlines() == ["From one image to another", "page: explanation.html", "animation: walk.gif"]
    with Image.open("walk.gif") as found:
        assert found.n_frames <= 6  # equal frames are joined
    code, out, err = main(["trace", "walk.gif", "--json"]), *capsys.readouterr()
    assert code == 0, err
    assert "decoding" in out


def test_a_model_without_latents_gets_the_parts_that_it_has(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, str(root / "pixelcnn"), "--parts", "nearest-training-images", "--json")
    assert code == 0, err
    assert set(json.loads(out)["sections"]) & LATENT == {"nearest-training-images"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--directions", "weight"], "no direction 'weight': choose of slant, thickness, brightness"),
        (["--parts", "soul"], "no part 'soul' of an explanation: choose of denoising"),
        (["--classifier", "photos"], "tells no classes apart"),
        (["--classifier", "nowhere"], "no features 'nowhere'"),
        (["--label", "11"], "unknown label '11'"),
        (["--count", "10"], "--count"),
        (["--animation", "walk.avi"], "walk.avi: give the animation a name in one of .gif, .webp, .mp4"),
        (["--out", "."], "is a folder"),
        (["--images", "nothing.png"], "nothing.png"),
    ],
)
def test_bad_input_is_one_line(root: Path, runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    code, out, err = run(capsys, str(root / "hinge"), *words)
    assert code == 2
    assert said in err.strip().splitlines()[-1]
    assert not out
    assert not list(runs.iterdir())


def test_what_a_model_has_not_is_one_line(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--parts", "inversion"], "a pixelcnn model has not what inversion takes"),
        (["--directions", "slant"], "a pixelcnn model has no latents, and so no directions"),
        (["--parts", "nearest-training-images", "--animation", "walk.gif"], "a pixelcnn model has no latents"),
    ):
        code, _, err = run(capsys, str(root / "pixelcnn"), *words)
        assert code == 2
        assert said in err
    assert not list(runs.iterdir())


def test_a_direction_that_is_not_made_is_one_line(root: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, str(root / "hinge"), "--directions", "slant", "--parts", "interpolation", *QUICK)
    assert code == 2
    assert "the direction 'slant' could not be found in this model: leave it out of --directions" in err.strip().splitlines()[-1]
    assert not list(runs.iterdir())


def test_numbers_that_are_none_are_null(
    root: Path, runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calotype.cli.explain.to_json", lambda found: {"sections": {"x": [float("nan"), 1.0]}})
    code, out, err = run(capsys, str(root / "hinge"), "--parts", "interpolation", "--json")
    assert code == 0, err
    assert json.loads(out)["sections"] == {"x": [None, 1.0]}


def test_python_returns_the_same_parts(root: Path) -> None:
    found = calotype.explain(root / "hinge", parts=["interpolation"], display=calotype.Display())
    assert [one.name for one in found.sections] == ["interpolation"]
    assert found.about["recipe"] == "hinge"


def test_parts_have_the_names_of_their_sections() -> None:
    assert {part.name for part in PARTS} >= LATENT
