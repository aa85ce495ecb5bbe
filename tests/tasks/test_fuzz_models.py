"""Damaged models and configurations: one line, in little time and memory, or a model that draws."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from calotype.config import Config, from_json, to_json
from calotype.engine import feasible
from calotype.engine.distributed import World
from calotype.engine.images import augmentation_of
from calotype.engine.run import Run
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import TrainingError, UserError
from calotype.metrics.features_kinds import of_run
from calotype.models import build
from calotype.recipes import named
from calotype.tasks.sample import load
from calotype.types import Noise
from tests.fuzz import attempt, mutations
from tests.small import ONE_OF_EACH, condition_for, small, spec_of, split_of

STORED = ["gan", "dcgan", "flow-matching", "realnvp", "hvae", "vqvae", "pixel-transformer", "classifier", "inpaint", "colorize", "cyclegan"]
WILD: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 7, 8, 1000, 65_536, 10**9, 2**63 - 1, 10**30, -(10**30)),
    *(0.0, 0.5, 0.999, 1.0, 1e-320, 1e9, 1e300, float("nan"), float("inf"), float("-inf")),
    *("", "None", "x" * 100_000, "a\n\x1b[2J", "\ud800", None, True, False, [], {}, [1], [0.5, 1.0], [1] * 9, {"kind": "gan"}),
)
"""What a setting may be given: the edges of ranges and what lies beyond, and values of other types."""

SLOW = {"compile", "device", "critic_steps", "latent_blocks", "depth", "blocks", "layers", "prior_depth", "segment"}
"""Settings of which a large value is right, but takes longer than an attempt may."""


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An exported model of random weights."""
    torch.manual_seed(0)
    config, spec = small(request.param), spec_of(request.param)
    Run(tmp_path).export(build(config.model, spec), config, spec, 1, tmp_path / "model")
    return tmp_path / "model"


def use(folder: Path) -> None:
    """Load a model and draw with it, or extract features."""
    generator = load(folder)
    if not generator.model.draws:
        of_run(folder)
    elif generator.spec.source is None:
        generator.sample(1)
    else:
        generator.model.sample(Noise(1), condition_for(generator.spec, 1, 24))


@pytest.mark.parametrize("folder", STORED, indirect=True)
def test_a_damaged_configuration_of_a_model_is_told_in_one_line(folder: Path, fuzz: int) -> None:
    whole = (folder / "config.json").read_bytes()
    for data in mutations(whole, fuzz, seed=1):
        (folder / "config.json").write_bytes(data)
        attempt(lambda: use(folder), UserError)
    (folder / "config.json").write_bytes(whole)
    use(folder)


@pytest.mark.parametrize("folder", STORED, indirect=True)
def test_other_values_in_the_configuration_of_a_model_are_told_in_one_line(folder: Path, fuzz: int) -> None:
    whole, rng = json.loads((folder / "config.json").read_text()), random.Random(2)
    for _ in range(fuzz):
        facts = json.loads(json.dumps(whole))
        place = facts[rng.choice(("model", "model", "spec"))]
        place[rng.choice(list(place))] = rng.choice(WILD)
        (folder / "config.json").write_text(json.dumps(facts))
        attempt(lambda: use(folder), UserError)


@pytest.mark.parametrize("folder", STORED, indirect=True)
def test_damaged_weights_are_told_in_one_line(folder: Path, fuzz: int) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for data in mutations(whole, fuzz, seed=3):
        (folder / "model.safetensors").write_bytes(data)
        attempt(lambda: use(folder), UserError)
    (folder / "model.safetensors").write_bytes(whole)
    use(folder)


@pytest.mark.parametrize("recipe", ONE_OF_EACH)
def test_a_damaged_configuration_is_told_in_one_line(recipe: str, fuzz: int) -> None:
    whole = to_json(named(recipe))
    for data in mutations(whole.encode(), fuzz, seed=4):
        attempt(lambda data=data: from_json(Config, data.decode("utf-8", "replace")), UserError)  # type: ignore[misc]
    assert from_json(Config, whole) == named(recipe)


@pytest.mark.parametrize("recipe", ONE_OF_EACH)
def test_any_value_of_any_setting_trains_or_is_told_in_one_line(recipe: str, fuzz: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.engine.device.memory", lambda device="cpu": 2e8)
    monkeypatch.setattr("tests.fuzz.SECONDS", 60.0)  # of work: a thousand layers are not endless
    whole, rng = json.loads(to_json(small(recipe, 3))), random.Random(recipe)
    whole["train"] |= {"batch": 2, "compile": "off", "device": "cpu"}
    sections = {name: [key for key in whole[name] if key not in SLOW] for name in feasible.SECTIONS}
    for number in range(fuzz // 4 + 1):
        raw = json.loads(json.dumps(whole))
        for _ in range(rng.choice((1, 1, 1, 2)) if number else 0):
            section = rng.choice(list(sections))
            raw[section][rng.choice(sections[section])] = rng.choice(WILD)
        attempt(lambda raw=raw: step(recipe, raw), *(UserError, TrainingError) if number else ())  # type: ignore[misc]


def step(recipe: str, raw: object) -> None:
    """One step of a training, with all that comes before it."""
    config, split = from_json(Config, json.dumps(raw)), split_of(recipe)
    spec = augmentation_of(config.data).spec(split.train)
    feasible.require_effect(config, spec)
    feasible.require_room(config, spec, torch.device("cpu"), World())
    Trainer(config, split, TrainState(steps=3), torch.device("cpu"), World()).step(watch=True)
