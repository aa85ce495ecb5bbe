"""The VAE: its bounds against exact integrals, its linear case against probabilistic PCA, its collapse and what restores it."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from calotype.capabilities import HasEncoder, HasPosterior
from calotype.errors import UserError
from calotype.losses.discretized import images_of
from calotype.losses.divergence import kl_standard
from calotype.metrics.likelihood import active_units, bits_per_dim
from calotype.models.hvae import HVAE, HVAEConfig, HVAESampling
from calotype.models.vae import VAE, VAEConfig
from calotype.networks.posterior import moments
from calotype.types import Batch, Condition, ImageSpec, Noise, Step

PLAIN, LABELED = ImageSpec(8, 1), ImageSpec(8, 1, ("a", "b", "c"))
NOBODY = Condition()
REPEATS = 150  # draws of a bound


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(model, size=1.0, seed=0):
    """The model with random weights everywhere: a new one ignores its latents."""
    generator = rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * size * (1.0 / max(1, p[0].numel() if p.ndim else 1)) ** 0.5)
    return model.eval()


def vae(spec=PLAIN, **options):
    return noisy(VAE(VAEConfig(**{"network": "mlp", "width": 16, "depth": 1, "latent": 2, **options}), spec))


def hvae(spec=PLAIN, **options):
    return noisy(HVAE(HVAEConfig(**{"width": 8, "latent": 3, "channels": 2, "latent_blocks": 1, **options}), spec))


def images(n=4, spec=PLAIN, seed=0):
    return images_of(torch.randint(256, (n, *spec.shape), generator=rng(seed)))


def loss(model, image, progress=0.0, label=None):
    return float(model.players()[0].loss(Batch(image, Condition(label)), Step(0, rng(), progress=progress))["loss"].detach())


def quadrature(model, image, reach=6.0, points=121):
    """The log-likelihood by the trapezoid rule over two latents."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    prior = -0.5 * z.square().sum(1) - math.log(2 * math.pi) + 2 * math.log(float(axis[1] - axis[0]))
    with torch.no_grad():
        out = model.network.decode(z.float())
        given = torch.stack([model.observation.log_prob(x[None].expand(len(z), -1, -1, -1), out) for x in image])
    return (given.double() + prior).logsumexp(1)


@pytest.mark.parametrize("likelihood", ["gaussian", "discretized_logistic"])
def test_the_bounds_rise_to_the_likelihood_by_quadrature(likelihood):
    model = vae(likelihood=likelihood)
    with torch.no_grad():
        for part, share in (("decoder", 0.25), ("encoder", 0.05)):  # a wide posterior, whose importance weights have short tails
            for p in getattr(model.network, part).out.parameters():
                p.mul_(share)
        x = model.decode(torch.tensor([[0.5, -0.3], [1.0, 0.2], [-0.6, -1.0]]))
        x = images_of(((x + 0.2 * torch.randn(x.shape, generator=rng(1))) * 127.5 + 127.5).clamp(0, 255).round())
    exact = quadrature(model, x)
    many, generator = x.repeat(REPEATS, 1, 1, 1), rng(2)
    drawn = {k: model.bound(many, NOBODY, generator, k).view(REPEATS, 3).double() for k in (1, 5, 50)}
    means = {k: d.mean(0) for k, d in drawn.items()}
    errors = {k: (d.var(0) / REPEATS).sqrt() for k, d in drawn.items()}
    for low, high in ((1, 5), (5, 50)):
        assert bool((means[high] - means[low] > 3 * (errors[high].square() + errors[low].square()).sqrt()).all())
    assert bool((means[50] < exact + 3 * errors[50]).all())
    # bounds of equal numbers of samples combine to that of all of them
    tight = model.bound(many, NOBODY, generator, 100).view(REPEATS, 3).double().logsumexp(0) - math.log(REPEATS)
    assert torch.allclose(tight, exact, atol=0.1)
    assert bool((exact - means[1] > 0.2).all())


@pytest.mark.parametrize("make", [vae, hvae])
def test_the_divergence_in_closed_form_is_the_drawn_one(make):
    model = make()
    many = images(1).expand(4000, -1, -1, -1)
    with torch.no_grad():
        inference = model._infer(model._encode(many), None, rng(2))
    closed = sum(level.flatten(1).sum(1) for level in inference.kl)
    gap = closed + inference.log_weight
    error = float(gap.std()) / len(gap) ** 0.5
    assert float(gap.mean()) == pytest.approx(0, abs=4.5 * error)
    assert error < 0.05 * float(closed.mean())


