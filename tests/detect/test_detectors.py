"""From images to answers: detectors of planted generators, and of nothing but files.

The images are drawn here, quickly: random fields of smooth shapes in place of real ones, and in place of generated ones the same with the
fine detail taken away, or with the checkerboard that strided upsampling leaves.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from calotype import detect, pictures
from calotype.data import load
from calotype.detect.detector import Detector
from calotype.detect.evidence import Evidence
from calotype.detect.judge import LinearJudge
from calotype.detect.perturb import perturbed
from calotype.detect.results import Answers, CoveredFiles, Rate, ToldApart
from calotype.detect.score import _Asked, _reason, _too_small
from calotype.detect.train import _by_value, _held
from calotype.engine.display import Display
from calotype.errors import DamagedError, UserError
from calotype.provenance.marker import Marker
from calotype.report import detector as detector_report

N, SIDE = 120, 24
FAST = {"display": Display(), "groups": ("co-occurrences", "spectra")}


def scenes(n: int, seed: int, side: int = SIDE) -> list[Image.Image]:
    """Gray images of smooth shapes with grain."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6)).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        grain = rng.normal(0, rng.uniform(5, 7), (side, side))
        found.append(Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)))
    return found


def write(folder: Path, images: list[Image.Image], suffix: str = ".png", **options: int) -> str:
    folder.mkdir()
    for index, image in enumerate(images):
        image.save(folder / f"{index:04d}{suffix}", **options)
    return str(folder)


def soft(images: list[Image.Image]) -> list[Image.Image]:
    return [image.filter(ImageFilter.GaussianBlur(1)) for image in images]


def checked_pattern(images: list[Image.Image]) -> list[Image.Image]:
    pattern = 7 * (-1.0) ** np.add.outer(np.arange(SIDE), np.arange(SIDE))
    return [Image.fromarray(np.clip(np.asarray(image) + pattern, 0, 255).astype(np.uint8)) for image in images]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detecting")
    write(folder / "real", scenes(N, 0))
    write(folder / "soft", soft(scenes(N, 1)))
    write(folder / "checked", checked_pattern(scenes(N, 2)))
    return folder


@pytest.fixture(scope="module")
def made(place: Path) -> Detector:
    torch.set_num_threads(1)
    return detect.train(str(place / "real"), str(place / "soft"), str(place / "checked"), degradations=("jpeg:90", "blur:1"), **FAST)


def test_planted_generators_are_found_by_images_that_were_never_seen(made: Detector) -> None:
    found = made.facts.results
    assert found.counts == (3 * 72, 3 * 24, 3 * 24)
    assert found.overall.interval[0] > 0.9
    assert [row.name for row in found.each] == ["soft", "checked"]
    assert all(row.area > 0.95 for row in found.each)
    assert found.overall.generated.generated.share > 0.65
    assert found.overall.real.generated.share < 0.25
    assert found.curve[0] == (0.0, 0.0)
    assert found.curve[-1] == (1.0, 1.0)
    assert found.after.error < 0.15


def test_a_generator_that_was_left_out_is_told_less_well_and_this_is_said(made: Detector) -> None:
    rows = {row.name: row for row in made.facts.results.left_out}
    assert set(rows) == {"soft", "checked"}
    assert all(row.generated.real.n == N for row in rows.values())
    assert min(row.area for row in rows.values()) < 0.9 < made.facts.results.overall.area
    worst = min(rows.values(), key=lambda row: row.area)
    assert f"worst: {worst.name}" in made.facts.trust
    assert "blur:1" in made.facts.doubt


