"""What no training can be, said before anything is built: settings without effect, models without room, batches without a second image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from calotype.config import Config, More
from calotype.engine import feasible
from calotype.engine.distributed import World
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import CalotypeError, UserError
from calotype.models import blank, build
from calotype.recipes import PUBLISHED, RECIPES, named
from calotype.types import ImageSpec, Model
from tests.fuzz import attempt
from tests.small import changed as small_changed
from tests.small import small, spec_of, split_of

CPU = torch.device("cpu")
DIGITS, PLAIN = ImageSpec(28, 1, tuple("0123456789")), ImageSpec(28, 1)


def changed(config: Config, **settings: Any) -> Config:
    """Other settings, each named by its section and itself: ``model_eta``."""
    for path, value in settings.items():
        section, _, name = path.partition("_")
        config = replace(config, **{section: small_changed(getattr(config, section), **{name: value})})
    return config


@pytest.mark.parametrize(
    ("recipe", "idle", "needed", "spec"),
    [
        ("flow-matching", {"model_eta": 0.5}, {"model_solver": "ddim"}, DIGITS),
        ("flow-matching", {"model_snr_limit": 4.0}, {"model_weighting": "min-snr"}, DIGITS),
        ("flow-matching", {"model_data_std": 0.4}, {"model_predict": "edm", "model_path": "ve"}, DIGITS),
        ("ddpm", {"model_time_mean": 0.5}, {"model_times": "normal"}, DIGITS),
        ("ddpm", {"model_time_spread": 2.0}, {"model_times": "normal"}, DIGITS),
        ("flow-matching", {"model_guidance_interval": (0.0, 0.5), "model_guidance": 1.0}, {"model_guidance": 3.0}, DIGITS),
        ("gan", {"model_penalty_weight": 2.0}, {"model_penalty": "r1"}, DIGITS),
        ("gan", {"model_penalty_every": 2}, {"model_penalty": "r1"}, DIGITS),
        ("gan", {"model_path_length_every": 2}, {"model_path_length_weight": 2.0}, DIGITS),
        ("pixelcnn", {"model_heads": 2}, {"model_network": "transformer"}, DIGITS),
        ("pixelcnn", {"model_segment": 2}, {"model_network": "transformer"}, DIGITS),
        ("pixelcnn", {"model_components": 5}, {"model_output": "mixture"}, DIGITS),
        ("realnvp", {"model_kernel": 1, "model_blocks": 0}, {"model_blocks": 2}, DIGITS),
        ("gan", {"optimizer_momentum": 0.9}, {"optimizer_name": "sgd"}, DIGITS),
        ("wgan", {"optimizer_betas": (0.0, 0.9)}, {"optimizer_name": "adam"}, DIGITS),
        ("sngan", {"schedule_hold": 0.5, "schedule_kind": "constant"}, {"schedule_kind": "cosine"}, DIGITS),
        ("sngan", {"schedule_final": 0.5, "schedule_kind": "constant"}, {"schedule_kind": "cosine"}, DIGITS),
        ("gan", {"train_ema_images": 1000, "train_ema": 0.0}, {"train_ema": 0.1}, DIGITS),
        ("gan", {"log_evaluate_images": 1000}, {"log_evaluate": 100}, DIGITS),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(recipe: str, idle: dict[str, Any], needed: dict[str, Any], spec: ImageSpec) -> None:
    config = changed(named(recipe), **idle)
    section, _, name = next(iter(idle)).partition("_")
    with pytest.raises(UserError, match=rf"`{section}\.{name}` has no effect here without "):
        feasible.require_effect(config, spec)
    feasible.require_effect(changed(config, **needed), spec)


@pytest.mark.parametrize(
    ("recipe", "setting"),
    [
        ("edm", {"model_guidance": 3.0}),
        ("flow-matching", {"model_label_dropout": 0.3}),
        ("tarflow", {"model_guidance": 3.0}),
        ("glow", {"model_embedding": 16}),
        ("gan", {"model_conditional": True}),
    ],
)
def test_settings_of_classes_need_classes(recipe: str, setting: dict[str, Any]) -> None:
    config = changed(named(recipe), **setting)
    feasible.require_effect(config, DIGITS)
    with pytest.raises(UserError, match="has no effect here without images with labels"):
        feasible.require_effect(config, PLAIN)


def test_identity_needs_two_sides_alike() -> None:
    config, spec = changed(named("cyclegan"), model_identity_weight=0.5), spec_of("cyclegan")
    feasible.require_effect(config, spec)
    assert spec.source is not None
    with pytest.raises(UserError, match=r"`model\.identity_weight` has no effect here without two sides"):
        feasible.require_effect(config, replace(spec, source=replace(spec.source, channels=3)))


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_recipe_is_refused_whatever_the_images_and_the_options_beside_it(recipe: str) -> None:
    for preset in ("laptop", "published") if recipe in PUBLISHED else ("laptop",):
        config, spec = named(recipe, preset), spec_of(recipe)  # type: ignore[arg-type]
        for one in (config, changed(config, optimizer_name="sgd", schedule_kind="constant", train_ema=0.0)):
            feasible.require_effect(one, spec)
            feasible.require_effect(one, replace(spec, classes=()))


def test_a_run_with_a_setting_that_nothing_reads_goes_on(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(small("gan", 2, width=8), model_penalty_weight=3.0, log_checkpoints=1)
    with pytest.raises(UserError, match="penalty_weight"):
        train(config, out=runs / "a")
    assert not (runs / "a").exists()
    with monkeypatch.context() as patch:
        patch.setattr(feasible, "require_effect", lambda config, spec, besides: None)
        train(config, out=runs / "a")
    assert resume(runs / "a", more=More(steps=1)).step == 3


def room(config: Config, spec: ImageSpec) -> None:
    feasible.require_room(config, spec, CPU, World())


@pytest.mark.parametrize("recipe", ["gan", "dcgan", "flow-matching", "dit", "vae", "hvae", "pixelcnn", "denoise", "cyclegan", "glow"])
def test_a_model_without_room_is_refused_before_it_is_built(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.engine.device.memory", lambda device="cpu": 8e9)
    spec = spec_of(recipe)
    wide = changed(named(recipe), model_width=65_536)
    attempt(lambda: room(wide, spec), UserError)
    with pytest.raises(UserError, match=r"M parameters would take .* GB of memory, and there are 8\.0 GB: make the network smaller"):
        room(wide, spec)
    room(named(recipe), spec)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon", "rmsprop", "adagrad"])
def test_what_is_needed_is_what_a_training_keeps(optimizer: str) -> None:
    config = changed(small("gan"), optimizer_name=optimizer, optimizer_momentum=0.5 if optimizer in ("sgd", "rmsprop") else 0.0)
    trainer = Trainer(config, split_of("gan"), TrainState(steps=2), CPU, World())
    trainer.step()
    kept = sum(t.numel() * t.element_size() for t in trainer.state().values())
    gradients = sum(4 * p.numel() for p in trainer.model.parameters())
    on_a_chip = feasible.needed(config.optimizer, trainer.model, torch.device("cuda"))
    assert on_a_chip == pytest.approx(kept + gradients, rel=0.01)
    assert feasible.needed(config.optimizer, trainer.model, CPU) == pytest.approx(3 * kept + gradients, rel=0.01)


def test_batch_normalization_of_vectors_needs_a_second_image(runs: Path) -> None:
    alone, two = changed(small("gan"), train_batch=1), changed(small("gan"), train_batch=2)
    with pytest.raises(UserError, match=r"nothing to normalize in batches of 1: give a `train\.batch` of 2 or more"):
        room(alone, DIGITS)
    with pytest.raises(UserError, match=r"give a `train\.batch` of 4 or more"):
        feasible.require_room(two, DIGITS, CPU, World(size=2))
    for config in (two, changed(alone, **{"model_generator.norm": "layer"}), changed(small("dcgan"), train_batch=1)):
        room(config, DIGITS)
        Trainer(config, split_of("gan"), TrainState(steps=2), CPU, World()).step(watch=True)


def test_one_held_out_image_is_no_batch_to_normalize_over() -> None:
    split = split_of("gan")
    alone = replace(split, holdout=split.holdout.take(slice(0, 1)))
    config = changed(small("gan"), **{"model_discriminator.norm": "batch"})
    assert Trainer(config, alone, TrainState(steps=2), CPU, World()).holdout is None
    assert Trainer(small("dcgan"), alone, TrainState(steps=2), CPU, World()).holdout is not None


@pytest.mark.parametrize(("count", "parts", "batch"), [(46, 1, 8), (46, 3, 6), (3, 1, 2), (63, 1, 8), (64, 1, 64), (5_000, 1, 64)])
def test_a_few_images_are_trained_on_in_small_batches(count: int, parts: int, batch: int) -> None:
    config = named("dcgan")
    found = feasible.fitting(config, count, parts)
    assert found.train.batch == batch
    assert replace(found, train=config.train) == config
    assert found.train.batch % parts == 0 or found == config


def test_a_batch_that_was_asked_for_stays() -> None:
    config = changed(named("dcgan"), train_batch=60)
    assert feasible.fitting(config, 46) == config


def test_more_classes_than_a_stored_model_may_have_are_refused_at_the_start() -> None:
    with pytest.raises(UserError, match="classes: give at most 65,536 values"):
        room(small("rpgan"), ImageSpec(28, 1, ("c",) * 70_000))


def test_blank_models_have_the_tensors_of_real_ones() -> None:
    def facts(model: Model) -> dict[str, object]:
        return {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}

    for recipe in RECIPES:
        assert facts(build(small(recipe).model, spec_of(recipe))) == facts(blank(small(recipe).model, spec_of(recipe)))


@pytest.mark.parametrize("error", ["allocator", "python", "chip"])
def test_memory_that_ends_in_a_step_is_one_line_and_leaves_the_run(error: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object) -> None:
        if error == "allocator":
            torch.empty(2**45)
        raise MemoryError if error == "python" else torch.OutOfMemoryError("CUDA out of memory\nand much more")

    config = small("gan", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        with pytest.raises(CalotypeError, match=r"^not enough memory: give a smaller `train\.batch`") as caught:
            train(config, out=runs / "a")
    assert "\n" not in str(caught.value)
    assert resume(runs / "a").step == 2


def test_other_errors_of_a_step_stay_what_they_are(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        train(small("gan", 2), out=runs / "a")


def test_processes_of_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    config, spec = small("gan"), spec_of("gan")
    size = feasible.needed(config.optimizer, build(config.model, spec), CPU)
    monkeypatch.setattr("calotype.engine.device.memory", lambda device="cpu": 2.5 * size)
    feasible.require_room(config, spec, CPU, World(0, 2, 0, 2))
    with pytest.raises(UserError, match="in each of 3 processes would take"):
        feasible.require_room(config, spec, CPU, World(0, 3, 0, 3))