@pytest.mark.parametrize("make", [vae, hvae])
def test_free_bits_beta_and_warmup_change_the_objective_and_never_the_bound(make):
    x = images(16)
    plain = make()
    bound = plain.bound(x, NOBODY, rng())
    assert -float(bound.mean()) / (math.log(2) * 64) == pytest.approx(loss(plain, x), rel=1e-5)
    for options in ({"free_bits": 50.0}, {"beta": 4.0}, {"beta": 0.25}, {"warmup": 0.5}, {"warmup": 0.5, "cycles": 2}):
        other = make(**options)
        assert abs(loss(other, x, progress=0.1) - loss(plain, x)) > 1e-3
        assert torch.equal(other.bound(x, NOBODY, rng()), bound)
        assert torch.equal(other.likelihoods()[0].nats(x, NOBODY, rng()), bound)
    reconstruction = float(plain.players()[0].loss(Batch(x), Step(0, rng()))["reconstruction"].detach())
    assert loss(make(warmup=0.5), x) == pytest.approx(reconstruction / (math.log(2) * 64), rel=1e-5)
    assert loss(make(warmup=0.5), x, progress=0.6) == pytest.approx(loss(plain, x), rel=1e-6)


def test_a_uniform_model_scores_exactly_eight_bits():
    model = vae(components=256)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        model.network.decoder.out.bias.view(3, 256, 8, 8)[1] = -5.0
    x = images(8)
    for likelihood in model.likelihoods():
        estimate = bits_per_dim(likelihood.nats(x, NOBODY, rng()).numpy(), PLAIN.shape)
        assert estimate.value == pytest.approx(8.0, abs=1e-4)
        # and one that is not uniform does not
        assert abs(bits_per_dim(vae().likelihoods()[0].nats(x, NOBODY, rng()).numpy(), PLAIN.shape).value - 8.0) > 0.1


def test_bernoulli_pixels_give_no_likelihood_of_8_bit_images():
    model = vae(likelihood="bernoulli")
    assert model.likelihoods() == ()
    batch = Batch(images())
    assert set(model.watch(batch, batch, Step(0, rng()))) == {"loss_train", "loss_holdout"}
    assert [one.kind for one in vae().likelihoods()] == ["ELBO", "IWAE-50"]
    assert [one.slow for one in vae().likelihoods()] == [False, True]


# the linear VAE is probabilistic PCA (Tipping & Bishop 1999; Lucas et al. 2019)

VARIANCES = torch.tensor([0.4, 0.175, 0.03, 0.0125])  # of the data along four directions of 64


def linear_vae(log_scale, latent=4, **options):
    config = VAEConfig(network="mlp", depth=0, latent=latent, likelihood="gaussian", scale="shared", **options)
    model = VAE(config, PLAIN)
    start = model.observation.log_prob(torch.zeros(1, 1, 8, 8), torch.zeros(1, 2, 8, 8))  # scale e^-2 where the decoder says 0
    assert float(start) == pytest.approx(64 * math.log(math.erf(math.e**2 / 255 / math.sqrt(2))), rel=1e-4)
    with torch.no_grad():
        model.network.decoder.log_scale.fill_(log_scale + 2.0)
    return model


def directions(seed=3):
    return torch.linalg.qr(torch.randn(64, 4, generator=rng(seed), dtype=torch.float64))[0].float()


def gaussian_images(n, noise, seed=4):
    """Images from N(0, U diag(variances) U^T + noise^2): pixels far from the ends of the range, not rounded."""
    generator = rng(seed)
    factors = torch.randn(n, 4, generator=generator) * VARIANCES.sqrt()
    flat = factors @ directions().T + noise * torch.randn(n, 64, generator=generator)
    return flat.view(n, 1, 8, 8)


def solve(model, noise):
    """Put the closed-form optimum of probabilistic PCA into a linear VAE: W = U (L - s^2 I)^1/2 and posterior N(M^-1 W^T x, s^2 M^-1)."""
    spread = VARIANCES + noise**2  # the eigenvalues; M is diagonal, and so is the covariance of the posterior
    weight = directions() * VARIANCES.sqrt()
    with torch.no_grad():
        for part in (model.network.decoder.decoder.out, model.network.encoder.out):
            part.weight.zero_()
            part.bias.zero_()
        model.network.decoder.decoder.out.weight.copy_(weight)
        encoder = model.network.encoder.out
        encoder.weight[:4] = weight.T / spread[:, None]
        encoder.bias[4:] = 6 * torch.atanh(0.5 * (noise**2 / spread).log() / 6)


