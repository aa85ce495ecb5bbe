"""A remedy that is a setting must be one that exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import calotype.diagnose
from calotype.cli.main import main
from calotype.config import Config
from calotype.diagnose import sharpness
from calotype.diagnose.verdict import Verdict, conclude, fitting, of_files
from calotype.recipes import RECIPES, named


def commands() -> Iterator[str]:
    """Every quoted text in the verdicts' sources that is a command or starts with an option, or names one."""
    for path in sorted(Path(calotype.diagnose.__file__).parent.glob("*.py")):
        for text in re.findall(r'"((?:[^"\\]|\\.)*)"', path.read_text()):
            if not text.startswith("calotype train ") and re.search(r"(^|\s)--[a-z.-]+[a-z](\s|$)", text):
                yield text


@pytest.mark.parametrize("text", sorted(set(commands())))
def test_options_of_remedies_exist(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    if any(option in text for option in ("--option", "--holdout", "calotype evaluate")):
        return
    words = text.split(" (")[0]
    options = re.findall(r"--[a-z.-]+[a-z]", text)  # "a lower --optimizer.lr"
    having = [recipe for recipe in FAMILIES if all(option in helped(recipe, capsys) for option in options)]
    assert having
    if words.startswith("--"):
        assert main(["train", having[0], *shlex.split(words), "--show-config"]) == 0


FAMILIES = ("dcgan", "vae", "pixelcnn", "cyclegan", "denoise")  # a recipe for each set of settings that remedies name
HELP: dict[str, str] = {}


def helped(recipe: str, capsys: pytest.CaptureFixture[str]) -> str:
    if recipe not in HELP:
        with pytest.raises(SystemExit):
            main(["train", recipe, "--help"])
        HELP[recipe] = capsys.readouterr().out
    return HELP[recipe]


def test_recipes_of_remedies_exist() -> None:
    found = []
    for path in Path(calotype.diagnose.__file__).parent.glob("*.py"):
        found += re.findall(r'calotype train ([a-z-]+)"', path.read_text())
    assert found
    assert set(found) <= set(RECIPES)


def graves() -> list[Verdict]:
    """What blurred, grainy images with a checkerboard give, and too few to see copies."""
    rng = np.random.default_rng(0)
    real, other = (np.exp(rng.normal(8, 0.1, 400)) for _ in range(2))
    flat, grainy = rng.normal(1, 0.1, 400), rng.normal(9, 0.1, 400)
    found = [sharpness.blur(real / 10, real, other), sharpness.grain(grainy, flat), sharpness.checkerboard(grainy, flat)]
    return sharpness.together(conclude(found))


def test_remedies_fit_what_is_judged() -> None:
    blur, noise = graves()
    assert (blur.status, noise.status) == ("FAIL", "FAIL")
    dcgan, flow = (named(name) for name in ("dcgan", "flow-matching"))

    def of(verdict: Verdict, config: Config, **more: Any) -> tuple[str, ...]:
        return fitting(verdict, vars(config.model), recipe=config.recipe, **more).remedies

    for verdict in (blur, noise):
        assert not any("adversarial" in remedy or ("transposed" in remedy and "calotype" not in remedy) for remedy in verdict.remedies)
    assert "calotype train rpgan" in of(blur, dcgan)
    assert "calotype train rpgan" not in of(blur, named("rpgan"))
    assert not any("--option steps" in remedy for remedy in of(noise, dcgan))
    assert any("--option steps" in remedy for remedy in of(noise, flow))
    assert "--train.ema 0.1" in of(noise, dcgan, run={"train.ema": 0.05})
    assert "--train.ema 0.1" not in of(noise, dcgan, run={"train.ema": 0.1})
    asks = Verdict("mode-collapse", "FAIL", "", remedies=("--model.conditional True", "--model.discriminator.minibatch-std True"))
    assert of(asks, dcgan) == asks.remedies
    assert of(asks, dcgan, labels=False) == ("--model.discriminator.minibatch-std True",)


def test_images_that_something_else_made_get_no_settings_of_a_training() -> None:
    for verdict in graves():
        remedies = of_files(verdict).remedies
        assert remedies
        assert not re.search("--(?!size)|calotype train", " ".join(remedies))
    assert of_files(Verdict("copying", "PASS", "")).remedies == ()


def test_blur_beside_noise_is_explained() -> None:
    blur, noise = graves()
    assert "no contradiction to the blur" in noise.says
    assert "contradiction" not in sharpness.together([noise])[0].says.replace(noise.says, "")
    assert "contradiction" not in blur.says
