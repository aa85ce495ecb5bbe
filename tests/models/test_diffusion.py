"""Diffusion and flow matching: the loss, the samples, the likelihoods, and what is refused."""

import math

import pytest
import torch
from torch import nn

from calotype.capabilities import HasEncoder
from calotype.diffusion.path import PATHS
from calotype.diffusion.prediction import mix_of
from calotype.diffusion.samplers import SOLVERS
from calotype.errors import UserError
from calotype.models.diffusion import Diffusion, DiffusionConfig, DiffusionSampling
from calotype.recipes import named
from calotype.settings import checked
from calotype.types import Batch, Condition, ImageSpec, Noise, Step

LABELED = ImageSpec(16, 1, ("a", "b", "c"))
PLAIN = ImageSpec(16, 1)
TINY = {"width": 8, "depth": (1, 1), "embedding": 16, "steps": 3, "time_mean": 0.0, "guidance": 1.5, "guidance_interval": (0.0, 1.0)}


def model(spec=LABELED, seed=0, **options):
    """A small model with random weights everywhere: a new one predicts zero."""
    made = Diffusion(DiffusionConfig(**{**TINY, **options}), spec).eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * (1.0 / max(1, parameter[0].numel())) ** 0.5)
    return made


def batch(n=6, spec=LABELED, seed=0):
    rng = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % len(spec.classes) if spec.classes else None
    return Batch(torch.rand(n, *spec.shape, generator=rng) * 2 - 1, Condition(label))


def loss(made, images, seed=0):
    return made.players()[0].loss(images, Step(0, torch.Generator().manual_seed(seed)))["loss"]


SETTINGS = {
    "flow matching": {},
    "flow matching on v": {"predict": "v", "weighting": "output", "times": "uniform"},
    "ddpm": {"path": "vp-linear", "predict": "noise", "weighting": "output", "times": "uniform"},
    "improved ddpm": {"path": "vp-cosine", "predict": "v", "weighting": "min-snr", "times": "uniform"},
    "edm": {"path": "ve", "predict": "edm", "weighting": "output", "time_mean": 1.2, "time_spread": 1.2},
}
every_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


class Exact(nn.Module):
    """A perfect network for a prediction on a path, where all pixels of the images are N(0, spread^2)."""

    def __init__(self, made, spread):
        super().__init__()
        self.config, self.scales, self.spread = made.config, made.path.scales, spread

    def forward(self, entering, time, label=None):
        # c_noise, inverted
        ratio = torch.logit(time.double(), eps=1e-9) if self.config.path == "rectified" else -4 * time.double()
        alpha, sigma = (t.view(-1, 1, 1, 1) for t in self.scales(ratio))
        mix = mix_of(self.config.predict, alpha, sigma, self.config.data_std)
        x = entering / mix.c_in
        image = alpha * self.spread**2 / ((alpha * self.spread) ** 2 + sigma**2) * x
        return ((image - mix.c_skip * x) / mix.c_out).float()


class Oracle(nn.Module):
    """The mean image given the state, exact for images whose pixels are all N(mean, spread^2)."""

    def __init__(self, mean, spread, predict):
        super().__init__()
        self.mean, self.spread, self.predict = mean, spread, predict

    def forward(self, x, time, label=None):
        t = time[:, None, None, None]
        image = self.mean + t * self.spread**2 / ((1 - t) ** 2 + (t * self.spread) ** 2) * (x - t * self.mean)
        return image if self.predict == "image" else (image - x) / (1 - t)


@pytest.mark.parametrize("predict", ["image", "velocity"])
def test_the_exact_network_samples_gaussian_images(predict):
    made = model(spec=PLAIN, predict=predict)
    made.network = Oracle(0.2, 0.1, predict)
    images = made.sample(Noise(8, seed=3), options=DiffusionSampling(steps=100))
    assert torch.allclose(images, 0.2 + 0.1 * Noise(8, seed=3).normal(1, 16, 16), atol=2e-3)


