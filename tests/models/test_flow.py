"""The bound of whole flows against exact probabilities, their latents, and what depends on the first batch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from calotype.errors import UserError
from calotype.flows.base import normal_log_prob
from calotype.flows.linear import ActNorm
from calotype.models import FlowConfig, TarFlowConfig, build
from calotype.models.dequantized import DequantizedFlow, PixelsName
from calotype.types import Batch, Condition, ImageSpec, Noise, Step

GLOW = FlowConfig(width=6, depth=2, levels=1)
REALNVP = FlowConfig(architecture="realnvp", width=6, depth=2, levels=2)
TARFLOW = TarFlowConfig(width=8, heads=2, depth=2, layers=1, patch=1)
CONFIGS = {"glow": GLOW, "realnvp": REALNVP, "tarflow": TARFLOW}
every_flow = pytest.mark.parametrize("name", CONFIGS)
LABELS = ("a", "b", "c")


def flow(config: FlowConfig | TarFlowConfig, size: int, channels: int = 1, labels: tuple[str, ...] = LABELS) -> DequantizedFlow:
    """In float64, with weights far from their start."""
    torch.manual_seed(0)
    model = build(config, ImageSpec(size, channels, labels)).double().eval()
    assert isinstance(model, DequantizedFlow)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def images(*values: int, channels: int = 1) -> Tensor:
    """One image for each row of 8-bit values."""
    side = math.isqrt(len(values) // channels)
    return (torch.tensor(values, dtype=torch.float64) / 127.5 - 1).view(1, channels, side, side)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_flow
@pytest.mark.parametrize("pixels", ["scale", "logit", "histogram"])
def test_the_volume_of_a_whole_flow_is_that_of_its_jacobian(name: str, pixels: PixelsName) -> None:
    levels = {"levels": 2} if name != "tarflow" else {}
    model = flow(replace(CONFIGS[name], pixels=pixels, **levels), size=4, channels=3)
    torch.manual_seed(1)
    x, label = torch.rand(1, 3, 4, 4, dtype=torch.float64), torch.tensor([1])
    context = model._context(label, 1)
    with torch.no_grad():
        z, log_abs_det = model.flow(x, context)
        assert torch.allclose(model.flow.inverse(z, context), x, atol=1e-8)
        if pixels == "scale":  # the others put what is far out at an end of the interval
            other, _ = model.flow(model.flow.inverse(0.5 * z, context), context)
            assert torch.allclose(other, 0.5 * z, atol=1e-8)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.flow(v, context)[0], x).reshape(48, 48)
    assert abs(float(log_abs_det - torch.linalg.slogdet(jacobian).logabsdet)) <= 1e-8


@every_flow
@pytest.mark.parametrize(("size", "channels"), [(9, 1), (8, 3)])
def test_a_new_flow_of_normal_pixels_gives_every_image_eight_bits(name: str, size: int, channels: int) -> None:
    config = replace(CONFIGS[name], dequantization="uniform")
    if isinstance(config, TarFlowConfig):
        config = replace(config, patch=4)
    model = build(config, ImageSpec(size, channels)).eval()
    torch.manual_seed(0)
    x = torch.randint(0, 256, (5, channels, size, size)) / 127.5 - 1
    nats = model.likelihoods()[0].nats(x, Condition(), rng())
    assert torch.allclose(-nats / (math.log(2) * channels * size**2), torch.full((5,), 8.0), atol=1e-3)


def cell(model: DequantizedFlow, x: Tensor, label: Tensor | None, nodes: int) -> float:
    """The exact log-probability of an 8-bit image: the density integrated over the cell of all its pixels (and over the pad)."""
    line = torch.linspace(-16, 16, nodes, dtype=torch.float64)  # of the logit of u, in which the ends of the cell are far away
    width = float(line[1] - line[0])
    free = model.latent_shape[0]
    grid = torch.cartesian_prod(*[line] * free).view(-1, free)
    side = model.spec.size + model.pad
    base = torch.zeros(model.spec.channels, side, side, dtype=torch.float64)
    base[:, : model.spec.size, : model.spec.size] = (x[0] * 127.5 + 127.5).round()
    spread = torch.full((model.spec.channels, side, side), 256.0, dtype=torch.float64)  # the pad reaches from 0 to 1
    spread[:, : model.spec.size, : model.spec.size] = 1
    points = (base + spread * torch.sigmoid(grid).view(-1, model.spec.channels, side, side)) / 256
    measure = (torch.nn.functional.logsigmoid(grid) + torch.nn.functional.logsigmoid(-grid)).sum(1) + free * math.log(width)
    measure = measure + torch.log(spread / 256).sum()
    label = None if label is None else label.expand(len(points))
    with torch.no_grad():
        z, log_abs_det = model.flow(points, model._context(label, len(points)))
    return float(torch.logsumexp(normal_log_prob(z) + log_abs_det + measure, 0))


def bounds(model: DequantizedFlow, x: Tensor, label: Tensor | None, draws: int) -> tuple[float, float, float]:
    """Of many draws: the mean bound, its standard error, and the mean of the bound with sixteen draws."""
    condition = Condition(None if label is None else label.expand(draws))
    plain, tighter = model.likelihoods()
    once = plain.nats(x.expand(draws, -1, -1, -1), condition, rng())
    few = Condition(None if label is None else label.expand(draws // 16))
    many = tighter.nats(x.expand(draws // 16, -1, -1, -1), few, rng(1))
    return float(once.mean()), float(once.std()) / math.sqrt(draws), float(many.mean())


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [("tarflow", 1, 1), ("tarflow", 1, 2), ("glow", 2, 1), ("realnvp", 2, 1), ("glow", 1, 1)],
)
@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
def test_the_bound_is_below_the_exact_probability(name: str, size: int, channels: int, dequantization: str) -> None:
    model = flow(replace(CONFIGS[name], dequantization=dequantization), size, channels)
    with torch.no_grad():  # most pixels are black: the density changes much within their cell
        model.flow.transforms[0].logits[0] = 8.0  # type: ignore[union-attr, index]
    x, label = torch.full((1, channels, size, size), -1.0, dtype=torch.float64), torch.tensor([2])
    exact = cell(model, x, label, 200 if model.latent_shape[0] < 4 else 16)
    mean, error, tighter = bounds(model, x, label, 2048)
    assert mean < exact - 4 * error
    assert mean < tighter < exact + 4 * error
    assert exact - tighter < 0.9 * (exact - mean)


def test_the_probabilities_of_all_images_of_one_pixel_sum_to_one() -> None:
    model = flow(TARFLOW, 1)
    with torch.no_grad():
        model.flow.transforms[0].margin = 1e-12  # type: ignore[union-attr, assignment]
    total = sum(math.exp(cell(model, images(k), torch.tensor([0]), 100)) for k in range(256))
    assert abs(total - 1) < 1e-3


def test_learned_noise_makes_the_bound_tighter() -> None:
    model = flow(replace(TARFLOW, dequantization="variational"), 1, 2)
    twin = flow(replace(TARFLOW, dequantization="uniform"), 1, 2)
    twin.flow.load_state_dict(model.flow.state_dict())
    twin.embed.load_state_dict(model.embed.state_dict())  # type: ignore[union-attr]
    for each in (model, twin):
        with torch.no_grad():
            each.flow.transforms[0].logits[0] = 8.0  # type: ignore[union-attr, index]
    x, label = images(0, 0, channels=2), torch.tensor([2])
    optimizer = torch.optim.Adam(model.dequantize.parameters(), lr=0.03)
    for step in range(100):
        loss = -model(x.expand(64, -1, -1, -1), label.expand(64), rng(step)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    exact = cell(model, x, label, 200)
    learned, error, _ = bounds(model, x, label, 2048)
    uniform, _, _ = bounds(twin, x, label, 2048)
    assert uniform + 0.02 < learned < exact + 4 * error


@every_flow
def test_latents_there_and_back(name: str) -> None:
    config = CONFIGS[name]
    config = replace(config, patch=2) if isinstance(config, TarFlowConfig) else replace(config, levels=2)
    torch.manual_seed(0)
    model = flow(config, 8, 3)
    x = torch.randint(0, 256, (4, 3, 8, 8)).double() / 127.5 - 1
    condition = Condition(torch.tensor([0, 1, 2, 0]))
    with torch.no_grad():
        z = model.encode(x, condition)
        assert z.shape == (4, *model.latent_shape)
        assert torch.allclose(model.decode(z, condition), x, atol=1e-7)
        assert not torch.allclose(model.decode(z, Condition(torch.tensor([1, 2, 0, 1]))), x, atol=1e-2)


@every_flow
def test_a_padded_image_comes_back_too(name: str) -> None:
    config = CONFIGS[name]
    config = replace(config, patch=4) if isinstance(config, TarFlowConfig) else replace(config, levels=3 if name == "realnvp" else 2)
    model = flow(config, 9)
    x = torch.randint(0, 256, (2, 1, 9, 9)).double() / 127.5 - 1
    with torch.no_grad():
        assert model.encode(x).shape == (2, 144)
        assert torch.allclose(model.decode(model.encode(x)), x, atol=1e-7)


def test_the_pad_is_noise_of_density_one() -> None:
    model = flow(replace(GLOW, levels=2), 9)
    points = torch.full((4000, 1, 9, 9), 0.25, dtype=torch.float64)
    padded = model._padded(points, rng())
    assert padded.shape == (4000, 1, 12, 12)
    assert torch.equal(padded[..., :9, :9], points)
    pad = torch.cat([padded[..., 9:, :].flatten(), padded[..., :9, 9:].flatten()])
    counts = torch.histc(pad, 10, 0, 1)
    assert float(counts.sum()) == len(pad)
    assert float((counts / len(pad) - 0.1).abs().max()) < 0.003


@every_flow
def test_temperature_scales_the_latents(name: str) -> None:
    config = replace(CONFIGS[name], temperature=1.0)
    model = build(replace(config, patch=4) if isinstance(config, TarFlowConfig) else config, ImageSpec(8, 1))
    with torch.no_grad():
        cold = model.sample(Noise(3, seed=1), options=model.sampling(temperature=0.0))
        assert torch.allclose(cold[0], cold[1])
        cool, warm = (model.sample(Noise(3, seed=1), options=model.sampling(temperature=t)) for t in (0.5, 1.0))
        assert float(cool.std()) < float(warm.std())
        assert torch.equal(warm, model.sample(Noise(3, seed=1)))


def test_actnorm_is_set_by_the_first_training_step_alone() -> None:
    torch.manual_seed(0)
    model = build(replace(GLOW, levels=2), ImageSpec(8, 1, LABELS))
    first = next(m for m in model.modules() if isinstance(m, ActNorm))
    batch = Batch(torch.rand(16, 1, 8, 8) - 0.9, Condition(torch.arange(16) % 3))
    step = Step(0, rng())
    model.train()
    model.watch(batch, batch, step)
    model.likelihoods()[0].nats(batch.image, batch.condition, rng())
    model.encode(batch.image)  # type: ignore[operator]
    model.sample(Noise(2))
    assert not bool(model.initialized)
    assert float(first.log_scale.detach().abs().max()) == 0
    (player,) = model.players()
    loss = player.loss(batch, step)["loss"]
    assert bool(model.initialized)
    kept = first.log_scale.clone()
    assert float(kept.detach().abs().max()) > 0
    player.loss(replace(batch, image=-batch.image), step)
    assert torch.equal(kept, first.log_scale)
    assert float(loss.detach()) < 8  # the histogram of the batch alone is worth something
    reloaded = build(model.config, model.spec)
    reloaded.load_state_dict(model.state_dict())
    assert bool(reloaded.initialized)


def test_the_first_batch_leaves_every_actnorm_standardized() -> None:
    torch.manual_seed(0)
    model = build(replace(GLOW, levels=2, depth=3), ImageSpec(8, 3))
    seen: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, ActNorm):
            module.register_forward_hook(lambda m, args, out: seen.append(out[0].detach()))
    batch = Batch(torch.rand(64, 3, 8, 8).square() * 2 - 1)
    model.players()[0].loss(batch, Step(0, rng()))
    assert len(seen) == 6
    for z in seen:  # of the first step, whose noise is not that of the pass before it which set them
        assert float(z.mean((0, 2, 3)).abs().max()) < 0.02
        assert float((z.std((0, 2, 3)) - 1).abs().max()) < 0.02


def test_labels_change_the_likelihood_and_may_be_missing() -> None:
    model = flow(TARFLOW, 2)
    (plain, _), x = model.likelihoods(), images(3, 200, 0, 7)
    values = [float(plain.nats(x, Condition(None if k is None else torch.tensor([k])), rng())) for k in (0, 1, 2, None)]
    assert len({round(v, 6) for v in values}) == 4


def test_heads_that_do_not_share_the_width_are_refused() -> None:
    with pytest.raises(UserError, match=r"`model\.heads"):
        build(TarFlowConfig(width=10, heads=4), ImageSpec(8, 1))
