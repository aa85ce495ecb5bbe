"""Diffusion and flow matching: one network learns to find the image in noise, and images are drawn by following it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from calotype.diffusion.guidance import guide, scale_at
from calotype.diffusion.inversion import starting_noise
from calotype.diffusion.likelihood import BIN, dequantized, hutchinson, ode_log_density, trusted, variational_bound
from calotype.diffusion.path import PATHS, NoiseLevel, PathName, add_noise, per_image
from calotype.diffusion.prediction import Prediction, Weighting, mix_of, weight_of
from calotype.diffusion.samplers import SOLVERS, Denoiser, SolverName, ddim, heun, trapezoid
from calotype.diffusion.times import normal_half_log_snr, uniform_half_log_snr
from calotype.errors import UserError
from calotype.losses.transforms import TOLD, augmented_and_told
from calotype.models.inverting import LABELED
from calotype.networks.blocks import evaluating
from calotype.networks.dit import DiT, as_maps
from calotype.networks.hooks import captured
from calotype.networks.unet import Join, UNet
from calotype.parallel import whole
from calotype.settings import WIDEST, Finite, Levels, NotNegative, Part, Positive, Share, SolverSteps, Width, unless
from calotype.types import Batch, Condition, ImageSpec, Likelihood, Model, Noise, Player, SamplingOptions, Step, chosen

ODE_STEPS = 40  # of the equation between image and noise, two evaluations each
INVERSION_STEPS = (8, 64)  # fewest and most places that lead back from an image to its noise
BOUND_EVALUATIONS = 16  # of the network for each image
SMALL = 32  # pixels a side up to which a smaller network learns more in the same minutes
PROBED = (0.03, 0.1, 0.3)  # standard deviations of the noise, relative to the share of the image, at which layers are looked at
GUIDE_HALF_LIFE = 0.05  # of the weights that become the guide, as a share of the steps so far


@dataclass(frozen=True)
class DiffusionConfig:
    """A network, how it learns the way from noise to images, and how it is sampled."""

    kind: Literal["diffusion"] = "diffusion"
    conditional: bool = True  # learn the classes where the data have labels
    network: Literal["unet", "dit"] = "unet"  # dit: a transformer of patches
    width: Annotated[Width, Field(ge=8)] | None = None  # channels of the first level, or features of a patch; by the size if not given
    multipliers: Levels = (1, 2)  # channels of each level relative to width; each level halves the size
    depth: Levels = ()  # residual blocks of each level, down and again up, by the size where none are given; of a transformer one number
    join: Join = "concat"  # how a UNet's way up meets its way down: channels beside each other, or added, which is faster
    unshuffle: Literal[1, 2, 4, 8] | None = None  # fold so many pixels a side into channels or a patch; by the size where none is given
    heads: Annotated[int, Field(ge=0, le=WIDEST)] = 0  # of the attention, in a UNet at the lowest level; 0 for none
    embedding: Width = 128  # numbers that noise level and class become
    dropout: Part = 0.0  # share of features dropped in training
    augment_share: Part = 0.0  # probability of each change of place of training images, of which the network is told: for few images
    path: PathName = "rectified"  # how image and noise mix: flow matching's, DDPM's two, or EDM's
    predict: Prediction = "image"  # what the network puts out; the image follows from it
    weighting: Weighting = "velocity"  # how errors at different noise levels weigh; output: as they come
    snr_limit: Positive = 5.0  # of min-snr: the signal-to-noise ratio from which an image weighs no more
    data_std: Positive = 0.5  # standard deviation of the images, which edm scales by
    times: Literal["normal", "uniform"] = "normal"  # of training: normal half log-SNRs of image and noise, or uniform times of the path
    time_mean: Finite = -0.8  # of the half log-SNR in training: above 0 trains more near the image, below 0 near the noise
    time_spread: Positive = 1.0  # standard deviation of the half log-SNR in training
    label_dropout: Share = 0.1  # share of labels hidden in training, which guidance needs
    solver: SolverName = "heun"  # heun takes two evaluations a step, all others one; ddpm and ddim with eta add noise
    steps: SolverSteps = 8  # of the solver when sampling
    eta: Share = 0.0  # of ddim: how much of the noise is drawn anew in each step
    shift: Positive = 1.0  # above 1 puts more steps near the noise
    guide: NotNegative = 0.0  # a copy after so many times the root of all steps guides by what it does worse; 0: what knows no class guides
    guidance: NotNegative = 2.0  # away from the guide: 1 for none, more for clearer and less varied images
    guidance_interval: tuple[Share, Share] = (0.3, 1.0)  # shares of the image, 0 in noise and 1 at the end, at which guidance acts

    def idle(self, spec: ImageSpec) -> dict[str, str]:
        """As `calotype.capabilities.MayIdle` says."""
        labels, known = self.conditional and spec.classes, "images with labels and `model.conditional=True`"
        return {
            **unless(self.solver == "ddim", "`model.solver=ddim`", "eta"),
            **unless(self.weighting == "min-snr", "`model.weighting=min-snr`", "snr_limit"),
            **unless(self.predict == "edm", "`model.predict=edm`", "data_std"),
            **unless(self.times == "normal", "`model.times=normal`", "time_mean", "time_spread"),
            **unless(self.guidance != 1, "a `model.guidance` other than 1", "guidance_interval"),
            **unless(labels, known, "label_dropout"),
            **unless(labels or self.guide, f"{known}, or a `model.guide`", "guidance", "guidance_interval"),
            **unless(self.network == "unet", "`model.network=unet`", "join"),
        }


@dataclass(frozen=True)
class DiffusionSampling(SamplingOptions):
    """How a diffusion model draws."""

    steps: SolverSteps | None = None  # of the solver: more steps are finer
    guidance: NotNegative | None = None  # towards the class, or away from a worse copy: 1 for none, more for clearer and less varied images
    eta: Share | None = None  # of ddim: how much of the noise is drawn anew in each step
    solver: SolverName | None = None  # heun takes two evaluations a step, all others one; ddpm and ddim with eta add noise


class Diffusion(Model):
    """A denoiser on a Gaussian path from noise to images.

    The state is alpha image + sigma noise. The network sees it and its noise level, and the expected image follows from what it
    puts out; all that a sampler needs follows from that image. The settings make it DDPM (Ho et al. 2020), EDM (Karras et al. 2022)
    or rectified flow (Liu et al. 2022; Lipman et al. 2022), and anything between. Labels are hidden now and then for classifier-free
    guidance (Ho & Salimans 2022). Without labels the model is unconditional. Where the settings ask for a guide, a copy of the network
    follows it for the first part of the training and then stays: what the network has learned since is what autoguidance (Karras et al.
    2024) adds more of.

    Raises:
        UserError: where options contradict each other.
    """

    sampling = DiffusionSampling

    def __init__(self, config: DiffusionConfig, spec: ImageSpec) -> None:
        super().__init__()
        _check(config, spec)
        self.config = config
        self.spec = spec
        self.path = PATHS[config.path]
        self.classes = len(spec.classes) if config.conditional else 0
        self.conditional = self.classes > 0
        self.network = _network(config, spec, self.classes)
        self.guide = copy.deepcopy(self.network).requires_grad_(False) if config.guide else None
        self._followed = -1  # the step at which the guide moved last: a batch in parts has the loss of each

    def players(self) -> Sequence[Player]:
        """The network."""
        return (Player("denoiser", self.network, self._loss),)

    def _loss(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        # the square of the step, over all steps: the longer a training, the smaller the share after which its guide knows enough
        if self.guide is not None and step.index * step.progress < self.config.guide**2 and step.index != self._followed:
            _follow(self.guide, self.network, step.index)
            self._followed = step.index
        return {"loss": self._error(batch, step.rng, self.config.label_dropout, self.config.augment_share)}

    def _error(self, batch: Batch, rng: torch.Generator, label_dropout: float = 0.0, augment: float = 0.0) -> Tensor:
        """The weighted mean squared error of the image."""
        config = self.config
        image, told = augmented_and_told(batch.image, augment, rng) if augment else (batch.image, None)
        if config.times == "normal":
            half_log_snr = normal_half_log_snr(len(image), rng, mean=config.time_mean, spread=config.time_spread)
        else:
            half_log_snr = uniform_half_log_snr(len(image), rng, self.path.schedule)
        noise = torch.randn(image.shape, generator=rng, device=image.device)
        alpha, sigma = self.path.scales(half_log_snr)
        label = self._hidden(batch.condition.label, rng, label_dropout)
        out = mix_of(config.predict, alpha, sigma, config.data_std).c_out
        weight = weight_of(config.weighting, alpha, sigma, out, config.snr_limit)
        error = self._expected(add_noise(image, noise, alpha, sigma), half_log_snr, label, told=told) - image
        return (per_image(weight, image) * error.square()).mean()

    def _hidden(self, label: Tensor | None, rng: torch.Generator, share: float) -> Tensor | None:
        """The labels, some of them replaced by the one that means none."""
        if label is None or not self.classes:
            return None
        drop = torch.rand(label.shape, generator=rng, device=label.device) < share
        return torch.where(drop, self.classes, label)

    def _expected(
        self, x: Tensor, half_log_snr: Tensor, label: Tensor | None, network: nn.Module | None = None, told: Tensor | None = None
    ) -> Tensor:
        """The expected images (N, C, H, W) given states and their half log-SNRs (N,), by the trained network or another one.

        ``told`` (N, ``TOLD``) is how the images were changed, if they were.
        """
        alpha, sigma = self.path.scales(half_log_snr)
        mix = mix_of(self.config.predict, alpha, sigma, self.config.data_std)
        given = (per_image(mix.c_in, x) * x, self.path.c_noise(half_log_snr), label)
        out: Tensor = (network or self.network)(*given, *(() if told is None else (told,))).float()
        return per_image(mix.c_skip, x) * x + per_image(mix.c_out, x) * out

    @torch.no_grad()
    def watch(self, train: Batch, holdout: Batch, step: Step) -> dict[str, Tensor]:
        """The loss on images and labels that were never trained on: it rises where the network begins to overfit."""
        with evaluating(self):
            return {"loss_holdout": self._error(holdout, step.rng)}

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of the noise of one image, (C, H, W)."""
        return self.spec.shape

    @torch.no_grad()
    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        """Draw (noise.n, C, H, W) float32 images in [-1, 1]; without labels, those of a conditional model are drawn uniformly.

        Args:
            noise: the randomness of each image.
            condition: labels (N,) int64, or none.
            options: `DiffusionSampling`.

        Raises:
            UserError: for labels that the model does not know, or eta with a solver that has none.
        """
        config, given = self.config, chosen(DiffusionSampling, options)
        scale = config.guidance if given.guidance is None else given.guidance
        levels = self.timesteps(config.steps if given.steps is None else given.steps)
        start = levels[0].sigma * noise.starting(*self.spec.shape)
        denoise = self.denoiser(self.wanted(noise, condition), scale, clip=True)
        name, eta = self._solver(given)
        if given.eta and name != "ddim":
            raise UserError(f"eta is of the ddim solver, not of {name}: leave it out, or add solver=ddim")
        solve = partial(ddim, eta=eta) if name == "ddim" else SOLVERS[name]
        return solve(denoise, start, levels, lambda: noise.normal(*self.spec.shape)).clamp(-1, 1)

    def _solver(self, given: DiffusionSampling) -> tuple[SolverName, float]:
        """The solver, and how much of the noise it draws anew if it is that of DDIM."""
        return given.solver or self.config.solver, self.config.eta if given.eta is None else given.eta

    def require_invertible(self, options: SamplingOptions | None = None) -> None:
        """Raise `UserError` for solvers that draw noise on their way, ddpm and ddim with eta, and where labels were never hidden."""
        if self.needs_label:
            raise UserError(LABELED)
        name, eta = self._solver(chosen(DiffusionSampling, options))
        if name == "ddpm" or (name == "ddim" and eta > 0):
            drawing = "solver=ddpm" if name == "ddpm" else f"eta={eta:g}"
            raise UserError(f"{drawing} draws noise in every step, and no way leads back to what a sample started from: take solver=heun")

    @torch.no_grad()
    def invert(self, x: Tensor) -> Tensor:
        """As `calotype.capabilities.Inverts` says: back along the sampler's own places, without guidance and without labels."""
        fewest, most = INVERSION_STEPS
        levels = self.timesteps(min(max(self.config.steps, fewest), most))
        return starting_noise(self.denoiser(), x, levels).flatten(1)

    def layers(self) -> Sequence[str]:
        """Those of the network, each at each of three noise levels."""
        return tuple(_at_noise(layer, share) for share in PROBED for layer in self.network.named_layers())  # type: ignore[operator]

    @torch.no_grad()
    def activations(self, x: Tensor, layers: Sequence[str], noise: Noise) -> dict[str, Tensor]:
        """What layers of the network make of images (N, C, H, W) with some noise, by name, in float32 (Baranchuk et al. 2022)."""
        every: dict[str, nn.Module] = self.network.named_layers()  # type: ignore[operator]
        normal = noise.normal(*x.shape[1:])
        told: dict[str, Tensor] = {}
        for share in PROBED:
            wanted = {_at_noise(name, share): layer for name, layer in every.items() if _at_noise(name, share) in layers}
            if not wanted:
                continue
            place = x.new_full((len(x),), -math.log(share))
            with captured(wanted) as found:
                self._expected(add_noise(x, normal, *self.path.scales(place)), place, None)
            told |= {name: as_maps(t, self._rows(x)) if t.ndim == 3 else t for name, t in found.items()}
        return told

    @property
    def called_often(self) -> Sequence[str]:
        """The network, and the one that guides it."""
        return ("network",) if self.guide is None else ("network", "guide")

    def _rows(self, x: Tensor) -> int:
        """Patches in a column of images."""
        return -(-x.shape[2] // int(self.network.patch))  # type: ignore[arg-type]

    @property
    def needs_label(self) -> bool:
        """Whether no label was ever hidden in training."""
        return self.conditional and not self.config.label_dropout

    def timesteps(self, steps: int) -> list[NoiseLevel]:
        """``steps`` + 1 places on the path from noise to image, spaced as the configuration says."""
        return self.path.timesteps(steps, self.config.shift)

    def denoiser(self, label: Tensor | None = None, guidance: float = 1.0, *, clip: bool = False) -> Denoiser:
        """The expected image given a state and its place, of labels (N,) or of all classes together where none are given.

        ``guidance`` above 1 leads further away from the guide where there is one, else towards the label; with the label and without
        it are one pass of the network then. ``clip`` keeps images in [-1, 1] that follow from predicted noise: where there is little of the
        image, a small error of the noise means a large one of the image.
        """
        clip = clip and self.config.predict == "noise"

        def denoise(x: Tensor, level: NoiseLevel) -> Tensor:
            image = guided(x, level)
            return image.clamp(-1, 1) if clip else image

        def guided(x: Tensor, level: NoiseLevel) -> Tensor:
            share = level.alpha / (level.alpha + level.sigma)
            scale, at = scale_at(share, guidance, self.config.guidance_interval), x.new_full((x.shape[0],), level.half_log_snr)
            if scale != 1 and self.guide is not None:
                return guide(self._expected(x, at, label), self._expected(x, at, label, self.guide), scale)
            if scale == 1 or label is None:
                return self._expected(x, at, label)
            both = torch.cat([label, torch.full_like(label, self.classes)])
            images = self._expected(torch.cat([x, x]), torch.cat([at, at]), both)
            return guide(images[: x.shape[0]], images[x.shape[0] :], scale)

        return denoise

    def likelihoods(self) -> Sequence[Likelihood]:
        """The variational bound, and the estimate along the differential equation."""
        return (
            Likelihood("variational bound", "lower bound", self._bound),
            Likelihood("ODE estimate", "estimate", self._along_ode, slow=True),
        )

    @torch.no_grad()
    def _bound(self, x: Tensor, condition: Condition, rng: torch.Generator, evaluations: int = BOUND_EVALUATIONS) -> Tensor:
        expect = self._careful(self._known(condition))
        return variational_bound(lambda state, at: expect(state, at).clamp(-1, 1), x, self.path.ends, evaluations, rng)

    @torch.no_grad()
    def _along_ode(self, x: Tensor, condition: Condition, rng: torch.Generator) -> Tensor:
        probe = torch.randint(0, 2, x.shape, generator=rng, device=x.device) * 2.0 - 1
        expect = self._careful(self._known(condition))

        def denoise(state: Tensor, level: NoiseLevel) -> Tensor:
            return expect(state / level.alpha, state.new_full((len(state),), level.half_log_snr))

        density = ode_log_density(denoise, dequantized(x, rng), self._way_back(), hutchinson(probe))
        return density + x[0].numel() * math.log(BIN)

    def _careful(self, label: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
        """The expected image given states image + s noise and their half log-SNRs, as likelihoods ask for it."""

        def expect(state: Tensor, half_log_snr: Tensor) -> Tensor:
            alpha, _ = self.path.scales(half_log_snr)
            image = self._expected(per_image(alpha, state) * state, half_log_snr, label)
            return trusted(image, state, half_log_snr) if self.config.predict == "image" else image

        return expect

    def _known(self, condition: Condition | None) -> Tensor | None:
        return condition.label if self.conditional and condition is not None else None

    def _way_back(self) -> list[NoiseLevel]:
        """Places from the image to the noise."""
        low, high = self.path.ends
        return self.path.at(torch.linspace(high, low, ODE_STEPS + 1))

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """The noise (N, C, H, W) from which the differential equation leads to the images, near standard normal."""
        levels = self._way_back()
        end = trapezoid(self.denoiser(self._known(condition)), levels[0].alpha * x, levels)
        return end / levels[-1].sigma

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        """The images (N, C, H, W) in [-1, 1] to which the differential equation leads from noise."""
        levels = self._way_back()[::-1]
        return heun(self.denoiser(self._known(condition)), levels[0].sigma * z, [*levels, NoiseLevel(1.0, 0.0)]).clamp(-1, 1)


def _fitting(config: DiffusionConfig, spec: ImageSpec) -> tuple[int, tuple[int, ...]]:
    """The width and depth that the configuration names, or that fit the size of the images."""
    width, depth = (32, (1, 2)) if spec.size <= SMALL else (64, (2, 3))
    return config.width or width, config.depth or depth


@torch.no_grad()
def _follow(guide: nn.Module, network: nn.Module, steps: int) -> None:
    """Move the guide towards the network after so many steps, as the average of its latest weights."""
    kept = 0.5 ** (1 / (GUIDE_HALF_LIFE * steps)) if steps else 0.0
    torch._foreach_lerp_([*guide.parameters()], [whole(p) for p in network.parameters()], 1 - kept)


def _network(config: DiffusionConfig, spec: ImageSpec, classes: int) -> nn.Module:
    folded, (width, depth) = config.unshuffle or _unshuffle_for(spec.size), _fitting(config, spec)
    if config.network == "dit":
        return DiT(
            spec.channels,
            width=width,
            depth=depth[0],
            heads=config.heads,
            patch=folded,
            embedding=config.embedding,
            classes=classes,
            dropout=config.dropout,
            told=TOLD if config.augment_share else 0,
        )
    return UNet(
        spec.channels,
        width=width,
        multipliers=config.multipliers,
        depth=depth,
        unshuffle=folded,
        heads=config.heads,
        embedding=config.embedding,
        classes=classes,
        dropout=config.dropout,
        told=TOLD if config.augment_share else 0,
        join=config.join,
    )


def _at_noise(layer: str, share: float) -> str:
    """The name of a layer that is looked at where the state has so much noise."""
    return f"{layer}, noise {share:g}"


def _unshuffle_for(size: int) -> int:
    """2, 4 or 8, such that the first level is at most 24 pixels wide where that is possible."""
    return next((factor for factor in (2, 4) if size <= 24 * factor), 8)


def _check(config: DiffusionConfig, spec: ImageSpec) -> None:
    width, depth = _fitting(config, spec)
    if config.guidance_interval[0] > config.guidance_interval[1]:
        raise UserError("the guidance interval ends before it begins: `model.guidance_interval=(LOW, HIGH)`")
    if config.path == "rectified" and config.predict == "noise":
        raise UserError(
            "at the noise end of the rectified path the noise says nothing of the image: choose another `model.predict` or `model.path`"
        )
    if config.network == "dit":
        _check_dit(config, width, depth)
        return
    if not config.multipliers:
        raise UserError("a UNet needs at least one level: `model.multipliers=1` `model.depth=2`")
    if len(config.multipliers) != len(depth):
        raise UserError(f"multipliers and depth describe the same levels, but there are {len(config.multipliers)} and {len(depth)} of them")
    lowest = width * config.multipliers[-1]
    if config.heads and lowest % config.heads:
        raise UserError(
            f"{lowest} channels of the lowest level cannot be shared by {config.heads} heads: give a divisor with `model.heads`"
        )


def _check_dit(config: DiffusionConfig, width: int, depth: tuple[int, ...]) -> None:
    if len(depth) != 1 or config.multipliers != (1,):
        raise UserError("a transformer has one level: `model.multipliers=1` `model.depth=LAYERS`")
    if not config.heads or width % config.heads or width % 4:
        raise UserError(
            f"the width of a transformer is a multiple of 4 and of its heads, not {width} for {config.heads}: "
            "give `model.width` and `model.heads` that agree"
        )