def test_new_images_get_answers_and_strange_ones_none(made: Detector, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    kinds = {"real": scenes(40, 10), "soft": soft(scenes(40, 11)), "checked": checked_pattern(scenes(40, 12))}
    kinds["noise"] = [Image.fromarray(rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)) for _ in range(40)]
    found = {name: detect.score(made, write(tmp_path / name, images), display=Display()) for name, images in kinds.items()}
    share = {name: np.mean([one.answer == "GENERATED" for one in several]) for name, several in found.items()}
    assert share["real"] < 0.2
    assert min(share["soft"], share["checked"]) > 0.75
    assert all(one.answer == "CANNOT TELL" and one.probability is None for one in found["noise"])
    assert "unlike" in found["noise"][0].reason
    for one in (*found["real"], *found["soft"]):
        assert (one.answer == "CANNOT TELL") == bool(one.reason)
        if one.answer != "CANNOT TELL":
            assert one.probability is not None
            assert (one.probability >= 0.5) == (one.answer == "GENERATED")


def test_sizes_and_qualities_beyond_the_tested_ones_get_no_answer(made: Detector, tmp_path: Path) -> None:
    known = replace(made, facts=replace(made.facts, tested=CoveredFiles((18, 24), 80.0, ("JPEG",))))
    image = scenes(1, 20, 96)[0]
    write(tmp_path / "a", [image])
    write(tmp_path / "b", [image.resize((12, 12))])
    write(tmp_path / "c", [image.resize((SIDE, SIDE))], ".jpg", quality=5)
    write(tmp_path / "d", [image.resize((SIDE, SIDE))], ".webp", quality=50)
    for name, reason in (("a", "larger than"), ("b", "smaller than"), ("c", "JPEG quality"), ("d", "WEBP")):
        (one,) = detect.score(known, tmp_path / name, display=Display())
        assert one.answer == "CANNOT TELL"
        assert reason in one.reason


def test_what_a_file_says_itself_is_told_and_changes_no_answer(made: Detector, tmp_path: Path) -> None:
    image = scenes(1, 21)[0]
    pictures.save(image, tmp_path / "0.png", Marker("sample", weights="ab" * 32, recipe="vae"))
    pictures.save(image, tmp_path / "1.png", None)
    marked, plain = detect.score(made, tmp_path, display=Display())
    assert marked.marker == f"it says that Calotype made it: sample of a model vae, weights {'ab' * 6}"
    assert plain.marker == ""
    assert (marked.answer, marked.probability) == (plain.answer, plain.probability)


@pytest.mark.parametrize("sizes", [False, True], ids=["PNG and JPEG", "two sizes"])
def test_the_same_images_in_other_files_are_not_told_apart_but_without_equalizing(sizes: bool, tmp_path: Path) -> None:
    images = [Image.fromarray(pixels) for pixels in load("clothing", size=64, holdout=0).train.pixels[::6]]
    real = write(tmp_path / "real", images)
    other = [image.resize((40, 40), Image.Resampling.BOX) for image in images] if sizes else images
    generated = write(tmp_path / "generated", other, ".png" if sizes else ".jpg", **({} if sizes else {"quality": 60}))
    equal = detect.train(real, generated, degradations=(), **FAST).facts
    low, high = equal.results.overall.interval
    assert low <= 0.5 <= high
    assert not equal.useful
    plain = detect.train(real, generated, degradations=(), equalize=False, **FAST).facts
    assert plain.results.overall.interval[0] > 0.7
    assert plain.results.overall.area > equal.results.overall.area + 0.25


def test_a_detector_that_knows_nothing_answers_nothing(made: Detector, place: Path) -> None:
    row = made.facts.results.overall
    blind = replace(made.facts, results=replace(made.facts.results, overall=replace(row, area=0.55, interval=(0.45, 0.65))))
    found = detect.score(replace(made, facts=blind), place / "checked", count=5, display=Display())
    assert {one.answer for one in found} == {"CANNOT TELL"}
    assert "chance" in found[0].reason


def test_a_saved_detector_gives_the_same_answers_and_holds_no_pickle(made: Detector, place: Path, tmp_path: Path) -> None:
    folder = made.save(tmp_path / "detector")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "detector.safetensors"]
    back = detect.load(folder)
    assert back.facts == made.facts
    asked = place / "soft"
    assert detect.score(back, asked, count=8, display=Display()) == detect.score(made, asked, count=8, display=Display())
    made.save(folder)  # it replaces a detector, and nothing else
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other things"):
        made.save(tmp_path / "other")


