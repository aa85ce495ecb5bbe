"""Walks, units, inversion and interpolation of generators whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from calotype.explanation.ablation import responses, unit_ablation
from calotype.explanation.attributes import Attribute, beliefs
from calotype.explanation.class_codes import codes_of_classes
from calotype.explanation.codes import Codes
from calotype.explanation.interpolation import interpolations, loop
from calotype.explanation.inversion import Inversion, Inverted, error_ratio, invert
from calotype.explanation.layers import inner_layers, without
from calotype.explanation.section import Table
from calotype.explanation.traversal import Walk, positions, walk
from calotype.metrics.features_space import FeatureSpace
from calotype.models import build
from calotype.tasks.sample import Generator
from tests.explanation.planted import SIDE, Linear, Memory, Painter, codes_of
from tests.small import small, spec_of


def way(values: np.ndarray) -> Walk:
    return Walk(tuple(positions(values.shape[1])), {"x": values}, np.zeros((0, 1, 1, 1), np.uint8))


def test_correlation_along_a_walk_is_pearsons_within_rows() -> None:
    rng = np.random.default_rng(0)
    x = np.array(positions(7))
    level = way(2 * x[None] + 100 * rng.normal(size=(40, 1)))  # how much a row has to begin with does not count
    assert level.correlation("x").value == pytest.approx(1)
    assert way(-x[None] + 5 * rng.normal(size=(40, 1))).correlation("x").value == pytest.approx(-1)
    y = x[None] + rng.normal(size=(40, 7)) * 2
    inside = y - y.mean(1, keepdims=True)
    found = way(y).correlation("x")
    assert found.value == pytest.approx(np.corrcoef(np.tile(x, 40), inside.ravel())[0, 1])
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]
    assert abs(way(rng.normal(size=(400, 7))).correlation("x").value) < 0.1


def test_a_walk_moves_as_far_as_it_says() -> None:
    model = Linear()
    codes = codes_of(model)
    first = Attribute("first", "", "", lambda images: images.flatten(1).double().mean(1))
    found = walk(codes, codes.draw(5, 0), model.planted[:, 0], None, [first], scale=1.0, rows=2)
    mean = model.network.weight.mean(0) @ model.planted[:, 0]
    assert found.change("first").value == pytest.approx(6 * float(mean), rel=1e-4)
    assert found.images.shape == (14, SIDE, SIDE, 1)
    assert found.course("first")[0].shape == (7,)


def columns(images: Tensor) -> Tensor:
    """What a classifier believes that knows the painter's columns."""
    return (images.mean((1, 2)) * 4).softmax(1).double()


def test_a_class_needs_the_unit_that_paints_it_and_no_other() -> None:
    codes = codes_of(Painter())
    (layer,) = inner_layers(codes)
    assert (layer.channels, layer.side) == (8, 1)
    some = codes_of_classes(codes, columns, 8, None, seed=0)
    assert set(some.of.tolist()) == set(range(8))
    response = responses(codes, layer, columns, some, 8)
    assert response.drop.shape == (8, 8)
    for k in range(8):
        assert response.ranked(k)[0] == k
        assert response.drop[k, k] > 0.4
        assert np.delete(response.drop[:, k], k).max() < 0.1
    found = unit_ablation(codes, [layer], columns, "abcdefgh", None)
    assert found is not None
    for one in found.classes:
        assert one.before.value > 0.5
        assert one.after[0] < 0.3
        assert one.random[0] > one.after[0] + 0.2
    assert found.data()["classes"][2]["units"][0] == 2


def test_of_a_large_layer_the_most_active_units_are_ablated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.explanation.ablation.UNITS", 5)
    codes = codes_of(Painter())
    (layer,) = inner_layers(codes)
    some = codes_of_classes(codes, columns, 8, None, seed=0)
    put_out: list[Tensor] = []
    handle = layer.module.register_forward_hook(lambda module, given, out: put_out.append(out))
    codes.images(some.codes, some.labels)
    handle.remove()
    wanted = torch.cat(put_out).abs().mean(0).topk(5).indices.sort().values.tolist()
    response = responses(codes, layer, columns, some, 8)
    assert response.units.tolist() == wanted
    assert (len(response.drop), response.channels) == (5, 8)
    found = unit_ablation(codes, [layer], columns, "abcdefgh", None)
    assert found is not None
    assert found.exhibits()[-1].rows[0][2] == "5 of 8"  # type: ignore[union-attr]


def test_a_class_without_images_and_no_other_class_leave_no_number_that_is_none() -> None:
    codes = codes_of(Painter())
    (layer,) = inner_layers(codes)

    def alone(images: Tensor) -> Tensor:
        found = columns(images)
        return torch.cat([found.amax(1, keepdim=True), torch.zeros(len(found), 1)], 1)

    found = unit_ablation(codes, [layer], alone, ("it", "nothing"), None)
    assert found is not None
    told = found.data()
    json.dumps(told, allow_nan=False)
    assert {row[1] for row in told["layers"][0]["drop"]} == {None}
    assert [one.others for one in found.classes] == [None]
    assert not any("nan" in cell for one in found.exhibits() if isinstance(one, Table) for row in one.rows for cell in row)


