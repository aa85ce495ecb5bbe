"""What must hold for every recipe that says how likely images are, that has latents, or that can complete images."""

from __future__ import annotations

import math

import pytest
import torch

from calotype import models
from calotype.capabilities import (
    Classifies,
    Completes,
    Denoises,
    Discriminates,
    HasActivations,
    HasBaselines,
    HasDecoder,
    HasEncoder,
    HasFeatures,
    HasLabelsOnly,
    HasLatents,
    HasPosterior,
    HasStyles,
    Inverts,
    LearnsFirst,
    LocatesLikelihood,
)
from calotype.data import load
from calotype.models import build
from calotype.recipes import PUBLISHED, RECIPES, named
from calotype.types import Batch, Condition, Model, Noise, Step
from tests.contract.test_models import scrambled, trainer_of
from tests.small import from_source, in_pairs, small, spec_of, split_of

_LATENTS = {HasLatents, HasEncoder}
_RECOGNIZES = {HasFeatures, Classifies}
CAN: dict[type, set[type]] = {
    models.GANConfig: {HasActivations, HasLatents, HasDecoder, HasStyles, Discriminates},
    models.CoupledGANConfig: {HasLatents, HasDecoder},
    models.DiffusionConfig: {*_LATENTS, Denoises, HasActivations, Inverts},
    models.VAEConfig: {*_LATENTS, HasActivations, HasDecoder, HasPosterior},
    models.HVAEConfig: {*_LATENTS, HasDecoder, HasPosterior},
    models.VQVAEConfig: _LATENTS,
    models.FlowConfig: {*_LATENTS, Inverts, LocatesLikelihood},
    models.TarFlowConfig: {*_LATENTS, Inverts, LocatesLikelihood},
    models.AutoregressiveConfig: {Completes, LocatesLikelihood},
    models.ClassifierConfig: _RECOGNIZES,
    models.ResNetConfig: _RECOGNIZES,
    models.DenseNetConfig: _RECOGNIZES,
    models.TransferConfig: {*_RECOGNIZES, LearnsFirst},
    models.SGANConfig: {HasLatents, Classifies, HasActivations, HasLabelsOnly},
    models.RestorerConfig: set(),
    models.ColorizerConfig: {HasBaselines},
    models.CycleGANConfig: set(),
    models.CUTConfig: set(),
    models.Pix2PixConfig: set(),
}
"""What the families can do."""
LIKELY = {kind for kind, can in CAN.items() if HasEncoder in can or Completes in can}
KINDS = {"exact", "ELBO", "IWAE-50", "dequantized bound", "dequantized bound, K=16", "variational bound", "ODE estimate"}


def trained(name: str) -> Model:
    """A model after a few steps: what a first batch initializes is initialized."""
    trainer = trainer_of(small(name), split_of(name))
    for _ in range(3):
        trainer.step()
    return trainer.model.eval()


def having(capability: type) -> list[str]:
    return [name for name in RECIPES if isinstance(build(small(name).model, spec_of(name)), capability)]


likely = pytest.mark.parametrize("name", [name for name in RECIPES if build(small(name).model, spec_of(name)).likelihoods()])


