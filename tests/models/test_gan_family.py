"""The successors of DCGAN in the game: what their networks ask of it, and what the game has for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from calotype.config import Config
from calotype.engine.feasible import require_effect
from calotype.engine.train import resume, train
from calotype.errors import UserError
from calotype.losses.regularizers import gradient_penalty
from calotype.losses.schedules import cosine
from calotype.models.gan import GAN
from calotype.models.gan_config import GANConfig, GANSampling
from calotype.networks.adversary import ImageDiscriminator
from calotype.networks.biggan import BigGANDiscriminatorConfig, BigGANGeneratorConfig
from calotype.networks.blocks import LabelEmbedding
from calotype.networks.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from calotype.networks.modern import ModernDiscriminatorConfig, ModernGeneratorConfig
from calotype.networks.progressive import ProgressiveDiscriminator, ProgressiveDiscriminatorConfig, ProgressiveGeneratorConfig
from calotype.networks.projected import ProjectedDiscriminatorConfig
from calotype.networks.residual_gan import ResNetDiscriminatorConfig, ResNetGeneratorConfig
from calotype.networks.style import StyleDiscriminatorConfig, StyleGeneratorConfig
from calotype.networks.truncation import standing_statistics, truncated_normal
from calotype.types import Batch, Condition, ImageSpec, Noise, Step
from tests.engine.test_resume import interrupt
from tests.small import final_state, small

SPEC = ImageSpec(16, 1, ("zero", "one", "two"))
PLAIN = GANConfig(
    generator=DCGANGeneratorConfig(width=4, norm="none"), discriminator=DCGANDiscriminatorConfig(width=4, norm="none"), latent=8
)
RESNET = GANConfig(generator=ResNetGeneratorConfig(width=4), discriminator=ResNetDiscriminatorConfig(width=4), loss="hinge", latent=8)
BIGGAN = GANConfig(
    generator=BigGANGeneratorConfig(width=2, shared=4),
    discriminator=BigGANDiscriminatorConfig(width=2),
    loss="hinge",
    latent=8,
    conditional=True,
    orthogonal_weight=1e-2,
)
GROWING = GANConfig(
    generator=ProgressiveGeneratorConfig(width=4, widest=8),
    discriminator=ProgressiveDiscriminatorConfig(width=4, widest=8),
    latent=8,
    penalty="r1",
    penalty_weight=0.1,
    drift=0.01,
)
STYLES = GANConfig(
    generator=StyleGeneratorConfig(width=4, widest=8, styles=8),
    discriminator=StyleDiscriminatorConfig(width=4, widest=8),
    latent=8,
    path_length_weight=2.0,
)
MODERN = GANConfig(
    generator=ModernGeneratorConfig(width=8, blocks=1, group=4),
    discriminator=ModernDiscriminatorConfig(width=8, blocks=1, group=4),
    loss="relativistic_pairing",
    latent=8,
    conditional=True,
    penalty="r1_r2",
    penalty_weight=0.1,
    penalty_weight_end=0.01,
)
ACGAN = replace(
    RESNET, discriminator=ResNetDiscriminatorConfig(width=4, head="auxiliary"), conditional=True, auxiliary=0.5, loss="non_saturating"
)
FAMILY = {"resnet": RESNET, "biggan": BIGGAN, "growing": GROWING, "styles": STYLES, "modern": MODERN, "auxiliary": ACGAN}


def make(config: GANConfig, seed: int = 0) -> GAN:
    torch.manual_seed(seed)
    return GAN(config, SPEC).train()


def batch(n: int = 8, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(n, 1, 16, 16, generator=rng) * 2 - 1, Condition(torch.randint(3, (n,), generator=rng)))


def at(progress: float = 0.5, index: int = 0, seed: int = 0) -> Step:
    return Step(index, torch.Generator().manual_seed(seed), progress=progress)


@pytest.mark.parametrize("name", FAMILY)
def test_both_players_learn_and_a_sample_depends_on_its_seed_and_index_alone(name: str) -> None:
    model = make(FAMILY[name])
    step = at()
    for player in model.players():
        owned = list(player.module.parameters())
        loss = player.loss(batch(), step)["loss"]
        gradients = torch.autograd.grad(loss, owned, allow_unused=True)
        assert all(g is None or g.isfinite().all() for g in gradients)
        moved = sum(g is not None and bool(g.abs().max() > 0) for g in gradients)
        assert moved > 0.3 * len(owned)  # not yet those of later stages, nor behind layers that begin at zero
    watched = model.watch(batch(), batch(5, seed=1), at())
    assert all(value.isfinite() for value in watched.values())
    model.eval()
    with torch.no_grad():
        images = model.sample(Noise(5, seed=3))
        pieces = torch.cat([model.sample(Noise(2, seed=3)), model.sample(Noise(3, seed=3, start=2))])
    assert images.shape == (5, 1, 16, 16)
    assert images.abs().max() <= 1
    assert torch.allclose(images, pieces, atol=1e-4)


@pytest.mark.parametrize("name", ["progan", "stylegan2", "r3gan", "biggan", "pacgan"])
def test_a_training_that_was_interrupted_is_the_one_that_was_not(name: str, tmp_path: Path) -> None:
    """Of progressive growing in the middle of a fade."""
    narrow: dict[str, dict[str, Any]] = {
        "progan": {"generator.widest": 8, "discriminator.widest": 8},
        "stylegan2": {"generator.widest": 8, "generator.styles": 8},
        "r3gan": {"generator.group": 4, "discriminator.group": 4},
    }
    config: Config = small(name, 6, latent=8, **narrow.get(name, {}))
    for run in ("whole", "parts"):
        train(config, out=tmp_path / run)
    interrupt(tmp_path / "parts", 2)
    resume(tmp_path / "parts")
    expected, found = final_state(tmp_path / "whole"), final_state(tmp_path / "parts")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    if name == "progan":
        phases = [key for key in expected if key.endswith("phase")]
        assert phases
        assert all(float(expected[key]) > 0 for key in phases)


def test_growing_networks_see_real_images_as_coarse_as_generated_ones_are() -> None:
    model = make(GROWING)
    seen: list[Tensor] = []
    model.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    given = batch()
    for progress in (0.0, 0.3, 0.9):
        seen.clear()
        model.players()[0].loss(given, at(progress))
        assert isinstance(model.discriminator, ProgressiveDiscriminator)
        assert torch.equal(seen[0], model.discriminator.faded(given.image))
        assert torch.equal(seen[0], given.image) == (progress == 0.9)
    assert model.changes_at == pytest.approx((0.125, 0.375))


def test_the_weight_of_a_penalty_and_the_share_that_is_augmented_follow_a_cosine() -> None:
    model = make(replace(MODERN, augment=("adaptive",), augment_end=0.5))
    for progress in (0.0, 0.4, 0.99):
        terms = model.players()[0].loss(batch(), at(progress))
        assert float(terms["augment_share"]) == pytest.approx(cosine(0.0, 0.5, progress), abs=1e-6)
    model, other = make(MODERN), make(replace(MODERN, penalty_weight_end=None))
    for progress in (0.0, 0.4, 0.99):
        falling, same = (one.players()[0].loss(batch(), at(progress)) for one in (model, other))
        weight = cosine(0.1, 0.01, progress)
        assert float(falling["penalty"].detach()) == pytest.approx(float(same["penalty"].detach()), rel=1e-4)
        difference = float((same["loss"] - falling["loss"]).detach())
        assert difference == pytest.approx((0.1 - weight) * float(same["penalty"].detach()), abs=1e-5)


@pytest.mark.parametrize("like", [MODERN, replace(STYLES, conditional=True), replace(PLAIN, conditional=True)])
def test_labels_are_heard_as_softly_as_is_asked_and_latents_as_before(like: GANConfig) -> None:
    loud, soft = make(like), make(replace(like, label_scale=0.25))
    latent, label = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3

    def joined(model: GAN) -> Tensor:
        (join,) = (part for part in model.generator.modules() if isinstance(part, LabelEmbedding))
        found: Tensor = join(latent, label)
        return found

    soft.load_state_dict(loud.state_dict())
    assert torch.equal(joined(soft)[:, :8], joined(loud)[:, :8])
    assert torch.equal(joined(soft)[:, 8:], 0.25 * joined(loud)[:, 8:])
    if isinstance(like.generator, StyleGeneratorConfig):
        assert torch.allclose(joined(loud).view(12, 8).square().mean(1), torch.ones(12), atol=1e-5)


@pytest.mark.parametrize(
    "like",
    [BIGGAN, replace(RESNET, conditional=True), replace(MODERN, conditional=False)],
    ids=["in each layer", "by normalizations", "told none"],
)
def test_labels_beside_no_latents_have_no_scale(like: GANConfig) -> None:
    with pytest.raises(UserError, match=r"`model\.label_scale` has no effect here without .* beside its latents"):
        require_effect(Config(recipe="gan", model=replace(like, label_scale=0.5)), SPEC)


def test_packed_images_are_judged_as_one() -> None:
    model = make(replace(PLAIN, pack=3))
    assert model.least_batch == 3
    judged: list[tuple[int, ...]] = []
    model.discriminator.register_forward_pre_hook(lambda _, args: judged.append(tuple(args[0].shape)))
    given = batch(8)
    model.players()[0].loss(given, at())
    assert judged == [(4, 3, 16, 16)]  # two packs of real images, two of generated ones, and two images of each are left over
    packed = model._packed(given.image)
    assert torch.equal(packed[1], given.image[3:6, 0])
    for change, match in (
        ({"penalty": "gradient"}, "model.penalty=r1"),
        ({"conditional": True}, "model.conditional=False"),
        ({"discriminator": ProjectedDiscriminatorConfig(features="random")}, "model.discriminator.network"),
    ):
        with pytest.raises(UserError, match=match):
            make(replace(PLAIN, pack=2, **change))  # type: ignore[arg-type]


def test_the_generator_learns_more_and_more_from_its_most_real_images() -> None:
    model = make(replace(PLAIN, top_k=0.5))
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5])
    assert torch.equal(model._most_real(logits, at(0.0)), logits)
    assert sorted(model._most_real(logits, at(0.25)).tolist()) == pytest.approx([0.3, 0.5, 2.0])
    assert sorted(model._most_real(logits, at(0.9)).tolist()) == pytest.approx([0.5, 2.0])
    parts = torch.tensor([[0.0, 0.0], [5.0, -1.0], [1.0, 1.0], [-3.0, 0.0]])  # as projected discriminators give them
    assert torch.equal(model._most_real(parts, at(0.9)), parts[[1, 2]])
    with pytest.raises(UserError, match=r"model.top_k=1"):
        make(replace(MODERN, top_k=0.5))


def test_an_auxiliary_classifier_adds_the_cross_entropy_of_both_kinds_of_images() -> None:
    model, without = make(ACGAN), make(replace(ACGAN, auxiliary=1e-9))
    given = batch()
    label = given.condition.label
    assert label is not None
    loss, base = (one.players()[0].loss(given, at())["loss"] for one in (model, without))
    probe = make(ACGAN)
    with torch.no_grad():
        fake = probe.generator(probe._latents(8, at()), label)
        _, classes = probe.discriminator.judge_and_classify(torch.cat([given.image, fake]))
    expected = 0.5 * 2 * F.cross_entropy(classes, torch.cat([label, label]))
    assert float((loss - base).detach()) == pytest.approx(float(expected), rel=1e-3)
    with pytest.raises(UserError, match=r"`model.discriminator.head=auxiliary`"):
        make(replace(RESNET, auxiliary=1.0, conditional=True))
    with pytest.raises(UserError, match=r"`model.auxiliary=1`"):
        make(replace(ACGAN, auxiliary=0.0))
    with pytest.raises(UserError, match=r"`model.label_ramp=0`"):
        make(replace(ACGAN, label_ramp=0.5))
    plain = GAN(ACGAN, ImageSpec(16, 1))  # without labels there is nothing to tell
    assert not plain.classifies
    assert plain.players()[0].loss(Batch(given.image), at())["loss"].isfinite()


def test_truncated_styles_are_nearer_to_their_mean() -> None:
    model = make(STYLES)
    with torch.no_grad():
        for seed in range(20):  # the mean is learned
            model.players()[0].loss(batch(), at(seed=seed))
    model.eval()
    free, whole, tight = (model.sample(Noise(40, seed=1), None, GANSampling(limit)).detach() for limit in (None, 1.0, 0.2))
    assert torch.equal(free, whole)
    assert float(tight.std(0).mean()) < 0.7 * float(whole.std(0).mean())


def test_truncated_latents_meet_the_statistics_of_such_latents() -> None:
    model, label, noise = make(BIGGAN).eval(), torch.arange(6) % 3, Noise(6, seed=1)
    found = model.sample(noise, Condition(label), GANSampling(0.5))
    latents = truncated_normal(Noise(6, seed=1), 0.5, 8)
    assert latents.abs().max() <= 0.5
    statistics = standing_statistics(model.generator, 8, 3, limit=0.5)
    assert torch.equal(found, functional_call(model.generator, statistics, (latents, label)))
    assert not torch.allclose(found, model.decode(latents, Condition(label)), atol=1e-3)
    assert torch.equal(found, model.sample(Noise(6, seed=1), Condition(label), GANSampling(0.5)))
    with pytest.raises(UserError, match="leave truncation out"):
        make(replace(BIGGAN, orthogonal_weight=0.0)).eval().sample(Noise(1), None, GANSampling(0.5))
    with pytest.raises(UserError, match=r"at least 0\.01"):
        make(BIGGAN).eval().sample(Noise(1), None, GANSampling(0.001))


def test_statistics_stand_for_the_weights_of_their_moment() -> None:
    model = make(BIGGAN).eval()
    before = model.sample(Noise(3), None, GANSampling(truncation=0.5))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.mul_(1.5)
    assert not torch.allclose(model.sample(Noise(3), None, GANSampling(truncation=0.5)), before, atol=1e-4)
    model.load_state_dict(state)
    assert torch.allclose(model.sample(Noise(3), None, GANSampling(truncation=0.5)), before, atol=1e-5)


def test_orthogonal_regularization_is_of_the_generator_without_its_classes() -> None:
    model, without = make(BIGGAN), make(replace(BIGGAN, orthogonal_weight=0.0))
    for one in (model, without):  # weights begin orthogonal
        with torch.no_grad():
            for name, parameter in one.generator.named_parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    losses = [one.players()[1].loss(batch(), at())["loss"] for one in (model, without)]
    assert float((losses[0] - losses[1]).detach()) > 1
    more, less = (
        dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))
        for loss, names in zip(losses, (dict(one.generator.named_parameters()) for one in (model, without)), strict=True)
    )
    assert torch.allclose(more["shared.weight"], less["shared.weight"], atol=1e-4)
    first = "body.first.parametrizations.weight.original"
    assert not torch.allclose(more[first], less[first])
    with pytest.raises(UserError, match=r"`model.orthogonal_weight=0`"):
        make(replace(PLAIN, orthogonal_weight=1e-4))


def test_a_penalty_is_of_what_is_judged_and_not_of_single_images() -> None:
    class Total(ImageDiscriminator):
        def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
            return image.flatten(1).sum(1)

    for pack in (1, 2):
        model = make(replace(PLAIN, pack=pack, penalty="r1"))
        model.discriminator = Total()
        terms = model.players()[0].loss(batch(), at())
        assert float(terms["penalty"].detach()) == pytest.approx(0.5 * pack * 256)  # half of the ones of the gradient of a pack


def test_the_norm_that_a_penalty_wants_is_by_images_of_the_stage() -> None:
    for progress, stage in ((0.0, 4), (0.9, 16)):
        model = make(GROWING)
        model.players()[0].loss(batch(), at(progress))
        assert model.discriminator.coarseness == 16 / stage
        small = torch.randn(2, 1, stage, stage, requires_grad=True)
        large = F.interpolate(small, 16).detach().requires_grad_()
        by_small, by_large = (torch.autograd.grad(model.discriminator(F.interpolate(x, 16)).sum(), x)[0].norm() for x in (small, large))
        assert float(by_small) == pytest.approx(16 / stage * float(by_large), rel=1e-3)

    def critic(images: Tensor) -> Tensor:
        return images.flatten(1).sum(1) / 4  # of 64 pixels: a norm of 2

    points = torch.randn(2, 1, 8, 8)
    found = [float(gradient_penalty(critic, points, points, torch.Generator().manual_seed(0), coarseness=c)) for c in (0.5, 1.0, 2.0)]
    assert found == pytest.approx([0, 1, 9], abs=1e-4)


def test_a_truncation_that_a_model_cannot_stand_is_refused_before_it_is_trained() -> None:
    for config, match in ((PLAIN, "model.orthogonal_weight=0.0001"), (replace(BIGGAN, truncation=0.001), r"at least 0\.01")):
        with pytest.raises(UserError, match=match):
            make(replace(config, truncation=config.truncation or 0.5))
    assert make(replace(STYLES, truncation=0.001)).config.truncation


def test_settings_of_networks_that_nothing_reads_are_refused() -> None:
    for name, change, match in (
        ("acgan", {"discriminator.blocks": "dense", "discriminator.hidden": "inputs"}, "model.discriminator.hidden"),
        ("resgan", {"discriminator.blocks": "dense"}, ""),
    ):
        config = small(name, **change)  # type: ignore[arg-type]
        if match:
            with pytest.raises(UserError, match=match):
                require_effect(config, ImageSpec(28, 1, ("zero", "one")))
        else:
            require_effect(config, ImageSpec(28, 1, ("zero", "one")))


def test_drift_bounds_the_logits_of_real_images() -> None:
    drifting, still = make(replace(PLAIN, drift=0.25)), make(PLAIN)
    losses = [one.players()[0].loss(batch(), at())["loss"] for one in (drifting, still)]
    with torch.no_grad():
        logits = still._judge(batch().image, batch().image, None).real
    assert float((losses[0] - losses[1]).detach()) == pytest.approx(0.25 * float(logits.square().mean()), rel=1e-4)


def test_networks_grow_together_or_not_at_all() -> None:
    for change in ({"generator": DCGANGeneratorConfig(width=4, norm="none")}, {"generator": ProgressiveGeneratorConfig(growth=0.4)}):
        with pytest.raises(UserError, match="grow together"):
            make(replace(GROWING, **change))  # type: ignore[arg-type]
