"""The real images beside what is judged: brought to one size, found where they went, and told of before the work begins."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import calotype
from calotype import pictures
from calotype.cli.main import main
from calotype.data.typical import typical_shape
from calotype.evaluation.evaluate import evaluate, opened
from calotype.evaluation.generator import draw, open_candidate
from calotype.evaluation.request import Request
from calotype.evaluation.result import Report
from tests.small import small


def scenes(count: int, size: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Squares of 4x4 colors with a little noise."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 255, (count, 4, 4, channels)).repeat(size // 4, 1).repeat(size // 4, 2)
    return np.clip(base + rng.normal(0, 9, base.shape), 0, 255).astype(np.uint8)


def write(pixels: np.ndarray, folder: Path) -> str:
    folder.mkdir(parents=True)
    for index, image in enumerate(pixels):
        pictures.to_picture(image).save(folder / f"{index:03d}.png")
    return str(folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run on 160 pictures of 16 pixels in a folder."""
    source = write(scenes(160, 16), tmp_path / "photos")
    config = small("dcgan", steps=4)
    calotype.train(replace(config, data=replace(config.data, source=source)), out=tmp_path / "run")
    return tmp_path / "run"


def judged(path: str | Path, **more: object) -> Report:
    return evaluate(path, count=80, short=True, **more)  # type: ignore[arg-type]


def test_reals_are_brought_to_the_size_of_generated_images_and_it_is_told(tmp_path: Path) -> None:
    made, large, small_ones = (write(scenes(150, n, seed=n), tmp_path / str(n)) for n in (16, 32, 8))
    same = write(scenes(150, 16, seed=1), tmp_path / "same")
    lines: list[str] = []
    opened(made, Request(data=large, tell=lines.append))
    assert lines == [f"the images of {large}, 32x32 color, are brought to 16x16 color as the judged ones are"]
    report = judged(made, data=large)
    assert lines[0] in report.notes
    assert report.scores
    soft = judged(made, data=small_ones).notes[0]
    assert soft.endswith("which makes them soft: `size=8` compares all at their size")
    assert not any("brought" in note for note in judged(made, data=same).notes)


def test_a_size_may_be_asked_for(tmp_path: Path) -> None:
    made, large = write(scenes(150, 16), tmp_path / "made"), write(scenes(150, 32, seed=1), tmp_path / "large")
    subject = open_candidate(Path(made), Request(data=large, size=8))
    assert subject.train is not None
    assert subject.images.shape[1:] == subject.train.pixels.shape[1:] == (8, 8, 3)
    report = judged(made, data=large, size=8, fit="stretch")
    assert report.command.endswith("--count 80 --size 8 --fit stretch --seed 0")
    assert report.about["images"].endswith("8x8 color")


def test_a_model_is_judged_at_another_size_than_its_own(run: Path) -> None:
    subject = open_candidate(run, Request(count=10, size=8))
    assert subject.train is not None
    assert subject.holdout is not None
    assert subject.train.pixels.shape[1:] == subject.holdout.pixels.shape[1:] == (8, 8, 3)
    assert draw(subject, 0).images.shape == (10, 8, 8, 3)
    report = judged(run, size=8)
    assert report.scores
    assert report.about["images"] == "16x16x3, judged at 8x8"


def test_images_of_mixed_sizes_and_colors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = Path(write(scenes(150, 16), tmp_path / "mixed"))
    Image.new("RGB", (20, 30)).save(mixed / "odd.png")
    gray = write(scenes(150, 16, channels=1), tmp_path / "gray")
    assert main(["evaluate", str(mixed), "--data", gray, "--out", str(tmp_path / "report")]) == 2
    assert "--size 16" in capsys.readouterr().err
    report = judged(mixed, data=gray, size=16)
    assert report.notes[0] == f"the images of {gray}, 16x16 gray, are brought to 16x16 color as the judged ones are"
    report = judged(gray, data=str(mixed))
    assert report.notes[0] == f"the images of {mixed}, 16x16 color, are brought to 16x16 gray as the judged ones are"


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    made, real = Path(write(scenes(150, 16), tmp_path / "made")), Path(write(scenes(150, 16, seed=1), tmp_path / "real"))
    (made / "cut.png").write_bytes((made / "000.png").read_bytes()[:90])
    for n in range(5):
        (real / f"bad{n}.png").write_bytes(b"no picture")
    notes = judged(made, data=str(real)).notes
    assert notes[0].startswith(f"1 file of {made} left out: cut.png (")
    assert notes[1].startswith(f"5 files of {real} left out: bad0.png (")
    assert notes[1].endswith(" and 2 more")