@pytest.mark.parametrize("predict", ["image", "velocity"])
def test_the_loss_of_a_single_known_image_is_zero_and_of_another_is_not(predict):
    made = model(spec=PLAIN, predict=predict, label_dropout=0.0)
    made.network = Oracle(0.2, 0.0, predict)
    known = Batch(torch.full((64, 1, 16, 16), 0.2))
    assert float(loss(made, known)) == pytest.approx(0, abs=1e-6)
    assert float(loss(made, Batch(known.image + 0.1))) > 0.01


def test_both_predictions_have_the_same_loss_where_they_mean_the_same():
    images = Batch(torch.randn(64, 1, 16, 16).clamp(-1, 1))
    losses = []
    for predict in ("image", "velocity"):
        made = model(spec=PLAIN, predict=predict, time_mean=-2.0, time_spread=0.5)  # far from the end, where the weight is bounded
        made.network = Oracle(0.0, 0.6, predict)
        losses.append(float(loss(made, images)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_loss_depends_on_the_generator_of_the_step_alone():
    made, images = model(), batch()
    before = images.image.clone()
    torch.manual_seed(1)
    first = loss(made, images)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(loss(made, images), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(loss(made, images, seed=1), first)
    assert torch.equal(images.image, before)


@pytest.mark.parametrize("spec", [LABELED, PLAIN, ImageSpec(9, 3, ("a", "b"))])
def test_every_parameter_gets_a_gradient(spec):
    made = model(spec, label_dropout=0.5).train()
    (player,) = made.players()
    grads = torch.autograd.grad(loss(made, batch(32, spec)), list(player.module.parameters()))
    assert len(grads) == len(list(made.parameters()))
    for (name, _), grad in zip(player.module.named_parameters(), grads, strict=True):
        assert float(grad.abs().max()) > 0, name


def test_labels_are_hidden_at_the_given_share():
    made = model(label_dropout=0.25)
    label = torch.zeros(4000, dtype=torch.long)
    hidden = made._hidden(label, torch.Generator().manual_seed(0), 0.25)
    assert set(hidden.tolist()) == {0, 3}
    assert float((hidden == 3).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_an_image_does_not_depend_on_how_many_are_drawn():
    made = model()
    many = made.sample(Noise(5, seed=1))
    assert many.shape == (5, 1, 16, 16)
    assert torch.allclose(made.sample(Noise(2, seed=1)), many[:2], atol=1e-5)
    assert torch.allclose(made.sample(Noise(2, seed=1, start=3)), many[3:], atol=1e-5)
    assert not torch.allclose(many[0], many[1], atol=1e-2)
    assert float(many.abs().max()) <= 1


def test_without_labels_they_are_drawn_uniformly_from_the_noise():
    made = model()
    label = made.wanted(Noise(600, seed=0), None)
    assert torch.bincount(label, minlength=3).min() > 150
    noise = Noise(4, seed=0)
    noise.normal(*LABELED.shape)
    drawn = made.wanted(noise, None)
    assert torch.equal(made.sample(Noise(4, seed=0)), made.sample(Noise(4, seed=0), Condition(drawn)))


def test_guidance_one_ignores_and_zero_obeys_the_network_without_label():
    made = model()
    a, b = Condition(torch.zeros(3, dtype=torch.long)), Condition(torch.ones(3, dtype=torch.long))

    def draw(condition, guidance):
        return made.sample(Noise(3), condition, options=DiffusionSampling(guidance=guidance))

    assert torch.allclose(draw(a, 0.0), draw(b, 0.0), atol=1e-6)
    assert not torch.allclose(draw(a, 1.0), draw(b, 1.0), atol=1e-3)
    before = draw(a, 1.0), draw(a, 2.0)
    with torch.no_grad():
        made.network.embed.label.weight[3].add_(1.0)  # the embedding that means no label
    assert torch.equal(draw(a, 1.0), before[0])
    assert not torch.allclose(draw(a, 2.0), before[1], atol=1e-3)


def test_guidance_outside_of_its_interval_changes_nothing():
    made = model(guidance_interval=(0.9, 0.95), steps=4)
    condition = Condition(torch.tensor([0, 1]))
    strong, none = (made.sample(Noise(2), condition, DiffusionSampling(guidance=scale)) for scale in (5.0, 1.0))
    assert torch.equal(strong, none)


def test_more_steps_come_closer_to_the_limit():
    made = model(spec=PLAIN)
    limit = made.sample(Noise(4), options=DiffusionSampling(steps=200))
    errors = [float((made.sample(Noise(4), options=DiffusionSampling(steps=steps)) - limit).square().mean()) for steps in (4, 16)]
    assert errors[1] < 0.3 * errors[0]


def test_data_without_labels_train_and_sample_unconditionally():
    made = model(PLAIN)
    assert not made.conditional
    assert float(loss(made, batch(spec=PLAIN)).detach()) > 0
    assert made.sample(Noise(2)).shape == (2, 1, 16, 16)
    off = model(LABELED, conditional=False)
    assert not off.conditional
    assert float(loss(off, batch())) > 0
    with pytest.raises(UserError, match="without labels"):
        off.sample(Noise(1), Condition(torch.tensor([0])))


def test_watching_reports_the_loss_on_images_not_trained_on():
    made = model()
    known, unknown = batch(seed=0), batch(seed=1)
    first = made.watch(known, unknown, Step(0, torch.Generator().manual_seed(0)))["loss_holdout"]
    assert not first.requires_grad
    assert torch.equal(made.watch(unknown, unknown, Step(0, torch.Generator().manual_seed(0)))["loss_holdout"], first)
    assert not torch.equal(made.watch(known, known, Step(0, torch.Generator().manual_seed(0)))["loss_holdout"], first)


@pytest.mark.parametrize("label", [-1, 3])
def test_unknown_labels_are_refused(label):
    with pytest.raises(UserError, match="0 to 2"):
        model().sample(Noise(1), Condition(torch.tensor([label])))


def test_no_steps_are_refused():
    with pytest.raises(UserError, match="sampling option steps: give a whole number from 1 to 10,000, not 0"):
        model().sample(Noise(1), options=DiffusionSampling(steps=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multipliers": (1, 2, 2)}, "same levels"),
        ({"multipliers": (), "depth": ()}, "at least one level"),
        ({"heads": 3}, "3 heads"),
        ({"guidance_interval": (0.6, 0.5)}, "ends before"),
        ({"predict": "noise"}, "noise end"),
        ({"network": "dit", "heads": 2}, "one level"),
        ({"network": "dit", "heads": 0, "multipliers": (1,), "depth": (2,)}, "multiple of 4"),
        ({"network": "dit", "width": 10, "heads": 2, "multipliers": (1,), "depth": (2,)}, "multiple of 4"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        model(**options)


@pytest.mark.parametrize(("size", "factor"), [(8, 2), (28, 2), (48, 2), (49, 4), (64, 4), (128, 8), (256, 8)])
def test_larger_images_are_folded_more(size, factor):
    spec = ImageSpec(size, 3)
    assert Diffusion(DiffusionConfig(**TINY), spec).network.unshuffle == factor
    assert Diffusion(DiffusionConfig(**TINY, unshuffle=1), spec).network.unshuffle == 1


@every_setting
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_exact_network_samples_gaussian_images_in_every_setting(setting, solver):
    made = model(spec=PLAIN, **setting)
    made.network = Exact(made, 0.15)
    images = made.sample(Noise(16, seed=3), options=DiffusionSampling(steps=100, solver=solver))
    first_order = solver in ("ddpm", "ddim", "euler")
    assert float(images.std()) == pytest.approx(0.15, rel=0.2 if first_order else 0.05)
    if solver != "ddpm":
        expected = 0.15 * Noise(16, seed=3).normal(1, 16, 16)
        assert torch.allclose(images, expected, atol=0.1 if first_order else 0.03)


@every_setting
def test_every_setting_learns(setting):
    torch.manual_seed(0)
    made = Diffusion(DiffusionConfig(**{**TINY, **setting}), PLAIN)
    images = Batch(torch.full((64, 1, 16, 16), 0.5))
    optimizer = torch.optim.Adam(made.parameters(), 5e-3)
    start = float(loss(made, images).detach())
    for step in range(40):
        optimizer.zero_grad()
        loss(made, images, seed=step).backward()
        optimizer.step()
    assert float(loss(made, images).detach()) < 0.7 * start


@every_setting
def test_likelihoods_of_gaussian_images_agree_and_are_near_their_entropy(setting):
    spread = 0.15
    made = model(spec=PLAIN, **setting)
    made.network = Exact(made, spread)
    rng = torch.Generator().manual_seed(0)
    image = torch.round(spread * torch.randn(200, 1, 16, 16, generator=rng) * 127.5 + 127.5).clamp(0, 255) / 127.5 - 1
    entropy = math.log2(spread * 127.5) + math.log2(2 * math.pi * math.e) / 2
    found = {}
    for likelihood in made.likelihoods():
        nats = likelihood.nats(image, Condition(), rng)
        assert nats.dtype == torch.float32
        found[likelihood.kind] = float(-nats.mean()) / 256 / math.log(2)
    assert [*found] == ["variational bound", "ODE estimate"]
    assert made.likelihoods()[1].slow
    if made.config.predict != "image":  # whose predictions are not trusted to be exact
        assert found["ODE estimate"] == pytest.approx(entropy, abs=0.05)
        assert found["variational bound"] == pytest.approx(entropy, abs=0.12)
    assert found["variational bound"] > entropy - 0.05


@every_setting
def test_noise_is_found_again_behind_an_image(setting):
    made = model(spec=LABELED, **setting)
    made.network = Exact(made, 0.3)
    assert isinstance(made, HasEncoder)
    assert made.latent_shape == (1, 16, 16)
    condition = Condition(torch.tensor([0, 1, 2]))
    noise = Noise(3).normal(*made.latent_shape)
    images = made.decode(noise, condition)
    assert torch.allclose(images, 0.3 * noise.clamp(-3, 3), atol=0.05)
    assert torch.allclose(made.encode(images, condition), noise, atol=0.1)


def test_fresh_noise_of_ddim_follows_its_option():
    made = model(path="vp-cosine", predict="v", weighting="output", solver="ddim", steps=10)
    assert torch.equal(made.sample(Noise(2)), made.sample(Noise(2), options=DiffusionSampling(solver="euler")))
    assert not torch.allclose(made.sample(Noise(2), options=DiffusionSampling(eta=0.5)), made.sample(Noise(2)), atol=1e-3)
    assert torch.allclose(
        made.sample(Noise(2), options=DiffusionSampling(eta=1.0)),
        made.sample(Noise(2), options=DiffusionSampling(solver="ddpm")),
        atol=1e-6,
    )
    with pytest.raises(UserError, match="eta is of the ddim solver, not of euler"):
        made.sample(Noise(2), options=DiffusionSampling(eta=0.5, solver="euler"))


@pytest.mark.parametrize("path", PATHS)
def test_a_stochastic_sample_does_not_depend_on_how_many_are_drawn(path):
    made = model(path=path, predict="velocity", solver="ddpm", steps=4)
    many = made.sample(Noise(5, seed=1))
    assert torch.allclose(made.sample(Noise(2, seed=1)), many[:2], atol=1e-5)
    assert torch.allclose(made.sample(Noise(2, seed=1, start=3)), many[3:], atol=1e-5)


@pytest.mark.parametrize("name", ["flow-matching", "ddpm", "edm", "dit"])
def test_the_recipes_build_models_of_moderate_size(name):
    made = Diffusion(named(name).model, ImageSpec(28, 1, tuple("0123456789")))
    assert 1e5 < sum(p.numel() for p in made.parameters()) < 2e6


def test_the_published_unet_has_the_size_of_its_paper():
    with torch.device("meta"):
        made = Diffusion(named("ddpm", "published").model, ImageSpec(32, 3))
    assert sum(p.numel() for p in made.parameters()) == pytest.approx(35.7e6, rel=0.01)


def test_the_guide_follows_the_network_for_as_long_as_it_should_and_then_stays():
    made = model(guide=5.0, seed=3)  # for 50 steps of 100, 100 of 400
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in made.guide.parameters()]

    def step(index, progress):
        made.players()[0].loss(batch(), Step(index, torch.Generator().manual_seed(0), progress=progress))

    for index, total in ((50, 100), (100, 400)):
        step(index, index / total)
        assert all(torch.equal(p, q) for p, q in zip(made.guide.parameters(), before, strict=True))
    step(100, 100 / 401)
    # a half-life of a twentieth of 100 steps: five
    kept = 0.5 ** (1 / 5)
    for p, q, network in zip(made.guide.parameters(), before, made.network.parameters(), strict=True):
        assert torch.allclose(p, kept * q + (1 - kept) * network, atol=1e-6)
    step(0, 0.0)
    assert all(torch.equal(p, q) for p, q in zip(made.guide.parameters(), made.network.parameters(), strict=True))
    assert not any(p.requires_grad for p in made.guide.parameters())


@pytest.mark.parametrize("spec", [LABELED, PLAIN], ids=["labels", "no labels"])
def test_a_guide_leads_away_from_itself_with_and_without_labels(spec):
    made = model(spec, guide=5.0, predict="velocity")
    level = made.timesteps(4)[2]
    x = torch.randn(3, *spec.shape, generator=torch.Generator().manual_seed(1))
    label = torch.tensor([0, 1, 2]) if spec.classes else None
    good = made.denoiser(label)(x, level)
    made.guide, made.network = made.network, made.guide
    bad = made.denoiser(label)(x, level)
    made.guide, made.network = made.network, made.guide
    assert torch.allclose(made.denoiser(label, 2.5)(x, level), bad + 2.5 * (good - bad), atol=1e-5)


def test_channels_of_a_unet_are_concatenated_or_added():
    counts = {join: sum(p.numel() for p in model(join=join, multipliers=(1, 2)).parameters()) for join in ("concat", "add")}
    assert counts["add"] < counts["concat"]
    assert model(join="add", multipliers=(1, 2)).sample(Noise(2)).shape == (2, 1, 16, 16)


def test_models_whose_files_say_nothing_of_it_concatenate_and_have_no_guide():
    config = checked(DiffusionConfig, {"kind": "diffusion", "width": 8})
    assert (config.join, config.guide) == ("concat", 0.0)
    assert not [name for name in Diffusion(config, LABELED).state_dict() if name.startswith("guide")]


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_augmentations_are_told_in_training_and_nowhere_else(network):
    options = {"network": network, "augment_share": 0.5} | (
        {"multipliers": (1,), "depth": (1,), "heads": 2} if network == "dit" else {"multipliers": (1, 2)}
    )
    made, seen = model(**options), []
    made.network.register_forward_hook(lambda _, given, __: seen.append(given[3] if len(given) > 3 else None))
    images = batch(64)
    loss(made, images)
    assert seen[-1].shape == (64, 8)
    share = seen[-1].eq(0).all(1).float().mean().item()
    assert 0.5**4 * 0.75 / 3 < share < 0.5**4 * 0.75 * 4 + 0.05  # of images that none of five changes touches
    made.watch(images, images, Step(0, torch.Generator()))
    made.sample(Noise(2))
    assert all(told is None for told in seen[1:])
    x, time = images.image, torch.rand(64)
    nothing = made.network(x, time, images.condition.label)
    assert torch.allclose(made.network(x, time, images.condition.label, torch.zeros(64, 8)), nothing, atol=1e-6)
    assert not torch.allclose(made.network(x, time, images.condition.label, torch.ones(64, 8)), nothing, atol=1e-3)


def test_the_error_is_of_the_changed_image():
    """A network that finds the unchanged image whatever it is shown is wrong about the changed ones, and right where nothing changed."""
    images = batch(400)
    errors = []
    for augment in (0.0, 0.9):
        made = model(predict="image", augment_share=augment, weighting="output")
        made.network.forward = lambda *_: images.image
        errors.append(float(loss(made, images)))
    assert errors[0] < 1e-6
    assert errors[1] > 0.1


def test_the_network_fits_the_size_unless_it_is_named():
    small, large = (sum(p.numel() for p in Diffusion(DiffusionConfig(), ImageSpec(size, 3)).network.parameters()) for size in (32, 64))
    assert large > 3 * small
    named_ = DiffusionConfig(width=32, depth=(1, 2), unshuffle=2)
    assert len({sum(p.numel() for p in Diffusion(named_, ImageSpec(size, 3)).network.parameters()) for size in (32, 64)}) == 1
