"""Restoring by a prior: what the samples depend on, what they keep, what goes together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from calotype.degrade import Operator, parse
from calotype.degrade.mask import Masked
from calotype.diffusion.measurement import Measurement
from calotype.errors import UserError
from calotype.models import build
from calotype.tasks.inversion import LatentFit, posterior_images, search_latents
from calotype.tasks.prior import MethodName, joined, restore_with_prior
from calotype.tasks.sample import Generator
from calotype.types import Condition, ImageSpec, Model, Noise
from tests.small import small

DIGITS = ImageSpec(8, 1, tuple("0123"))
PICTURES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
METHODS: list[MethodName] = ["dps", "diffpir", "ddrm"]


def generator(recipe: str, **model: object) -> Generator:
    torch.manual_seed(0)
    wanted = {"embedding": 8, "width": 8} if recipe == "flow-matching" else {}
    made = Generator(build(small(recipe, **wanted, **model).model, DIGITS), recipe, torch.device("cpu"))
    for parameter in made.model.parameters():  # some layers begin at zero
        torch.nn.init.normal_(parameter, std=0.1)
    return made


@pytest.fixture(scope="module")
def flow() -> Generator:
    return generator("flow-matching")


def half(count: int) -> Masked:
    return Masked(torch.ones(count, 1, 8, 8).index_fill(3, torch.arange(4, 8), 0))


@pytest.mark.parametrize("method", METHODS)
def test_known_pixels_are_kept_and_samples_differ_elsewhere(flow: Generator, method: MethodName) -> None:
    mask = half(3)
    found = restore_with_prior(flow, PICTURES * mask.mask, mask, samples=4, steps=3, method=method)
    assert found.samples.shape == (3, 4, 1, 8, 8)
    assert torch.equal(found.samples[..., :4], PICTURES[:, None, :, :, :4].expand(-1, 4, -1, -1, -1))
    assert (found.std[..., 4:] > 0).float().mean() > 0.9  # some pixels are at the ends of their range
    assert found.std[..., :4].max() < 1e-6
    assert torch.allclose(found.mean, found.samples.mean(1))
    assert found.residual.max() < found.noise.min()


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_depends_on_its_seed_and_numbers_alone(flow: Generator, method: MethodName) -> None:
    def made(first: int, count: int, samples: int, seed: int = 0) -> Tensor:
        given = PICTURES[first : first + count]
        degraded = parse("blur:1+noise:10")(given, Noise(count, 0, first))
        return restore_with_prior(
            flow, degraded.image, degraded.operator, samples=samples, steps=3, method=method, seed=seed, start=first
        ).samples

    whole = made(0, 3, 3)
    assert torch.allclose(whole[1:2, :2], made(1, 1, 2), atol=1e-4)
    assert not torch.allclose(whole, made(0, 3, 3, seed=1), atol=1e-2)


def test_sets_are_joined_in_order(flow: Generator) -> None:
    parts = [
        restore_with_prior(flow, PICTURES[i : i + 1], parse("noise:5")(PICTURES[:1], Noise(1)).operator, samples=2, steps=2) for i in (0, 1)
    ]
    both = joined(parts)
    assert torch.equal(both.mean[1], parts[1].mean[0])
    assert both.residual.shape == (2, 2)


def test_a_calibration_judges_the_pixels_that_are_asked_for(flow: Generator) -> None:
    mask = half(3)
    found = restore_with_prior(flow, PICTURES * mask.mask, mask, samples=4, steps=2)
    judged = found.calibrated(PICTURES, mask.mask == 0)
    assert judged.pixels == 3 * 32
    assert found.calibrated(PICTURES, mask.mask == 1).coverage == 1


@pytest.mark.parametrize(
    ("recipe", "options", "tells"),
    [
        ("gan", {"method": "dps"}, "dps needs a diffusion"),
        ("pixelcnn", {}, "no latents"),
        ("vqvae", {}, "no gradient leads"),
        ("classifier", {}, "draws no images"),
        ("flow-matching", {"method": "inversion"}, "has `method=dps`"),
        ("flow-matching", {"samples": 1}, "two samples and one step"),
        ("flow-matching", {"steps": 0}, "two samples and one step"),
    ],
)
def test_what_does_not_go_together_is_refused(recipe: str, options: dict[str, object], tells: str) -> None:
    made = generator(recipe)
    with pytest.raises(UserError, match=tells):
        restore_with_prior(made, PICTURES, half(3), **options)  # type: ignore[arg-type]


def test_operators_that_do_not_fit_the_method_or_the_prior_are_refused(flow: Generator) -> None:
    motion = parse("motion:3")(PICTURES, Noise(3)).operator
    with pytest.raises(UserError, match="ddrm needs a degradation whose singular values"):
        restore_with_prior(flow, PICTURES, motion, method="ddrm")
    with pytest.raises(UserError, match="is for degradations that are linear"):
        restore_with_prior(flow, PICTURES, parse("jpeg:30")(PICTURES, Noise(3)).operator, method="diffpir")
    with pytest.raises(UserError, match="measurements are 4x4 with 1 channel, not 8x8"):
        restore_with_prior(flow, PICTURES, parse("downsample:2")(PICTURES, Noise(3)).operator)


def test_a_degradation_without_derivative_is_refused(flow: Generator) -> None:
    with pytest.raises(UserError, match="has no derivative"):
        restore_with_prior(flow, PICTURES, parse("jpeg:30")(PICTURES, Noise(3)).operator, steps=2)


def test_a_model_that_never_drew_without_a_label_asks_for_one() -> None:
    made = generator("flow-matching", label_dropout=0.0)
    with pytest.raises(UserError, match="name the class with `label`"):
        restore_with_prior(made, PICTURES, half(3), steps=2)
    assert restore_with_prior(made, PICTURES, half(3), samples=2, steps=2, label=1).samples.shape[1] == 2


class Linear(Model):
    """A decoder that is linear: image = W z + what the class adds."""

    def __init__(self, conditional: bool = False) -> None:
        super().__init__()
        self.spec, self.conditional = DIGITS, conditional
        self.weight = torch.randn(5, 64, generator=torch.Generator().manual_seed(1)) * 0.3
        self.shift = torch.randn(4, 64, generator=torch.Generator().manual_seed(2)) * 0.5

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (5,)

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        made = z @ self.weight
        if self.conditional:
            assert condition is not None
            assert condition.label is not None
            made = made + self.shift[condition.label]
        return made.view(-1, 1, 8, 8)


def test_inversion_draws_from_the_posterior_of_a_linear_decoder() -> None:
    model, mask = Linear(), half(1)
    truth = model.decode(torch.tensor([[1.0, -0.5, 0.3, 0.8, -1.2]]))
    seen = Measurement(truth * mask.mask, mask, torch.tensor([0.3]))
    fit = LatentFit(torch.tensor([1.5]), None)
    drawn = posterior_images(model, seen, fit, [Noise(1, seed) for seed in range(1500)], 150).flatten(1).double()
    a = (model.weight.double().T * mask.mask.flatten()[:, None]).double()
    left = torch.linalg.inv(a.T @ a / 1.5**2 + torch.eye(5).double())
    mean = left @ a.T @ seen.y.flatten().double() / 1.5**2
    weight = model.weight.double()
    assert torch.allclose(drawn.mean(0), mean @ weight, atol=0.08)
    assert torch.allclose(drawn.T.cov(), weight.T @ left @ weight, atol=0.06)


def test_inversion_finds_the_class_and_what_it_cannot_explain() -> None:
    model, noise = Linear(conditional=True), 0.2
    truth = model.decode(torch.tensor([[0.4, -0.5, 0.3, 0.8, -0.2]] * 2), Condition(torch.tensor([2, 3])))
    seen = Measurement(truth + noise * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)), _Same(), torch.zeros(2))
    fit = search_latents(model, seen, [Noise(2, 7), Noise(2, 8)], 100)
    assert fit.classes is not None
    assert fit.classes.argmax(1).tolist() == [2, 3]
    assert fit.classes.amax(1).min() > 0.95
    assert torch.allclose(fit.misfit, torch.tensor(noise), rtol=0.2)
    drawn = posterior_images(model, seen, fit, [Noise(2, seed) for seed in range(20)], 100)
    assert (drawn.view(20, 2, 64).mean(0) - truth.flatten(1)).abs().mean() < 0.1


class _Same(Operator):
    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


def test_a_gan_restores_by_inversion() -> None:
    mask = half(2)
    found = restore_with_prior(generator("gan"), PICTURES[:2] * mask.mask, mask, samples=2, steps=5)
    assert found.method == "inversion"
    assert torch.equal(found.samples[:, 0, :, :, :4], PICTURES[:2, :, :, :4])
