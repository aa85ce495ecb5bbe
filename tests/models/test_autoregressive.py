"""Autoregressive models: exact likelihoods, exact samples, and both the same whichever way they are computed."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.flop_counter import FlopCounterMode

from calotype.capabilities import Completes
from calotype.errors import UserError
from calotype.losses.discretized import images_of, levels
from calotype.models.autoregressive import Autoregressive, AutoregressiveConfig, AutoregressiveSampling
from calotype.recipes.autoregressive import pixel_transformer, pixel_transformer_published, pixelcnn, pixelcnn_published
from calotype.types import Batch, Condition, ImageSpec, Noise, Step

TINY = {"width": 8, "depth": 2, "heads": 2, "segment": 2, "dropout": 0.0}
CLASSES = ("a", "b")
both = pytest.mark.parametrize("network", ["pixelcnn", "transformer"])
outputs = pytest.mark.parametrize("output", ["softmax", "mixture"])


def model(shape=(1, 8), classes=(), levels=256, size=0.3, seed=0, **options):
    """A small model whose weights are random everywhere."""
    channels, pixels = shape
    torch.manual_seed(seed)
    made = Autoregressive(AutoregressiveConfig(**{**TINY, **options}), ImageSpec(pixels, channels, classes), levels).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * size)
    return made


def pictures(n, shape, seed=0):
    channels, pixels = shape
    return images_of(torch.randint(0, 256, (n, channels, pixels, pixels), generator=torch.Generator().manual_seed(seed)))


def binary(shape):
    """Every image of two levels."""
    channels, pixels = shape
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=channels * pixels**2))).view(-1, channels, pixels, pixels)


@both
@pytest.mark.parametrize("shape", [(1, 3), (3, 2)])
def test_the_probabilities_of_all_binary_images_sum_to_one(network, shape):
    """2^9 images of 3 x 3 pixels, and 2^12 of 2 x 2 pixels in color: the factorization is exact, within a pixel too."""
    made, every = model(shape, CLASSES, levels=2, network=network), binary(shape)
    for label in range(2):
        with torch.no_grad():
            chances = made.log_prob(every, Condition(torch.full((len(every),), label))).double().exp()
        assert abs(float(chances.sum()) - 1) < 1e-5
        assert float(chances.max() / chances.min()) > 3  # far from uniform


@both
@pytest.mark.parametrize("shape", [(1, 8), (3, 9)])
def test_a_new_softmax_is_uniform_and_costs_exactly_8_bits(network, shape):
    made = Autoregressive(AutoregressiveConfig(**{**TINY, "network": network}), ImageSpec(shape[1], shape[0])).eval()
    (exact,) = made.likelihoods()
    assert exact.kind == "exact"
    images = pictures(5, shape)
    nats = exact.nats(images, Condition(), torch.Generator())
    assert nats.dtype == torch.float32
    assert torch.allclose(nats / (np.log(2) * images[0].numel()), torch.tensor(-8.0), atol=1e-5)
    assert abs(float(made.players()[0].loss(Batch(images), Step(0, torch.Generator()))["loss"]) - 8) < 1e-5


def test_the_logits_of_a_color_see_the_colors_before_it_and_no_other():
    made = model((3, 4)).double()
    x = (torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1).requires_grad_()
    row, column = 2, 1
    features = made.network.body(x)[..., row, column]
    for color in range(3):
        logits = made.network.head.logits_of(features, x[..., row, column], color)
        (gradient,) = torch.autograd.grad(logits.sum(), x, retain_graph=True)
        of_pixel = gradient[0, :, row, column].abs()
        assert (of_pixel[color:] == 0).all()
        assert (of_pixel[:color] > 0).all()
        after = gradient[0].flatten(1)[:, row * 4 + column + 1 :]
        assert (after == 0).all()
        assert (gradient[0, :, row, column - 1].abs() > 0).all()


def uncached(made, canvas, first, uniform, label):
    """What `sample` and `complete` should draw, from a pass over the whole image for every pixel."""
    for row in range(first, canvas.shape[2]):
        for column in range(canvas.shape[3]):
            features = made.network.body(canvas, label)[:, :, row, column]
            canvas[:, :, row, column] = made.network.head.draw(features, uniform[:, row, column], 1.0)
    return canvas


@both
@outputs
@pytest.mark.parametrize("shape", [(1, 8), (3, 9)])
@torch.no_grad()
def test_cached_samples_are_those_of_whole_passes(network, output, shape):
    made = model(shape, CLASSES, network=network, output=output)
    label = torch.tensor([0, 1, 1, 0, 1])
    channels, size = shape
    uniform = Noise(5, seed=3).uniform(size, size, channels + 1)
    expected = uncached(made, torch.zeros(5, channels, size, size), 0, uniform, label)
    drawn = made.sample(Noise(5, seed=3), Condition(label))
    # a number that falls on the edge between two values may fall to either side, and what follows then differs
    assert float((drawn == expected).flatten(1).all(1).float().mean()) >= 0.8
    assert torch.equal(drawn, images_of(levels(drawn)))
    assert len(drawn.unique()) > 20

    known = pictures(5, shape)
    expected = uncached(made, torch.cat([known[:, :, :3], torch.zeros_like(known[:, :, 3:])], 2), 3, uniform, label)
    completed = made.complete(known, 3, Noise(5, seed=3), Condition(label))
    assert float((completed == expected).flatten(1).all(1).float().mean()) >= 0.8


@pytest.mark.parametrize(("network", "segment"), [("pixelcnn", 1), ("transformer", 1), ("transformer", 4)])
@torch.no_grad()
def test_drawing_an_image_costs_about_one_pass_and_not_one_for_each_pixel(network, segment):
    made = model((1, 8), network=network, segment=segment)
    with FlopCounterMode(display=False) as one:
        made.network.body(torch.zeros(8, 1, 8, 8))
    with FlopCounterMode(display=False) as all_of_them:
        made.sample(Noise(8))
    assert 0 < all_of_them.get_total_flops() < 64 / 10 * one.get_total_flops()


@both
@pytest.mark.parametrize("first", [0, 1, 2])
def test_samples_and_completions_are_as_frequent_as_their_probabilities_say(network, first):
    """All binary 3 x 3 images with the first rows given: conditional probabilities by enumeration."""
    made, every, n = model((1, 3), levels=2, network=network, size=0.5), binary((1, 3)), 4000
    known = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0], [0.0, 0.0, 0.0]]).expand(n, 1, 3, 3)
    drawn = made.complete(known, first, Noise(n, seed=5))
    assert torch.equal(drawn[:, :, :first], known[:, :, :first])
    possible = every[(every[:, :, :first] == known[0, :, :first]).flatten(1).all(1)]
    with torch.no_grad():
        expected = made.log_prob(possible).double().softmax(0).numpy() * n
    counts = torch.tensor([int((drawn == image).flatten(1).all(1).sum()) for image in possible]).double().numpy()
    assert counts.sum() == n
    often = expected >= 8
    observed, wanted = (np.append(values[often], values[~often].sum()) for values in (counts, expected))
    keep = wanted > 0
    assert keep.sum() > 5
    assert chisquare(observed[keep], wanted[keep]).pvalue > 1e-3


@both
def test_completion_keeps_the_known_rows_and_ignores_the_others(network):
    made = model(network=network)
    assert isinstance(made, Completes)
    known = pictures(4, (1, 8))
    completed = made.complete(known, 5, Noise(4, seed=1))
    assert torch.equal(completed[:, :, :5], known[:, :, :5])
    assert not torch.equal(completed[:, :, 5:], known[:, :, 5:])
    other = torch.cat([known[:, :, :5], -known[:, :, 5:]], dim=2)
    assert torch.equal(made.complete(other, 5, Noise(4, seed=1)), completed)
    assert torch.equal(made.complete(known, 8, Noise(4)), known)
    assert torch.equal(made.complete(known, 0, Noise(4, seed=1)), made.sample(Noise(4, seed=1)))
    with pytest.raises(UserError, match="9 rows"):
        made.complete(known, 9, Noise(4))


@outputs
def test_a_cold_sample_varies_less(output):
    made = model(output=output)
    warm, cold = (made.sample(Noise(16, seed=2), options=AutoregressiveSampling(temperature=t)) for t in (1.0, 1e-5))
    assert float(cold.var(0).mean()) < 0.1 * float(warm.var(0).mean())
    assert torch.equal(made.sample(Noise(16, seed=2)), warm)


@both
@outputs
def test_it_learns_what_the_pixels_have_in_common(network, output):
    """Images of one row repeated: after the first row everything is known."""
    made = model((1, 8), network=network, output=output, size=0.02, width=16)
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    losses = []
    for index in range(150):
        row = torch.randint(0, 2, (16, 1, 1, 8), generator=rng) * 255
        (player,) = made.players()
        loss = player.loss(Batch(images_of(row).expand(16, 1, 8, 8)), Step(index, rng))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2.5
    assert losses[-1] < {"softmax": 0.4, "mixture": 1.5}[output]  # one bit for each pixel of the first of eight rows is 0.125


def test_watching_reports_both_sides_and_leaves_the_mode_alone():
    made = model(dropout=0.5).train()
    train, holdout = Batch(pictures(4, (1, 8))), Batch(pictures(4, (1, 8), seed=1))
    first, second = (made.watch(train, holdout, Step(0, torch.Generator())) for _ in range(2))
    assert first.keys() == {"bits_train", "bits_holdout"}
    assert first == second
    assert made.training
    assert abs(float(first["bits_holdout"] - made.eval().players()[0].loss(holdout, Step(0, torch.Generator()))["loss"])) < 1e-5


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="heads"):
        model(network="transformer", width=10, heads=4)
    labeled = model(classes=CLASSES)
    with pytest.raises(UserError, match="labels"):
        labeled.log_prob(pictures(2, (1, 8)))
    with pytest.raises(UserError, match="0 to 1"):
        labeled.sample(Noise(1), Condition(torch.tensor([2])))


@pytest.mark.parametrize(("small", "large"), [(pixelcnn, pixelcnn_published), (pixel_transformer, pixel_transformer_published)])
def test_the_published_presets_are_the_same_recipes_built_larger(small, large):
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in Autoregressive(config.model, ImageSpec(32, 3)).parameters()) for config in (small(), large())]
    assert small().recipe == large().recipe
    assert sizes[0] < 2e6 < sizes[1]
    assert large().data.source == "cifar10"
    assert replace(large(), model=small().model).model.network == large().model.network
