"""Files of earlier versions mean today what they meant then."""

from __future__ import annotations

from typing import Any

import pytest

from calotype import earlier
from calotype.settings import checked
from calotype.types import ImageSpec, Source


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"how": "noise:0-55", "known": ["sigma"]}, Source(3, 1, ("sigma",), "noise:0-55")),
        ({"how": "downsample:2", "scale": 2}, Source(3, 2, (), "downsample:2")),
        ({"how": "paired"}, Source(3)),
        ({"how": "unpaired"}, Source(3, paired=False)),
        ({"how": "unpaired invert"}, Source(3, degradation="invert", paired=False)),
        ({"degradation": "invert", "paired": False}, Source(3, degradation="invert", paired=False)),
    ],
)
def test_what_a_model_was_made_from(old: dict[str, Any], new: Source) -> None:
    assert checked(ImageSpec, earlier.spec({"size": 28, "channels": 3, "source": {"channels": 3, **old}})).source == new


@pytest.mark.parametrize("odd", [None, 3, [], {"source": None}, {"source": 3}, {"source": {"how": 3}}, {"source": []}])
def test_what_is_not_as_expected_is_left_to_the_reader(odd: Any) -> None:
    assert earlier.spec(odd) == odd
