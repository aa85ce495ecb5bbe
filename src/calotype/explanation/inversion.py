"""Codes whose images are like given ones, and what it means if training images are found more easily than others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype import pictures
from calotype.capabilities import HasEncoder
from calotype.data.images import Progress, part
from calotype.explanation.codes import Codes
from calotype.explanation.section import Exhibit, Pixels, Strip, Table
from calotype.losses.perceptual import SEED, SMALLEST, WIDTHS, feature_distance
from calotype.metrics.score import Estimate
from calotype.networks.recognizer import RandomNetwork

STEPS = 200
LR = 0.1  # of Adam at first; it falls along a cosine
PERCEPTUAL = 0.02  # weight of the distance in features beside the squared error of pixels in [-1, 1]
PRIOR = 1e-3  # weight of the mean squared distance of a code from its mean, in its standard deviations
STARTS = 64  # codes of each class that the search may start from
AT_ONCE = 32  # images
MEMORIZED = 2.0  # how many times larger errors of held-out images speak of memorized ones
SHOWN = 8


@dataclass(frozen=True)
class Inverted:
    """Images, and the nearest that a model can make."""

    codes: Tensor  # (N, d)
    labels: Tensor | None  # (N,) that the model was told
    images: Pixels  # (N, H, W, C) uint8, as given
    made: Pixels  # (N, H, W, C) uint8
    error: NDArray[np.float64]  # (N,) mean squared error of images in [-1, 1]
    names: tuple[str, ...] = ()

    @property
    def psnr(self) -> NDArray[np.float64]:
        """Peak signal-to-noise ratio, (N,) dB."""
        found: NDArray[np.float64] = 10 * np.log10(4 / np.maximum(self.error, 1e-8))
        return found


def invert(
    codes: Codes,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    steps: int = STEPS,
    seed: int = 0,
    names: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Inverted:
    """Codes whose images are nearest to given ones, by Adam (Kingma & Ba 2015), as Abdal et al. (2019) embed images.

    What is minimized is the squared error of pixels, a little of the distance in features of a random network, and a pull towards the
    middle of codes, without which images come of codes that the model never draws. The search starts from the best of 64 drawn codes
    of each class that comes into question, or from what an encoder says, whichever is nearer.

    Args:
        codes: of a generator through which gradients lead.
        images: (N, C, H, W) float32 in [-1, 1].
        labels: (N,) of these, where the model is conditional; without them the class is that of the best start.
        steps: of Adam.
        seed: of the starts.
        names: of the images, for people.
        progress: called with how many steps of how many are done.
    """
    pool, of_pool, shown = _pool(codes, seed)
    middle, spread = pool.mean(0), pool.std(0).clamp_min(1e-6)
    eye = _eye(codes, images.shape[1]) if images.shape[2] >= SMALLEST else None
    parts: list[tuple[Tensor, Tensor | None, Tensor]] = []
    for first in range(0, len(images), AT_ONCE):
        x = images[first : first + AT_ONCE]
        told = None if labels is None or of_pool is None else labels[first : first + AT_ONCE]
        start, own = _starts(codes, x, told, pool, of_pool, shown)
        told_of = part(progress, first // AT_ONCE, math.ceil(len(images) / AT_ONCE))
        z = _descended(codes, x, start, own, (middle, spread), eye, steps, told_of)
        parts.append((z, own, codes.images(z, own)))
    made = torch.cat([image for _, _, image in parts])
    own_labels = None if parts[0][1] is None else torch.cat([own for _, own, _ in parts if own is not None])
    error = (made - images).square().flatten(1).mean(1).double().numpy()
    return Inverted(torch.cat([z for z, _, _ in parts]), own_labels, pictures.to_uint8(images), pictures.to_uint8(made), error, names)


def _pool(codes: Codes, seed: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Codes to start from, their labels and their images."""
    labels = None
    if codes.generator.model.conditional:
        labels = torch.arange(len(codes.generator.spec.classes)).repeat_interleave(STARTS)
    pool = codes.draw(STARTS if labels is None else len(labels), seed, labels)
    return pool, labels, codes.images(pool, labels)


