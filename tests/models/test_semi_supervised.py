"""The semi-supervised GAN: its losses against the softmax of K + 1 classes that they stand for, and what it is told of hidden labels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from calotype.config import Config, Data
from calotype.data import Split
from calotype.data.images import make_images
from calotype.engine.images import labelled
from calotype.engine.train import resume, train
from calotype.errors import UserError
from calotype.models.semi_supervised import SemiSupervisedGAN, entropy, pull_away
from calotype.types import Batch, Step
from tests.contract.test_models import trainer_of
from tests.engine.test_resume import interrupt
from tests.small import final_state, same, small, split_of

STILL = {"shift": 0.0, "rotate": 0.0, "scale": 0.0, "dropout": 0.0, "noise": 0.0, "smooth": 0.0, "ramp": 0.0}
"""Nothing is random but the latents."""


def with_labels(count: int | None, name: str = "sgan", seed: int = 0, **model: object) -> Config:
    config = small(name, **model)
    return replace(config, data=replace(config.data, labels=count), train=replace(config.train, seed=seed))


def asked(config: Config) -> tuple[SemiSupervisedGAN, Batch, Step, dict[str, torch.Tensor]]:
    """A model, a batch, and what its discriminator says of it."""
    trainer = trainer_of(config, split_of("sgan"))
    model = trainer.model
    assert isinstance(model, SemiSupervisedGAN)
    batch, step = trainer.loader.batch_at(0), Step(0, torch.Generator().manual_seed(1), progress=0.5)
    return model, batch, step, {name: term.detach() for name, term in model.players()[0].loss(batch, step).items()}


def test_the_discriminator_plays_the_game_of_k_plus_one_classes() -> None:
    model, batch, step, terms = asked(with_labels(20, consistency=0.0, **STILL))
    assert batch.labelled is not None
    assert batch.labelled.condition.label is not None

    def log_p(images: torch.Tensor) -> torch.Tensor:
        """Of K classes and, at the end, of being generated, whose logit is 0."""
        logits = model.network(images)
        return torch.cat([logits, torch.zeros(len(logits), 1)], 1).log_softmax(1)

    real, fake = log_p(batch.image), log_p(step.cache["fake"])
    is_real = torch.log1p(-real[:, -1].exp())
    told_apart = -0.5 * is_real.mean() - 0.5 * fake[:, -1].mean()
    of_class = log_p(batch.labelled.image)[:, :-1]
    named = F.cross_entropy(of_class, batch.labelled.condition.label)  # given that it is real: cross entropy normalizes again
    assert torch.isclose(terms["real_or_fake"], told_apart, atol=1e-5)
    assert torch.isclose(terms["class"], named, atol=1e-5)
    assert torch.isclose(terms["loss"], named + told_apart, atol=1e-5)


def test_the_generator_matches_the_mean_features_of_real_images() -> None:
    model, batch, step, _ = asked(with_labels(20, pull_away=0.5, **STILL))
    fake = step.cache["fake"]
    of_fake, of_real = model.features(fake), model.features(batch.image)
    wanted = (of_fake.mean(0) - of_real.mean(0)).square().mean() + 0.5 * pull_away(of_fake)
    assert torch.isclose(model.players()[1].loss(batch, step)["loss"], wanted, atol=1e-6)
    assert set(step.cache) == set()  # so that the next part of a batch makes its own
    again = model.players()[1].loss(batch, step)["loss"]
    assert torch.isfinite(again)
    assert not torch.equal(again, wanted)  # other latents


def test_probabilities_that_stay_are_consistent_and_moved_images_are_not() -> None:
    still, moved = (asked(with_labels(20, consistency=5.0, **{**STILL, "shift": shift}))[3] for shift in (0.0, 0.3))
    assert float(still["consistency"]) < 1e-12
    assert float(moved["consistency"]) > 1e-9
    without = asked(with_labels(20, consistency=0.0, entropy=0.5, **STILL))[3]
    assert "consistency" not in without
    assert torch.isclose(without["loss"], without["class"] + without["real_or_fake"] + 0.5 * without["entropy"], atol=1e-5)


def test_entropies_and_angles_have_their_closed_forms() -> None:
    assert math.isclose(float(entropy(torch.zeros(3, 10))), math.log(10), rel_tol=1e-6)
    assert float(entropy(torch.tensor([[100.0, 0.0, 0.0]]))) < 1e-6
    assert abs(float(pull_away(torch.eye(4)))) < 1e-6
    assert math.isclose(float(pull_away(torch.ones(4, 3))), 1.0, rel_tol=1e-5)
    half = torch.tensor([[1.0, 0.0], [math.cos(1.0), math.sin(1.0)]])
    assert math.isclose(float(pull_away(half)), math.cos(1.0) ** 2, rel_tol=1e-5)


def test_labels_are_balanced_and_follow_from_the_seed() -> None:
    images = split_of("sgan").train
    assert images.labels is not None
    drawn = [labelled(with_labels(count, seed=seed), images) for count, seed in ((100, 0), (100, 0), (100, 1), (13, 0))]
    assert np.bincount(drawn[0].labels, minlength=10).tolist() == [10] * 10  # type: ignore[arg-type]
    assert sorted(np.bincount(drawn[3].labels, minlength=10).tolist()) == [1] * 7 + [2] * 3  # type: ignore[arg-type]
    assert (drawn[0].pixels == drawn[1].pixels).all()
    assert not (drawn[0].pixels == drawn[2].pixels).all()
    few = images.take(np.r_[np.nonzero(images.labels == 3)[0][:2], np.nonzero(images.labels != 3)[0]])
    assert np.bincount(labelled(with_labels(100), few).labels, minlength=10)[3] == 2  # type: ignore[arg-type]
    assert len(labelled(with_labels(100), few)) == 100


def test_hidden_labels_reach_no_batch_and_known_ones_come_with_every_batch() -> None:
    config, split = with_labels(20), split_of("sgan")
    loader = trainer_of(config, split).loader
    known = {image.tobytes(): label for image, label in zip(*_pair(labelled(config, split.train)), strict=True)}
    assert loader.images.labels_at(np.arange(3)) is None
    seen = set()
    for place in range(0, 80, 8):
        batch, again = loader.batch_at(place), loader.batch_at(place)
        assert batch.condition.label is None
        assert batch.labelled is not None
        assert again.labelled is not None
        assert torch.equal(batch.labelled.image, again.labelled.image)
        assert batch.labelled.condition.label is not None
        for image, label in zip(batch.labelled.image, batch.labelled.condition.label.tolist(), strict=True):
            pixels = image.mul(127.5).add(127.5).round().byte().permute(1, 2, 0).numpy()
            assert known[pixels.tobytes()] == label
            seen.add(pixels.tobytes())
    assert seen == set(known)  # 80 draws of 20 images: four epochs
    part = loader.batch_at(0)[2:5]
    assert part.labelled is not None
    assert len(part.labelled.image) == 3


def _pair(images: object) -> tuple[np.ndarray, list[int]]:
    return images.pixels, images.labels.tolist()  # type: ignore[attr-defined]


def test_a_classifier_learns_from_the_known_images_alone() -> None:
    config = with_labels(40, "resnet")
    loader = trainer_of(config, split_of("resnet")).loader
    assert len(loader.images) == 40
    assert loader.batch_at(0).labelled is None


def test_a_run_with_hidden_labels_resumes_bit_for_bit(runs: Path) -> None:
    config = with_labels(20)
    train(config, out=runs / "a")
    train(config, out=runs / "b")
    interrupt(runs / "b", 4)
    resume(runs / "b")
    assert same(final_state(runs / "a"), final_state(runs / "b"))


def unlabelled() -> Split:
    split = split_of("sgan")
    return Split(make_images(split.train.pixels[:50], None, (), "bare"), make_images(split.holdout.pixels[:20], None, (), "bare"))


@pytest.mark.parametrize(
    ("config", "split", "says"),
    [
        (with_labels(4501), None, "4,500 images to train on, of which 4,501 labels cannot be known"),
        (with_labels(9), None, "9 labels cannot be one of each of 10 classes: give `data.labels=10`"),
        (with_labels(20), unlabelled(), "has no labels"),
        (with_labels(None), unlabelled(), "these images have no labels"),
        (with_labels(20, "vae"), None, "a model of the kind vae learns nothing from images without"),
        (replace(with_labels(20, "resnet"), data=Data(labels=20, validation=0.1)), None, "leave out one of them"),
    ],
)
def test_labels_that_cannot_be_hidden_are_one_line(config: Config, split: Split | None, says: str) -> None:
    with pytest.raises(UserError) as caught:
        trainer_of(config, split or split_of("sgan"))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
