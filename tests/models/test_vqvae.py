"""The VQ-VAE: its codebook against running means in closed form, its gradient, its prior and its bound."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from calotype.capabilities import HasEncoder
from calotype.errors import UserError
from calotype.losses.discretized import images_of
from calotype.models.vqvae import VQVAE, VQVAEConfig, VQVAESampling
from calotype.networks.codeprior import CodePrior, invert, middles
from calotype.networks.quantizer import Quantizer, perplexity, straight_through
from calotype.types import Batch, Condition, ImageSpec, Noise, Step

LABELED = ImageSpec(8, 1, ("a", "b", "c"))
TINY = {"width": 8, "codes": 6, "features": 4, "prior_width": 16, "prior_depth": 2, "prior_heads": 2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(module, seed=0):
    """Random weights everywhere: new blocks pass through what they are given."""
    generator = rng(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (1.0 / max(1, p[0].numel() if p.ndim > 1 else 1)) ** 0.5)
    return module.eval()


def model(spec=LABELED, **options):
    made = noisy(VQVAE(VQVAEConfig(**{**TINY, **options}), spec))
    made.quantizer.codebook.copy_(torch.randn(made.quantizer.codebook.shape, generator=rng(1)))
    return made


def batch(n=6, seed=0):
    return Batch(images_of(torch.randint(256, (n, 1, 8, 8), generator=rng(seed))), Condition(torch.arange(n) % 3))


def prior(codes=3, length=4, **options):
    return noisy(CodePrior(codes, length, width=16, depth=2, heads=2, **options))


def test_the_codebook_is_the_running_mean_of_what_is_assigned_to_it():
    quantizer = Quantizer(3, 2, decay=0.9)
    vectors = torch.randn(40, 2, 1, 1, generator=rng())
    codes = torch.randint(0, 2, (40, 1, 1), generator=rng(1))  # nothing is assigned to the third
    steps = 25
    for _ in range(steps):
        quantizer.learn(vectors, codes)
    kept = 1 - 0.9**steps  # of a constant, after so many steps from zero
    flat, index = vectors.flatten(1), codes.flatten()
    for code in range(2):
        assigned = flat[index == code]
        assert float(quantizer.counts[code]) == pytest.approx(kept * len(assigned), rel=1e-4)
        assert torch.allclose(quantizer.codebook[code], assigned.mean(0), atol=1e-3)
    # another batch moves it by the share that it has of all that was seen
    quantizer.learn(vectors + 1, codes)
    mine, old = flat[index == 0].mean(0), 0.9 * kept
    want = (old * mine + 0.1 * (mine + 1)) / (old + 0.1)
    assert torch.allclose(quantizer.codebook[0], want, atol=1e-3)


def test_running_means_settle_where_k_means_does():
    centers = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0]])
    vectors = (centers.repeat(50, 1) + 0.1 * torch.randn(150, 2, generator=rng()))[:, :, None, None]
    quantizer = Quantizer(3, 2, decay=0.8)
    for step in range(60):
        codes = quantizer.nearest(vectors)
        quantizer.learn(vectors, codes, rng(step))
    codes = quantizer.nearest(vectors).flatten()
    assert sorted(torch.bincount(codes, minlength=3).tolist()) == [50, 50, 50]
    for code in range(3):
        assert torch.allclose(quantizer.codebook[code], vectors.flatten(1)[codes == code].mean(0), atol=1e-3)


def test_dead_codes_begin_again_at_vectors_of_the_batch_and_living_ones_stay():
    quantizer = Quantizer(4, 2)
    vectors = torch.randn(64, 2, 1, 1, generator=rng())
    codes = torch.zeros(64, 1, 1, dtype=torch.int64)
    for _ in range(600):
        quantizer.learn(vectors, codes)
    living = quantizer.codebook[0].clone()
    quantizer.learn(vectors, codes, rng(1))
    assert torch.allclose(quantizer.codebook[0], living, atol=1e-4)
    for code in (1, 2, 3):
        assert float((vectors.flatten(1) - quantizer.codebook[code]).norm(dim=1).min()) < 1e-3


def test_the_nearest_code_is_the_nearest():
    quantizer = Quantizer(7, 3)
    maps = torch.randn(5, 3, 4, 4, generator=rng())
    want = torch.cdist(maps.movedim(1, -1).reshape(-1, 3), quantizer.codebook).argmin(1).view(5, 4, 4)
    assert torch.equal(quantizer.nearest(maps), want)
    assert torch.equal(quantizer.look_up(want)[2, :, 1, 3], quantizer.codebook[want[2, 1, 3]])


def test_the_gradient_goes_straight_through():
    maps = torch.randn(2, 3, 4, 4, generator=rng(), requires_grad=True)
    quantized = torch.randn(2, 3, 4, 4, generator=rng(1))
    out = straight_through(maps, quantized)
    assert torch.allclose(out, quantized, atol=1e-6)
    (grad,) = torch.autograd.grad(out.square().sum(), maps)
    assert torch.allclose(grad, 2 * quantized, atol=1e-5)


def test_perplexity_counts_the_codes_in_use():
    assert float(perplexity(torch.zeros(10, dtype=torch.int64), 8)) == pytest.approx(1)
    assert float(perplexity(torch.arange(8).repeat(5), 8)) == pytest.approx(8)
    assert float(perplexity(torch.tensor([0, 0, 1, 1]), 8)) == pytest.approx(2)


@pytest.mark.parametrize("classes", [0, 2])
def test_the_probabilities_of_all_sequences_sum_to_one(classes):
    net = prior(classes=classes)
    codes = torch.tensor(list(itertools.product(range(3), repeat=4)))
    label = torch.ones(len(codes), dtype=torch.int64) if classes else None
    with torch.no_grad():
        nats = -F.cross_entropy(net(codes, label).movedim(-1, 1), codes, reduction="none").sum(1)
    assert float(nats.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert float(nats.max() - nats.min()) > 0.5


def test_drawing_with_a_cache_follows_the_probabilities_without_one():
    net = prior(codes=5, length=9)
    uniform = torch.rand(6, 9, generator=rng(), dtype=torch.float64)
    codes = net.draw(uniform)
    logits = net(codes)
    for place in range(9):
        assert torch.equal(invert(logits[:, place], uniform[:, place]), codes[:, place])
    assert torch.equal(net.draw(middles(logits, codes)), codes)
    assert not torch.equal(net.draw(uniform, temperature=0.01), codes)


def test_numbers_choose_outcomes_by_their_shares():
    logits = torch.tensor([0.5, 0.2, 0.3]).log().expand(30_000, 3)
    drawn = invert(logits, torch.rand(30_000, generator=rng()))
    assert torch.allclose(torch.bincount(drawn) / 30_000, torch.tensor([0.5, 0.2, 0.3]), atol=0.01)
    assert invert(logits[:3], torch.tensor([0.0, 0.4999, 0.7001])).tolist() == [0, 0, 2]


def test_the_bound_adds_what_the_codes_and_the_pixels_cost():
    made, x = model(), batch()
    with torch.no_grad():
        codes = made.quantizer.nearest(made._maps(x.image))
        of_codes = made.prior(codes.flatten(1), x.condition.label).log_softmax(-1).gather(2, codes.flatten(1)[..., None]).sum((1, 2))
        of_pixels = made.observation.log_prob(x.image, made._decode(made.quantizer.look_up(codes)))
    (likelihood,) = made.likelihoods()
    assert likelihood.kind == "ELBO"
    got = likelihood.nats(x.image, x.condition, rng())
    assert torch.allclose(got, of_codes + of_pixels, rtol=1e-4)
    # a lower bound of the sum over all codes: here over those that differ in one place
    flips = codes[:1].flatten(1).repeat(6, 1)
    flips[:, 3] = torch.arange(6)
    with torch.no_grad():
        given = made.observation.log_prob(x.image[:1].expand(6, -1, -1, -1), made._decode(made.quantizer.look_up(flips.view(6, 4, 4))))
        cost = made.prior(flips, x.condition.label[:1].expand(6)).log_softmax(-1).gather(2, flips[..., None]).sum((1, 2))
    assert float((given + cost).logsumexp(0)) >= float(got[0]) - 1e-3


def test_latents_choose_the_codes_of_an_image():
    made, x = model(), batch()
    assert isinstance(made, HasEncoder)
    z = made.encode(x.image, x.condition)
    assert z.shape == (6, *made.latent_shape)
    with torch.no_grad():
        codes = made.quantizer.nearest(made._maps(x.image))
        want = made.observation.mean(made._decode(made.quantizer.look_up(codes)))
    assert torch.allclose(made.decode(z, x.condition), want, atol=1e-5)
    drawn = made.sample(Noise(6, seed=2), x.condition)
    assert torch.allclose(drawn, made.decode(Noise(6, seed=2).normal(*made.latent_shape), x.condition))
    assert not torch.allclose(drawn, made.sample(Noise(6, seed=2), x.condition, options=VQVAESampling(temperature=0.05)))


def test_only_a_training_step_moves_the_codebook():
    made, x = model(), batch()
    before = {name: t.clone() for name, t in made.quantizer.state_dict().items()}
    made.watch(x, x, Step(0, rng()))
    made.sample(Noise(2))
    made.encode(x.image, x.condition)
    assert all(torch.equal(before[name], t) for name, t in made.quantizer.state_dict().items())
    made.train()
    made.players()[0].loss(x, Step(0, rng()))
    assert not torch.equal(before["codebook"], made.quantizer.codebook)


def test_the_prior_learns_from_the_codes_of_the_same_step_and_leaves_the_autoencoder_alone():
    made, x = model(), batch()
    step = Step(0, rng(), progress=0.9)
    autoencoder, coder = made.players()
    autoencoder.loss(x, step)
    assert "codes" in step.cache
    with_cache = coder.loss(x, step)["loss"]
    without = coder.loss(x, Step(0, rng()))["loss"]
    assert float(with_cache) == pytest.approx(float(without), rel=1e-6)
    grads = torch.autograd.grad(with_cache, list(made.autoencoder.parameters()), allow_unused=True)
    assert all(g is None for g in grads)
    assert math.isfinite(float(with_cache))


def test_contradictions_are_refused():
    with pytest.raises(UserError, match="give a divisor"):
        model(prior_heads=3)
    with pytest.raises(UserError, match="temperature"):
        model().sample(Noise(1), options=VQVAESampling(temperature=0.0))
    with pytest.raises(UserError, match="needs labels"):
        model().encode(batch().image)
