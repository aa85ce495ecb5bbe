from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import calotype
from calotype.engine.train import resume, train
from calotype.errors import UserError
from calotype.losses.adversarial import LOSSES
from calotype.models.gan import GAN
from calotype.models.gan_config import GANConfig
from calotype.networks.adversary import ImageDiscriminator
from calotype.networks.mlp import MLPDiscriminatorConfig, MLPGeneratorConfig
from calotype.settings import checked
from calotype.types import Batch, Condition, ImageSpec, Noise, Step
from tests.engine.test_resume import interrupt
from tests.small import changed, final_state, small

SPEC = ImageSpec(12, 1, ("zero", "one", "two"))
SMALL = changed(GANConfig(latent=6), width=4)
PLAIN = changed(SMALL, **{"discriminator.norm": "none"})


def mlp(g_norm: str = "batch", d_norm: str = "none", dropout: float = 0.0, **game: Any) -> GANConfig:
    generator = MLPGeneratorConfig(width=16, norm=g_norm)  # type: ignore[arg-type]
    return GANConfig(generator=generator, discriminator=MLPDiscriminatorConfig(width=16, norm=d_norm, dropout=dropout), latent=6, **game)  # type: ignore[arg-type]


VARIANTS: dict[str, GANConfig] = {
    "mlp": mlp("none", dropout=0.2),
    "mlp batch norm": mlp("batch", "batch"),
    "mlp conditional": mlp(conditional=True),
    "mixed": replace(PLAIN, discriminator=mlp(d_norm="layer", dropout=0.1).discriminator),
    "mixed the other way": replace(mlp(), discriminator=SMALL.discriminator),
    "dcgan": SMALL,
    "dcgan conditional": replace(SMALL, conditional=True),
    "smooth and noisy": replace(SMALL, smooth=0.9, instance_noise=0.2),
    "minimax": replace(PLAIN, loss="minimax"),
    "lsgan": replace(SMALL, loss="least_squares", smooth=0.9),
    "spectral": changed(PLAIN, loss="hinge", spectral=True, minibatch_std=True, discriminator_lr_mult=2.0),
    "spectral conditional": changed(PLAIN, loss="hinge", spectral=True, conditional=True),
    "wgan": replace(SMALL, loss="wasserstein", clip_weights=0.01, critic_steps=2),
    "wgan-gp": changed(SMALL, loss="wasserstein", penalty="gradient", critic_steps=2, **{"discriminator.norm": "layer"}),
    "wgan-lp": replace(PLAIN, loss="wasserstein", penalty="gradient_one_sided"),
    "dragan": replace(PLAIN, penalty="dragan"),
    "r1": replace(PLAIN, penalty="r1"),
    "r2": replace(PLAIN, penalty="r2"),
    "rpgan": changed(PLAIN, loss="relativistic_pairing", penalty="r1_r2", **{"generator.norm": "none"}),
    "rpgan conditional": replace(PLAIN, loss="relativistic_pairing", penalty="r1_r2", conditional=True, penalty_every=2),
    "path length": changed(PLAIN, penalty="r1", path_length_weight=2.0, conditional=True, **{"generator.norm": "layer"}),
    "adaptive": replace(SMALL, augment=("adaptive",), augment_images=100),
    "adaptive with r1": replace(PLAIN, augment=("cutout", "adaptive"), augment_images=100, penalty="r1"),
    "ragan": replace(SMALL, loss="relativistic_average"),
}


def make(config: GANConfig, seed: int = 0) -> GAN:
    torch.manual_seed(seed)
    return GAN(config, SPEC).train()


def batch(n: int = 8, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(n, 1, 12, 12, generator=g) * 2 - 1, Condition(torch.randint(3, (n,), generator=g)))


