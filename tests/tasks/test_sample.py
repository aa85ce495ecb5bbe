"""A trained model put to work: what it refuses, and that it refuses before anything is drawn."""

from __future__ import annotations

import pytest
import torch

from calotype.errors import UserError
from calotype.models import build
from calotype.tasks.sample import Generator
from calotype.types import ImageSpec
from tests.small import small

DIGITS = ImageSpec(8, 1, tuple("0123"))


def generator(recipe: str) -> Generator:
    torch.manual_seed(0)
    model = {"embedding": 8, "width": 8} if recipe == "flow-matching" else {"conditional": True} if recipe == "gan" else {}
    return Generator(build(small(recipe, **model).model, DIGITS), recipe, torch.device("cpu"))


@pytest.fixture(scope="module")
def flow() -> Generator:
    drawn = generator("flow-matching")
    for parameter in drawn.model.parameters():  # its last layer begins at zero, so that nothing would depend on the options
        torch.nn.init.normal_(parameter, std=0.1)
    return drawn


@pytest.mark.parametrize(
    ("options", "tells"),
    [
        ({"steps": 2.5}, "steps=2.5: give a whole number"),
        ({"steps": 2.0}, "steps=2.0: give a whole number"),
        ({"steps": float("nan")}, "steps=nan: give a finite number"),
        ({"steps": 0}, "steps: .*not 0"),
        ({"steps": -3}, "steps: .*not -3"),
        ({"guidance": float("inf")}, "guidance=inf: give a finite number"),
        ({"guidance": float("nan")}, "guidance=nan: give a finite number"),
        ({"guidance": -1.0}, "guidance: .*not -1.0"),
        ({"stepz": 2}, "known are steps, guidance"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_before_anything_is_drawn(flow: Generator, options: dict[str, float], tells: str) -> None:
    with pytest.raises(UserError, match=tells):
        flow.batches(1, options)  # nobody asked for the first batch yet


def test_options_that_fit_change_what_is_drawn(flow: Generator) -> None:
    whole, real = flow.sample(2, steps=2, guidance=3), flow.sample(2, steps=2, guidance=3.0)
    assert torch.equal(whole, real)
    assert not torch.equal(whole, flow.sample(2, steps=4, guidance=3))
    assert not torch.equal(whole, flow.sample(2, steps=2, guidance=0))


def test_extreme_options_are_blamed_and_not_the_weights(flow: Generator) -> None:
    with pytest.raises(UserError, match=r"not finite with guidance=1e\+38: give less extreme options"):
        flow.sample(1, guidance=1e38)


def test_what_a_model_lacks_is_refused_at_once() -> None:
    gan = generator("gan")
    with pytest.raises(UserError, match="no sampling option 'steps': it has none"):
        gan.batches(1, {"steps": 2})
    with pytest.raises(UserError, match="unknown label '4'"):
        gan.batches(1, {}, label="4")
    assert gan.sample(3, label="3").shape == (3, 1, 8, 8)
    with pytest.raises(UserError, match="draws no images"):
        generator("classifier").batches(1, {})