@pytest.fixture(scope="module")
def held() -> Batch:
    images = load("mnist5k").holdout
    pixels = torch.from_numpy(images.pixels[:4].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert images.labels is not None
    return Batch(pixels, Condition(torch.from_numpy(images.labels[:4].copy())))


@pytest.mark.parametrize("name", [name for name in RECIPES if type(named(name).model) in CAN])
def test_a_family_can_do_what_it_is_known_for_and_nothing_else(name: str) -> None:
    model, kind = build(small(name).model, spec_of(name)), type(named(name).model)
    every = (Classifies, LearnsFirst, Completes, Denoises, Discriminates, HasActivations, HasBaselines, HasDecoder, HasEncoder, HasFeatures)
    every = (*every, HasLabelsOnly, HasLatents, HasPosterior, HasStyles, Inverts, LocatesLikelihood)
    assert {capability for capability in every if isinstance(model, capability)} == CAN[kind]
    assert bool(model.likelihoods()) == (kind in LIKELY)


@likely
def test_a_likelihood_is_one_of_the_kinds_and_repeats_with_its_seed(name: str, held: Batch) -> None:
    model = trained(name)
    for likelihood in model.likelihoods():
        assert likelihood.kind in KINDS
        first, again = (likelihood.nats(held.image, held.condition, torch.Generator().manual_seed(1)) for _ in range(2))
        assert first.shape == (4,)
        assert first.dtype == torch.float32
        assert torch.equal(first, again)
        # after three steps no model is better than 1 bit or far worse than none at all, which is 8
        bits = -first / (math.log(2) * 784)
        assert float(bits.min()) > 0.5
        assert float(bits.max()) < 16


@likely
def test_a_likelihood_is_of_each_image_by_itself(name: str, held: Batch) -> None:
    """An exact likelihood of an image does not depend on what stands beside it."""
    model = trained(name)
    for likelihood in model.likelihoods():
        if likelihood.accuracy == "exact":
            whole = likelihood.nats(held.image, held.condition, torch.Generator())
            alone = likelihood.nats(held.image[2:3], held.condition[2:3], torch.Generator())
            assert torch.allclose(whole[2:3], alone, atol=1e-2)
        watched = model.watch(held, held, Step(0, torch.Generator().manual_seed(0)))
        assert any(key.endswith("_holdout") for key in watched)


@pytest.mark.parametrize("name", having(HasLatents))
def test_latents_have_their_shape_and_give_images(name: str) -> None:
    model = scrambled(name).model
    assert isinstance(model, HasLatents)
    condition = Condition(torch.arange(3)) if model.conditional else Condition()
    with torch.no_grad():
        images = model.decode(Noise(3).normal(*model.latent_shape), condition)
    assert images.shape == (3, 1, 28, 28)
    assert float(images.abs().max()) <= 1 + 1e-5


@pytest.mark.parametrize("name", having(HasEncoder))
def test_an_encoder_gives_latents_of_that_shape(name: str, held: Batch) -> None:
    model = scrambled(name).model
    assert isinstance(model, HasEncoder)
    with torch.no_grad():
        latents = model.encode(held.image, held.condition if model.conditional else Condition())
    assert latents.shape == (4, *model.latent_shape)
    assert latents.dtype == torch.float32


@pytest.mark.parametrize("name", having(HasPosterior))
def test_divergences_of_a_posterior_are_not_negative(name: str, held: Batch) -> None:
    model = trained(name)
    assert isinstance(model, HasPosterior)
    means, divergences = model.posterior(held.image, held.condition)
    assert means.shape == divergences.shape
    assert len(means) == 4
    assert float(divergences.min()) >= -1e-4


@pytest.mark.parametrize("name", having(Completes))
def test_a_completion_keeps_the_rows_it_is_given(name: str, held: Batch) -> None:
    model = scrambled(name).model
    assert isinstance(model, Completes)
    made = model.complete(held.image, 14, Noise(4, seed=1), held.condition)
    assert torch.equal(made[:, :, :14], held.image[:, :, :14])
    assert not torch.equal(made[:, :, 14:], held.image[:, :, 14:])
    alone = model.complete(held.image[2:3], 14, Noise(1, seed=1, start=2), held.condition[2:3])
    assert torch.allclose(alone[0], made[2], atol=1e-5)


@pytest.mark.parametrize("name", having(LocatesLikelihood))
def test_the_places_of_a_likelihood_add_up_to_it(name: str, held: Batch) -> None:
    model = trained(name)
    assert isinstance(model, LocatesLikelihood)
    found = model.located(held.image, held.condition, torch.Generator().manual_seed(1))
    whole = model.likelihoods()[0].nats(held.image, held.condition, torch.Generator().manual_seed(1))
    assert {terms.shape for terms in found.values()} == {(4, 28, 28)}
    assert torch.allclose(torch.stack([terms.double().sum((1, 2)) for terms in found.values()]).sum(0).float(), whole, rtol=1e-4)
    assert model.pixelwise == (model.likelihoods()[0].kind == "exact")


@pytest.mark.parametrize("name", having(Discriminates))
def test_a_discriminator_judges_each_image_by_itself(name: str, held: Batch) -> None:
    model = scrambled(name).model
    assert isinstance(model, Discriminates)
    condition = held.condition if model.conditional else Condition()
    with torch.no_grad():
        whole, alone = model.realness(held.image, condition), model.realness(held.image[2:3], condition[2:3])
    assert whole.shape == (4,)
    assert torch.allclose(whole[2], alone[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", having(Denoises))
def test_a_denoiser_expects_images_at_every_place_of_its_path(name: str) -> None:
    model = scrambled(name).model
    assert isinstance(model, Denoises)
    places = model.timesteps(3)
    assert len(places) == 4
    state = Noise(2).normal(*model.spec.shape)
    with torch.no_grad():
        for label in (None, torch.tensor([0, 1])):
            free, clipped = (model.denoiser(label, clip=clip)(state, places[0]) for clip in (False, True))
            assert free.shape == clipped.shape == state.shape
            assert torch.equal(clipped, free.clamp(-1, 1) if name == "ddpm" else free)  # the others do not put out noise


@pytest.mark.parametrize("name", having(HasFeatures))
def test_features_have_their_dimension_and_give_probabilities(name: str, held: Batch) -> None:
    model = scrambled(name).model
    assert isinstance(model, HasFeatures)
    with torch.no_grad():
        features = model.features(held.image)
        beliefs = model.probabilities(features)
    assert features.shape == (4, model.dimension)
    assert beliefs.shape == (4, len(model.spec.classes))
    assert torch.allclose(beliefs.sum(1), torch.ones(4))
    assert {id(t) for t in model.backbone.parameters()} <= {id(t) for t in model.parameters()}


@pytest.mark.parametrize("name", having(HasActivations))
def test_layers_are_asked_by_name_and_say_something_of_each_image(name: str, held: Batch) -> None:
    model = scrambled(name).model
    assert isinstance(model, HasActivations)
    names = model.layers()
    assert len(set(names)) == len(names)
    if name in ("projected", "progan"):  # one looks through a network of others, and of one that grows nothing takes part yet
        assert (names == ()) == (name == "projected")
        return
    found = model.activations(held.image, names, Noise(4, seed=1))
    assert set(found) == set(names) != set()
    for layer in found.values():
        assert layer.shape[0] == 4
        assert layer.ndim in (2, 4)
        assert layer.dtype == torch.float32
        assert not torch.allclose(layer[0], layer[1])
    one = model.activations(held.image, names[-1:], Noise(4, seed=1))
    assert set(one) == {names[-1]}
    assert torch.equal(one[names[-1]], found[names[-1]])


@pytest.mark.parametrize("name", having(HasBaselines))
def test_baselines_are_images_of_the_same_size(name: str) -> None:
    model = scrambled(name).model
    assert isinstance(model, HasBaselines)
    assert model.spec.source is not None
    source = torch.rand(2, model.spec.source.channels, 24, 24) * 2 - 1
    for image in model.baselines(source).values():
        assert image.shape == (2, model.spec.channels, 24, 24)
        assert float(image.abs().max()) <= 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_sizes_can_be_built_and_are_larger(name: str) -> None:
    # sagan's is of 128 pixels, and doubles its channels with the maps of larger images alone
    spec = spec_of(name, 24 if from_source(name) else 28 if in_pairs(name) else 64 if name == "sagan" else 32, 3)
    with torch.device("meta"):
        paper, laptop = (build(config.model, spec) for config in (named(name, "published"), named(name)))
    paper_size, laptop_size = (sum(p.numel() for p in model.parameters()) for model in (paper, laptop))
    assert name == "enhance" or paper_size > 2 * laptop_size  # that of the paper is small: it never sees the whole picture
    assert named(name, "published").recipe == name


def test_every_likelihood_family_has_published_sizes() -> None:
    wanted = "vae beta-vae hvae vqvae realnvp glow tarflow pixelcnn pixel-transformer ddpm edm flow-matching dit"
    assert set(wanted.split()) <= set(PUBLISHED)