@pytest.mark.parametrize("damage", ["{}", '{"kind": "detector"}', "limits", "groups", "tensors", "missing"])
def test_what_is_no_detector_or_a_damaged_one_is_refused(made: Detector, tmp_path: Path, damage: str) -> None:
    folder = made.save(tmp_path / "detector")
    config = json.loads((folder / "config.json").read_text())
    if damage == "tensors":
        (folder / "detector.safetensors").write_bytes(b"\x08" + bytes(7) + b"{}      ")
    elif damage == "missing":
        (folder / "detector.safetensors").unlink()
    elif damage == "limits":
        (folder / "config.json").write_text(json.dumps({**config, "limits": {**config["limits"], "unlike": [1.0]}}))
    elif damage == "groups":
        (folder / "config.json").write_text(json.dumps({**config, "groups": ["palms"]}))
    else:
        (folder / "config.json").write_text(damage)
    with pytest.raises((UserError, DamagedError), match="detector"):
        detect.load(folder)


@pytest.mark.parametrize(
    ("settings", "tells"),
    [
        ({"groups": ["spectra", "spectra"]}, "same features twice"),
        ({"groups": ["spectra"]}, "tensors are for"),
        ({"equalizer": {"last": [95, 70]}}, "last ends before it begins"),
        ({"equalizer": {"soft": [0.8, 0.1]}}, "soft ends before it begins"),
        ({"limits": {"unlike": [1.0, 0.0, 1.0]}}, "unlike"),
        ({"limits": {"unlike": [1.0, float("inf"), 1.0]}}, "detector"),
        ({"limits": {"above": float("nan")}}, "detector"),
        ({"tensors": "ab" * 32}, "limits were chosen for"),
        ({"tensors": ""}, "tensors"),
    ],
)
def test_settings_that_no_training_writes_are_one_line(made: Detector, tmp_path: Path, settings: dict[str, object], tells: str) -> None:
    folder = made.save(tmp_path / "detector")
    config = json.loads((folder / "config.json").read_text())
    for name, changed in settings.items():
        config[name] = {**config[name], **changed} if isinstance(changed, dict) else changed
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises((UserError, DamagedError), match=tells) as found:
        detect.load(folder)
    assert len(str(found.value).splitlines()) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int32])
def test_tensors_of_another_kind_are_refused(made: Detector, dtype: torch.dtype) -> None:
    assert np.array_equal(LinearJudge.of(made.judge.tensors(), 3).bias, made.judge.bias)
    with pytest.raises(DamagedError, match="bias is no float32"):
        LinearJudge.of(made.judge.tensors() | {"bias": made.judge.tensors()["bias"].to(dtype)}, 3)


def test_new_weights_with_old_limits_are_refused(made: Detector, tmp_path: Path) -> None:
    """As they lie in a folder where saving was interrupted."""
    folder = made.save(tmp_path / "detector")
    changed = replace(made, judge=replace(made.judge, bias=made.judge.bias + 1))
    other = changed.save(tmp_path / "other")
    assert np.array_equal(detect.load(other).judge.bias, changed.judge.bias)
    (folder / "detector.safetensors").write_bytes((other / "detector.safetensors").read_bytes())
    with pytest.raises(DamagedError, match="not those that its limits were chosen for"):
        detect.load(folder)


def test_nothing_is_covered_beyond_the_first_damage_that_failed(made: Detector) -> None:
    row = made.facts.results.overall
    good = replace(row, area=0.9, interval=(0.8, 0.95))
    bad = replace(good, interval=(0.4, 0.95))
    rows = [
        replace(good if ok else bad, name=name) for name, ok in (("jpeg:30", True), ("jpeg:90", True), ("jpeg:50", False), ("blur:1", True))
    ]
    assert [value for value, _ in _by_value(rows, "jpeg")] == [30, 50, 90]
    assert _held(reversed(_by_value(rows, "jpeg")), 0.5) == [90]
    assert _held(_by_value(rows, "jpeg"), 0.5) == [30]
    assert _held(_by_value(rows, "resize"), 0.5) == []