def at(index: int = 0, progress: float = 0.0, seed: int = 0) -> Step:
    return Step(index, torch.Generator().manual_seed(seed), progress=progress)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_of_every_variant(name: str) -> None:
    """Both players get a finite gradient for every parameter; the batch and the other player stay as they are."""
    model, given, step = make(VARIANTS[name]), batch(), at()
    before = given.image.clone()
    for player in model.players():
        terms = player.loss(given, step)
        names, owned = zip(*player.module.named_parameters(), strict=True)
        grads = torch.autograd.grad(terms["loss"], owned)
        assert all(v.ndim == 0 and v.dtype == torch.float32 and v.isfinite() for v in terms.values())
        assert all(g.isfinite().all() for g in grads)
        idle = [n for n, g in zip(names, grads, strict=True) if not g.abs().max() > 0]
        # the bias before a batch normalization of the mlp, and the last bias under a loss of differences, move nothing
        assert all(n.endswith("bias") for n in idle), idle
        assert len(idle) <= 4
    assert torch.equal(given.image, before)
    assert not given.image.requires_grad
    assert [p.name for p in model.players()] == ["discriminator", "generator"]


@pytest.mark.parametrize("name", VARIANTS)
def test_sampling_depends_on_seed_and_index_alone(name: str) -> None:
    model = make(VARIANTS[name]).eval()
    with torch.no_grad():
        images = model.sample(Noise(7, seed=3))
        pieces = torch.cat([model.sample(Noise(3, seed=3)), model.sample(Noise(4, seed=3, start=3))])
        other = model.sample(Noise(7, seed=4))
    assert images.shape == (7, 1, 12, 12)
    assert images.abs().max() <= 1
    assert torch.allclose(images, pieces, atol=1e-5)
    assert not torch.allclose(images, other, atol=1e-3)


@pytest.mark.parametrize("name", VARIANTS)
def test_watching_changes_nothing(name: str) -> None:
    model = make(VARIANTS[name])
    before, modes = snapshot(model), [m.training for m in model.modules()]
    seen = model.watch(batch(), batch(5, seed=1), at())
    assert set(seen) == {"d_real", "d_fake", "d_holdout", "d_accuracy", "d_sign", "d_auc"}
    assert all(v.isfinite() and not v.requires_grad for v in seen.values())
    assert 0 <= seen["d_accuracy"] <= 1
    assert same(before, snapshot(model))
    assert modes == [m.training for m in model.modules()]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_repeats_bit_for_bit_from_a_copy_and_from_a_state(name: str) -> None:
    first = make(VARIANTS[name])
    second = copy.deepcopy(first)
    third = make(VARIANTS[name], seed=1)
    third.load_state_dict(first.state_dict())
    for model in (first, second, third):
        torch.manual_seed(5)
        _train(model, 3)
    assert same(snapshot(first), snapshot(second))
    assert same(snapshot(first), snapshot(third))


def _train(model: GAN, steps: int) -> None:
    for index in range(steps):
        step = at(index, index / steps, seed=index)
        for player in model.players():
            for turn in range(player.repeats):
                owned = list(player.module.parameters())
                grads = torch.autograd.grad(player.loss(batch(seed=index + turn), step)["loss"], owned)
                with torch.no_grad():
                    for p, g in zip(owned, grads, strict=True):
                        p.sub_(0.01 * g)
                if player.after:
                    player.after()


def test_turns_share_one_generator_pass_where_they_alternate() -> None:
    calls: list[int] = []
    for config, want in (
        (SMALL, 1),
        (replace(SMALL, conditional=True), 1),
        (replace(SMALL, critic_steps=2), 3),
        (replace(PLAIN, loss="relativistic_pairing"), 1),
        (replace(PLAIN, loss="relativistic_pairing", conditional=True), 2),
    ):
        model, step = make(config), at()
        calls.clear()
        model.generator.register_forward_hook(lambda *_: calls.append(1))
        for player in model.players():
            for _ in range(player.repeats):
                player.loss(batch(), step)
        assert len(calls) == want
        assert not step.cache


