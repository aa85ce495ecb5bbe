"""A remedy that is a setting must be one that exists."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import pytest

from calotype.cli.main import main
from calotype.config import Config
from calotype.diagnose import modes, sharpness
from calotype.diagnose.checks import CHECKS, of_files
from calotype.diagnose.remedy import Judged, Remedy, model_settings, sets
from calotype.diagnose.verdict import Verdict, conclude, fitting
from calotype.recipes import RECIPES, named
from calotype.spelling import as_options, option

REMEDIES = list({remedy.text: remedy for check in CHECKS for remedy in (*check.remedies, *check.of_files)}.values())


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.text)
def test_settings_and_recipes_of_remedies_exist(remedy: Remedy, capsys: pytest.CaptureFixture[str]) -> None:
    names = (*remedy.settings, *remedy.changes)
    having = [recipe for recipe in FAMILIES if all(option(name) in helped(recipe, capsys) for name in names)]
    assert having
    if remedy.settings:
        given = [word for name in remedy.settings for word in shlex.split(as_options(f"`{name}={written(remedy.settings[name])}`"))]
        assert main(["train", having[0], *given, "--show-config"]) == 0
        assert all(f"`{name}={written(value)}`" in remedy.says for name, value in remedy.settings.items())
    assert not remedy.recipe or remedy.recipe in RECIPES
    assert remedy.recipe in remedy.says
    assert "`" not in remedy.text


def written(value: object) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)


FAMILIES = ("dcgan", "vae", "pixelcnn", "cyclegan", "denoise", "resnet")  # a recipe for each set of settings that remedies name
HELP: dict[str, str] = {}


def helped(recipe: str, capsys: pytest.CaptureFixture[str]) -> str:
    if recipe not in HELP:
        with pytest.raises(SystemExit):
            main(["train", recipe, "--help"])
        HELP[recipe] = capsys.readouterr().out
    return HELP[recipe]


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

    def of(verdict: Verdict, config: Config, **more: Any) -> list[str]:
        return [remedy.text for remedy in fitting(verdict, Judged(model_settings(config.model), config.recipe, **more)).remedies]

    assert "calotype train rpgan" in of(blur, dcgan)
    assert "calotype train rpgan" not in of(blur, named("rpgan"))
    assert not any("--option steps" in remedy for remedy in of(noise, dcgan))
    assert any("--option steps" in remedy for remedy in of(noise, flow))
    assert "--train.ema 0.1" in of(noise, dcgan, run={"train.ema": 0.05})
    assert "--train.ema 0.1" not in of(noise, dcgan, run={"train.ema": 0.1})
    asks = Verdict("mode-collapse", "FAIL", "", remedies=(modes.CONDITIONAL, sets({"model.discriminator.minibatch_std": True})))
    assert of(asks, dcgan) == ["--model.conditional True", "--model.discriminator.minibatch-std True"]
    assert of(asks, dcgan, labels=False) == ["--model.discriminator.minibatch-std True"]


def test_a_remedy_that_helps_only_beside_other_settings_waits_for_them() -> None:
    settings = {"model.conditional": True, "model.generator.condition": "input"}
    assert modes.IN_NORMS.fits(Judged(settings))
    assert not modes.IN_NORMS.fits(Judged({**settings, "model.conditional": False}))
    assert not modes.IN_NORMS.fits(Judged({**settings, "model.generator.condition": "norm"}))
    assert not modes.IN_NORMS.fits(Judged({"model.conditional": True}))  # a network that has no choice of it


@pytest.mark.parametrize(("change", "fit"), [({}, True), ({"model.label_scale": 0.5}, False), ({"model.conditional": False}, False)])
def test_classes_are_told_more_softly_once_and_where_they_are_told_beside_the_latents(change: dict[str, object], fit: bool) -> None:
    settings = {"model.conditional": True, "model.label_scale": 1.0, "model.generator.network": "modern"} | change
    assert modes.SOFTLY.fits(Judged(settings)) == fit
    assert not modes.SOFTLY.fits(Judged(settings | {"model.generator.network": "biggan"}))


def test_images_that_something_else_made_get_no_settings_of_a_training() -> None:
    for verdict in graves():
        remedies = of_files(verdict).remedies
        assert remedies
        assert not any(remedy.settings or remedy.changes or remedy.recipe for remedy in remedies)
    assert of_files(Verdict("copying", "PASS", "")).remedies == ()


def test_blur_beside_noise_is_explained() -> None:
    blur, noise = graves()
    assert "no contradiction to the blur" in noise.says
    assert "contradiction" not in sharpness.together([noise])[0].says.replace(noise.says, "")
    assert "contradiction" not in blur.says
