from __future__ import annotations

import json
from dataclasses import replace

import pytest

from calotype.config import Config, Training, differences, from_json, to_json, with_one_budget
from calotype.errors import UserError
from calotype.recipes import RECIPES, named


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json_and_knows_its_name(name: str) -> None:
    config = named(name)
    assert from_json(Config, to_json(config)) == config
    assert config.recipe == name


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("model.generator.widht", 3, "did you mean model.generator.width?"),
        ("model.generator.network", "vae", "model.generator: input tag 'vae'"),
        ("train.batch", 0, "train.batch"),
        ("train.batch", "many", "train.batch"),
        ("train.batch", 2.5, "train.batch"),
        ("data.size", 7, "data.size"),
        ("data.size", 2000, "data.size"),
        ("data.channels", 2, "data.channels"),
        ("optimizer.name", "lion", "optimizer.name"),
        ("optimizer.lr", -1, "optimizer.lr"),
        ("model.kind", "transfromer", "model: input tag 'transfromer'"),
        ("nonsense", {}, "unknown setting nonsense"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(path: str, value: object, words: str) -> None:
    raw = json.loads(to_json(named("dcgan")))
    *folders, leaf = path.split(".")
    place = raw
    for folder in folders:
        place = place[folder]
    place[leaf] = value
    with pytest.raises(UserError) as caught:
        from_json(Config, json.dumps(raw))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_budget_that_was_asked_for_replaces_the_recipes() -> None:
    default = replace(named("dcgan"), train=Training(minutes=5))
    asked = replace(default, train=replace(default.train, steps=10))
    assert with_one_budget(default, asked).train == Training(steps=10)
    assert with_one_budget(default, default).train == Training(minutes=5)
    with pytest.raises(UserError, match="exactly one budget"):
        with_one_budget(default, replace(default, train=Training(steps=10, epochs=2)))
    same = replace(default, train=replace(default.train, steps=10))
    assert with_one_budget(default, same, ["steps"]).train == Training(steps=10)
    assert with_one_budget(default, default, ["minutes"]).train == Training(minutes=5)
    with pytest.raises(UserError, match=r"got `train\.minutes` and `train\.steps`"):
        with_one_budget(default, same, ["minutes", "steps"])
    with pytest.raises(UserError, match="none of"):
        with_one_budget(default, replace(default, train=Training()))


def test_differences_name_the_settings_that_changed() -> None:
    before = named("dcgan")
    after = replace(before, optimizer=replace(before.optimizer, lr=1.0))
    assert differences(before, after) == {"optimizer.lr": (before.optimizer.lr, 1.0)}
    assert differences(before, before) == {}
