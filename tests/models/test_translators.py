"""CycleGAN, CUT and pix2pix: their losses by hand, the pool of earlier translations, what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from calotype.errors import UserError
from calotype.losses.contrastive import patch_nce
from calotype.models import CUT, CUTConfig, CycleGAN, CycleGANConfig, CycleGANSampling, Pix2Pix, Pix2PixConfig, build
from calotype.models.cyclegan import ImagePool
from calotype.networks.patchgan import PatchGAN, halvings_for, patch_size
from calotype.networks.translator import PatchProjector, ResNetTranslator, UNetTranslator
from calotype.types import Batch, Condition, ImageSpec, Noise, Source, Step


def spec(channels: int = 1, source: int = 1, size: int = 16, degradation: str = "", paired: bool = False) -> ImageSpec:
    return ImageSpec(size, channels, source=Source(source, degradation=degradation, paired=paired))


def batch(of: ImageSpec, n: int = 3, seed: int = 0) -> Batch:
    assert of.source is not None
    noise = Noise(n, seed)
    source = noise.uniform(of.source.channels, of.size, of.size) * 2 - 1
    return Batch(noise.uniform(*of.shape) * 2 - 1, Condition(source=source))


def step(seed: int = 0) -> Step:
    return Step(0, torch.Generator().manual_seed(seed))


def unequal(config: Any, of: ImageSpec) -> Any:
    """A model whose weights are far from their start, the same ones every time, in evaluation mode."""
    torch.manual_seed(0)
    model = build(config, of)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model.eval()


def value(x: Tensor) -> float:
    return float(x.detach())


def source_of(of: Batch) -> Tensor:
    assert of.condition.source is not None
    return of.condition.source


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_a_logit_sees_a_patch_and_nothing_beyond(halvings: int) -> None:
    side = patch_size(halvings)
    net = PatchGAN(1, width=4, halvings=halvings)
    # normalization would look at the whole map
    net.body = torch.nn.Sequential(*(layer for layer in net.body if not isinstance(layer, torch.nn.InstanceNorm2d)))
    image = torch.randn(1, 1, 144, 144, requires_grad=True)
    logits = net(image)
    (grad,) = torch.autograd.grad(logits[0, logits.shape[1] // 2, logits.shape[2] // 2], image)
    rows = torch.nonzero(grad[0, 0].abs().sum(1)).flatten()
    assert int(rows.max() - rows.min()) + 1 == side
    assert halvings_for(side) == halvings
    assert halvings_for(4 * side // 5 - 1) == max(1, halvings - 1)


@pytest.mark.parametrize("identity", [0.0, 0.5])
def test_the_losses_of_cyclegan_are_those_of_the_paper(identity: float) -> None:
    model = unequal(CycleGANConfig(width=4, identity_weight=identity, cycle_weight=7.0, pool=0), spec())
    data, g, d = batch(spec()), model.generators, model.discriminators
    a, b = source_of(data), data.image
    fake_a, fake_b = g["b2a"](b), g["a2b"](a)
    discriminator, generator = model.players()
    for cached in (True, False):
        one = step()
        judged = discriminator.loss(data, one)["loss"]
        sides = (("a", a, fake_a), ("b", b, fake_b))
        expected = sum(0.5 * ((d[s](real) - 1) ** 2).mean() + 0.5 * (d[s](fake) ** 2).mean() for s, real, fake in sides)
        assert value(judged) == pytest.approx(value(expected), rel=1e-5)
        made = generator.loss(data, one if cached else step())["loss"]
        cycle = (g["b2a"](fake_b) - a).abs().mean() + (g["a2b"](fake_a) - b).abs().mean()
        own = (g["a2b"](b) - b).abs().mean() + (g["b2a"](a) - a).abs().mean()
        fooled = ((d["a"](fake_a) - 1) ** 2).mean() + ((d["b"](fake_b) - 1) ** 2).mean()
        assert value(made) == pytest.approx(value(fooled + 7.0 * (cycle + identity * own)), rel=1e-5)


def test_sides_of_different_channels_are_translated_both_ways() -> None:
    model = unequal(CycleGANConfig(width=4, identity_weight=0.5), spec(3, 1))
    data = batch(spec(3, 1))
    forth = model.sample(Noise(3), data.condition)
    back = model.sample(Noise(3), Condition(source=forth), options=CycleGANSampling(direction="b2a"))
    assert forth.shape == (3, 3, 16, 16)
    assert back.shape == (3, 1, 16, 16)
    assert "identity" not in model.players()[1].loss(data, step())  # there is none between gray and color
    with pytest.raises(UserError, match="b2a translates pictures of 3 channels, not 1"):
        model.sample(Noise(3), data.condition, options=CycleGANSampling(direction="b2a"))
    with pytest.raises(UserError, match="a2b translates pictures of 1 channel, not 3"):
        model.sample(Noise(3), Condition(source=forth))


def test_noise_on_translations_disturbs_the_cycle_alone_and_repeats() -> None:
    quiet, loud = (unequal(CycleGANConfig(width=4, noise=level), spec()) for level in (0.0, 0.3))
    data = batch(spec())
    terms = [m.players()[1].loss(data, step()) for m in (quiet, loud, loud)]
    assert torch.equal(terms[0]["adversarial"], terms[1]["adversarial"])
    assert not torch.allclose(terms[0]["cycle"], terms[1]["cycle"])
    assert torch.equal(terms[1]["cycle"], terms[2]["cycle"])


def numbered(first: int, count: int) -> Tensor:
    """Images that are their number, one of the 256 levels."""
    return (torch.arange(first, first + count).float() / 127.5 - 1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def told(images: Tensor) -> list[int]:
    return [round(float(v)) for v in (images[:, 0, 0, 0] + 1) * 127.5]


def test_a_pool_fills_and_then_exchanges_half_of_what_comes() -> None:
    pool, rng = ImagePool(50, (1, 2, 2)), torch.Generator().manual_seed(0)
    for start in (0, 20, 40):  # the last one overflows by ten, of which some may be exchanged
        fresh = numbered(start, 20)
        shown = pool.exchange(fresh, rng)
        assert torch.equal(shown[: 50 - start], fresh[: 50 - start])
    assert int(pool.filled) == 50
    swapped, seen = 0, set(range(60))
    for start in range(60, 240, 20):
        kept = set(told(pool.images.float() / 127.5 - 1))
        fresh = numbered(start, 20)
        numbers = told(pool.exchange(fresh, rng))
        held = set(told(pool.images.float() / 127.5 - 1))
        now = set(range(start, start + 20))
        old = [n for n in numbers if n not in now]
        assert set(old) <= kept & seen
        assert len(set(old)) == len(old)  # nobody is shown twice
        assert held == (kept - set(old)) | (now - set(numbers))  # what is not shown is kept in its place
        swapped += len(old)
        seen |= now
    assert 60 < swapped < 120  # of 180; a half is 90


def test_a_pool_is_a_function_of_its_state_and_the_generator() -> None:
    runs = []
    for _ in range(2):
        pool, shown = ImagePool(8, (1, 2, 2)), []
        for start in range(0, 60, 6):
            shown.append(pool.exchange(numbered(start, 6), torch.Generator().manual_seed(start)))
            again = ImagePool(8, (1, 2, 2))
            again.load_state_dict(pool.state_dict())
            pool = again
        runs.append(torch.cat(shown))
    assert torch.equal(*runs)
    assert {name for name, _ in pool.named_buffers()} == {"images", "filled"}


@pytest.mark.parametrize("capacity", [0, 3])
def test_a_small_pool_takes_large_batches(capacity: int) -> None:
    pool = ImagePool(capacity, (1, 2, 2))
    for _ in range(4):
        fresh = numbered(0, 10)
        shown = pool.exchange(fresh, torch.Generator().manual_seed(0))
        assert shown.shape == fresh.shape
        if not capacity:
            assert torch.equal(shown, fresh)


def test_patch_nce_is_the_cross_entropy_of_finding_the_place() -> None:
    noise = Noise(2)
    query, key = (functional.normalize(noise.normal(5, 8), dim=2) for _ in range(2))
    expected = []
    for n in range(2):
        for p in range(5):
            scores = [math.exp(float(query[n, p] @ key[n, q]) / 0.07) for q in range(5)]
            expected.append(-math.log(scores[p] / sum(scores)))
    assert float(patch_nce(query, key)) == pytest.approx(sum(expected) / 10, rel=1e-5)
    same = torch.ones(2, 5, 8) / math.sqrt(8)
    assert float(patch_nce(same, same)) == pytest.approx(math.log(5))
    query.requires_grad_()
    key.requires_grad_()
    of_query, of_key = torch.autograd.grad(patch_nce(query, key), (query, key), allow_unused=True)
    assert float(of_query.abs().max()) > 0
    assert of_key is None


def test_projected_places_are_those_of_the_map() -> None:
    heads = PatchProjector([3], 4)
    maps = Noise(2).normal(3, 5, 7)
    places = torch.tensor([0, 8, 34])
    (found,) = heads([maps], [places])
    by_hand = functional.normalize(heads.heads[0](maps[:, :, [0, 1, 4], [0, 1, 6]].transpose(1, 2)), dim=2)
    assert torch.allclose(found, by_hand)


@pytest.mark.parametrize(("channels", "source"), [(1, 1), (3, 1), (1, 3)])
def test_cut_prefers_translations_that_keep_their_places(channels: int, source: int) -> None:
    model = unequal(CUTConfig(width=4, patches=16), spec(channels, source))
    assert isinstance(model, CUT)
    data = batch(spec(channels, source))
    given = source_of(data)
    own = given.expand(-1, 3, -1, -1) if source == 1 else given.mean(1, keepdim=True)
    kept = model._contrast(own if channels != source else given, given, step())
    mixed = model._contrast((own if channels != source else given).flip(2, 3), given, step())
    assert value(kept) < value(mixed)
    terms = model.players()[1].loss(data, step())
    assert value(terms["loss"]) == pytest.approx(value(terms["adversarial"] + terms["nce"] + terms["identity"]), rel=1e-5)
    assert model.sample(Noise(3), data.condition).shape == (3, channels, 16, 16)


@pytest.mark.parametrize(("halvings", "blocks", "layers"), [(2, 9, [0, 2, 3, 4, 8]), (1, 1, [0, 2, 3]), (0, 3, [0, 2, 3])])
def test_cut_compares_the_layers_of_the_paper(halvings: int, blocks: int, layers: list[int]) -> None:
    model = build(CUTConfig(width=2, halvings=halvings, blocks=blocks), spec(3, 3))
    assert isinstance(model, CUT)
    assert model.layers == layers  # the pixels, each halving, the first and the fifth of nine blocks (Park et al. 2020, appendix C)


def test_the_contrast_of_cut_is_that_of_a_dense_reference() -> None:
    model = unequal(CUTConfig(width=4, patches=10_000, features=8, blocks=3), spec(3, 3))  # all places
    assert isinstance(model, CUT)
    data = batch(spec(3, 3), n=2)
    made, given = data.image, source_of(data)
    net, heads = model.translator["generator"], model.translator["heads"]
    assert isinstance(net, ResNetTranslator)
    assert isinstance(heads, PatchProjector)
    losses = []
    for index, layer in enumerate(model.layers):
        rows = []
        for images in (made, given):
            maps = net.encode(images)[layer]
            vectors = torch.stack([maps[n, :, y, x] for n in range(2) for y in range(maps.shape[2]) for x in range(maps.shape[3])])
            projected = heads.heads[index](vectors)
            rows.append(projected / projected.square().sum(1, keepdim=True).sqrt())
        scores = rows[0] @ rows[1].detach().T / 0.07
        image = torch.arange(len(scores)) // (len(scores) // 2)
        odds = scores.exp() * (image[:, None] == image[None, :])  # other places of the same image are the only wrong answers
        losses.append(-(odds.diagonal() / odds.sum(1)).log().mean())
    expected = torch.stack(losses).mean()
    found = model._contrast(made, given, step())
    assert value(found) == pytest.approx(value(expected), rel=1e-5)
    weights = [p for p in model.translator.parameters() if p.requires_grad]
    for a, b in zip(*(torch.autograd.grad(x, weights, allow_unused=True) for x in (found, expected)), strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-3, atol=1e-6)


def test_the_losses_of_pix2pix_are_those_of_the_paper() -> None:
    of = spec(3, 1, paired=True)
    model, data = unequal(Pix2PixConfig(width=4, l1_weight=50.0), of), batch(of)
    a, b = source_of(data), data.image
    fake = model.generator(a)

    def judge(image: Tensor) -> Tensor:
        logits: Tensor = model.discriminator(torch.cat([a, image], 1))
        return logits.sigmoid()

    discriminator, generator = model.players()
    expected = 0.5 * (-judge(b).log().mean() - (1 - judge(fake)).log().mean())
    assert value(discriminator.loss(data, step())["loss"]) == pytest.approx(value(expected), rel=1e-4)
    expected = -judge(fake).log().mean() + 50 * (fake - b).abs().mean()
    assert value(generator.loss(data, step())["loss"]) == pytest.approx(value(expected), rel=1e-4)


def test_dropout_is_for_training_alone() -> None:
    net = UNetTranslator(1, 1, width=4, halvings=4, norm="instance", dropout=0.5)
    assert sum(isinstance(m, torch.nn.Dropout) for m in net.modules()) == 3
    x = Noise(2).normal(1, 16, 16)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (40, 17)])
def test_generators_take_any_size(size: tuple[int, int]) -> None:
    x = Noise(1).uniform(1, *size) * 2 - 1
    nets = [ResNetTranslator(1, 3, width=4, halvings=h, blocks=1) for h in (0, 1, 2)]
    for net in [*nets, *(UNetTranslator(1, 3, width=4, halvings=h, norm="batch", dropout=0.5) for h in (1, 2, 5))]:
        made = net.eval()(x)
        assert made.shape == (1, 3, *size)
        assert value(made.abs().max()) <= 1


def test_what_cannot_be_translated_is_refused() -> None:
    for config, kind in ((CycleGANConfig(), CycleGAN), (CUTConfig(), CUT), (Pix2PixConfig(), Pix2Pix)):
        with pytest.raises(UserError, match="name the other with"):
            kind(config, ImageSpec(16, 1))  # type: ignore[arg-type]
        for source in (Source(1, scale=2, degradation="downsample:2"), Source(1, conditioning=("sigma",), degradation="noise:0-55")):
            with pytest.raises(UserError, match="of the same size"):
                kind(config, ImageSpec(16, 1, source=source))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="learns from pairs"):
        Pix2Pix(Pix2PixConfig(), spec(degradation="invert", paired=False))


@pytest.mark.parametrize(
    ("config", "tells"),
    [
        (CycleGANConfig(discriminator_halvings=3), "fewer `model.discriminator_halvings`"),
        (CycleGANConfig(halvings=4), "fewer `model.halvings`"),
        (CUTConfig(halvings=4), "fewer `model.halvings`"),
    ],
)
def test_more_halvings_than_pixels_are_refused(config: Any, tells: str) -> None:
    with pytest.raises(UserError, match=tells):
        build(config, spec(size=16))