def test_a_shared_pass_gives_the_gradient_of_a_fresh_one() -> None:
    model = make(replace(PLAIN, conditional=True))
    discriminator, generator = model.players()
    step = at()
    discriminator.loss(batch(), step)
    shared = torch.autograd.grad(generator.loss(batch(seed=9), step)["loss"], list(model.generator.parameters()))
    fresh = torch.autograd.grad(generator.loss(batch(), at())["loss"], list(model.generator.parameters()))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(shared, fresh, strict=True))


def test_one_pass_over_both_kinds_equals_two() -> None:
    model = make(replace(PLAIN, conditional=True))
    given = batch()
    fake, label = torch.randn(8, 1, 12, 12), given.condition.label
    with torch.no_grad():
        joint = model._judge(given.image, fake, label)
        apart = model.discriminator(given.image, label), model.discriminator(fake, label)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(joint[:2], apart, strict=True))


def test_logged_beliefs_are_probabilities_only_where_logits_mean_odds() -> None:
    given = batch()
    for name, entry in LOSSES.items():
        model = make(replace(PLAIN, loss=name))
        with torch.no_grad():
            model.discriminator.head.linear.bias.fill_(40.0)
            terms = model.players()[0].loss(given, at())
        if entry.log_odds:
            assert abs(terms["d_real"].item() - 1) < 1e-5
        else:
            assert terms["d_real"].item() > 10


def test_accuracy_of_the_discriminator() -> None:
    model = make(replace(PLAIN, latent=6))

    class Mean(ImageDiscriminator):
        def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
            return image.flatten(1).mean(1)

    model.discriminator = Mean()  # type: ignore[assignment]
    bright, dark = Batch(torch.ones(4, 1, 12, 12)), Batch(-torch.ones(4, 1, 12, 12))
    with torch.no_grad():
        for p in model.generator.parameters():
            p.zero_()
        list(model.generator.parameters())[-1].fill_(-3.0)  # the last bias: every image is dark
    assert model.watch(bright, dark, at())["d_accuracy"] == 1
    assert model.watch(dark, dark, at())["d_accuracy"] == 0.5
    seen = model.watch(bright, dark, at())
    assert seen["d_real"] > 0.7 > 0.3 > seen["d_holdout"]


@pytest.mark.parametrize("penalty", ["gradient", "gradient_one_sided", "r1", "r2", "r1_r2", "dragan"])
def test_a_lazy_penalty_weighs_as_much_as_an_eager_one(penalty: Any) -> None:
    config = replace(PLAIN, penalty=penalty, penalty_weight=2.0)
    free = make(replace(config, penalty="none"))
    lazy, eager = make(replace(config, penalty_every=4)), make(config)
    assert lazy.double_backward
    assert not free.double_backward
    given = batch()
    terms = lazy.players()[0].loss(given, at(8))
    assert torch.allclose(terms["loss"], free.players()[0].loss(given, at(8))["loss"] + 8 * terms["penalty"], rtol=1e-5)
    assert torch.allclose(eager.players()[0].loss(given, at(8))["penalty"], terms["penalty"], rtol=1e-5)
    between = lazy.players()[0].loss(given, at(9))
    assert "penalty" not in between
    assert torch.allclose(between["loss"], free.players()[0].loss(given, at(9))["loss"], rtol=1e-5)


def test_the_generator_may_have_a_lazy_penalty_of_its_own() -> None:
    config = changed(PLAIN, path_length_weight=2.0, path_length_every=4, **{"generator.norm": "layer"})
    model, free = make(config), make(replace(config, path_length_weight=0.0))
    assert model.double_backward
    assert "path_length_mean" not in free.state_dict()
    given = batch()
    for index, due in ((8, True), (9, False)):
        (critic, generator), plain = model.players(), free.players()
        assert torch.equal(critic.loss(given, at(index))["loss"], plain[0].loss(given, at(index))["loss"])
        terms, without = generator.loss(given, at(index)), plain[1].loss(given, at(index))
        assert ("penalty" in terms) == due
        assert torch.allclose(terms["loss"], without["loss"] + 8 * terms.get("penalty", torch.zeros(())), rtol=1e-5)
    # the mean that lengths are compared with has moved a hundredth of its way, once
    step = at(8)
    model._adversarial_terms(given, step)  # which draws first
    lengths = model._path_lengths(given, step)
    model.path_length_mean.zero_()
    model.players()[1].loss(given, at(8))
    assert torch.allclose(model.path_length_mean, 0.01 * lengths.mean(), rtol=1e-5)


