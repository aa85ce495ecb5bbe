"""Every number that a command or a configuration takes has a range, which is looked at before anything else."""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from typing import Any, get_args

import pytest

from calotype.cli.parse import parse
from calotype.cli.train import Options as Training
from calotype.config import Config
from calotype.errors import UserError
from calotype.models import MODELS, GANConfig
from calotype.settings import value
from calotype.spelling import as_options
from calotype.types import ImageSpec, Source
from tests.cli.test_fuzz_commands import LINES

KINDS = [Config, ImageSpec, Source, *MODELS, *(options for options, _ in LINES.values())]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_number_is_without_bounds(kind: type) -> None:
    for name, hint in _leaves(kind):
        if not re.search(r"\b(int|float)\b", str(hint)):
            continue
        for wild in (10**30, -(10**30), math.inf, -math.inf, math.nan):
            for given in (wild, (wild,), (wild, wild)):
                with pytest.raises(UserError, match=rf"^`{name}`: ") as caught:
                    value(name, given, hint)
                assert "\n" not in str(caught.value)


def _leaves(kind: Any) -> list[tuple[str, Any]]:
    """Names and types of the fields of a dataclass, and of those in it."""
    found: list[tuple[str, Any]] = []
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        inner = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and dataclasses.is_dataclass(one)]
        found += [leaf for one in inner for leaf in _leaves(one)] or ([] if inner else [(name, hint)])
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--minutes", "inf"], "--minutes: give a number above 0 and up to 1,000,000,000, not inf"),
        (["--epochs", "nan"], "--epochs: give a number above 0 and up to 1,000,000,000, not nan"),
        (["--seed", "-1"], "--seed: give a whole number from 0 to 9,223,372,036,854,775,807, not -1"),
        (["--optimizer.lr", "inf"], "--optimizer.lr: give a number above 0 and up to 1,000,000,000, not inf"),
        (["--optimizer.betas", "0.5", "1"], "--optimizer.betas: give a number from 0 to below 1, not 1.0"),
        (["--model.generator.width", "1000000"], "--model.generator.width: give a whole number from 1 to 65,536, not 1000000"),
        (["--model.discriminator.width", "0"], "--model.discriminator.width: give a whole number from 1 to 65,536, not 0"),
    ],
)
def test_the_line_says_the_option_and_its_range(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Training, words, "it", Training(GANConfig()))
    assert as_options(str(caught.value)) == said


def test_numbers_at_the_ends_of_their_range_are_taken() -> None:
    options = parse(
        Training, ["--minutes", "1e9", "--seed", str(2**63 - 1), "--model.generator.width", "65536"], "it", Training(GANConfig())
    )
    assert (options.train.minutes, options.train.seed, options.model.generator.width) == (1e9, 2**63 - 1, 65536)