def test_a_run_whose_images_went_away_is_judged_as_far_as_it_goes(run: Path) -> None:
    whole = judged(run)
    (run.parent / "photos").rename(run.parent / "moved")
    lines: list[str] = []
    work = opened(run, Request(count=80, short=True, tell=lines.append))
    gone = f"the images that the run was trained on are not in {run.parent / 'photos'} any more"
    assert lines == [f"{gone}: say with `data` where they are now"]
    report = work()
    assert lines[0] in report.notes
    found = {v.name: v.status for v in report.verdicts}
    assert found["divergence"] == "PASS"
    assert found["mode-collapse"] == "CANNOT TELL"
    assert report.pictures.samples is not None
    assert not report.scores
    again = judged(run, data=str(run.parent / "moved"))
    assert again.scores == whole.scores
    assert again.data is not None
    assert whole.data is not None
    assert again.data.holdout_fingerprint == whole.data.holdout_fingerprint
    other = judged(run, data=write(scenes(160, 16, seed=5), run.parent / "other"))
    assert "are not those that the run was trained on" in other.notes[0]
    assert other.data is not None
    assert other.data.holdout == 0


def test_a_run_whose_images_changed_says_so_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run.parent / "photos" / "000.png").unlink()
    assert main(["evaluate", str(run), "--count", "80"]) == 2
    told = capsys.readouterr().err
    assert "changed since the run was trained: name its training images, or others, with --data" in told
    assert "drawing" not in told


