"""Results scored against originals that a user has, and words for pictures that were degraded first."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import calotype
from calotype.cli import main
from calotype.engine.display import Display
from calotype.errors import UserError
from calotype.types import Source
from tests.cli.exported import export


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def picture(path: Path, height: int, width: int, channels: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x, c = np.mgrid[:height, :width, :channels]
    pixels = 128 + 60 * np.sin(x / 5 + c) + 50 * np.cos(y / 7 - c) + np.random.default_rng(height).normal(0, 8, y.shape)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8).squeeze()).save(path)


@pytest.fixture
def here(runs: Path) -> Path:
    """Originals, and the models."""
    export("denoise", runs / "denoiser", 3, Source(3, 1, ("sigma",), "noise:0-55"))
    export("denoise", runs / "gray", 1, Source(1, 1, (), "noise:25"))
    export("upscale", runs / "upscaler", 3, Source(3, 2, (), "downsample:2"))
    export("inpaint", runs / "filler", 3, Source(3, 1, ("mask",), "mask:box"))
    export("cyclegan", runs / "translator", 3, Source(3, paired=False))
    picture(runs / "truth/a.png", 41, 54)
    picture(runs / "truth/deep/b.png", 40, 53)
    return runs


def scores(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    facts = json.loads(out)
    return {row["file"]: row for row in facts["files"]} | {"facts": facts}


def test_noise_that_is_there_already_is_scored_as_noise_that_is_added(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # lossless, and clipped alike: the same pictures reach the model either way but for the rounding of a file
    assert run(capsys, "degrade", "noise:15", "truth", "noisy")[0] == 0
    found = scores(capsys, "restore", "denoiser", "noisy", "--truth", "truth", "--sigma", "15")
    own = scores(capsys, "restore", "denoiser", "truth", "--degrade", "noise:15", "--score", "--sigma", "15")
    for name in ("a.png", "deep/b.png"):
        assert found[name]["psnr"] == pytest.approx(own[name]["psnr"], abs=0.1)
        assert found[name]["baselines"]["input"]["psnr"] == pytest.approx(own[name]["baselines"]["input"]["psnr"], abs=0.1)
        assert found[name]["baselines"].keys() == {"input"}
        assert found[name]["convention"] == own[name]["convention"]
    assert (found["facts"]["truth"], found["facts"]["degrade"], own["facts"]["truth"]) == ("truth", None, None)
    wrong = scores(capsys, "restore", "denoiser", "noisy/a.png", "--truth", "noisy/a.png")
    assert wrong["a.png"]["psnr"] > found["a.png"]["psnr"] + 3  # what it is compared with does count


@pytest.mark.parametrize("source", ["folder", "zip", "other suffix", "flat"])
def test_an_upscaler_is_scored_in_the_convention_of_super_resolution(here: Path, capsys: pytest.CaptureFixture[str], source: str) -> None:
    assert run(capsys, "degrade", "downsample:2", "truth", "small")[0] == 0
    if source == "zip":
        with zipfile.ZipFile("truth.zip", "w") as archive:
            for path in Path("truth").rglob("*.png"):
                archive.write(path, path.relative_to("truth"))
    for path in list(Path("truth").rglob("*.png")):
        if source == "other suffix":
            Image.open(path).save(path.with_suffix(".tif"))
            path.unlink()
        elif source == "flat":
            path.rename(Path("truth") / path.name)
    truth = "truth.zip" if source == "zip" else "truth"
    found = scores(capsys, "upscale", "upscaler", "small", "large", "--truth", truth, "--score")
    for size, name in (((54, 40), "a.png"), ((52, 40), "deep/b.png")):
        assert Image.open(f"large/{name}").size == size  # originals that are a pixel larger were cut as they were made smaller
        assert found[name]["baselines"].keys() == {"bicubic"}
        assert found[name]["convention"].startswith("luma (rgb2ycbcr, 16 to 235) in 8 bit, range 255; 2 border pixels cut off")
    if source == "folder":
        own = scores(capsys, "upscale", "upscaler", "truth", "--score")
        for name in ("a.png", "deep/b.png"):
            assert found[name]["psnr"] == pytest.approx(own[name]["psnr"], abs=0.05)


def test_holes_alone_are_scored_where_a_mask_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((41, 54), np.uint8)
    mask[10:20, 20:40] = 255
    Image.fromarray(mask).save("mask.png")
    pixels = np.array(Image.open("truth/a.png"))
    pixels[mask > 0] = 0
    Image.fromarray(pixels).save("a.png")
    found = scores(capsys, "restore", "filler", "a.png", "--truth", "truth/a.png", "--mask", "mask.png")["a.png"]
    assert "missing pixels only" in found["convention"]
    assert {"mean fill", "diffusion fill"} <= found["baselines"].keys()
    assert np.isfinite(found["psnr"])


def test_channels_are_those_of_the_result(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.open("truth/a.png").convert("L").save("a.png")
    code, out, err = run(capsys, "restore", "denoiser", "a.png", "--truth", "truth/a.png", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["files"][0]["convention"].startswith("gray values")
    assert "was scored against its original in gray" in err
    Image.open("a.png").convert("RGB").save("b.png")
    tinted = json.loads(run(capsys, "restore", "denoiser", "b.png", "--truth", "a.png", "--json")[1])["files"][0]
    assert (tinted["convention"], tinted["psnr"]) == (facts["files"][0]["convention"], facts["files"][0]["psnr"])
    color = json.loads(run(capsys, "translate", "translator", "a.png", "--truth", "truth/a.png", "--json")[1])["files"][0]
    assert color["convention"].startswith("RGB")


def test_the_middle_of_a_large_picture_is_scored(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from calotype.tasks import score

    picture(Path("truth.png"), 300, 400)
    assert run(capsys, "degrade", "downsample:2", "truth.png", "small.png")[0] == 0
    whole = scores(capsys, "upscale", "upscaler", "small.png", "--truth", "truth.png")["small.png"]
    monkeypatch.setattr(score, "LARGEST", 200 * 200)
    code, out, err = run(capsys, "upscale", "upscaler", "small.png", "large.png", "--truth", "truth.png", "--json")
    part = json.loads(out)["files"][0]
    assert (code, Image.open("large.png").size) == (0, (400, 300))
    assert "scored by its middle, 192x96 pixels" in err
    assert part["psnr"] == pytest.approx(whole["psnr"], abs=0.5)
    assert part["psnr"] != whole["psnr"]


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        ("restore denoiser some --truth truth", "2 of 3 pictures have no original of their name in truth: c.png, d/e.png"),
        ("restore denoiser twice --truth both", "a.png has several originals in both: a.jpg and a.png; leave one of them"),
        ("restore denoiser sized --truth truth", "the original a.png has 54x41 pixels, and the result that is compared with it 53x41"),
        ("upscale upscaler truth/a.png --truth truth/a.png", "a.png has 54x41 pixels, and the result that is compared with it 108x82"),
        ("restore denoiser truth --truth nowhere", "nowhere"),
        ("restore denoiser truth --truth truth --degrade noise:9", "leave out one of them"),
        ("upscale upscaler truth --truth truth --degrade downsample:2", "leave out one of them"),
    ],
)
def test_originals_that_are_none_are_told_before_any_work(here: Path, capsys: pytest.CaptureFixture[str], words: str, tells: str) -> None:
    for name in ("some/a.png", "some/c.png", "some/d/e.png", "twice/a.png", "both/a.png", "both/a.jpg"):
        picture(Path(name), 41, 54)
    picture(Path("sized/a.png"), 41, 53)
    before = sorted(here.rglob("*"))
    code, out, err = run(capsys, *words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert tells in err
    assert sorted(here.rglob("*")) == before


def test_an_original_that_is_damaged_costs_its_picture_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "degrade", "noise:15", "truth", "noisy")
    Path("truth/a.png").write_bytes(Path("truth/a.png").read_bytes()[:-200])
    code, out, _ = run(capsys, "restore", "denoiser", "noisy", "--truth", "truth", "--json")
    facts = json.loads(out)
    assert code == 1
    assert [row["file"] for row in facts["files"]] == ["deep/b.png"]
    assert "its original a.png cannot be used: cut off" in facts["failed"][0]["error"]


def test_python_scores_against_originals(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "degrade", "noise:15", "truth", "noisy")
    outcomes = calotype.restore("denoiser", "noisy", truth="truth", sigma=15, display=Display())
    words = scores(capsys, "restore", "denoiser", "noisy", "--truth", "truth", "--sigma", "15")
    for outcome in outcomes:
        assert outcome.scored is not None
        assert outcome.written is None
        assert outcome.scored.own.psnr == words[outcome.file]["psnr"]
    degraded = calotype.restore("denoiser", "truth", degrade="noise:15", score=True, sigma=15, display=Display())
    assert all(outcome.scored for outcome in degraded)
    with pytest.raises(UserError, match="OUT is missing"):
        calotype.restore("denoiser", "truth", display=Display())


def test_every_line_says_that_pictures_were_spoiled_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def last(*words: str) -> list[str]:
        code, out, _ = run(capsys, *words)
        assert code == 0
        return out.splitlines()

    words = ["truth", "large", "--score", "--compare", "look.png"]
    lines = last("upscale", "upscaler", *words)
    assert lines[-2:] == [
        "2 pictures in large, degraded first by downsample:2",
        "before and after in look.png, degraded first by downsample:2",
    ]
    assert lines[-3].startswith("downsample:2, seed 0; luma")
    assert last("upscale", "upscaler", "truth/a.png", "b.png", "--score")[-1] == "b.png: 54x40, degraded first by downsample:2"
    assert last("restore", "denoiser", "truth", "clean", "--degrade", "noise:9") == ["2 pictures in clean, degraded first by noise:9"]
    assert last("upscale", "upscaler", "truth", "larger") == ["2 pictures in larger"]
    run(capsys, "degrade", "noise:15", "truth", "noisy")
    lines = last("restore", "denoiser", "noisy", "out", "--truth", "truth")
    assert lines[-1] == "2 pictures in out"
    assert lines[-2].startswith("in the mean") or lines[-2].startswith("against the originals in truth; RGB")


@pytest.mark.parametrize(
    ("words", "code", "tells"),
    [
        ("upscale denoiser truth out", 2, "denoiser restores pictures in the size that they have: give it to calotype restore, or train"),
        ("upscale translator truth out", 2, "translator translates pictures of one kind into another: give it to calotype translate, or"),
        ("translate denoiser truth out", 2, "give it to calotype restore, or train for calotype translate: calotype train cyclegan"),
        ("translate upscaler truth out", 2, "upscaler makes pictures 2 times larger: give it to calotype upscale, or train"),
        (
            "restore upscaler truth out",
            2,
            "upscaler makes pictures 2 times larger: give it to calotype upscale, or train",
        ),
        ("restore translator truth out", 2, "translator translates pictures of one kind into another: give it to calotype translate, or"),
    ],
)
def test_a_model_for_another_command_gets_the_command(
    here: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, tells: str
) -> None:
    found, _, err = run(capsys, *words.split())
    assert found == code
    assert tells in err.splitlines()[0]
    for right in ("restore denoiser", "upscale upscaler", "translate translator"):
        _, _, err = run(capsys, *right.split(), "truth/a.png", f"{right[:4]}.png", "--overwrite")
        assert "is the command" not in err
        assert "give it to" not in err


def test_a_translator_says_first_which_way_it_goes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(capsys, "translate", "translator", "truth", "out")[2].splitlines()[0]
    assert first == "calotype: a2b, from the pictures that were its source to those that it was trained to make; --direction b2a goes back"
    first = run(capsys, "translate", "translator", "truth", "back", "--direction", "b2a")[2].splitlines()[0]
    assert first.startswith("calotype: b2a, from those that it was trained to make to the pictures that were its source; a2b is")
    export("cut", here / "cut", 3, Source(3, paired=False))
    assert "this model knows no way back" in run(capsys, "translate", "cut", "truth", "cuts")[2].splitlines()[0]
