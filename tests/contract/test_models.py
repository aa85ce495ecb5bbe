"""What must hold for every recipe, whatever its family.

A recipe takes part by being listed in `RECIPES` alone. Of one whose model is ``from_source`` (a restorer, a translator)
`small` cuts its data down, `split_of` opens them, `spec_of` describes them, and `condition_for` makes sources to start from. What
such models must keep besides (sizes, scale, a missing source) is at the end of this file.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import calotype
from calotype.config import Config
from calotype.data import Split
from calotype.engine.distributed import World
from calotype.engine.timing import taken_back
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import UserError
from calotype.models import MODELS, build
from calotype.recipes import RECIPES, named
from calotype.types import Condition, Model, Noise, Step
from tests.engine.test_resume import interrupt
from tests.small import condition_for, final_state, from_source, same, small, spec_of, split_of

IN_COLOR = {"colorize"}  # recipes that gray images are of no use to
SCALES = 12  # a multiple of every scale: sizes of images that have smaller sources
DRAWING = [name for name in RECIPES if MODELS[type(named(name).model)].draws]
every_recipe = pytest.mark.parametrize("name", RECIPES)
every_generator = pytest.mark.parametrize("name", DRAWING)
from_noise = pytest.mark.parametrize("name", [name for name in DRAWING if not from_source(name)])
from_images = pytest.mark.parametrize("name", [name for name in DRAWING if from_source(name)])


def trainer_of(config: Config, split: Split) -> Trainer:
    trainer = Trainer(config, split, TrainState(steps=100), torch.device("cpu"), World())
    trainer.learn_first()
    return trainer


def scrambled(name: str) -> calotype.Generator:
    """A model whose weights are far from their start, so that its images are far from flat."""
    torch.manual_seed(0)
    model = build(small(name).model, spec_of(name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return calotype.Generator(model, name, torch.device("cpu"))


@every_generator
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (8, 3), (33, 3), (64, 1)])
def test_samples_have_the_shape_of_the_data(name: str, size: int, channels: int) -> None:
    if name in IN_COLOR:
        channels = 3
    if from_source(name):
        size = max(2 * SCALES, size - size % SCALES)
    spec = spec_of(name, size, channels)
    model = build(small(name).model, spec).eval()
    with torch.no_grad():
        images = model.sample(Noise(3, seed=1), condition_for(spec, 3))
    assert images.shape == (3, channels, size, size)
    assert torch.isfinite(images).all()
    assert float(images.abs().max()) <= 1.0 + 1e-5


@every_recipe
def test_every_owned_parameter_gets_a_gradient_and_the_batch_is_left_alone(name: str) -> None:
    trainer = trainer_of(small(name), split_of(name))
    for _ in range(3):  # a part that starts at zero passes no gradient to what is behind it before the first step
        trainer.step()
    batch = trainer.loader.batch_at(0)
    given = (batch.image, batch.condition.label, batch.condition.source)
    kept = [None if tensor is None else tensor.clone() for tensor in given]
    names = {player.name: [n for n, p in player.module.named_parameters() if p.requires_grad] for player in trainer.players}
    found: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    # its parts need not all take part at all times
    for progress in (0.0, *(min(share + 0.01, 0.99) for share in trainer.model.changes_at)):
        step = Step(0, torch.Generator().manual_seed(0), progress=progress)
        for player in trainer.players:
            terms = player.loss(batch, step)
            assert terms["loss"].ndim == 0
            assert terms["loss"].dtype == torch.float32
            grads = torch.autograd.grad(terms["loss"], trainer.owned[player.name].parameters, allow_unused=True)
            found[player.name] |= {n: g for n, g in zip(names[player.name], grads, strict=True) if g is not None}
    for name, every in names.items():
        assert [n for n in every if n not in found[name]] == []
        still = [n for n, g in found[name].items() if not g.abs().max() > 1e-9]
        # a loss of differences does not see what is added to every logit
        blind = any(word in str(trainer.config.model) for word in ("wasserstein", "relativistic", "hinge"))
        assert not still or (blind and all(n.endswith(("head.linear.bias", "logit.bias")) for n in still))
    for tensor, before in zip(given, kept, strict=True):
        assert tensor is None or torch.equal(tensor, before)  # type: ignore[arg-type]


@every_recipe
def test_training_moves_every_player_and_watching_moves_nothing(name: str) -> None:
    trainer, twin = (trainer_of(small(name), split_of(name)) for _ in range(2))
    before = {key: value.clone() for key, value in trainer.state().items()}
    for _ in range(2):
        watched = trainer.step(watch=True)
        assert twin.step(watch=False) == {}
    assert all(bool(torch.isfinite(value)) for value in watched.values())
    assert any("holdout" in key for key in watched)
    assert all(f"{p.name}/gradient_norm" in watched for p in trainer.players)
    assert same(trainer.state(), twin.state())
    for owned in trainer.owned.values():
        names = [n for n, p in trainer.model.named_parameters() if any(p is q for q in owned.parameters)]
        assert names
        assert any(not torch.equal(before[f"model/{n}"], trainer.state()[f"model/{n}"]) for n in names)


@from_noise
def test_an_image_depends_on_its_seed_and_number_alone(name: str) -> None:
    generator = scrambled(name)
    whole = generator.sample(7, seed=3)
    pieces = generator.sample(7, seed=3, batch_size=3)
    assert torch.allclose(whole, pieces, atol=2e-4)
    assert torch.allclose(whole[4:], generator.sample(3, seed=3, start=4), atol=2e-4)
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


@every_recipe
def test_steps_that_are_taken_back_leave_no_trace(name: str) -> None:
    trainer, twin = (trainer_of(small(name), split_of(name)) for _ in range(2))
    for steps in (2, 1):  # from the beginning, and from where a run is
        with taken_back(trainer):
            for _ in range(2):
                trainer.step(watch=True)
        for _ in range(steps):
            trainer.step()
            twin.step()
    assert trainer.progress == twin.progress
    assert same(trainer.state(), twin.state())


@every_generator
def test_a_saved_model_draws_what_the_trained_one_drew(name: str, runs: Path) -> None:
    config = small(name, steps=3)
    train(config, out=runs / "run")
    trainer = trainer_of(config, split_of(name))
    saved = final_state(runs / "run")
    trainer.average.load_state_dict({k.removeprefix("average/"): v for k, v in saved.items() if k.startswith("average/")})
    loaded = calotype.load(runs / "run", device="cpu").model
    assert loaded.spec == trainer.model.spec
    condition = condition_for(loaded.spec, 4)
    with torch.no_grad():
        expected = trainer.average.eval().sample(Noise(4, seed=5), condition)
        drawn = loaded.sample(Noise(4, seed=5), condition)
    assert torch.allclose(drawn, expected, atol=1e-5)


@from_noise
def test_labels_are_followed_or_refused(name: str) -> None:
    generator = scrambled(name)
    if generator.model.conditional:
        assert not torch.equal(generator.sample(2, label=3), generator.sample(2, label="4"))
        with pytest.raises(UserError, match="unknown label"):
            generator.sample(2, label="eleven")
    else:
        with pytest.raises(UserError, match="without labels"):
            generator.sample(2, label=3)


def made_of(model: Model, condition: Condition) -> torch.Tensor:
    assert condition.source is not None
    with torch.no_grad():
        return model.sample(Noise(len(condition.source), seed=1), condition)


@from_images
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (31, 20)])
def test_sources_of_any_size_give_images_of_their_size(name: str, size: tuple[int, int]) -> None:
    model = scrambled(name).model
    source = model.spec.source
    assert source is not None
    made = made_of(model, condition_for(model.spec, 2, size))
    assert made.shape == (2, model.spec.channels, size[0] * source.scale, size[1] * source.scale)
    assert torch.isfinite(made).all()
    assert float(made.abs().max()) <= 1.0 + 1e-5


@from_images
def test_an_image_is_made_of_its_source_alone(name: str) -> None:
    model = scrambled(name).model
    condition = condition_for(model.spec, 5)
    whole = made_of(model, condition)
    assert torch.equal(whole, made_of(model, condition))
    assert torch.allclose(whole[2:3], made_of(model, condition[2:3]), atol=2e-5)
    assert not torch.allclose(whole[2:3], made_of(model, condition[3:4]), atol=1e-2)


@from_images
def test_a_model_that_starts_from_images_asks_for_them(name: str) -> None:
    model = scrambled(name).model
    with pytest.raises(UserError, match="makes images from images"):
        model.sample(Noise(1))