def test_what_was_wrong_in_a_training_is_not_mended_in_a_judgement(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without a size of its own any more, which a training would be told by --data.size."""
    Image.new("RGB", (20, 30)).save(run.parent / "photos" / "odd.png")
    for words in (["evaluate", str(run), "--count", "80"], ["neighbors", str(run)]):
        assert main(words) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert "changed since the run was trained (images have 2 different sizes" in told
        assert "--size" not in told


def test_a_restorer_whose_images_went_away_is_judged_by_what_it_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(scenes(60, 28), tmp_path / "photos")
    config = small("denoise", 2)
    calotype.train(replace(config, data=replace(config.data, source=source)), out=tmp_path / "run")
    whole = evaluate(tmp_path / "run", short=True)
    Path(source).rename(tmp_path / "moved")
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    assert "not in " in capsys.readouterr().err
    again = evaluate(tmp_path / "run", data=str(tmp_path / "moved"), short=True)
    assert again.restoration is not None
    assert whole.restoration is not None
    assert again.restoration.psnr == whole.restoration.psnr


def spoil_samples(samples: Path) -> None:
    first, *_ = sorted(samples.glob("step-*.png"))
    (samples / "step-000000001.png").write_bytes(first.read_bytes()[:200])
    (samples / "step-x.png").write_bytes(first.read_bytes())
    Image.new("RGB", (50, 50)).save(samples / "step-000000003.png")
    (samples / "step-000000009.png").mkdir()
    (samples / "notes.txt").write_text("mine")
    os.mkfifo(samples / "step-000000005.png")


def test_files_in_samples_that_are_no_grids_are_left_out(run: Path) -> None:
    there = open_candidate(run, Request(count=10)).grids
    assert len(there) > 1
    spoil_samples(run / "samples")
    subject = open_candidate(run, Request(count=10))
    assert [step for step, _ in subject.grids] == [step for step, _ in there]
    (note,) = subject.notes
    assert note.startswith(f"5 files of {run / 'samples'} left out: step-000000001.png (")


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        (["evaluate", "made", "--data", "made"], "--data as well"),
        (["evaluate", "made", "--data", "real", "--holdout", "../{name}/made"], "--holdout as well"),
        (["evaluate", "made", "--data", "real", "--out", "made/000.png"], "it is a file"),
        (["evaluate", "made", "--data", "real", "--out", "made/000.png/deep"], "is a file, not a folder"),
        (["evaluate", "run"], "cannot write a report into run/report"),
        (["evaluate", "run", "--out", "out", "--features", "made"], "holds no trained model"),
        (["evaluate", "run", "--out", "out", "--count", "100000000"], "give a smaller --count"),
        (["evaluate", "run", "--out", "out", "--size", "4"], "from 8 to 1,024"),
        (["compare", "made", "made/../made"], "is named twice"),
        (["compare", "made", "real", "--out", "made/000.png/page.html"], "cannot write"),
        (["compare", "made", "real", "--out", "made"], "is a folder"),
        (["compare", "made", "nowhere"], "does not exist"),
        (["compare", "run", "one", "--data", "real"], "holds one image"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], tells: str
) -> None:
    monkeypatch.chdir(run.parent)
    for name, count in (("made", 100), ("real", 150), ("one", 1)):
        write(scenes(count, 16, seed=count), Path(name))
    (run / "report").write_text("in the way")
    before = sorted(Path().rglob("*"))
    assert main([word.format(name=run.parent.name) for word in words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = [line for line in told.err.splitlines() if line.startswith("calotype: ")]
    assert tells in line
    assert "drawing" not in told.err
    assert "features of" not in told.err
    assert sorted(Path().rglob("*")) == before


def test_a_comparison_says_first_what_will_not_be_ranked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(scenes(160, 16, seed=3), run.parent / "others")
    config = small("dcgan", steps=4)
    calotype.train(replace(config, data=replace(config.data, source=source)), out=run.parent / "second")
    words = ["compare", str(run), str(run.parent / "second"), "--count", "80", "--quick", "--out", str(run.parent / "page.html")]
    for more, told_first in (([], True), (["--data", source], False)):
        assert main([*words, *more]) == 0
        told = capsys.readouterr()
        assert ("they will not be ranked; name images for all with --data" in told.err) == told_first
        assert ("not ranked" in told.out) == told_first


def test_restorers_of_different_images_are_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small("denoise", 2)
    for name, seed in (("a", 1), ("b", 2)):
        source = write(scenes(40, 28, seed=seed), tmp_path / f"photos-{name}")
        calotype.train(replace(config, data=replace(config.data, source=source)), out=tmp_path / name)
    words = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "page.html"), "--count", "4"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "hold out different images: name pictures for both with --data" in told
    assert "restoring" not in told
    assert main([*words, "--data", str(tmp_path / "photos-a")]) == 0


def test_a_number_that_is_a_default_is_taken_as_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 and 400 are how many images a generator is judged by, and 400 pictures of a restorer are 400."""
    from calotype.evaluation import restoration

    asked: list[int] = []

    def of_images(images: object, count: int, *_: object) -> list[object]:
        asked.append(count)
        raise StopIteration

    config = small("denoise", 2)
    calotype.train(config, out=tmp_path / "run")
    monkeypatch.setattr(restoration, "of_images", of_images)
    for words in ({}, {"count": 400}, {"count": 2000}, {"short": True}, {"short": True, "count": 100}):
        with pytest.raises(StopIteration):
            evaluate(tmp_path / "run", **words)  # type: ignore[arg-type]
    assert asked == [restoration.FULL, 400, 2000, restoration.SHORT, 100]


def test_the_shape_of_a_source_is_read_off_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(write(scenes(9, 16, channels=1), tmp_path / "mixed"))
    assert typical_shape(str(folder)) == (16, 16, 1)
    Image.new("RGB", (90, 80)).save(folder / "large.png")
    (folder / "bad.png").write_bytes(b"no")
    assert typical_shape(str(folder)) == (16, 16, 3)
    assert typical_shape("mnist5k") == (28, 28, 1)


def test_what_became_of_images_that_are_not_square_is_told(tmp_path: Path) -> None:
    made, wide = write(scenes(150, 16), tmp_path / "made"), write(scenes(150, 32, seed=1)[:, :24], tmp_path / "wide")
    lines: list[str] = []
    opened(made, Request(data=wide, fit="pad", tell=lines.append))
    said = f"the images of {wide}, 32x24 color, are brought to 16x16 color as the judged ones are"
    assert lines == [f"{said} (black borders make each a square: `fit=pad`)"]
    about = open_candidate(Path(wide), Request(size=16)).about
    assert about["images that are not square"] == "mostly 32x24; the middle square of each is kept (crop)"
    assert "images that are not square" not in open_candidate(Path(made), Request()).about
