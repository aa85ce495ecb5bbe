"""The parts of an explanation by family, asked of small models that were opened."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from calotype.data import Images, load
from calotype.data.images import make_images
from calotype.errors import UserError
from calotype.evaluation import explaining_families as families
from calotype.evaluation.explaining import PARTS, Explained, explain
from calotype.evaluation.likelihoods import _Effort, known, nats_of
from calotype.evaluation.request import Request
from calotype.explanation.section import Section, Strip
from calotype.explanation.surprise import surprise
from calotype.metrics.features import pick
from calotype.metrics.likelihood import bits_of
from calotype.tasks.model_inputs import given
from calotype.tasks.sample import Generator
from tests.contract.test_models import trainer_of
from tests.small import small, split_of

HELD = 40


def packaged() -> Generator:
    return families.packaged("cpu")


@lru_cache(maxsize=2)
def model_of(name: str) -> Generator:
    trainer = trainer_of(small(name), split_of(name))
    for _ in range(2):
        trainer.step()
    return Generator(trainer.model.eval(), name, torch.device("cpu"))


def held(count: int = HELD) -> Images:
    return load("mnist5k").holdout.take(slice(0, count))


def opened(generator: Generator, *, named: str | None = None, holdout: Images | None = None) -> Explained:
    images = None if named is None else given((named,), generator.spec, 2)
    judge = pick("digits", generator.spec)[0]
    return Explained("it", generator, None, holdout or held(), images, judge, None, (), 100, 1, Request(seed=3))


def checked(part: Section | None, name: str) -> Section:
    assert part is not None
    assert part.name == name in {one.name for one in PARTS}
    json.dumps(part.data())
    for one in part.exhibits():
        if isinstance(one, Strip):
            assert len(one.images) % one.columns == 0
            assert one.images.dtype == np.uint8
    return part


def test_denoising_is_of_diffusion_and_of_no_other() -> None:
    found = checked(families.denoising(opened(model_of("flow-matching"))), "denoising").data()
    assert found["images"] == families.PATHS
    assert len(found["shares_of_the_image"]) == len(found["decided"]["fine"]) == len(found["class_as_in_the_end"]) == 32
    assert found["class_given"]
    assert families.denoising(opened(model_of("vae"))) is None


def test_latent_units_are_of_vaes() -> None:
    found = checked(families.latent_units(opened(model_of("vae"))), "latent-units").data()
    assert found["images"] == HELD
    assert len(found["units"]) == model_of("vae").model.config.latent  # type: ignore[union-attr]
    assert families.latent_units(opened(model_of("flow-matching"))) is None


def test_surprise_is_of_held_out_images_or_of_those_that_are_named() -> None:
    one = opened(model_of("pixelcnn"))
    found = checked(families.pixel_surprise(one), "surprise").data()
    assert found["held_out"]["images"] == HELD
    assert found["drawn"]["images"] == 8
    assert np.mean(found["held_out"]["of_each"]) == pytest.approx(found["held_out"]["bits_per_dim"])
    named = checked(families.pixel_surprise(opened(model_of("pixelcnn"), named="mnist5k")), "surprise").data()
    assert named["given"]["images"] == 2
    assert families.pixel_surprise(opened(model_of("vae"))) is None


def test_a_discriminator_is_explained_by_real_and_drawn_images() -> None:
    found = checked(families.gradients(opened(model_of("hinge"))), "integrated-gradients").data()
    assert [image["says"].split(":")[0] for image in found["images"]] == ["real"] * 4 + ["drawn"] * 4
    assert families.cam(opened(model_of("vae"))) is None


def test_images_of_each_class_in_turn_are_explained() -> None:
    labels = np.array([0, 0, 0, 2, 1, 1, 2, 0])
    pixels, one = np.zeros((8, 28, 28, 1), np.uint8), opened(packaged())
    assert families._spread(make_images(pixels, labels, ("7", "3", "5"), "x"), one, 4) == [0, 4, 3, 1]
    assert families._spread(make_images(pixels[:3], None, (), "x"), one, 2) == [0, 1]


def test_the_class_that_is_asked_for_is_the_model_s_and_not_that_of_the_images() -> None:
    labels, pixels = np.array([0, 0, 0, 2, 1, 1, 2, 0]), np.zeros((8, 28, 28, 1), np.uint8)
    images = make_images(pixels, labels, ("7", "3", "5"), "x")
    assert families._spread(images, replace(opened(packaged()), label=5), 4) == [3, 6]
    for label, classes in ((2, ("7", "3", "5")), (5, ("cat", "dog", "5"))):
        with pytest.raises(UserError, match=f"no held-out images of the class {label}: name some with `images`"):
            families._spread(make_images(pixels, labels, classes, "x"), replace(opened(packaged()), label=label), 4)


def by_class(step: int = 4) -> Images:
    """Held-out images, those of one class behind those of another, as folders of classes give them."""
    images = load("mnist5k").train
    assert images.labels is not None
    return images.take(np.argsort(images.labels, kind="stable")[::step])


def test_skill_is_measured_by_images_of_all_classes() -> None:
    one = opened(packaged(), holdout=by_class())
    found = families._labelled(by_class(), one)
    assert found is not None
    assert len(found[1]) == families.QUICK
    assert set(found[1].tolist()) == set(range(10))
    assert one.judged is one.judged
    of_gan = families.judged_images(opened(model_of("hinge"), holdout=by_class()))
    assert of_gan is not None
    chosen = known(model_of("hinge"), by_class())
    assert chosen is not None
    assert of_gan.names[:4] == tuple(by_class().name_of(int(row)) for row in chosen.chosen(families.RANKED, 3)[:4])


def test_surprise_is_of_the_images_that_a_report_asks_of() -> None:
    generator, images = model_of("pixelcnn"), by_class(40)
    some = known(generator, images)
    assert some is not None
    some = some.some(60, 3)
    told = bits_of(nats_of(generator, generator.model.likelihoods()[0], some, _Effort(3, True, None)), generator.spec.shape).mean()
    found = families._known(opened(generator), images, 60)
    assert found is not None
    assert surprise(generator.model, *families._tensors(found, generator), seed=3).bits_per_dim == pytest.approx(told, rel=1e-5)


def test_named_images_without_a_class_are_told_of(tmp_path: Path) -> None:
    Image.fromarray(held(1).pixels[0, ..., 0]).save(tmp_path / "a.png")
    said: list[str] = []
    one = opened(model_of("pixelcnn"), named=str(tmp_path / "a.png"))
    one = replace(one, request=replace(one.request, tell=said.append))
    found = families.pixel_surprise(one)
    assert found is not None
    if one.generator.model.conditional:
        assert not found.given
        assert "held-out ones are shown" in said[0]


def test_the_packaged_recognizer_can_be_explained(runs: Path) -> None:
    found = explain("digits", parts=["grad-cam"], label="7")
    (part,) = found.sections
    told = checked(part, "grad-cam").data()
    assert told["status"] == "SHOWN"
    assert {image["says"].split(",")[0] for image in told["images"]} == {"7"}
    with pytest.raises(UserError, match="unknown label"):
        explain("digits", parts=["grad-cam"], label="12")
