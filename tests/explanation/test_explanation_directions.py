"""Directions that were planted are found again, by every way that is meant to find them, and others are not taken for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from calotype.capabilities import HasDecoder
from calotype.errors import UserError
from calotype.explanation.attributes import Attribute, brightness
from calotype.explanation.codes import Codes
from calotype.explanation.directions import first_activations, first_weights, pca, sefa
from calotype.explanation.layers import inner_layers
from calotype.explanation.named import Labelled, named_directions
from calotype.explanation.separation import from_labels, held, separate, support_vectors
from calotype.models import build
from calotype.recipes import RECIPES
from calotype.tasks.sample import Generator
from tests.explanation.planted import STRENGTHS, Linear, alike, codes_of, orthogonal
from tests.small import small, spec_of

FOUND = 0.99  # |cos|


def test_sefa_finds_planted_directions_in_their_order() -> None:
    model = Linear()
    weights = first_weights(codes_of(model))
    assert weights is not None
    assert torch.allclose(weights, model.network.weight, atol=1e-5)
    found = sefa(weights, 6)
    assert [one.name for one in found] == [f"sefa-{k}" for k in range(1, 7)]
    for k, one in enumerate(found):
        assert alike(one.vector, model.planted[:, k]) >= FOUND
        assert one.weight == pytest.approx(STRENGTHS[k] ** 2 / sum(s**2 for s in STRENGTHS), rel=1e-3)
        assert alike(one.vector, model.planted[:, k + 1]) < 0.1


def test_probes_go_through_in_parts_and_not_at_all_where_codes_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = codes_of(Linear())
    whole = first_weights(codes)
    monkeypatch.setattr("calotype.explanation.directions.AT_ONCE", 4)
    parts = first_weights(codes)
    assert whole is not None
    assert parts is not None
    assert torch.allclose(whole, parts, atol=1e-7)
    monkeypatch.setattr("calotype.explanation.directions.MOST", codes.dimension - 1)
    assert first_weights(codes) is None


def test_sefa_is_the_closed_form_of_its_authors() -> None:
    """Columns of A of length 1, then the eigenvectors of A A^T, as numpy computes them."""
    weights = torch.randn(300, 20, generator=torch.Generator().manual_seed(0)) * torch.rand(300, 1)
    columns = (weights / weights.norm(dim=1, keepdim=True)).T.double()
    values, vectors = torch.linalg.eig(columns @ columns.T)
    order = values.real.argsort(descending=True)
    for one, k in zip(sefa(weights, 5), order, strict=False):
        assert alike(one.vector, vectors[:, k].real) > 1 - 1e-9
        assert one.weight == pytest.approx(float(values[k].real) / 300)
        assert float(one.vector.norm()) == pytest.approx(1, abs=1e-6)


def test_sefa_refuses_a_layer_that_ignores_its_latents() -> None:
    with pytest.raises(UserError, match="does not depend on its latents"):
        sefa(torch.zeros(5, 3), 2)


def test_pca_finds_planted_directions_from_images_and_from_few_of_them() -> None:
    model = Linear()
    codes = codes_of(model)
    for count, least in ((4000, FOUND), (200, 0.9)):  # more than the image has pixels, and fewer
        z = codes.draw(count, 0)
        found = pca(z, first_activations(codes, z), 4)
        for k, one in enumerate(found):
            assert alike(one.vector, model.planted[:, k]) >= least
            assert alike(one.vector, model.planted[:, k + 1]) < 0.4
    spread = torch.tensor(STRENGTHS).square()
    assert found[0].weight == pytest.approx(float(spread[0] / spread.sum()), abs=0.08)


def test_pca_of_codes_is_that_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 9)
    theirs = PCA(4).fit(x.double().numpy())
    for one, vector, share in zip(pca(x, x, 4), theirs.components_, theirs.explained_variance_ratio_, strict=True):
        assert alike(one.vector, torch.from_numpy(vector)) > 1 - 1e-6
        assert one.weight == pytest.approx(share, rel=1e-6)


def test_a_separating_plane_finds_the_direction_of_a_linear_attribute() -> None:
    z, planted = torch.randn(4000, 12, generator=torch.Generator().manual_seed(2)), orthogonal(12, 5)
    found = separate(z, z @ planted[:, 0])
    assert alike(found.vector, planted[:, 0]) >= FOUND
    assert float(found.vector @ planted[:, 0]) > 0  # from little to much
    assert found.accuracy > 0.97
    assert (found.held_out, found.used) == (320, 1280)
    chance = separate(z, torch.randn(4000, generator=torch.Generator().manual_seed(3)))
    assert chance.accuracy < 0.6
    assert alike(chance.vector, planted[:, 0]) < 0.9


def test_labels_give_the_direction_between_their_codes() -> None:
    planted, labels = orthogonal(10, 6), torch.arange(6000) % 3
    z = torch.randn(6000, 10, generator=torch.Generator().manual_seed(4)) + 4 * (labels == 2)[:, None] * planted[:, 1]
    found = from_labels(z, labels, 2)
    assert alike(found.vector, planted[:, 1]) >= FOUND
    assert float(found.vector @ planted[:, 1]) > 0
    with pytest.raises(UserError, match="20 images of it"):
        from_labels(z, labels, 7)


def test_the_support_vector_machine_is_that_of_scikit_learn() -> None:
    from sklearn.svm import LinearSVC

    rng = torch.Generator().manual_seed(7)
    x = torch.randn(400, 6, generator=rng, dtype=torch.float64)
    sides = torch.sign(x[:, 0] + 0.5 * x[:, 1] + torch.randn(400, generator=rng) + 0.3)
    normal, offset = support_vectors(x.numpy(), sides.double().numpy(), 1.0)
    # a large scale of the constant column leaves the offset without a penalty
    theirs = LinearSVC(loss="squared_hinge", C=1.0, intercept_scaling=1e3, dual=False, tol=1e-10, max_iter=100_000).fit(x, sides)
    assert normal == pytest.approx(theirs.coef_[0], abs=1e-4)
    assert offset == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_conditional_manipulation_is_the_projection_of_the_paper() -> None:
    a, b = (torch.nn.functional.normalize(torch.randn(20, generator=torch.Generator().manual_seed(s)), dim=0) for s in (1, 2))
    b = torch.nn.functional.normalize(a + b, dim=0)
    apart = held(a, [b])
    assert apart is not None
    direct = a - (a @ b) * b
    assert torch.allclose(apart, direct / direct.norm(), atol=1e-6)
    several = held(a, [b, b, torch.ones(20)])  # one of them twice
    assert several is not None
    assert abs(float(several @ b)) < 1e-6
    assert abs(float(several.sum())) < 1e-5
    assert held(a, [a]) is None


def test_an_attribute_that_is_the_same_of_all_has_no_direction() -> None:
    z = torch.randn(500, 4)
    with pytest.raises(UserError, match="the same of nearly all"):
        separate(z, torch.ones(500))
    with pytest.raises(UserError, match="`count`"):
        separate(z[:50], z[:50, 0])


def linear_attribute(name: str, weights: Tensor) -> Attribute:
    return Attribute(name, "", "a sum of pixels", lambda images: images.flatten(1).double() @ weights.double())


def test_named_directions_are_found_in_a_linear_generator_and_held_apart() -> None:
    """Two attributes that share a pattern: along either both change, and with the other one held only itself."""
    model = Linear()
    codes, weights = codes_of(model), model.network.weight
    patterns = torch.linalg.lstsq(weights @ model.planted, torch.eye(256)).solution  # row k measures what pattern k got
    attributes = [linear_attribute("first", patterns[0]), linear_attribute("both", patterns[0] + patterns[1])]
    drawn = codes.draw(4000, 0)
    found = named_directions(codes, drawn, codes.images(drawn), None, attributes, bases=8)
    assert found is not None
    first, both = found.directions
    assert alike(first.separation.vector, model.planted[:, 0]) >= FOUND
    assert alike(both.separation.vector, model.planted[:, 0] + model.planted[:, 1]) >= FOUND
    assert first.plain.correlation("first").value == pytest.approx(1, abs=1e-6)
    assert first.plain.change("both", found.spread["both"]).value > 3
    assert first.held is not None
    assert abs(first.held.change("both", found.spread["both"]).value) < 0.5
    assert first.held.change("first", found.spread["first"]).value > 2
    assert found.data()["directions"][0]["plain"]["correlation"]["value"] == pytest.approx(1, abs=1e-6)


def test_labelled_codes_give_directions_to_their_classes() -> None:
    codes = codes_of(Linear())
    labels = torch.arange(600) % 2
    known = Labelled(codes.draw(600, 1) + 3 * labels[:, None] * codes.generator.model.planted[:, 4], labels, ("a", "b"), "600 images")  # type: ignore[operator,index]
    drawn = codes.draw(500, 0)
    bright = Attribute("brightness", "levels", "", brightness)
    found = named_directions(codes, drawn, codes.images(drawn), None, [bright], known=known, wanted=["class-b"], bases=4)
    assert found is not None
    assert [one.name for one in found.directions] == ["class-b"]
    assert alike(found.directions[0].separation.vector, codes.generator.model.planted[:, 4]) > 0.97  # type: ignore[index]


@pytest.mark.parametrize("name", [n for n in RECIPES if isinstance(build(small(n).model, spec_of(n)), HasDecoder)])
def test_every_network_shows_its_first_weights_and_its_layers(name: str) -> None:
    generator = Generator(build(small(name).model, spec_of(name)), name, torch.device("cpu"))
    codes = Codes(generator)
    weights = first_weights(codes, 1 if generator.model.conditional else None)
    assert weights is not None
    assert weights.shape[1] == codes.dimension
    assert len(sefa(weights, 3)) == 3
    layers = inner_layers(codes)
    assert layers
    assert [one.side for one in layers] == sorted(one.side for one in layers)
    assert all(one.channels >= 4 for one in layers)


def test_first_weights_are_those_of_the_first_layer_and_of_all_styles() -> None:
    plain = build(small("dcgan").model, spec_of("dcgan"))
    first = next(m for m in plain.generator.modules() if isinstance(m, nn.ConvTranspose2d))  # type: ignore[union-attr]
    found = first_weights(Codes(Generator(plain, "dcgan", torch.device("cpu"))))
    latents = plain.latent_shape[0]  # type: ignore[index]
    assert found is not None
    assert torch.allclose(found, first.weight[:latents].flatten(1).T, atol=1e-6)
    styled = next(n for n in RECIPES if getattr(build(small(n).model, spec_of(n)), "has_styles", False))
    model = build(small(styled).model, spec_of(styled))
    affine = [m.affine for m in model.modules() if hasattr(m, "affine") and isinstance(m.affine, nn.Linear)]
    found = first_weights(Codes(Generator(model, styled, torch.device("cpu"))))
    assert found is not None
    assert found.shape == (sum(m.out_features for m in affine), affine[0].in_features)
    assert found.norm() == pytest.approx(float(sum((m.weight * m.scale).square().sum() for m in affine) ** 0.5), rel=1e-4)  # type: ignore[operator]
