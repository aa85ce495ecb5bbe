"""The short options of restoration: --sigma, --blur, --scale, --quality, --mask."""

from __future__ import annotations

import json

import pytest

from calotype.cli import main
from calotype.cli.recipe_shortcuts import OPTIONS
from calotype.recipes import RECIPES


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["train", *words, "--show-config"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("words", "degrade", "patch"),
    [
        ("denoise --sigma 25", "noise:25,shared", 48),
        ("denoise --sigma 5-20", "noise:5-20,shared", 48),
        ("deblur --blur 1.6", "blur:1.6+noise:2", 48),
        ("deblur --blur motion:5-21", "motion:5-21", 48),
        ("upscale --scale 2", "downsample:2", 48),
        ("upscale --scale 4", "downsample:4", 96),
        ("upscale --scale 4 --data.patch 64", "downsample:4", 64),
        ("upscale --preset published --scale 2", "downsample:2", 96),
        ("real --scale 2", "real:2", 88),
        ("dejpeg --quality 30", "jpeg:30", 48),
        ("inpaint --mask box,0.5", "mask:box,0.5", 96),
    ],
)
def test_a_short_option_stands_for_a_degradation(capsys: pytest.CaptureFixture[str], words: str, degrade: str, patch: int) -> None:
    data = shown(capsys, *words.split())
    assert (data["degrade"], data["patch"]) == (degrade, patch)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("dcgan --sigma 25", "--sigma is an option of denoise: dcgan"),
        ("upscale --sigma 25", "--sigma is an option of denoise: upscale takes --scale"),
        ("denoise --scale 2", "--scale is an option of upscale and real: denoise takes --sigma"),
        ("denoise --sigma 25 --data.degrade noise:15", "give one of them"),
        ("denoise --sigma 25 --data.degrade noise:0-55,shared", "give one of them"),  # that of the recipe, and said all the same
        ("denoise --minutes 1 --steps 9", "exactly one budget, got --minutes and --steps"),  # a minute is the recipe's
        ("denoise --sigma loud", "not 'loud'"),
        ("upscale --scale 1", "'downsample:1'"),
        ("upscale --scale 4 --data.patch 50 --steps 1", "give --data.patch 48"),
        ("colorize --data mnist5k --steps 1", "these images have none"),
    ],
)
def test_what_does_not_fit_is_one_line(capsys: pytest.CaptureFixture[str], words: str, text: str) -> None:
    assert main(["train", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err.splitlines()[-1]


def test_every_short_option_belongs_to_a_recipe_and_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(OPTIONS) <= set(RECIPES)
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert all(f"--{short.option} " in text for short in OPTIONS.values())