def told_apart(name: str, wrong: float) -> ToldApart:
    """A row of which a share of the real images is called GENERATED, with an interval around it."""
    rate, none = Rate(wrong, (max(0.0, wrong - 0.02), wrong + 0.02), 100), Rate(0.0, (0.0, 0.01), 100)
    return ToldApart(name, 0.9, (0.85, 0.95), Answers(none, rate, none), Answers(none, none, none))


@pytest.mark.parametrize(
    ("quality", "sides", "wanted"),
    [
        (90.0, (24, 24), {"jpeg:75": "CANNOT TELL", "jpeg:50": "CANNOT TELL", "resize:0.5": "CANNOT TELL", "resize:2": "CANNOT TELL"}),
        # the sets have files like these themselves, which are answered whatever the row says
        (50.0, (24, 24), {"jpeg:75": "not held", "resize:0.5": "CANNOT TELL", "resize:2": "CANNOT TELL"}),
        (90.0, (10, 60), {"jpeg:75": "CANNOT TELL", "jpeg:50": "CANNOT TELL", "resize:0.5": "not held"}),
        (None, (24, 24), dict.fromkeys(("jpeg:90", "jpeg:75", "jpeg:50", "resize:0.5", "resize:2"), "CANNOT TELL")),
    ],
)
def test_rows_of_degraded_images_are_marked_by_what_score_answers(
    made: Detector, quality: float | None, sides: tuple[int, int], wanted: dict[str, str]
) -> None:
    names, failed = ("jpeg:90", "jpeg:75", "jpeg:50", "blur:0.5", "blur:1", "resize:0.5", "resize:2"), {"jpeg:75", "blur:1", "resize:0.5"}
    rows = tuple(told_apart(name, 0.2 if name in failed else 0.04) for name in names)
    tested = CoveredFiles(sides, quality, () if quality is None else ("JPEG",))
    facts = replace(made.facts, tested=tested, results=replace(made.facts.results, robustness=rows))
    marks = {row.name: facts.mark(row) for row in rows}
    assert {name: said for name, said in marks.items() if said} == {**wanted, "blur:1": "not held"}  # which no file tells
    for line in detector_report.told(facts):
        if (name := line.split("  ")[0]) in marks:
            assert line.endswith(marks[name] or "%")
    shown = detector_report.page(facts)
    assert "Not held, but answered: " + ", ".join(name for name, said in marks.items() if said == "not held") + "." in shown
    # and that is what becomes of such files
    image = scenes(1, 3)[0]
    for name in names:
        damaged, own = perturbed(image, name, 0, 0)
        asked = _Asked(0, name, damaged, own, "")
        said = _too_small(facts, asked) or _reason(facts, asked, 0.5, "REAL")
        assert bool(said) == (marks[name] == "CANNOT TELL"), said


def test_features_are_named_once(place: Path) -> None:
    with pytest.raises(UserError, match="`groups` names the same features twice"):
        detect.train(str(place / "real"), str(place / "soft"), groups=("spectra", "spectra"), display=Display())


def test_two_trainings_from_the_same_images_are_the_same(made: Detector, place: Path) -> None:
    again = detect.train(str(place / "real"), str(place / "soft"), str(place / "checked"), degradations=("jpeg:90", "blur:1"), **FAST)
    assert np.array_equal(again.judge.weight, made.judge.weight)
    assert replace(again.facts.results, seconds=0) == replace(made.facts.results, seconds=0)


def test_evidence_is_told_by_its_place() -> None:
    one = Evidence("bits per dimension (ELBO)", 3.25, 0.5, 0.9, 0.1)
    assert str(one) == (
        "bits per dimension (ELBO) 3.25: not below that of 50% of its samples and of 90% of real images (the two told apart: AUC 0.90)"
    )
    assert one.as_json()["auc"] == 0.1
