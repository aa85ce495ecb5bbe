"""Folders whose images are there more than once: copies of training images, repeats of each other, real images that repeat."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from calotype import pictures
from calotype.diagnose.copies import CopyCount, same
from calotype.diagnose.modes import repeated
from calotype.diagnose.verdict import Finding, Verdict, cannot_tell, conclude
from calotype.evaluation.evaluate import evaluate
from calotype.evaluation.result import Report, to_json
from calotype.report.text import headline


def scenes(count: int, seed: int) -> np.ndarray:
    """Smooth color images with a little noise, no two of them alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    turns = rng.uniform(0, 6, (count, 3, 2, 1, 1))
    light = 128 + 90 * np.sin(x / 3 + turns[:, :, 0]) * np.cos(y / 4 + turns[:, :, 1]) + rng.normal(0, 6, (count, 3, 16, 16))
    return np.clip(light, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def judged(made: np.ndarray, train: np.ndarray, root: Path, held: np.ndarray | None = None) -> Report:
    named: dict[str, str] = {}
    for name, images in (("made", made), ("train", train), ("held", held)):
        if images is not None:
            (root / name).mkdir()
            named[name] = str(root / name)
            for row, image in enumerate(images):
                pictures.to_picture(image).save(root / name / f"{row:04d}.png")
    report = evaluate(named["made"], data=named["train"], holdout=named.get("held"), features="random", short=True)
    json.dumps(to_json(report), allow_nan=False)
    return report


def verdict(report: Report, name: str) -> Verdict:
    return next(v for v in report.verdicts if v.name == name)


def test_copies_of_the_training_set_fail_without_a_holdout(tmp_path: Path) -> None:
    train = scenes(300, 0)
    report = judged(train[::2], train, tmp_path)
    found = verdict(report, "copying")
    assert found.status == "FAIL"
    assert found.says == "150 of 150 generated images are training images, the same or nearly so."
    assert headline(report).startswith("1 of ")
    assert report.pictures.copies is not None
    assert (report.pictures.copies.train == report.pictures.copies.generated).all()


@pytest.mark.parametrize("how", ["mirrored", "altered"])
def test_a_few_copies_that_are_mirrored_or_altered_a_little_fail_too(tmp_path: Path, how: str) -> None:
    train, made = scenes(300, 0), scenes(150, 1)
    rng = np.random.default_rng(2)
    made[:12] = train[:12, :, ::-1] if how == "mirrored" else np.clip(train[:12] + rng.normal(0, 3, train[:12].shape), 0, 255)
    found = verdict(judged(made, train, tmp_path), "copying")
    assert found.status == "FAIL"
    assert found.says.startswith("12 of 150")
    assert f"{12 if how == 'mirrored' else 0} pixel for pixel" in found.evidence or "image, pixel for pixel" in found.evidence


def test_new_images_without_a_holdout_are_no_copies_and_no_pass(tmp_path: Path) -> None:
    report = judged(scenes(150, 1), scenes(300, 0), tmp_path)
    found = verdict(report, "copying")
    assert found.status == "CANNOT TELL"
    assert found.says.startswith("No generated image is the same as a training image")
    assert "`holdout`" in found.says
    assert verdict(report, "mode-collapse").status not in ("FAIL", "WARN")


def test_with_a_holdout_both_ways_of_looking_count(tmp_path: Path) -> None:
    train, held = scenes(300, 0), scenes(200, 3)
    made = scenes(150, 1)
    (tmp_path / "new").mkdir()
    fresh = judged(made, train, tmp_path / "new", held)
    assert verdict(fresh, "copying").status == "PASS"
    made[:9] = train[:9]
    assert verdict(judged(made, train, tmp_path, held), "copying").status == "FAIL"


def test_real_images_that_a_data_set_holds_twice_are_no_copies(tmp_path: Path) -> None:
    """Of every real image there are two, in any of the folders: the images judged are as real as the others."""
    twice = np.random.default_rng(0).permutation(np.concatenate([scenes(340, 0)] * 2))
    report = judged(twice[:180], twice[180:500], tmp_path, twice[500:])
    assert verdict(report, "copying").status != "FAIL"
    assert verdict(report, "copying").status != "WARN"
    assert verdict(report, "mode-collapse").status == "PASS"


def test_a_holdout_that_shares_images_with_the_training_set_shows_how_often_real_ones_do(tmp_path: Path) -> None:
    """A fifth of the holdout, and of the images judged, is in the training set too, each once."""
    train, held, made = scenes(300, 0), scenes(200, 1), scenes(150, 2)
    held[:40], made[:30] = train[:40], train[100:130]
    (tmp_path / "alike").mkdir()
    assert verdict(judged(made, train, tmp_path / "alike", held), "copying").status not in ("FAIL", "WARN")
    made[:90] = train[100:190]
    assert verdict(judged(made, train, tmp_path, held), "copying").status == "FAIL"


def test_one_image_over_and_over_fails_and_says_so(tmp_path: Path) -> None:
    report = judged(scenes(1, 1).repeat(250, 0), scenes(300, 0), tmp_path)
    found = verdict(report, "mode-collapse")
    assert found.status == "FAIL"
    assert "249 of 250 generated images repeat others pixel by pixel." in found.says


def test_black_images_are_a_collapse_and_no_copies(tmp_path: Path) -> None:
    train = scenes(300, 0)
    train[:3] = 0
    report = judged(np.zeros((200, 16, 16, 3), np.uint8), train, tmp_path)
    assert verdict(report, "mode-collapse").status == "FAIL"
    assert verdict(report, "copying").status == "CANNOT TELL"


def test_real_images_that_repeat_are_said_first_and_count_once(tmp_path: Path) -> None:
    """Each picture eight times: the nearest neighbors of each are at no distance at all."""
    pictures_ = scenes(90, 0)
    report = judged(pictures_[50:].repeat(8, 0), pictures_[:50].repeat(8, 0), tmp_path)
    assert any(note.startswith("the 400 training images are 50 images, repeated") for note in report.notes)
    for name in ("precision", "recall", "density", "coverage"):
        score = report.score(name)
        assert score is not None
        assert score.baseline is not None
        assert score.baseline > 0.5, name
    assert report.score("coverage").value > 0  # type: ignore[union-attr]


def test_too_few_different_real_images_have_no_neighbors(tmp_path: Path) -> None:
    report = judged(scenes(200, 1), scenes(4, 0).repeat(60, 0), tmp_path)
    assert report.score("coverage") is None
    assert verdict(report, "mode-collapse").status != "PASS"
    assert any("images, repeated: nothing here" in note for note in report.notes)


@pytest.mark.parametrize(
    ("made", "real", "status"),
    [(1, 0, "PASS"), (40, 0, "FAIL"), (40, 40, "PASS"), (60, 20, "FAIL"), (4, 0, "PASS"), (9, 0, "WARN")],
)
def test_a_share_of_copies_counts_beyond_that_of_real_images(made: int, real: int, status: str) -> None:
    (found,) = conclude(
        [same(CopyCount(made, 2000 if made == 9 else 400, made, made), CopyCount(real, 2000 if made == 9 else 400), _sees())]
    )
    assert found.status == status


def _sees() -> Finding:
    """A look at altered copies that could have seen one in a hundred."""
    return Finding("copying", 0.0, 1e-9, 0.01, {"PASS": "", "CANNOT TELL": "Blind."}, "", detectable=0.01, blind=0.1)


def test_what_repeats_so_much_that_nothing_could_be_told_is_no_pass() -> None:
    every = CopyCount(400, 400, 400, 400)
    (found,) = conclude([same(every, every, _sees())])
    assert found.status == "CANNOT TELL"
    assert "repeat each other" in found.says
    (found,) = conclude([same(CopyCount(0, 400), every, cannot_tell("copying", "No holdout."))])
    assert found.says.endswith("No holdout.")


@pytest.mark.parametrize(("made", "real", "status"), [(400, 400, "PASS"), (390, 400, "WARN"), (200, 400, "FAIL"), (200, 200, "PASS")])
def test_repeats_count_beyond_those_of_real_images(made: int, real: int, status: str) -> None:
    (found,) = conclude([repeated(400, made, real)])
    assert found.status == status
