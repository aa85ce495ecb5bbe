"""The family that draws nothing: classifiers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

import calotype
from calotype.config import Config, Data
from calotype.data import load
from calotype.engine.train import train
from calotype.errors import UserError
from calotype.models import Classifier, ClassifierConfig
from calotype.models.recognition import varied
from calotype.types import Batch, Condition, ImageSpec, Noise, Step
from tests.small import small

SPEC = ImageSpec(16, 1, ("a", "b", "c"))


def step() -> Step:
    return Step(0, torch.Generator().manual_seed(0))


def batch(n: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(n, 1, 16, 16, generator=generator) * 2 - 1, Condition(label=torch.arange(n) % 3))


def test_the_loss_is_cross_entropy_and_the_redrawing_of_a_coarse_picture() -> None:
    model = Classifier(ClassifierConfig(width=8, dropout=0.0, smooth=0.1, redraw=3.0, shift=0.0, rotate=0.0, scale=0.0), SPEC)
    given = batch()
    terms = model.players()[0].loss(given, step())
    logits = model.logits(given.image)
    log_p = logits.log_softmax(1)
    target = 0.9 * functional.one_hot(given.condition.label, 3) + 0.1 / 3  # type: ignore[arg-type]
    drawn = model.network.picture_of(model.features(given.image))
    redrawn = (drawn - functional.adaptive_avg_pool2d(given.image, 14)).square().mean()
    assert torch.allclose(terms["loss"], -(target * log_p).sum(1).mean() + 3.0 * redrawn, atol=1e-5)
    plain = Classifier(ClassifierConfig(width=8, redraw=0.0), SPEC)
    assert plain.network.drawing is None  # no parameter that nothing trains


def test_smoothing_is_undone_in_the_probabilities() -> None:
    model = Classifier(ClassifierConfig(width=8, smooth=0.1), SPEC).eval()
    belief = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.3, 0.2]])
    learned = 0.9 * belief + 0.1 / 3
    model.network.logits_of = lambda features: learned.log()  # type: ignore[method-assign, assignment]
    assert torch.allclose(model.probabilities(torch.zeros(2, 64)), belief, atol=1e-6)


def center(image: Tensor) -> tuple[float, float]:
    mass = (image + 1).squeeze()
    at = torch.arange(len(mass)) + 0.5
    return float((mass.sum(1) * at).sum() / mass.sum()), float((mass.sum(0) * at).sum() / mass.sum())


def test_training_images_are_moved_turned_and_scaled_as_said() -> None:
    blob = torch.full((400, 1, 32, 32), -1.0)
    blob[:, :, 12:20, 12:20] = 1.0
    moved = varied(blob, torch.Generator().manual_seed(0), 0.125, 0.0, 0.0)
    places = torch.tensor([center(image) for image in moved]) - 16
    assert float(places.abs().max()) <= 4.05  # an eighth of 32
    assert float(places.abs().amax(0).min()) > 3.5  # in both directions
    assert abs(float(places.mean())) < 0.3
    areas = (varied(blob, torch.Generator().manual_seed(0), 0.0, 0.0, 0.25) + 1).sum((1, 2, 3)) / (2 * 64)
    assert 1.4 < float(areas.max()) <= 1.25**2 + 0.05
    assert 0.75**2 - 0.05 <= float(areas.min()) < 0.7
    bar = torch.full((400, 1, 32, 32), -1.0)
    bar[:, :, 15:17, 4:28] = 1.0
    turned = varied(bar, torch.Generator().manual_seed(0), 0.0, 30.0, 0.0)
    heights = ((turned > 0).sum(3) > 0).sum((1, 2)).float()
    assert 11 <= float(heights.max()) <= 17  # 24 sin(30 degrees) and the width of the bar
    kept = batch()
    assert varied(kept.image, torch.Generator(), 0.0, 0.0, 0.0) is kept.image
    assert torch.equal(
        varied(blob, torch.Generator().manual_seed(5), 0.1, 9, 0.1), varied(blob, torch.Generator().manual_seed(5), 0.1, 9, 0.1)
    )


def test_watching_counts_what_is_recognized() -> None:
    model = Classifier(ClassifierConfig(width=8), SPEC).train()
    model.network.logits_of = lambda features: functional.one_hot(torch.tensor([0, 1, 2, 0, 0, 0]), 3).float()  # type: ignore[method-assign, assignment]
    seen = model.watch(batch(), batch(), step())
    assert float(seen["accuracy_train"]) == pytest.approx(4 / 6)
    assert float(seen["accuracy_holdout"]) == pytest.approx(4 / 6)
    assert model.training


def test_a_classifier_draws_no_images(runs: Path) -> None:
    config = small("classifier", steps=2)
    train(config, out=runs / "run")
    assert not (runs / "run" / "samples").exists()
    with pytest.raises(UserError, match="draws no images"):
        calotype.load(runs / "run", device="cpu").sample(2)
    with pytest.raises(UserError, match="draws no images"):
        Classifier(ClassifierConfig(width=8), SPEC).sample(Noise(1))
    card = json.loads((runs / "run" / "model" / "config.json").read_text())
    assert card["model"]["kind"] == "classifier"


def test_images_without_labels_are_refused_before_anything_is_written(runs: Path) -> None:
    (runs / "plain").mkdir()
    for number in range(12):
        Image.fromarray(np.full((16, 16), number * 20, np.uint8)).save(runs / "plain" / f"{number}.png")
    config = small("classifier", steps=2)
    with pytest.raises(UserError, match="needs images of two classes or more, and these have no labels") as caught:
        train(Config("classifier", config.model, Data("plain"), train=config.train), out=runs / "run")
    assert "\n" not in str(caught.value)
    assert not (runs / "run").exists()
    with pytest.raises(UserError, match="one class only"):
        Classifier(ClassifierConfig(), ImageSpec(16, 1, ("a",)))


def test_it_learns() -> None:
    split = load("mnist5k")
    rows = np.flatnonzero(split.train.labels < 3)[:600]  # type: ignore[operator]
    image = torch.from_numpy(split.train.pixels[rows]).permute(0, 3, 1, 2) / 127.5 - 1
    label = torch.from_numpy(split.train.labels[rows])  # type: ignore[index]
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(width=8), ImageSpec(28, 1, ("0", "1", "2")))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for number in range(60):
        pick = torch.arange(number * 16, number * 16 + 16) % 500
        loss = model.players()[0].loss(Batch(image[pick], Condition(label=label[pick])), step())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = model.eval().logits(image[500:]).argmax(1) == label[500:]
    assert float(right.float().mean()) > 0.85
