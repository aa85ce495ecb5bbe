"""Degradations by name."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from calotype import degrade
from calotype.degrade.draw import Range, written
from calotype.errors import UserError
from calotype.types import Noise

SPECS = [example for example, _ in degrade.kinds().values()] + [
    "noise:25",
    "noise:0-55,shared",
    "noise:0.5-1.25",
    "noise:0",
    "blur:0.5-3,turned",
    "motion:9,30",
    "motion:5-9,0-45",
    "mask:half",
    "mask:box,strokes,0.25",
    "jpeg:10-90",
    "real",
    "real:2",
    "blur:1.6+downsample:3",
    "gray+blur:0.5-2+downsample:2+noise:5",
    "mask:box+noise:10",
]


@pytest.mark.parametrize("spec", SPECS)
def test_every_spec_is_read_back_as_it_was_written(spec: str) -> None:
    first = degrade.parse(spec)
    assert first.spec == spec
    second = degrade.parse(first.spec)
    image = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    one, other = (degradation(image, Noise(2, 9)) for degradation in (first, second))
    assert torch.equal(one.image, other.image)
    assert (first.scale, first.conditioning, first.channels(3)) == (second.scale, second.conditioning, second.channels(3))
    assert one.image.shape == (2, first.channels(3), 32 // first.scale, 40 // first.scale)
    assert (one.conditioning is None) == (first.conditioning == ())
    if one.conditioning is not None:
        assert one.conditioning.shape == (2, len(first.conditioning), *one.image.shape[2:])
        assert one.source.shape[1] == first.channels(3) + len(first.conditioning)


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        (" Noise:25.0 ", "noise:25"),
        ("noise:05-5.50", "noise:5-5.5"),
        ("noise:.5", "noise:0.5"),
        ("noise:10-10", "noise:10"),
        ("noise:1e-3", "noise:0.001"),
        ("blur:1.60 + Downsample:3", "blur:1.6+downsample:3"),
        ("mask: box , strokes", "mask:box,strokes"),
        ("mask:.50", "mask:0.5"),
        ("real:1", "real"),
        ("motion:9.0, 45", "motion:9,45"),
    ],
)
def test_spelling_is_free(spec: str, canonical: str) -> None:
    assert degrade.parse(spec).spec == canonical


@given(st.floats(0, 255), st.floats(0, 255))
def test_ranges_survive_being_written(a: float, b: float) -> None:
    low, high = sorted((a, b))
    if 0 < low < 1e-4:  # no noise is that weak
        low = 0.0
    if 0 < high < 1e-4:
        high = 1.0
    spec = f"noise:{Range(low, high)}"
    made = degrade.parse(spec)
    assert made.spec == spec
    assert getattr(made, "level") == Range(low, high)  # noqa: B009


@given(st.floats(1e-4, 1e5))
def test_numbers_are_written_in_digits_that_read_as_the_same(number: float) -> None:
    assert float(written(number)) == number


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("", "unknown degradation ''"),
        ("nose:25", "did you mean noise:0-55"),
        ("grey", "did you mean gray"),
        ("bicubic:3", "did you mean downsample:3"),
        ("inpaint", "did you mean mask:box"),
        ("xyzzy", "there are noise:0-55"),
        ("noise", "takes one value"),
        ("noise:", "takes one value"),
        ("noise:a", "a number or a range"),
        ("noise:-5", "a number or a range"),
        ("noise:5,6", "takes one value"),
        ("noise:300", "from 0 to 255"),
        ("noise:20-10", "smaller end"),
        ("noise:nan", "a number or a range"),
        ("blur:0", "from 0.1 to 20"),
        ("blur:1,spun", "the word turned"),
        ("motion:0.5", "from 1 to 99"),
        ("motion:5,200", "the angle"),
        ("motion:5,1,2", "the length"),
        ("defocus:99", "the radius"),
        ("downsample:1", "a whole|one whole factor"),
        ("downsample:2.5", "one whole factor"),
        ("downsample", "one whole factor"),
        ("jpeg:0", "from 1 to 100"),
        ("jpeg:30.5", "whole number"),
        ("mask", "say what is missing"),
        ("mask:circle", "half, box, strokes"),
        ("mask:0", "above 0 and below 1"),
        ("mask:1", "above 0 and below 1"),
        ("mask:0.1-0.5", "above 0 and below 1"),
        ("gray:2", "takes no value"),
        ("dark:0.5", "the power"),
        ("contrast:2", "the factor"),
        ("real:3", "2 or 4"),
        ("invert:1", "takes no value"),
        ("noise:25+", "unknown degradation ''"),
        ("noise:25++blur:1", "unknown degradation ''"),
        ("noise:5-10+noise:1-3", "leave one of them out"),
        ("mask:box+mask:half", "leave one of them out"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(spec: str, text: str) -> None:
    with pytest.raises(UserError, match=text) as error:
        degrade.parse(spec)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_color_is_asked_for_where_it_is_needed() -> None:
    for spec in ("gray", "season", "blur:1+gray", "gray+season", "gray+gray"):
        degradation = degrade.parse(spec)
        with pytest.raises(UserError, match="these images have none") as error:
            degradation.channels(3 if spec.count("+") and spec != "blur:1+gray" else 1)
        assert "\n" not in str(error.value)


def test_every_kind_has_an_example_and_a_sentence() -> None:
    for name, (example, text) in degrade.kinds().items():
        assert example.partition(":")[0] == name
        assert len(text) > 10
