"""What is trained where nothing is named: the rule, its reasons, and that the advised command is what the rule means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calotype.cli import main
from calotype.cli.check_text import command, reasons, recognition_command
from calotype.data import load
from calotype.recipes import RECIPES, choice, named
from calotype.recipes.choice import MANY, Material, choose, configured, of_split, to_recognize

PHOTOS = Material(64, "half of them are larger", 3, 3_000, 10, 0.52)
DIGITS = Material(28, "all are", 1, 4_500, 10, 0.95)


@pytest.fixture(params=[True, False], ids=["installed", "missing"])
def weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    there: bool = request.param
    monkeypatch.setattr(choice, "file_of", lambda weights: "there" if there else None)
    return there


def test_digits_get_flow_matching_and_are_not_mirrored(weights: bool) -> None:
    for material in (DIGITS, replace(DIGITS, size=32, classes=0)):
        advice = choose(material)
        assert (advice.recipe, advice.flip) == ("flow-matching", False)
    assert choose(replace(DIGITS, told=0.5)).flip  # small and gray, but no writing


def test_photographs_get_the_projected_gan_where_its_weights_are(weights: bool) -> None:
    for material in (PHOTOS, replace(PHOTOS, channels=1), replace(PHOTOS, size=33, classes=0)):
        advice = choose(material)
        assert (advice.recipe, advice.flip) == ("projected" if weights else "dcgan", True)
        assert ("efficientnet-lite1" in advice.reasons["recipe"]) != weights


def test_small_photographs_get_flow_matching_for_as_long_as_large_ones(weights: bool) -> None:
    advice = choose(replace(PHOTOS, size=32))
    assert (advice.recipe, advice.flip, advice.minutes) == ("flow-matching", True, choose(PHOTOS).minutes)
    assert configured(advice).train.minutes == advice.minutes > choose(DIGITS).minutes


@pytest.mark.parametrize(("told", "train", "flip"), [(0.52, 3_000, True), (0.69, 3_000, True), (0.71, 3_000, False), (0.5, 59, False)])
def test_what_is_mirrored_hangs_on_the_judge_and_on_how_many_there_are(told: float, train: int, flip: bool) -> None:
    advice = choose(replace(PHOTOS, told=told, train=train))
    assert advice.flip == flip
    assert ("too few" in advice.reasons["flip"]) == (train < 60)


@pytest.mark.parametrize(("train", "batch"), [(3_000, None), (46, 8), (4, 4), (1, 1)])
def test_small_sets_get_a_batch_that_they_fill(train: int, batch: int | None) -> None:
    advice = choose(replace(PHOTOS, train=train))
    assert advice.batch == (batch or named(advice.recipe).train.batch)


def test_classes_are_promised_where_the_recipe_learns_them() -> None:
    for material in (PHOTOS, DIGITS):
        advice = choose(material)
        learns = getattr(named(advice.recipe).model, "conditional", False)
        assert advice.conditional == learns
        assert ("the 10 classes" in advice.reasons["recipe"]) == learns
        assert not choose(replace(material, classes=0)).conditional


def test_classes_of_photographs_are_told_apart_by_what_knows_photographs(weights: bool) -> None:
    advice = to_recognize(PHOTOS)
    assert advice is not None
    assert advice.recipe == ("transfer" if weights else "resnet")
    assert ("is to be installed" in advice.reason) != weights
    started = "--from photos --data 'my photos'" if weights else "resnet --data 'my photos' --size 64"
    assert recognition_command(advice, "my photos") == f"calotype train {started} --minutes 10"
    assert to_recognize(replace(PHOTOS, classes=0)) is None


@pytest.mark.parametrize(
    ("material", "recipe"),
    [
        (DIGITS, "resnet"),
        (replace(DIGITS, train=150), "resnet"),
        (replace(PHOTOS, size=32, train=MANY), "resnet"),
        (replace(PHOTOS, size=32, train=MANY - 1), "transfer"),
        (replace(PHOTOS, train=MANY), "transfer"),
    ],
)
def test_many_small_images_and_writing_are_learned_from_nothing(material: Material, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "file_of", lambda weights: "there")
    advice = to_recognize(material)
    assert advice is not None
    assert advice.recipe == recipe
    assert advice.size == (material.size if recipe == "resnet" else None)


def test_a_configuration_holds_what_was_advised_and_the_command_says_the_same() -> None:
    advice = choose(PHOTOS)
    config = configured(advice)
    assert (config.recipe, config.data.size, config.data.channels) == (advice.recipe, 64, 3)
    assert (config.data.flip, config.train.batch) == (True, advice.batch)
    said = command(advice, "my photos")
    assert said.startswith(f"calotype train {advice.recipe} --data 'my photos' --size 64 --channels 3 ")
    assert said.endswith(f"--train.batch {advice.batch} --data.flip True --minutes 20")
    assert len(reasons(advice)) == 6


def test_embedded_images() -> None:
    assert of_split(load("mnist5k"), "").recipe == "flow-matching"
    photographs = of_split(load("clothing"), "")
    assert (photographs.size, photographs.channels, photographs.flip) == (64, 3, True)
    assert photographs.recipe in RECIPES


def test_a_training_without_a_recipe_says_what_it_chose_and_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--data", "clothing", "--size", "32", "--show-config", "--minutes", "3"]
    assert main(words) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    chosen = of_split(load("clothing", size=32), "as it was asked for")
    assert (found["recipe"], found["data"]["size"], found["data"]["flip"]) == (chosen.recipe, 32, True)
    assert found["train"]["minutes"] == 3
    assert found["reasons"] == chosen.reasons
    assert f"calotype train {chosen.recipe}" in shown.err
    assert all(reason.split("`")[0] in shown.err for reason in chosen.reasons.values())


@pytest.mark.parametrize("words", [[], ["--data", "mnist5k"], ["--preset", "published"], ["dcgan", "--data", "clothing", "--size", "32"]])
def test_nothing_is_chosen_where_a_recipe_or_nothing_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words, "--show-config"]) == 0
    assert json.loads(capsys.readouterr().out)["reasons"] == {}


@pytest.mark.parametrize(
    ("words", "says"), [(["--size", "abc"], "--size"), (["--channels", "2"], "--channels"), (["--size", "4"], "--size")]
)
def test_bad_values_are_told_as_ever(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "clothing", *words]) == 2
    assert says in capsys.readouterr().err


def test_gray_images_stored_in_color_are_taken_for_gray_by_check_and_training_alike(tmp_path: Path) -> None:
    from PIL import Image

    from calotype.data import check
    from calotype.recipes.choice import of_check

    rng = np.random.default_rng(0)
    for n in range(20):
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).convert("RGB").save(tmp_path / f"{n}.png")
    both = of_check(check(str(tmp_path))), of_split(load(str(tmp_path)), "")
    assert [(advice.recipe, advice.channels, advice.size, advice.batch) for advice in both] == [("flow-matching", 1, 28, 4)] * 2
