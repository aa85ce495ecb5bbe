"""What a model with a likelihood or an encoder is asked: how well it predicts unseen images, and which latents it uses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from calotype.capabilities import HasPosterior
from calotype.data import Images
from calotype.diagnose import likelihood
from calotype.diagnose.check import Findings
from calotype.diagnose.checks import answers, unanswered
from calotype.diagnose.likelihood import HeldOut, Posterior
from calotype.diagnose.verdict import Finding
from calotype.engine.display import Say, progress
from calotype.errors import UserError
from calotype.evaluation.generator import Candidate
from calotype.evaluation.result import Units
from calotype.evaluation.scores import scored
from calotype.metrics.inputs import Nats
from calotype.metrics.likelihood import BATCH, STREAM, active_units, bits_of, gap, intricacy
from calotype.metrics.score import LikelihoodKind, Score
from calotype.metrics.wording import number
from calotype.tasks.model_inputs import labels_for, to_tensor
from calotype.tasks.sample import Generator
from calotype.types import Condition, Likelihood, mix

QUICK, SHORT, SLOW = 500, 250, 100  # held-out images that are asked of: in full, in a short report, and by what takes long
LARGEST = 35 * 35  # pixels of an image from which on fewer are asked of
MOST_UNITS = 512  # bars of the picture of divergences
ASKED = (Posterior, HeldOut)  # the evidence that only a model can give
NO_MODEL = "A folder of images has no model to ask."
OTHER_SIZE = "Images are compared at another size than the model's own: leave out `size`."
NO_HOLDOUT = "There are no held-out images: name some with `holdout`."


@dataclass(frozen=True)
class Told:
    """What the model itself says."""

    scores: list[Score] = field(default_factory=list)
    findings: Findings = ()
    units: Units | None = None
    notes: tuple[str, ...] = ()


def ask(candidate: Candidate, seed: int, *, slow: bool, say: Say | None = None) -> Told:
    """Bits per dimension of held-out images by every likelihood of the model, and the verdicts that need the model itself.

    ``slow`` asks of more images, and for the likelihoods that take long, too. A folder of images can be asked nothing.
    """
    generator = candidate.generator
    if generator is None:
        return Told(findings=[v for kind in ASKED for v in unanswered(kind, "NOT APPLICABLE", NO_MODEL)])
    if candidate.images.shape[1] != generator.spec.size:
        return Told(findings=[v for kind in ASKED for v in unanswered(kind, "CANNOT TELL", OTHER_SIZE)])
    held, train = (None if images is None else known(generator, images) for images in (candidate.holdout, candidate.train))
    told = _bits(generator, held, train, candidate, _Effort(seed, slow, say))
    collapse, units = _latents(generator, held if held is not None and len(held) >= likelihood.FEWEST_IMAGES else train)
    return replace(told, findings=[*collapse, *told.findings], units=units)


@dataclass(frozen=True)
class _Effort:
    seed: int
    slow: bool
    say: Say | None


@dataclass(frozen=True)
class LabelledImages:
    """Real images as a model takes them."""

    pixels: NDArray[np.uint8]  # (N, H, W, C)
    label: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.pixels)

    def chosen(self, count: int, seed: int) -> NDArray[np.int64]:
        """Which ones `some` are, in rising order."""
        return np.sort(np.random.default_rng([seed, 13]).permutation(len(self))[:count])

    def some(self, count: int, seed: int) -> LabelledImages:
        """``count`` of them by chance, the same ones each time."""
        rows = self.chosen(count, seed)
        return LabelledImages(self.pixels[rows], None if self.label is None else self.label[rows])

    def batch(self, rows: slice, device: torch.device) -> tuple[torch.Tensor, Condition]:
        """Images (N, C, H, W) in [-1, 1] and what is known of them."""
        label = None if self.label is None else torch.from_numpy(self.label[rows]).to(device)
        return to_tensor(self.pixels[rows]).to(device), Condition(label)


def known(generator: Generator, images: Images) -> LabelledImages | None:
    """Images with the labels that the model knows them by; None where they are none, or a conditional model lacks their labels."""
    if not len(images):
        return None
    if not generator.model.conditional:
        return LabelledImages(images.pixels, None)
    labels = labels_for(images, generator.spec)
    return None if labels is None else LabelledImages(images.pixels, labels)


def _bits(generator: Generator, held: LabelledImages | None, train: LabelledImages | None, candidate: Candidate, effort: _Effort) -> Told:
    ways = generator.model.likelihoods()
    if not ways:
        return Told(findings=unanswered(HeldOut, "NOT APPLICABLE", likelihood.NO_LIKELIHOOD))
    if held is None:
        labelled = candidate.holdout is not None and len(candidate.holdout) > 0
        why = "The model was trained with classes that the held-out images do not have." if labelled else NO_HOLDOUT
        return Told(findings=unanswered(HeldOut, "CANNOT TELL", why))
    scores: list[Score] = []
    notes = []
    findings: Findings = unanswered(HeldOut, "CANNOT TELL", "Its likelihoods take so long that they are asked of few images.")
    of_train = False
    for way in (w for w in ways if effort.slow or not w.slow):
        some = held.some(count(generator, len(held), SLOW if way.slow else QUICK if effort.slow else SHORT), effort.seed)
        try:
            nats = nats_of(generator, way, some, effort)
            kind = LikelihoodKind(way.kind, way.accuracy, some.label is not None)
            found = scored([Nats(nats, generator.spec.shape)], [], str(kind), len(some), len(some))
            scores += [replace(score, likelihood=kind) for score in found]
            if found[0].value > 8:
                notes.append(f"{number(found[0].value)} bits/dim ({way.kind}) say nothing: a model that knows nothing has 8")
            if not way.slow and not of_train:
                of_train = True
                findings = _overfit(generator, way, some, nats, train, candidate, effort)
        except UserError:
            notes.append(f"the likelihood of the model ({way.kind}) is not finite for some held-out images")
    return Told(scores, findings, notes=tuple(notes))


def count(generator: Generator, there: int, most: int) -> int:
    """How many of so many images are asked of: fewer where they are large."""
    return min(there, max(2, most * LARGEST // max(LARGEST, generator.spec.size**2)))


@torch.no_grad()
def nats_of(generator: Generator, way: Likelihood, images: LabelledImages, effort: _Effort) -> NDArray[np.float64]:
    """Nats of each image, (N,)."""
    rng = torch.Generator(generator.device).manual_seed(mix(effort.seed, STREAM))
    parts, said = [], progress(effort.say, f"asking for likelihoods ({way.kind})")
    for start in range(0, len(images), BATCH):
        x, condition = images.batch(slice(start, start + BATCH), generator.device)
        parts.append(way.nats(x, condition, rng).cpu().double().numpy())
        if said is not None:
            said(min(start + BATCH, len(images)), len(images))
    return np.concatenate(parts)


def _overfit(
    generator: Generator,
    way: Likelihood,
    held: LabelledImages,
    nats: NDArray[np.float64],
    train: LabelledImages | None,
    candidate: Candidate,
    effort: _Effort,
) -> Findings:
    """Held-out against as many training images."""
    if train is None:
        return unanswered(HeldOut, "CANNOT TELL", "There are no training images to compare with: name them with `data`.")
    seen, shape = train.some(len(held), effort.seed), generator.spec.shape
    of_held, of_seen = bits_of(nats, shape), bits_of(nats_of(generator, way, seen, effort), shape)
    try:
        found = gap(of_held, of_seen, intricacy(held.pixels), intricacy(seen.pixels))
    except UserError as error:
        return unanswered(HeldOut, "CANNOT TELL", str(error))
    lines = [r for r in candidate.records if "event" not in r]
    return answers(HeldOut(found, min(len(held), len(seen)), likelihood.widens(lines)))


@torch.no_grad()
def _latents(generator: Generator, images: LabelledImages | None) -> tuple[Findings, Units | None]:
    """Which latents vary with the image, and how much each says of it."""
    model = generator.model
    if not isinstance(model, HasPosterior):
        return unanswered(Posterior, "NOT APPLICABLE", likelihood.NO_ENCODER), None
    if images is None:
        return unanswered(Posterior, "CANNOT TELL", "There are no images to encode: name some with `holdout` or `data`."), None
    some = images.some(QUICK, 0)
    parts = [model.posterior(*some.batch(slice(start, start + BATCH), generator.device)) for start in range(0, len(some), BATCH)]
    means, divergence = (torch.cat([part[i].float().cpu() for part in parts]).flatten(1).numpy() for i in range(2))
    findings = answers(Posterior(means, divergence))
    if not any(isinstance(found, Finding) for found in findings):
        return findings, None
    nats = np.sort(divergence.mean(0))[::-1]
    rows = np.linspace(0, len(nats) - 1, min(len(nats), MOST_UNITS)).round().astype(int)
    return findings, Units(int(active_units(means).sum()), len(nats), tuple(nats[rows].tolist()))
