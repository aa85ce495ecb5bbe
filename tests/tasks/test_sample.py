"""A trained model put to work: what it refuses, and that it refuses before anything is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
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
        ({"steps": 2.5}, "steps: give a whole number from 1 to 10,000, not 2.5"),
        ({"steps": 2.0}, "steps: give a whole number .*, not 2.0"),
        ({"steps": float("nan")}, "steps: give a whole number .*, not nan"),
        ({"steps": 0}, "steps: .*not 0"),
        ({"steps": -3}, "steps: .*not -3"),
        ({"steps": 10**9}, "steps: .* to 10,000, not 1000000000"),
        ({"steps": True}, "steps: .*not True"),
        ({"steps": "four"}, "steps: give a whole number .*, not 'four'"),
        ({"guidance": float("inf")}, "guidance: give a number from 0 .*, not inf"),
        ({"guidance": float("nan")}, "guidance: give a number from 0 .*, not nan"),
        ({"guidance": -1.0}, "guidance: .*not -1.0"),
        ({"solver": "magic"}, "solver: give one of ddpm, ddim, euler, heun.*, not 'magic'"),
        ({"solver": 3}, "solver: give one of .*, not 3"),
        ({"stepz": 2}, "known are steps, guidance"),
        ({"eta": 0.5}, "eta has no effect on this model without `model.solver=ddim`"),
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


def test_options_that_have_an_effect_only_together_are_taken_together(flow: Generator) -> None:
    assert not torch.equal(flow.sample(2, solver="ddim", eta=1.0), flow.sample(2, solver="ddim", eta=0.5))
    assert torch.equal(flow.sample(2, eta=0.0), flow.sample(2))  # what the model does anyway
    assert torch.equal(flow.sample(2, steps=None, guidance=None), flow.sample(2))  # its own settings


def test_options_that_nothing_would_read_are_refused() -> None:
    plain = Generator(
        build(small("flow-matching", embedding=8, width=8, guide=0.0, guidance=2.0).model, ImageSpec(8, 1)),
        "flow-matching",
        torch.device("cpu"),
    )
    with pytest.raises(UserError, match="guidance has no effect on this model without images with labels"):
        plain.batches(1, {"guidance": 3.0})
    assert plain.sample(1, guidance=2.0).shape == (1, 1, 8, 8)  # the setting that it was trained with


@pytest.mark.parametrize(
    ("numbers", "tells"),
    [
        ({"count": -1}, "`count`: give a whole number from 0 .*, not -1"),
        ({"count": 2.0}, "`count`: .*not 2.0"),
        ({"count": 10**12}, "`count`: .*not 1000000000000"),
        ({"count": 10**8}, "100,000,000 images at once would take 25.6 GB of memory, and there are 16.0 GB: draw fewer"),
        ({"batch_size": 0}, "`batch_size`: give a whole number from 1 .*, not 0"),
        ({"batch_size": "8"}, "`batch_size`: .*not '8'"),
        ({"start": -1}, "`start`: .*not -1"),
        ({"seed": -1}, "`seed`: give a whole number from 0 to 9,223,372,036,854,775,807, not -1"),
        ({"seed": 2**63}, "`seed`: .*not 9223372036854775808"),
        ({"seed": 1.0}, "`seed`: .*not 1.0"),
        ({"seed": True}, "`seed`: .*not True"),
        ({"seed": "1"}, "`seed`: .*not '1'"),
    ],
)
def test_numbers_out_of_range_are_refused(flow: Generator, numbers: dict[str, Any], tells: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.engine.device.memory", lambda device="cpu": 16e9)
    with pytest.raises(UserError, match=tells) as caught:
        flow.sample(**{"count": 1, **numbers})
    assert "\n" not in str(caught.value)


def test_numbers_at_their_ends_and_those_of_numpy_are_taken(flow: Generator) -> None:
    assert flow.sample(0).shape == (0, 1, 8, 8)
    assert torch.equal(flow.sample(np.int64(2), seed=np.int64(3), steps=np.int32(2)), flow.sample(2, seed=3, steps=2))
    assert flow.sample(1, seed=2**63 - 1, start=2**40, batch_size=10**6).shape == (1, 1, 8, 8)


def test_large_images_are_drawn_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.tasks.sample.PIXELS", 2 * 8 * 8)
    assert [len(batch) for batch in generator("gan").batches(5, {})] == [2, 2, 1]
    monkeypatch.setattr("calotype.tasks.sample.PIXELS", 1)
    assert [len(batch) for batch in generator("gan").batches(2, {})] == [1, 1]


def test_extreme_options_are_blamed_and_not_the_weights() -> None:
    drawn = generator("flow-matching")
    for parameter in drawn.model.parameters():
        torch.nn.init.normal_(parameter, std=1e15)
    with pytest.raises(UserError, match=r"not finite with guidance=3.0: give less extreme options"):
        drawn.sample(1, guidance=3.0)
    with pytest.raises(UserError, match="not finite: its weights are damaged"):
        drawn.sample(1)


def test_what_a_model_lacks_is_refused_at_once() -> None:
    gan = generator("gan")
    with pytest.raises(UserError, match="no sampling option 'steps': known are truncation"):
        gan.batches(1, {"steps": 2})
    with pytest.raises(UserError, match="no sampling option 'steps': it has none"):
        generator("vae").batches(1, {"steps": 2})
    with pytest.raises(UserError, match="unknown label '4'"):
        gan.batches(1, {}, label="4")
    assert gan.sample(3, label="3").shape == (3, 1, 8, 8)
    with pytest.raises(UserError, match="draws no images"):
        generator("classifier").batches(1, {})


def test_a_number_is_a_place_and_text_a_name() -> None:
    def among(*classes: str) -> Generator:
        return Generator(build(small("r3gan").model, ImageSpec(8, 1, classes)), "r3gan", torch.device("cpu"))

    numbered, named, mixed = among("1", "2", "10"), among("cat", "dog"), among("cat", "0")
    assert [numbered.label(place) for place in (0, 1, np.int64(2))] == [0, 1, 2]  # type: ignore[arg-type]
    assert [numbered.label(name) for name in ("1", "2", "10")] == [0, 1, 2]
    assert [named.label(label) for label in ("cat", "dog", "0", "1", 0, 1)] == [0, 1, 0, 1, 0, 1]
    assert [mixed.label(label) for label in ("0", 0, "cat")] == [1, 0, 0]
    wrong = ((numbered, "0"), (numbered, 3), (numbered, -1), (named, "2"), (named, True), (named, 1.0), (mixed, "1"), (named, ""))
    for drawn, label in wrong:
        with pytest.raises(UserError, match=r"unknown label .*: choose one of"):
            drawn.label(label)  # type: ignore[arg-type]
    assert torch.equal(numbered.sample(2, label=1), numbered.sample(2, label="2"))
    assert not torch.equal(numbered.sample(2, label=0), numbered.sample(2, label="2"))
