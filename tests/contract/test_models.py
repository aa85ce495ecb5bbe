"""What must hold for every recipe, whatever its family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import calotype
from calotype.config import Config
from calotype.data import Split, load
from calotype.engine.distributed import World
from calotype.engine.train import resume, train
from calotype.engine.trainer import Progress, Trainer
from calotype.errors import UserError
from calotype.models import MODELS, build
from calotype.recipes import RECIPES, named
from calotype.types import Batch, Condition, ImageSpec, Noise, Step
from tests.engine.test_resume import interrupt
from tests.small import final_state, same, small

every_recipe = pytest.mark.parametrize("name", RECIPES)
every_generator = pytest.mark.parametrize("name", [name for name in RECIPES if MODELS[type(named(name).model)].draws])


@pytest.fixture(scope="module")
def split() -> Split:
    return load("mnist5k")


def trainer_of(config: Config, split: Split) -> Trainer:
    return Trainer(config, split, Progress(steps=100), torch.device("cpu"), World())


def scrambled(name: str) -> calotype.Generator:
    """A model whose weights are far from their start, so that its images are far from flat."""
    torch.manual_seed(0)
    model = build(small(name).model, ImageSpec(28, 1, tuple("0123456789")))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return calotype.Generator(model, name, torch.device("cpu"))


@every_generator
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (8, 3), (33, 3), (64, 1)])
def test_samples_have_the_shape_of_the_data(name: str, size: int, channels: int) -> None:
    spec = ImageSpec(size, channels, ("a", "b", "c"))
    model = build(small(name).model, spec).eval()
    with torch.no_grad():
        images = model.sample(Noise(3, seed=1))
    assert images.shape == (3, channels, size, size)
    assert torch.isfinite(images).all()
    assert float(images.abs().max()) <= 1.0 + 1e-5


@every_recipe
def test_every_owned_parameter_gets_a_gradient_and_the_batch_is_left_alone(name: str, split: Split) -> None:
    config = small(name)
    trainer = trainer_of(config, split)
    for _ in range(3):  # a part that starts at zero passes no gradient to what is behind it before the first step
        trainer.step()
    batch = trainer.loader.batch_at(0)
    kept = Batch(batch.image.clone(), Condition(None if batch.condition.label is None else batch.condition.label.clone()))
    step = Step(0, torch.Generator().manual_seed(0))
    for player in trainer.players:
        terms = player.loss(batch, step)
        assert terms["loss"].ndim == 0
        assert terms["loss"].dtype == torch.float32
        names = [n for n, p in player.module.named_parameters() if p.requires_grad]
        grads = dict(zip(names, torch.autograd.grad(terms["loss"], trainer.parameters[player.name], allow_unused=True), strict=True))
        assert [n for n, g in grads.items() if g is None] == []
        still = [n for n, g in grads.items() if not g.abs().max() > 1e-9]
        # a loss of differences does not see what is added to every logit
        blind = any(word in str(config.model) for word in ("wasserstein", "relativistic", "hinge"))
        assert set(still) <= ({"head.linear.bias"} if blind else set())
    assert torch.equal(batch.image, kept.image)
    assert batch.condition.label is None or torch.equal(batch.condition.label, kept.condition.label)  # type: ignore[arg-type]


@every_recipe
def test_training_moves_every_player_and_watching_moves_nothing(name: str, split: Split) -> None:
    trainer, twin = (trainer_of(small(name), split) for _ in range(2))
    before = {key: value.clone() for key, value in trainer.state().items()}
    for _ in range(2):
        watched = trainer.step(watch=True)
        assert twin.step(watch=False) == {}
    assert all(bool(torch.isfinite(value)) for value in watched.values())
    assert any("holdout" in key for key in watched)
    assert all(f"{p.name}/gradient_norm" in watched for p in trainer.players)
    assert same(trainer.state(), twin.state())
    for owned in trainer.parameters.values():
        names = [n for n, p in trainer.model.named_parameters() if any(p is q for q in owned)]
        assert names
        assert any(not torch.equal(before[f"model/{n}"], trainer.state()[f"model/{n}"]) for n in names)


@every_generator
def test_an_image_depends_on_its_seed_and_number_alone(name: str) -> None:
    generator = scrambled(name)
    whole = generator.sample(7, seed=3)
    pieces = generator.sample(7, seed=3, batch_size=3)
    assert torch.allclose(whole, pieces, atol=2e-5)
    assert torch.allclose(whole[4:], generator.sample(3, seed=3, start=4), atol=2e-5)
    assert torch.equal(whole, generator.sample(7, seed=3))
    assert not torch.allclose(whole, generator.sample(7, seed=4), atol=1e-2)


@every_recipe
def test_resume_is_bitwise_the_uninterrupted_run(name: str, runs: Path) -> None:
    config = small(name)
    train(config, out=runs / "a")
    train(config, out=runs / "b")
    interrupt(runs / "b", 4)
    resume(runs / "b")
    assert same(final_state(runs / "a"), final_state(runs / "b"))


@every_generator
def test_a_saved_model_draws_what_the_trained_one_drew(name: str, split: Split, runs: Path) -> None:
    config = small(name, steps=3)
    train(config, out=runs / "run")
    trainer = trainer_of(config, split)
    saved = final_state(runs / "run")
    trainer.average.load_state_dict({k.removeprefix("average/"): v for k, v in saved.items() if k.startswith("average/")})
    with torch.no_grad():
        expected = trainer.average.eval().sample(Noise(4, seed=5))
    assert torch.allclose(calotype.load(runs / "run", device="cpu").sample(4, seed=5), expected, atol=1e-5)


@every_generator
def test_labels_are_followed_or_refused(name: str) -> None:
    generator = scrambled(name)
    if generator.model.conditional:
        assert not torch.equal(generator.sample(2, label=3), generator.sample(2, label="4"))
        with pytest.raises(UserError, match="unknown label"):
            generator.sample(2, label="eleven")
    else:
        with pytest.raises(UserError, match="without labels"):
            generator.sample(2, label=3)
