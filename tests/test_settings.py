"""What settings may be, said by their types: every value that is something else becomes one line that says the range."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calotype.config import Config, Data, Optimizer, Training, to_json
from calotype.errors import UserError
from calotype.models import DiffusionConfig, GANConfig
from calotype.recipes import named
from calotype.settings import Channels, Count, Part, Positive, Seed, Share, Text, checked, shown, value
from tests.small import changed as changed_in


@pytest.mark.parametrize(
    ("kind", "good", "bad", "tells"),
    [
        (Count, [1, 999_999_999, np.int64(3)], [0, 10**9, 1.0, True, "1", None, math.nan], "give a whole number from 1 to 999,999,999"),
        (Seed, [0, 2**63 - 1], [-1, 2**63, 1.5], "give a whole number from 0 to 9,223,372,036,854,775,807"),
        (
            Positive,
            [1e-9, 1e9, 3, np.float32(0.5)],
            [0, -1.0, math.inf, math.nan, 1e10, "x"],
            "give a number above 0 and up to 1,000,000,000",
        ),
        (Share, [0, 1.0], [-0.1, 1.1, math.nan], "give a number from 0 to 1"),
        (Part, [0, 0.999], [1, 1.0, math.inf], "give a number from 0 to below 1"),
        (Channels, [1, 3], [0, 2, 4], "give 1 .gray. or 3 .color."),
        (Text, ["", "x" * 4096], ["x" * 4097], "give at most 4,096 characters"),
    ],
)
def test_a_value_is_what_its_type_says_or_one_line(kind: Any, good: list[Any], bad: list[Any], tells: str) -> None:
    for given in good:
        assert value("it", given, kind) == given
    for given in bad:
        with pytest.raises(UserError, match=f"^`it`: {tells}, not ") as caught:
            value("it", given, kind)
        assert len(str(caught.value)) < 200


def test_the_range_is_that_of_the_field_wherever_it_stands() -> None:
    config = named("dcgan")
    for changed, tells in (
        (
            replace(config, model=changed_in(config.model, **{"generator.width": 10**6})),
            "model.generator.width: give a whole number from 1 to 65,536, not 1000000",
        ),
        (
            replace(config, optimizer=Optimizer(betas=(0.5, 1.0))),
            "optimizer.betas.1: give a number from 0 to below 1, not 1.0",
        ),
        (replace(config, train=Training(minutes=math.inf)), "train.minutes: give a number above 0 and up to 1,000,000,000, not inf"),
        (replace(config, data=Data(size=7)), "data.size: give a whole number from 8 to 1,024, not 7"),
        (replace(config, data=Data(channels=2)), "data.channels: give one of 1, 3, not 2"),  # type: ignore[arg-type]
        (replace(config, data=Data(flip=1)), "data.flip: give true or false, not 1"),  # type: ignore[arg-type]
        (replace(config, recipe="../out"), "recipe: give a name of letters and digits, .*, not '../out'"),
        (
            replace(config, model=DiffusionConfig(depth=(1,) * 9)),
            "model.depth: give at most 8 values",
        ),
    ):
        with pytest.raises(UserError, match=tells) as caught:
            checked(Config, changed)
        assert "\n" not in str(caught.value)


def test_a_number_of_numpy_and_a_path_are_what_they_stand_for() -> None:
    config = replace(named("dcgan"), data=Data(source=Path("photos")), train=Training(steps=np.int64(3)))  # type: ignore[arg-type]
    assert checked(Config, config).data.source == "photos"
    assert checked(Config, config).train.steps == 3
    assert checked(GANConfig, replace(GANConfig(), discriminator_lr_mult=np.float32(0.5))).discriminator_lr_mult == 0.5


@pytest.mark.parametrize(
    "raw", [None, [], 3, "text", {"model": {}}, {1: 2}, {"model": {"kind": ["gan"]}}, {"a\x1b" * 1000: 1}, {"recipe": object()}]
)
def test_what_is_no_configuration_at_all_is_one_short_line(raw: object) -> None:
    with pytest.raises(UserError) as caught:
        checked(Config, raw)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_value_from_outside_is_shown_in_few_words() -> None:
    assert shown("a\x1b[31m") == r"'a\x1b[31m'"
    assert len(shown("x" * 10**6)) == 60


def test_every_recipe_is_in_its_own_ranges() -> None:
    for preset in ("laptop", "published"):
        config = named("edm", preset)  # type: ignore[arg-type]
        assert checked(Config, json.loads(to_json(config))) == config