def test_the_linear_vae_at_the_optimum_has_the_likelihood_of_pca():
    noise, u = 0.1, directions()
    model = linear_vae(math.log(noise))
    solve(model, noise)
    x = gaussian_images(20, noise)
    covariance = (u * VARIANCES) @ u.T + noise**2 * torch.eye(64)
    law = torch.distributions.MultivariateNormal(torch.zeros(64).double(), covariance.double())
    want = law.log_prob(x.flatten(1).double()) + 64 * math.log(2 / 255)  # a density times the volume of the bins
    # the posterior is exact: every importance weight is the likelihood itself, whatever was drawn
    for samples in (2, 5):
        assert torch.allclose(model.bound(x, NOBODY, rng(samples), samples).double(), want, atol=0.05)
    elbo = model.bound(x.repeat(400, 1, 1, 1), NOBODY, rng()).view(400, 20)
    assert torch.allclose(elbo.mean(0).double(), want, atol=0.5)
    with torch.no_grad():
        model.network.encoder.out.bias[4:] += 0.5
    assert bool((model.bound(x.repeat(400, 1, 1, 1), NOBODY, rng()).view(400, 20).mean(0) < elbo.mean(0) - 0.5).all())


def test_a_unit_collapses_where_the_observation_variance_exceeds_its_eigenvalue():
    # two directions of the data lie above the observation variance, two below
    variance, noise = 0.0625, 0.05
    model = linear_vae(0.5 * math.log(variance))
    model.network.decoder.log_scale.requires_grad_(False)
    solve(model, noise)  # all four alive, as for pixels without much noise
    x = gaussian_images(4000, noise)
    fit(model, x, steps=300, lr=0.02, batch=128)
    means, kl = model.posterior(x)
    assert int(active_units(means.numpy()).sum()) == 2
    eigenvalues = VARIANCES[:2] + noise**2
    # the divergence of a living unit at the optimum is half the log of how far its eigenvalue is above the variance
    want = 0.5 * (eigenvalues / variance).log()
    assert torch.allclose(kl.mean(0).sort(descending=True).values[:2], want, atol=0.05)
    assert float(kl.mean(0).sort().values[:2].max()) < 0.01


def fit(model, x, steps, lr, batch=64, seed=0):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr, betas=(0.9, 0.99))
    generator, play = rng(seed), model.players()[0].loss
    for step in range(steps):
        chosen = x[torch.randint(len(x), (batch,), generator=generator)]
        terms = play(Batch(chosen), Step(step, generator, progress=step / steps))
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        for p, grad in zip(trained, torch.autograd.grad(terms["loss"], trained), strict=True):
            p.grad = grad
        optimizer.step()
    return model.eval()


REMEDIES = {
    "planted": {},
    "warmup": {"warmup": 0.8},
    "cycles": {"warmup": 0.8, "cycles": 4},
    "free bits": {"free_bits": 0.5},
    "beta": {"beta": 4.0},
}


@pytest.mark.parametrize("remedy", REMEDIES)
def test_each_remedy_mends_a_planted_collapse(remedy):
    """Four binary factors of sixteen pixels each, with one learned scale of all pixels: a heavy divergence then has two stable ends.

    Ignoring the latents, the scale is that of the data, and each nat of divergence saves only 16 nats of pixels, less than its weight
    of 26: the units stay collapsed (Lucas et al. 2019). A latent that tells a factor costs about a nat and saves the logarithm of how
    much the scale shrinks at 16 pixels, which is more: what the first steps do decides.
    """
    signs = torch.randint(0, 2, (2000, 4), generator=rng(1)).float() * 2 - 1
    x = 0.5 * signs.repeat_interleave(16, dim=1) + 0.03 * torch.randn(2000, 64, generator=rng(2))
    torch.manual_seed(0)
    config = VAEConfig(network="mlp", width=32, depth=1, latent=8, scale="shared", **{"beta": 26.0, **REMEDIES[remedy]})
    model = fit(VAE(config, PLAIN), x.view(-1, 1, 8, 8), steps=300, lr=0.02)
    means, kl = model.posterior(x.view(-1, 1, 8, 8))
    share = float(active_units(means.numpy()).mean())
    if remedy == "planted":
        assert share < 0.1
        assert float(kl.sum(1).mean()) < 0.1
    else:
        assert share >= 0.5
        assert float(kl.sum(1).mean()) > 0.4