def test_a_penalty_on_the_generator_moves_it_alone() -> None:
    model = make(changed(PLAIN, path_length_weight=2.0, **{"generator.norm": "none"}))
    model.path_length_mean.fill_(3.0)
    penalty = model.players()[1].loss(batch(), at(0))["penalty"]
    on_generator = torch.autograd.grad(penalty, list(model.generator.parameters()), retain_graph=True, allow_unused=True)
    assert any(g is not None and g.abs().max() > 0 for g in on_generator)
    assert all(g is None for g in torch.autograd.grad(penalty, list(model.discriminator.parameters()), allow_unused=True))
    with pytest.raises(UserError, match="batch normalization prevents"):
        make(replace(SMALL, path_length_weight=2.0))


LAZY = {"penalty": "r1", "penalty_every": 2, "path_length_weight": 2.0, "path_length_every": 3, "generator.norm": "layer"}
ADAPTIVE = {"augment": ("adaptive",), "augment_images": 100, "augment_target": 0.0, "discriminator_lr_mult": 10.0}


@pytest.mark.parametrize(("settings", "state"), [(LAZY, "path_length_mean"), (ADAPTIVE, "augment_share")], ids=["penalties", "adaptive"])
def test_what_only_a_training_keeps_resumes_bit_for_bit(tmp_path: Path, settings: dict[str, Any], state: str) -> None:
    config = small("gan", 6, **settings)
    for name in "ab":
        train(config, out=tmp_path / name)
    interrupt(tmp_path / "b", 4)
    resume(tmp_path / "b")
    states = [final_state(tmp_path / name) for name in "ab"]
    assert float(states[0][f"model/{state}"]) > 0
    assert same(*states)
    assert not hasattr(getattr(calotype.load(tmp_path / "a").model, state), "shape")  # which only a training needs


def test_weights_are_clipped_after_the_critics_step_only() -> None:
    model = make(VARIANTS["wgan"])
    critic, generator = model.players()
    assert generator.after is None
    assert critic.after is not None
    assert critic.repeats == 2
    loose = snapshot(model.generator)
    critic.after()
    assert all(p.abs().max() <= 0.01 for p in model.discriminator.parameters())
    assert same(loose, snapshot(model.generator))


def test_instance_noise_fades() -> None:
    model = make(replace(SMALL, instance_noise=0.5))
    quiet = make(SMALL)
    noisy, late = (model.players()[0].loss(batch(), at(progress=p))["loss"] for p in (0.0, 1.0))
    plain = quiet.players()[0].loss(batch(), at(progress=1.0))["loss"]
    assert torch.equal(late, plain)
    assert not torch.allclose(noisy, plain)


def test_autocast_gives_nearly_the_same_gradients() -> None:
    for name in ("wgan-gp", "rpgan", "spectral"):
        one, two = make(VARIANTS[name]), make(VARIANTS[name])
        gradients = []
        for model, on in ((one, False), (two, True)):
            with torch.autocast("cpu", torch.bfloat16, enabled=on):
                loss = model.players()[0].loss(batch(), at())["loss"]
            assert loss.dtype == torch.float32
            gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.discriminator.parameters()))]))
        assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99