def _starts(
    codes: Codes, x: Tensor, labels: Tensor | None, pool: Tensor, of_pool: Tensor | None, shown: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Where the search of each image begins, and the labels that it is made with."""
    far = torch.cdist(x.flatten(1), shown.flatten(1))
    if labels is not None and of_pool is not None:
        far = far.masked_fill(labels[:, None] != of_pool[None], math.inf)
    nearest, best = far.min(1)
    start, own = pool[best], None if of_pool is None else of_pool[best]
    if codes.styled is None and isinstance(codes.generator.model, HasEncoder):
        from calotype.tasks import latents

        encoded = latents.encode(codes.generator, x, own).flatten(1)
        closer = (codes.images(encoded, own) - x).flatten(1).norm(dim=1) < nearest
        start = torch.where(closer[:, None], encoded, start)
    return start, own


def _descended(
    codes: Codes,
    x: Tensor,
    start: Tensor,
    labels: Tensor | None,
    usual: tuple[Tensor, Tensor],
    eye: RandomNetwork | None,
    steps: int,
    progress: Progress | None,
) -> Tensor:
    device = codes.generator.device
    x, middle, spread = x.to(device), usual[0].to(device), usual[1].to(device)
    wanted = None if eye is None else eye.maps(x)
    with torch.enable_grad():
        z = start.clone().to(device).requires_grad_(True)
        optimizer = torch.optim.Adam([z], lr=LR)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = LR * (1 + math.cos(math.pi * step / steps)) / 2
            image = codes.on_device(z, labels)
            loss = (image - x).square().flatten(1).mean(1) + PRIOR * ((z - middle) / spread).square().mean(1)
            if eye is not None and wanted is not None:
                loss = loss + PERCEPTUAL * feature_distance(eye.maps(image), wanted)
            (z.grad,) = torch.autograd.grad(loss.sum(), z)
            optimizer.step()
            if progress is not None:
                progress(step + 1, steps)
    return z.detach().cpu()


def _eye(codes: Codes, channels: int) -> RandomNetwork:
    return RandomNetwork(channels, SEED, WIDTHS).eval().requires_grad_(False).to(codes.generator.device)


def error_ratio(train: Inverted, holdout: Inverted) -> Estimate:
    """How many times larger the squared errors of held-out images are, of geometric means, with the 95% interval of Welch's t test."""
    from scipy.stats import t

    a, b = (np.log(np.maximum(one.error, 1e-12)) for one in (holdout, train))
    apart, squares = float(a.mean() - b.mean()), [x.var(ddof=1) / len(x) if len(x) > 1 else math.inf for x in (a, b)]
    total = sum(squares)
    if not 0 < total < math.inf:
        return Estimate(math.exp(apart))
    freedom = total**2 / sum(s**2 / (len(x) - 1) for s, x in zip(squares, (a, b), strict=True))
    half = float(t.ppf(0.975, freedom)) * total**0.5
    return Estimate(math.exp(apart), (math.exp(apart - half), math.exp(apart + half)))


@dataclass(frozen=True)
class Inversion:
    """Images that a model was made to make again."""

    space: str
    steps: int
    sets: Sequence[tuple[str, Inverted]]  # "training images", "held-out images", "images given"
    ratio: Estimate | None  # of errors of held-out and of training images; None where one of them is not known

    name = "inversion"
    title = "Can it make these images?"

    @property
    def says(self) -> str:
        """What was done, and what it says of memorizing."""
        return (
            "The numbers were sought from which the model makes an image as near as possible to a given one. A model that can make its "
            f"training images far better than others of the same kind has memorized them. {self.verdict}"
        )

    @property
    def memorized(self) -> bool | None:
        """Whether held-out images have at least twice the error beyond doubt; None where that is not known."""
        return None if self.ratio is None or self.ratio.interval is None else self.ratio.interval[0] >= MEMORIZED

    @property
    def verdict(self) -> str:
        """What the ratio of errors says, in a sentence."""
        if self.ratio is None or self.ratio.interval is None:
            return "Here only one kind of images is known, so that this cannot be told."
        low, high = self.ratio.interval
        told = (
            f"Squared errors of held-out images are {self.ratio.value:.2f} times those of training images "
            f"(95% interval {low:.2f} to {high:.2f})"
        )
        if self.memorized:
            return f"{told}: it has memorized training images."
        if low > 1:
            return f"{told}: it knows training images better, by less than the factor of {MEMORIZED:g} that speaks of memorized ones."
        if high < 1:
            return f"{told}: held-out images are even the easier ones here."
        return f"{told}: no difference is to be seen."

    def exhibits(self) -> Sequence[Exhibit]:
        """Errors, then pairs of images."""
        rows = []
        for name, one in self.sets:
            psnr = Estimate.mean(one.psnr)
            span = "" if psnr.interval is None else f"{psnr.interval[0]:.1f} to {psnr.interval[1]:.1f}"
            rows.append((name, str(len(one.images)), f"{psnr.value:.1f}", span))
        found: list[Exhibit] = [
            Table(
                f"After {self.steps} steps among the {self.space}; higher is nearer.",
                ("Images", "How many", "PSNR, dB", "95% interval"),
                tuple(rows),
            )
        ]
        for name, one in self.sets:
            count = min(SHOWN, len(one.images))
            images = np.concatenate([one.images[:count], one.made[:count]])
            found.append(
                Strip(f"{name[0].upper()}{name[1:]}, and below each the nearest that the model makes.", images, count, ("given", "made"))
            )
        return found

    def data(self) -> dict[str, Any]:
        """Errors image by image, and the ratio."""
        return {
            "space": self.space,
            "steps": self.steps,
            "sets": {
                name: {"psnr": one.psnr.tolist(), "error": one.error.tolist(), "names": list(one.names), "codes": one.codes.tolist()}
                for name, one in self.sets
            },
            "error_ratio": None if self.ratio is None else self.ratio.value,
            "error_ratio_interval": None if self.ratio is None or self.ratio.interval is None else list(self.ratio.interval),
            "memorized": self.memorized,
            "verdict": self.verdict,
        }