def test_a_class_that_is_seldom_seen_is_drawn_for_again_and_one_that_never_is_named() -> None:
    codes = codes_of(Painter())
    (layer,) = inner_layers(codes)
    codes.generator.model.conditional = True  # what is asked for is not what is painted: a class in eight by chance

    def rarely(images: Tensor) -> Tensor:
        found = columns(images)
        found[:, 0] = 0
        return found

    label = torch.arange(8)
    some = codes_of_classes(codes, rarely, 8, label, seed=0, each=2)
    assert some.labels is not None
    assert torch.equal(some.labels, label[some.of])
    assert torch.bincount(some.of, minlength=8).max() == 2
    assert (rarely(codes.images(some.codes, some.labels)).argmax(1) == some.of).all()
    found = unit_ablation(codes, [layer], rarely, "abcdefgh", label)
    assert found is not None
    assert found.lacking[0] == "a"
    table = next(one for one in found.exhibits() if isinstance(one, Table))
    assert "Too few images were surely of a to rank units" in table.caption
    # of classes with fewer images than are shown the rest is white, and no image is shown twice
    few = next(place for place, one in enumerate(found.classes) if one.images < 4)
    assert (found.images[8 * few + found.classes[few].images : 8 * few + 4] == 255).all()


def test_a_classifier_of_another_size_is_shown_images_of_its_own() -> None:
    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        assert x.shape[1:] == (3, 32, 32)
        return x.flatten(1), torch.stack([x.mean((1, 2, 3)), 255 - x.mean((1, 2, 3))], 1) / 255

    judge = FeatureSpace("mine", "penultimate", 3072, "ab", extract, 32, 3, ("light", "dark"))
    found = beliefs(judge, torch.stack([torch.ones(1, 8, 8), -torch.ones(1, 8, 8)]))
    assert found.tolist() == [[1, 0], [0, 1]]


def test_units_are_back_when_the_ablation_is_over() -> None:
    codes = codes_of(Painter())
    (layer,) = inner_layers(codes)
    z = codes.draw(4, 0)
    before = codes.images(z)
    with without(layer, [0, 3]):
        changed = codes.images(z)
    assert float(changed[..., [0, 3]].max()) == -1
    assert torch.equal(changed[..., [1, 2, 4, 5, 6, 7]], before[..., [1, 2, 4, 5, 6, 7]])
    assert torch.equal(codes.images(z), before)


def test_inversion_finds_the_codes_of_images_that_a_model_can_make() -> None:
    codes = codes_of(Linear(0.02))
    z = codes.draw(2, 5)
    images = codes.images(z)
    found = invert(codes, images, steps=80)
    assert found.psnr.min() > 28
    assert float((found.codes - z)[:, :].norm() / z.norm()) < 0.4
    noise = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert invert(codes, noise, steps=20).psnr.max() < 15


def test_a_generator_that_memorized_is_told_from_one_that_did_not() -> None:
    rng = torch.Generator().manual_seed(1)
    train, held = (torch.rand(8, 1, SIDE, SIDE, generator=rng) * 2 - 1 for _ in range(2))
    codes = codes_of(Memory(train))
    kept = Inversion("latents", 100, [], error_ratio(invert(codes, train, steps=60), invert(codes, held, steps=60)))
    assert kept.memorized
    assert "has memorized" in kept.verdict
    fair = codes_of(Linear(0.02))
    ratio = error_ratio(invert(fair, train, steps=20), invert(fair, held, steps=20))
    assert not Inversion("latents", 50, [], ratio).memorized
    assert ratio.value == pytest.approx(1, abs=0.15)


def test_the_ratio_of_errors_is_welchs() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(3)
    sets = [Inverted(torch.zeros(0), None, np.zeros(0), np.zeros(0), np.exp(rng.normal(m, s, n))) for m, s, n in ((0, 1, 20), (0.5, 2, 30))]
    theirs = ttest_ind(np.log(sets[1].error), np.log(sets[0].error), equal_var=False).confidence_interval()
    found = error_ratio(sets[0], sets[1])
    assert found.interval == pytest.approx((np.exp(theirs.low), np.exp(theirs.high)))
    assert found.value == pytest.approx(np.exp(np.log(sets[1].error).mean() - np.log(sets[0].error).mean()))


def test_a_conditional_model_is_inverted_with_the_class_of_the_image_or_the_likeliest() -> None:
    generator = Generator(build(small("dcgan").model, spec_of("dcgan")), "dcgan", torch.device("cpu"))
    codes = Codes(generator)
    if not generator.model.conditional:
        pytest.skip("the recipe draws without classes")
    images = codes.images(codes.draw(2, 0, torch.tensor([3, 4])), torch.tensor([3, 4]))
    assert invert(codes, images, torch.tensor([3, 4]), steps=2).labels.tolist() == [3, 4]  # type: ignore[union-attr]
    assert invert(codes, images, steps=2).labels is not None


def test_a_linear_model_interpolates_evenly_and_its_loop_is_closed() -> None:
    codes = codes_of(Linear())
    assert interpolations(codes, 0).jump < 1.5
    frames = loop(codes, 24, seed=1, cells=2)
    assert frames.shape == (24, 2, SIDE, SIDE, 1)
    step = np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3, 4))
    assert np.abs(frames[-1].astype(float) - frames[0]).mean() <= 2 * step.max()