def test_the_prior_of_each_class_is_a_change_of_units():
    model = vae(LABELED)
    x, label = images(1).repeat(5000, 1, 1, 1), torch.full((5000,), 2)
    with torch.no_grad():
        center, log_spread = moments(model.network.prior.moments(label[:1]))
        mean, log_scale = model.network.encode(x[:1])
        inference = model._infer(model._encode(x), label, rng())
    want = kl_divergence(Normal(mean, log_scale.exp()), Normal(center, log_spread.exp()))
    assert torch.allclose(inference.kl[0][:1, :, 0], want, rtol=1e-4)
    assert float((want - kl_standard(mean, log_scale)).abs().max()) > 0.1
    gap = want.sum() + inference.log_weight
    assert float(gap.mean()) == pytest.approx(0, abs=4.5 * float(gap.std()) / 5000**0.5)


@pytest.mark.parametrize("make", [vae, hvae])
def test_latents_are_what_samples_are_made_of(make):
    model = make(LABELED)
    assert isinstance(model, HasEncoder)
    assert isinstance(model, HasPosterior)
    label = torch.tensor([0, 1, 2])
    x = images(3)
    z = model.encode(x, Condition(label))
    assert torch.allclose(
        model.sample(Noise(3, seed=5), Condition(label)), model.decode(Noise(3, seed=5).normal(z.shape[1]), Condition(label))
    )
    means, kl = model.posterior(x, Condition(label))
    assert means.shape == kl.shape
    assert bool((kl >= 0).all())
    expected = model.bound(x.repeat(50, 1, 1, 1), Condition(label.repeat(50)), rng())
    assert torch.isfinite(expected).all()
    assert not torch.allclose(model.decode(z, Condition(label)), model.decode(z, Condition(label.flip(0))))
    with pytest.raises(UserError, match="needs labels"):
        model.decode(z)


def test_the_units_of_a_map_are_its_channels():
    model = hvae(channels=2, latent=3)
    x = images(5)
    means, kl = model.posterior(x)
    assert means.shape == (5, 3 + 2)
    inference = model._infer(model._encode(x), None, None)
    assert torch.allclose(kl.sum(1), sum(level.flatten(1).sum(1) for level in inference.kl), rtol=1e-5)
    assert torch.allclose(means[:, :3], model.encode(x)[:, :3])
    # the sum over positions, normalized, of standard normal numbers is standard normal
    assert torch.allclose(means[:, 3], model.encode(x)[:, 3:].view(5, 2, 16)[:, 0].sum(1) / 4, atol=1e-6)


def test_a_cold_ladder_draws_one_image_of_each_label():
    model = hvae(LABELED)
    label = Condition(torch.tensor([0, 0, 1]))
    cold, warm = (model.sample(Noise(3, seed=1), label, options=HVAESampling(temperature=t)) for t in (0.0, 1.0))
    assert torch.allclose(cold[0], cold[1])
    assert not torch.allclose(cold[0], cold[2])
    assert not torch.allclose(warm[0], warm[1])
    with pytest.raises(UserError, match="temperature"):
        model.sample(Noise(1), options=HVAESampling(temperature=-1.0))


@pytest.mark.parametrize("spec", [ImageSpec(28, 1, ("a", "b")), ImageSpec(33, 3), ImageSpec(9, 1)])
def test_a_map_of_every_size_of_image(spec):
    label = torch.zeros(2, dtype=torch.int64) if spec.classes else None
    for model in (vae(spec, network="conv", width=8), hvae(spec)):
        nats = model.bound(images(2, spec), Condition(label), rng())
        assert nats.shape == (2,)
        assert bool(torch.isfinite(nats).all())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"likelihood": "bernoulli", "components": 2}, "`model.components=1`"),
        ({"cycles": 3}, "`model.warmup="),
        ({"scale": "shared", "components": 2}, "`model.scale=pixel`"),
        ({"scale": "shared", "likelihood": "bernoulli"}, "`model.scale=pixel`"),
    ],
)
def test_contradictions_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        VAE(VAEConfig(**options), PLAIN)


def test_a_conditional_model_without_labels_falls_back_or_asks():
    assert not vae(PLAIN).conditional
    assert vae(LABELED).conditional
    with pytest.raises(UserError, match="needs labels"):
        loss(vae(LABELED), images())
