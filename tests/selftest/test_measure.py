"""The table of alarms: on any number of classes, and on trainings too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calotype import pictures
from calotype.errors import UserError
from calotype.selftest.measure import AlarmRates, of_trainings, plants, selftest, table
from calotype.selftest.training import COURSES, OF_TRAINING, Course, log

MISSING = "missing"


def missing(kinds: int) -> list[str]:
    return [name for name in plants(kinds) if MISSING in name]


def test_rows_are_named_by_the_number_of_classes() -> None:
    assert missing(10) == ["1 of 10 classes missing", "3 of 10 classes missing"]
    assert missing(100) == ["10 of 100 classes missing", "30 of 100 classes missing"]
    assert missing(2) == ["1 of 2 classes missing"]
    assert missing(1) == []
    assert "3 of 10 clusters missing" in plants(10, "clusters")


def test_a_part_that_lacks_classes_still_keeps_one() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 8, 8, 1), np.uint8)
    for labels in (np.zeros(40, np.int64), np.arange(40) % 2):
        for name in missing(10):
            made = plants(10)[name](pixels, labels, pixels, rng)
            kept = {labels[int(np.flatnonzero(((pixels | 1) == (image | 1)).all((1, 2, 3)))[0])] for image in made}
            assert len(kept) == 1


def test_two_classes_can_be_tested(tmp_path: Path) -> None:
    """A folder of two classes: dark and light pictures."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        (tmp_path / name).mkdir()
        for i in range(760):
            block = rng.integers(level - 40, level + 40, (4, 4, 1)).repeat(4, 0).repeat(4, 1)
            pictures.to_picture(block.astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    rows = {row.planted: row for row in selftest(str(tmp_path), count=300, trials=1, only=("nothing", "1 of 2"))}
    assert "1 of 2 classes missing" in rows
    assert rows["1 of 2 classes missing"].alarms["mode-collapse"] == 1
    assert not rows["nothing (other real images)"].alarms["mode-collapse"]


def test_selftest_counts_alarms() -> None:
    rows = {row.planted: row for row in selftest(count=400, trials=1)}
    assert not any(rows["nothing (other real images)"].alarms.values())
    assert rows["blur of 1 pixel"].alarms["blur"] == 1
    assert rows["noise of 10 levels"].alarms["noise"] == 1
    assert rows["3 of 10 classes missing"].alarms["mode-collapse"] == 1
    assert set(COURSES) <= set(rows)


def test_classes_that_the_verdicts_do_not_know_go_missing_all_the_same() -> None:
    rows = {
        row.planted: row for row in selftest(images=1600, count=500, trials=1, labels=False, features="random", only=("3 of 10", "noth"))
    }
    assert [name for name in rows if name not in COURSES] == ["nothing (other real images)", "3 of 10 classes missing"]
    assert rows["3 of 10 classes missing"].alarms["mode-collapse"] == 1
    assert rows["3 of 10 classes missing"].fails["mode-collapse"] <= 1
    assert not any(rows["nothing (other real images)"].fails.values())
    with pytest.raises(UserError, match="no planted failure is called 'bananas': they are nothing"):
        selftest(images=1600, trials=1, only=("bananas",))


RAISED = {
    "gradient vanishes": "vanishing-gradient",
    "overfitted discriminator (AUC .65)": "overfitting-discriminator",
    "rollbacks": "divergence",
    "generator swings": "oscillation",
    "latents collapse (a third is used)": "posterior-collapse",
    "overfitted likelihood (.05 bits/dim)": "likelihood-overfit",
}


def test_each_trouble_of_a_training_is_found_by_its_verdict_alone() -> None:
    found = {row.planted: row.alarms for row in of_trainings(20)}
    assert list(found) == list(COURSES)
    assert set(found.pop("healthy training").values()) == {0}
    for name, alarms in found.items():
        assert {verdict for verdict, share in alarms.items() if share} == {RAISED[name]}, name
        assert alarms[RAISED[name]] == 1, name
    assert set(RAISED.values()) == set(OF_TRAINING)


@pytest.mark.parametrize("auc", [0.5, 0.65])
def test_the_made_up_discriminator_is_as_good_as_it_says(auc: float) -> None:
    """The mean of the logged areas over the last half against the closed form, the probability that one normal exceeds another."""
    late = [r["d_auc"] for seed in range(20) for r in log(Course(auc=auc), np.random.default_rng(seed))[-40:]]
    assert np.mean(late) == pytest.approx(auc, abs=0.006)  # 800 values with a standard error of .002


def test_each_set_of_verdicts_gets_its_own_table() -> None:
    said = table([AlarmRates("a", {"x": 1.0, "y": 0.0}, 4), AlarmRates("b", {"x": 0.25, "y": 0.0}, 4), AlarmRates("c", {"z": 0.5}, 4)])
    assert said == ("| planted | x | y |\n|---|---:|---:|\n| a | 100% | 0% |\n| b | 25% | 0% |\n\n| planted | z |\n|---|---:|\n| c | 50% |")


@pytest.mark.parametrize(
    ("count", "tells"),
    [(1, "1 generated images are too few"), (64, "64 generated images are too few"), (2000, "more than a third of the 5,000 images")],
)
def test_numbers_that_tell_nothing_are_refused_before_any_work(count: int, tells: str) -> None:
    seen: list[str] = []
    with pytest.raises(UserError, match=tells):
        selftest(count=count, trials=1, say=lambda what, done, total: seen.append(what))
    assert all(what.startswith("reading ") for what in seen)


def test_too_few_images_are_refused_before_any_work(tmp_path: Path) -> None:
    for index in range(20):
        Image.new("L", (16, 16), index).save(tmp_path / f"{index}.png")
    seen: list[str] = []
    with pytest.raises(UserError, match="20 images; a selftest needs 1,500"):
        selftest(str(tmp_path), say=lambda what, done, total: seen.append(what))
    assert all(what.startswith("reading ") for what in seen)
