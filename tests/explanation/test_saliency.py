"""The parts of a page on attributions: complete, refused where they must be, and right about the network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from calotype.data import load
from calotype.errors import UserError
from calotype.explanation.colors import heat, over, signed
from calotype.explanation.judging import judged_by_classifier, judged_by_discriminator
from calotype.explanation.saliency import cam_part, gradients_part
from calotype.explanation.section import Strip
from calotype.metrics.features_kinds import embedded_digits
from calotype.models import build
from calotype.tasks.model_inputs import to_tensor
from calotype.types import ImageSpec, Model
from tests.small import small

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def held() -> tuple[Tensor, Tensor]:
    images = load("mnist5k").holdout
    assert images.labels is not None
    return to_tensor(np.asarray(images.pixels[:100])), torch.from_numpy(images.labels[:100])


@pytest.fixture(scope="module")
def recognizer() -> Model:
    return embedded_digits()[0]


def strips(part: object) -> list[Strip]:
    return [one for one in part.exhibits() if isinstance(one, Strip)]  # type: ignore[attr-defined]


def test_integrated_gradients_are_complete_and_shown(recognizer: Model, held: tuple[Tensor, Tensor]) -> None:
    part = gradients_part(judged_by_classifier(recognizer, held[0][:3], NAMES, held))
    told = part.data()
    assert told["status"] == "SHOWN"
    assert told["complete"]
    for image in told["images"]:
        assert image["missing"] <= 0.01
        assert image["gained"] > 1
    assert told["skill"]["value"] > 0.95
    assert [one["layer"] for one in told["sanity"]][:2] == ["head", "penultimate"]
    (shown,) = strips(part)
    assert shown.images.shape == (9, 28, 28, 3)
    assert shown.heads == tuple(str(int(k)) for k in held[1][:3])
    json.dumps(told)


def test_grad_cam_says_how_coarse_it_is(recognizer: Model, held: tuple[Tensor, Tensor]) -> None:
    part = cam_part(judged_by_classifier(recognizer, held[0][:3], NAMES, held))
    assert part.status == "SHOWN"
    assert "7x7 for 28x28 pixels: one place stands for 4 pixels a side" in part.says
    assert part.data()["places"] == [7, 7]
    json.dumps(part.data())


def test_a_class_can_be_asked_for(recognizer: Model, held: tuple[Tensor, Tensor]) -> None:
    judged = judged_by_classifier(recognizer, held[0][:1], NAMES[:1], None, label=3)
    assert judged.target.tolist() == [3]
    assert judged.said[0].startswith("3, ")
    # the score does not change with a constant that is added to all logits
    assert judged.score(judged.x, judged.target).item() == pytest.approx(float(_centered(recognizer, judged.x)[3]), rel=1e-5)
    assert "not known" in gradients_part(judged).checked


def test_a_network_that_knows_nothing_is_refused(held: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    model = build(small("classifier").model, ImageSpec(28, 1, tuple("0123456789"))).eval()
    for part in (gradients_part(judged_by_classifier(model, held[0][:3], NAMES, held)),):
        assert part.status == "REFUSED"
        assert "knows nothing" in part.says
        assert not strips(part)
        assert part.data()["skill"]["value"] < part.data()["skill"]["least"]


def test_skill_is_not_measured_by_few_images_or_by_one_class(recognizer: Model, held: tuple[Tensor, Tensor]) -> None:
    one_class = held[1] == held[1][0]
    for some in ((held[0][one_class], held[1][one_class]), (held[0][:3], held[1][:3])):
        judged = judged_by_classifier(recognizer, held[0][:1], NAMES[:1], some)
        assert judged.skill is None
    assert judged_by_classifier(recognizer, held[0][:1], NAMES[:1], held).skill is not None
    part = gradients_part(judged)
    assert part.status == "SHOWN"
    assert "too few held-out images with labels, or of one class" in part.checked
    torch.manual_seed(0)
    model = build(small("hinge").model, ImageSpec(28, 1, tuple("0123456789"))).eval()
    labels = (held[1][:2], held[1][:2]) if model.conditional else (None, None)
    assert judged_by_discriminator(model, held[0][:2], ("a", "b"), held[0][:2], labels, 1).skill is None


def test_a_map_that_survives_is_refused_with_its_figure(
    recognizer: Model, held: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What poses as Grad-CAM here sees edges alone, and the network not at all."""

    def edges(score: object, layer: object, x: Tensor, target: Tensor) -> Tensor:
        return (x[:, :, 1:, 1:] - x[:, :, :-1, :-1]).abs().sum(1)

    monkeypatch.setattr("calotype.explanation.saliency.grad_cam", edges)
    part = cam_part(judged_by_classifier(recognizer, held[0][:3], NAMES, held))
    assert part.status == "REFUSED"
    assert "rank correlation of 1," in part.says
    assert not strips(part)
    assert len(part.exhibits()) == 2
    assert part.data()["sanity"][0]["correlation"] == pytest.approx(1)


def test_a_discriminator_is_asked_for_real_and_drawn_images(held: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    model = build(small("hinge").model, ImageSpec(28, 1, tuple("0123456789"))).eval()
    drawn = torch.rand(40, 1, 28, 28) * 2 - 1
    labels = (held[1][:40], held[1][:40]) if model.conditional else (None, None)
    judged = judged_by_discriminator(model, held[0][:40], tuple(map(str, range(40))), drawn, labels, 2)
    assert judged.x.shape == (4, 1, 28, 28)
    assert judged.heads == ("real", "real", "drawn", "drawn")
    assert judged.names == ("0", "1", "drawn 1", "drawn 2")
    assert judged.skill is not None
    assert judged.skill.guessing == 0.5
    assert 0.5 < judged.skill.least < 0.8
    found = gradients_part(judged)
    assert found.data()["complete"]
    assert all(image["says"].split(": ")[0] in ("real", "drawn") for image in found.data()["images"])


def test_other_models_are_refused() -> None:
    with pytest.raises(UserError, match="tells no classes apart"):
        judged_by_classifier(Model(), torch.zeros(1, 1, 8, 8), ("x",))
    with pytest.raises(UserError, match="no discriminator"):
        judged_by_discriminator(Model(), torch.zeros(1, 1, 8, 8), ("x",), torch.zeros(1, 1, 8, 8), (None, None), 1)


def test_colors_say_sign_and_size() -> None:
    maps = torch.zeros(1, 20, 20)
    maps[0, 0, 0], maps[0, 1, 1], maps[0, 2, 2] = 1.0, -1.0, 0.5
    maps[0, 5:, :] = torch.tensor([1.0, -1.0]).repeat(150).view(15, 20)
    found = signed(maps)[0]
    assert found[3, 3].tolist() == [255, 255, 255]
    assert found[0, 0].tolist() == [28, 93, 170]
    assert found[1, 1].tolist() == [178, 40, 30]
    assert found[0, 0, 0] < found[2, 2, 0] < 255
    warm = heat(torch.tensor([[[0.0, 1.0, 2.0, 4.0]]]), most=2.0)[0, 0]
    assert warm[0].tolist() == [8, 6, 20]
    assert warm[2].tolist() == warm[3].tolist() == [252, 248, 200]
    assert over(warm[None, None], np.full((1, 1, 4, 1), 255, np.uint8))[0, 0, 0].min() > warm[0].max()


def _centered(model: Model, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits = model.logits_of(model.features(x))[0]  # type: ignore[operator]
    return logits - logits.mean()