def test_labels_of_samples() -> None:
    model = make(replace(PLAIN, conditional=True)).eval()
    seen: list[Tensor] = []
    model.generator.register_forward_hook(lambda _, args, __: seen.append(args[1]))
    model.sample(Noise(300, seed=1))
    assert seen[0].dtype == torch.int64
    assert (torch.bincount(seen[0], minlength=3) > 70).all()
    label = torch.tensor([2, 0])
    model.sample(Noise(2), Condition(label))
    assert torch.equal(seen[1], label)
    with pytest.raises(UserError, match="0 to 2"):
        model.sample(Noise(1), Condition(torch.tensor([3])))
    with pytest.raises(UserError, match="without labels"):
        make(SMALL).eval().sample(Noise(1), Condition(torch.tensor([0])))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"smooth": 0.9, "loss": "hinge"}, "smoothing"),
        ({"penalty": "gradient"}, "batch normalization"),
        ({"clip_weights": 0.1, "spectral": True}, "spectral"),
        ({"generator": MLPGeneratorConfig(norm="instance")}, "instance"),
    ],
)
def test_contradictions_are_the_users_error(change: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        GAN(changed(SMALL, **change), SPEC)


def test_labels_are_by_lot_at_first_and_then_those_of_the_images() -> None:
    """Half of the lots that are drawn in the middle of the ramp: the rest and one lot in three are the labels themselves."""
    model, n = make(replace(SMALL, conditional=True, label_ramp=0.4)), 30_000
    given = batch(n)
    label = given.condition.label
    assert label is not None

    def kept(progress: float) -> float:
        found = model._given(given, at(progress=progress))
        assert found is not None
        assert torch.bincount(found, minlength=3).sub(n / 3).abs().max() < 450  # 5.5 standard deviations
        return float((found == label).float().mean())

    assert [kept(0.0), kept(0.2)] == [pytest.approx(1 / 3, abs=0.015), pytest.approx(2 / 3, abs=0.015)]
    step = at(progress=0.4)
    before = step.rng.get_state()
    assert model._given(given, step) is label
    assert torch.equal(step.rng.get_state(), before)  # nothing is drawn where nothing is mixed: bits stay what they were
    assert make(replace(SMALL, label_ramp=0.4))._given(given, at()) is None


def test_without_labels_a_conditional_model_does_without() -> None:
    config = replace(SMALL, conditional=True)
    assert GAN(config, SPEC).conditional
    plain = GAN(config, ImageSpec(12, 1))
    assert not plain.conditional
    assert not any("embed" in name for name, _ in plain.named_parameters())
    with pytest.raises(UserError, match="by class: say which class"):
        GAN(config, SPEC).decode(torch.zeros(1, config.latent))


@pytest.mark.parametrize(
    "change",
    [
        {"latent": 0},
        {"discriminator": {"network": "dcgan", "dropout": 1.0}},
        {"smooth": 1.1},
        {"loss": "hinges"},
        {"discriminator_lr_mult": 0.0},
        {"penalty_every": 0},
    ],
)
def test_values_out_of_range_are_the_users_error(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(change))):
        checked(GANConfig, {"kind": "gan", **change})
    checked(GANConfig, GANConfig())


def test_signs_of_a_discriminator_that_learns_memorized() -> None:
    model = make(replace(PLAIN, latent=6))

    class Mean(ImageDiscriminator):
        def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
            return image.flatten(1).mean(1)

    model.discriminator = Mean()
    levels = torch.tensor([-0.5, 0.1, 0.2, 0.9])
    known = Batch(levels[:, None, None, None].expand(4, 1, 12, 12))
    unknown = Batch(torch.tensor([-0.9, 0.1])[:, None, None, None].expand(2, 1, 12, 12))
    seen = model.watch(known, unknown, at())
    assert float(seen["d_auc"]) == pytest.approx((4 + 2 + 0.5) / 8)  # four above -.9; two above .1, and a tie
    assert float(seen["d_sign"]) == pytest.approx(0.5)
    assert float(model.watch(known, known, at())["d_auc"]) == pytest.approx(0.5)
