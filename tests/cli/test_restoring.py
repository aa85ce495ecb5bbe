"""calotype restore, upscale and translate as a user types them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calotype.cli import main
from calotype.engine.display import Terminal
from calotype.types import Source
from tests.cli.exported import export


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def denoiser(runs: Path) -> str:
    return export("denoise", runs / "denoiser", 3, Source(3, 1, ("sigma",), "noise:0-55"))


@pytest.fixture
def upscaler(runs: Path) -> str:
    return export("upscale", runs / "upscaler", 1, Source(1, 3, (), "downsample:3"))


@pytest.fixture
def photos(runs: Path) -> Path:
    folder = runs / "photos"
    folder.mkdir()
    ramp = np.linspace(0, 255, 40)[None, :, None] * np.ones((31, 1, 3))
    wave = 127 + 100 * np.sin(np.arange(31) / 3)[:, None, None] * np.cos(np.arange(40) / 4)[None, :, None] * np.ones((1, 1, 3))
    Image.fromarray(ramp.astype(np.uint8)).save(folder / "a.png")
    Image.fromarray(wave.astype(np.uint8)).save(folder / "b.jpg", quality=100)
    return folder


def test_one_picture_and_a_folder(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "restore", denoiser, "photos/a.png", "clean.jpg", "--sigma", "15", "--quality", "80", "--compare", "look")
    assert (code, out.splitlines()) == (0, ["clean.jpg: 40x31", "before and after in look.png"])
    assert Image.open("clean.jpg").size == (40, 31)
    assert Image.open("look.png").width > 480
    code, out, _ = run(capsys, "restore", denoiser, "photos", "clean", "--json")
    facts = json.loads(out)
    assert code == 0
    assert [(file["file"], file["written"], file["width"]) for file in facts["files"]] == [
        ("a.png", "clean/a.png", 40),
        ("b.jpg", "clean/b.jpg", 40),
    ]
    assert (facts["failed"], facts["seed"]) == ([], 0)


def test_scores_are_printed_as_a_table_and_as_json(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["restore", denoiser, "photos", "--degrade", "noise:25", "--score", "--seed", "3"]
    code, out, err = run(capsys, *words, "--json")
    facts = json.loads(out)
    assert (code, facts["seed"], facts["degrade"]) == (0, 3, "noise:25")
    assert "trained" not in err
    for row in (*facts["files"], facts["mean"]):
        assert {"psnr", "ssim", "baselines", "convention"} <= row.keys()
        assert row["baselines"]["input"].keys() == {"psnr", "ssim", "ms_ssim", "perceptual"}
        assert row["ms_ssim"] is None  # it is for larger pictures
        assert 0 < row["perceptual"] < 20  # five stages, each 4 at most
        assert "not LPIPS" in row["convention"]
        assert row["baselines"]["input"]["psnr"] == pytest.approx(20.5, abs=1)
    assert facts["mean"]["psnr"] == pytest.approx(np.mean([row["psnr"] for row in facts["files"]]))
    assert json.loads(run(capsys, *words, "--json")[1]) == facts
    other = json.loads(run(capsys, *words[:-1], "4", "--json")[1])
    assert other["mean"]["baselines"]["input"] != facts["mean"]["baselines"]["input"]
    _, out, _ = run(capsys, *words)
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["result", "input"]
    assert [line.split()[0] for line in lines[1:4]] == ["a.png", "b.jpg", "mean"]
    assert f"{facts['mean']['psnr']:.2f} {facts['mean']['ssim']:.4f}" in lines[3]
    assert facts["mean"]["convention"] in out
    assert sorted(path.name for path in Path().iterdir()) == ["denoiser", "photos"]


def test_what_the_model_is_told_changes_the_result(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["restore", denoiser, "photos", "--degrade", "noise:25", "--score", "--json"]
    told, blind, wrong = (json.loads(run(capsys, *words, *more)[1])["mean"]["psnr"] for more in ([], ["--blind"], ["--sigma", "5"]))
    assert len({told, blind, wrong}) == 3
    assert json.loads(run(capsys, *words, "--sigma", "25")[1])["mean"]["psnr"] == told


def test_upscaling_scores_against_bicubic(upscaler: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "upscale", upscaler, "photos", "large", "--score", "--json")
    facts = json.loads(out)
    assert (code, facts["degrade"]) == (0, "downsample:3")
    assert "bicubic" in facts["mean"]["baselines"]
    assert Image.open("large/a.png").size == (39, 30)
    code, out, _ = run(capsys, "upscale", upscaler, "photos/a.png", "large.png")
    assert (code, out) == (0, "large.png: 120x93\n")


def test_zip_archives_and_data_sets_are_pictures_too(
    upscaler: str, denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write("photos/a.png", "set/a.png")
    words = ["--degrade", "noise:25", "--score", "--json"]
    assert [row["file"] for row in json.loads(run(capsys, "restore", denoiser, "photos.zip", *words)[1])["files"]] == ["set/a.png"]
    facts = json.loads(run(capsys, "restore", denoiser, "mnist5k", "--count", "2", *words)[1])
    assert [row["width"] for row in facts["files"]] == [28, 28]


def test_a_failed_file_gives_exit_code_1_and_all_others(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "c.png").write_bytes((photos / "a.png").read_bytes()[:60])
    code, out, err = run(capsys, "restore", denoiser, "photos", "clean")
    assert (code, out) == (1, "2 pictures in clean\n")
    assert "1 of 3 pictures failed:\n  c.png: cut off" in err
    code, out, _ = run(capsys, "restore", denoiser, "photos", "again", "--json")
    assert (code, [row["file"] for row in json.loads(out)["failed"]]) == (1, ["c.png"])


def test_a_translator_goes_both_ways(runs: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = export("cyclegan", runs / "both", 1, Source(3, paired=False))
    assert run(capsys, "translate", both, "photos", "b")[0] == 0
    assert Image.open("b/a.png").mode == "L"
    assert run(capsys, "translate", both, "photos", "a", "--direction", "b2a")[0] == 0
    assert Image.open("a/a.png").mode == "RGB"
    for recipe, paired in (("pix2pix", True), ("cut", False)):
        one = export(recipe, runs / recipe, 3, Source(3, paired=paired))
        assert run(capsys, "translate", one, "photos/a.png", f"{recipe}.png", "--direction", "a2b")[0] == 0
        code, _, err = run(capsys, "translate", one, "photos/a.png", "d.png", "--direction", "b2a")
        assert (code, err.count("\n"), f"a {recipe} model translates one way only" in err) == (2, 1, True)
        assert not Path("d.png").exists()


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["restore", "denoiser", "photos"], "OUT is missing"),
        (["restore", "denoiser", "nothing.png", "b.png"], "no data set or path 'nothing.png'"),
        (["restore", "nothing", "photos", "out"], "nothing does not exist: give"),
        (["restore", "denoiser", "photos/a.png", "photos/a.png"], "never overwritten"),
        (["restore", "denoiser", "photos", "out", "--score"], "say how with --degrade"),
        (["restore", "denoiser", "photos", "out", "--blind"], "--blind goes with --degrade"),
        (["restore", "denoiser", "photos", "out", "--degrade", "nose:25"], "nose"),
        (["restore", "denoiser", "photos", "--score", "--degrade", "downsample:2"], "keeps the size of pictures"),
        (["restore", "denoiser", "photos", "out", "--mask", "photos/a.png"], "fills in nothing"),
        (["restore", "denoiser", "photos", "out", "--tile", "95"], "--tile 95 is too small: give 96 or more"),
        (["restore", "denoiser", "photos", "out", "--sigma", "-50"], "--sigma: give a number from 0 to 255, not -50.0"),
        (["restore", "denoiser", "photos", "out", "--sigma", "nan"], "--sigma: give a number from 0 to 255, not nan"),
        (["restore", "denoiser", "photos", "out", "--degrade", "noise:9", "--blind", "--sigma", "9"], "leave out one of them"),
        (["restore", "denoiser", "photos/a.png", "o.png", "--compare", "photos/a.png"], "photos/a.png is one of the pictures to work on"),
        (["restore", "denoiser", "photos/a.png", "o.png", "--compare", "photos/a.png", "--overwrite"], "give another --compare"),
        (["restore", "denoiser", "photos/a.png", "o.png", "--compare", "photos/b.jpg"], "photos/b.jpg exists: give another --compare, or"),
        (["restore", "denoiser", "photos/a.png", "o.png", "--compare", "./o.png"], "o.png is the place of a result"),
        (["restore", "denoiser", "photos", "out", "--compare", "photos"], "cannot write photos: it is a folder"),
        (["restore", "denoiser", "photos/a.png", ""], "OUT is empty"),
        (["restore", "denoiser", "", "out"], "IN is empty"),
        (["translate", "denoiser", "photos", "out"], "restores pictures in the size that they have: give it to calotype restore"),
        (["translate", "negative", "photos", "--score"], "say how with --degrade"),
        (["translate", "negative", "photos", "out", "--degrade", "invert", "--direction", "b2a"], "leave out --direction b2a"),
        (["restore", "denoiser", "photos", "out", "--quality", "0"], "--quality: give a whole number from 1 to 100, not 0"),
        (["restore", "denoiser", "photos", "out", "--compare", "no/such/folder.png"], "there is no folder no/such"),
        (["upscale", "denoiser", "photos", "out"], "give it to calotype restore"),
        (["restore", "gan", "photos", "out"], "makes images from noise, not from pictures"),
    ],
)
def test_mistakes_are_told_in_one_line(
    runs: Path, denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str], words: list[str], tells: str
) -> None:
    if "gan" in words:
        export("gan", runs / "gan", 1, None)
    if "negative" in words:
        export("cyclegan", runs / "negative", 3, Source(3, degradation="invert", paired=False))
    before = sorted(runs.rglob("*"))
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert tells in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(runs.rglob("*")) == before


def test_a_model_of_another_kind_is_used_with_a_warning(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "restore", denoiser, "photos", "--degrade", "noise:75", "--score")
    assert code == 0
    assert err.count("this model was trained on noise:0-55, not on noise:75") == 1


def test_a_comparison_replaces_nothing_unless_asked(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["restore", denoiser, "photos/a.png", "o.png", "--overwrite", "--compare", "look.png"]
    assert run(capsys, *words)[0] == 0
    look = Path("look.png").read_bytes()
    Path("look.png").write_bytes(b"mine")
    assert run(capsys, *[word for word in words if word != "--overwrite"])[0] == 2
    assert Path("look.png").read_bytes() == b"mine"
    assert run(capsys, *words)[0] == 0
    assert Path("look.png").read_bytes() == look


def test_a_comparison_is_named_where_there_is_one(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "bad").mkdir()
    for name in "xy":
        (photos / f"bad/{name}.png").write_bytes((photos / "a.png").read_bytes()[:60])
    code, out, _ = run(capsys, "restore", denoiser, "photos/bad", "none", "--compare", "look.png", "--json")
    assert (code, json.loads(out)["compare"], Path("look.png").exists()) == (1, None, False)
    code, out, _ = run(capsys, "restore", denoiser, "photos", "some", "--compare", "look.png", "--json")
    assert (code, json.loads(out)["compare"], Path("look.png").exists()) == (1, "look.png", True)


def test_a_folder_may_be_named_by_its_slash(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "restore", denoiser, "photos/a.png", "new.png/")[:2] == (0, "new.png/a.png: 40x31\n")
    assert run(capsys, "restore", denoiser, "photos/a.png", "other.png")[:2] == (0, "other.png: 40x31\n")


def test_exact_and_tiny_pictures_have_their_words(denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 40), (128, 128, 128)).save("photos/flat.png")
    Image.new("RGB", (40, 9), (10, 128, 128)).save("photos/low.png")
    words = ["restore", denoiser, "photos", "--degrade", "jpeg:30", "--score"]
    code, out, _ = run(capsys, *words)
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert code == 0
    assert "exact" in rows["flat.png"]
    assert rows["low.png"][2] == "-"
    assert not {"exact", "-", "nan", "inf"} & set(rows["mean"])
    assert "PSNR above 80 dB counts as 80" in out
    assert "1 of 4 pictures without SSIM" in out
    whole = json.loads(run(capsys, *words, "--json")[1])["mean"]
    assert len(whole["notes"]) == 2
    assert f"{whole['psnr']:.2f}" == rows["mean"][1]


def test_a_translator_is_scored_by_pairs_that_a_name_makes(runs: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    negative = export("cyclegan", runs / "negative", 3, Source(3, degradation="invert", paired=False))
    code, out, err = run(capsys, "translate", negative, "photos", "--degrade", "invert", "--score", "--json")
    facts = json.loads(out)
    assert (code, len(facts["files"]), facts["degrade"]) == (0, 2, "invert")
    assert "this model was trained" not in err
    assert facts["mean"]["baselines"]["input"]["psnr"] < 12
    assert "trained on invert, not on gray" in run(capsys, "translate", negative, "photos", "--degrade", "gray", "--score")[2]


def test_progress_of_one_picture_is_a_share(
    denoiser: str, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terminal, "interval", 0.0)
    assert "restoring 100%  done\n" in run(capsys, "restore", denoiser, "photos/a.png", "o.png")[2]
    err = run(capsys, "restore", denoiser, "photos", "out")[2]
    assert "restoring 2/2  done\n" in err
    assert "%" not in err


@pytest.mark.parametrize("command", ["restore", "upscale", "translate"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"calotype {command} runs/" in capsys.readouterr().out
