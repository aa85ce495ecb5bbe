"""How long a training takes until its images are usable, by some of its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from calotype.engine import expected, timing
from calotype.errors import UserError
from tests.small import small


def test_minutes_follow_from_the_time_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = small("flow-matching")
    config = replace(asked, data=replace(asked.data, size=28, channels=1), train=replace(asked.train, steps=None, minutes=1.0))
    monkeypatch.setattr(timing, "_seconds_per_step", lambda trainer, window, beaten: 0.6)
    threads = torch.get_num_threads()
    steps = expected.USABLE["flow-matching"] / config.train.batch
    assert expected.minutes(config, 10) == pytest.approx(steps * 0.01)
    assert expected.minutes(config, 0) == pytest.approx(steps * 0.01)
    assert torch.get_num_threads() == threads


def test_nothing_is_said_of_recipes_that_were_never_measured() -> None:
    asked = small("dcgan")
    assert expected.minutes(replace(asked, data=replace(asked.data, size=28, channels=1)), 0) is None


def test_a_cost_is_predicted_for_what_a_training_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = small("resnet")
    config = replace(asked, data=replace(asked.data, labels=20), train=replace(asked.train, batch=64, steps=7, minutes=None))
    monkeypatch.setattr(timing, "_seconds_per_step", lambda trainer, window, beaten: 0.6)
    found = expected.training_cost(config)
    assert (found.steps, found.minutes) == (7, pytest.approx(0.07))
    assert found.batch < 20  # as a training fits it to so few images
    with pytest.raises(UserError, match="labels"):
        expected.training_cost(replace(config, data=replace(config.data, labels=9000)))
