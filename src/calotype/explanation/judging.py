"""What a classifier or a discriminator is asked about images, so that attributions can ask it again."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from calotype.capabilities import Classifies, Discriminates, HasFeatures
from calotype.errors import UserError
from calotype.explanation.saliency import JudgedImages, Skill
from calotype.types import Condition, Model

SURE = 3.0  # standard errors above guessing from which a network knows something
BATCH = 50
SOFTMAX = "Shares are the softmax of the logits as they are: calotype classify tells calibrated ones."


def judged_by_classifier(
    model: Model, x: Tensor, names: tuple[str, ...], held: tuple[Tensor, Tensor] | None = None, label: int | None = None
) -> JudgedImages:
    """A classifier's own words for images (N, C, H, W): the class that it names, or the one that is asked for.

    The score is the logit of the class less the mean logit of all: logits are known up to a constant of the image, which must not be
    explained.

    Args:
        model: a classifier.
        x: the images.
        names: what they are called.
        held: images that it never saw and their classes (M,), by which its skill is measured.
        label: the class to explain; without one that which it names.

    Raises:
        UserError: for a model that tells no classes apart.
    """
    if not isinstance(model, Classifies):
        raise UserError("this model tells no classes apart: calotype train resnet makes one that does")
    teller = model

    def logits(x: Tensor) -> Tensor:
        return teller.logits_of(teller.features(x))

    def score(x: Tensor, target: Tensor) -> Tensor:
        found = logits(x)
        return found.gather(1, target[:, None])[:, 0] - found.mean(1)

    with torch.no_grad():
        beliefs = logits(x).softmax(1)
    target = beliefs.argmax(1) if label is None else torch.full((len(x),), label, device=x.device)
    classes = model.spec.classes
    said = tuple(f"{classes[k]}, {100 * float(p[k]):.1f}%" for k, p in zip(target.tolist(), beliefs.cpu(), strict=True))
    network = model.backbone if isinstance(model, HasFeatures) else model
    heads = tuple(classes[k] for k in target.tolist())
    words = "the logit of the class less the mean logit of all classes"
    return JudgedImages("the classifier", network, score, words, x, target, names, said, heads, _accuracy(logits, held), of_said=SOFTMAX)


def judged_by_discriminator(
    model: Model, real: Tensor, real_names: tuple[str, ...], drawn: Tensor, labels: tuple[Tensor | None, Tensor | None], shown: int
) -> JudgedImages:
    """A discriminator's opinion of real images (M, C, H, W) and drawn ones (K, C, H, W), of which the first ``shown`` each are explained.

    The score is its logit that an image is real. Its skill is how often it ranks a real image above a drawn one.

    Args:
        model: a GAN.
        real: images that it never saw.
        real_names: what they are called.
        drawn: images of its generator.
        labels: the classes of both, where it knows classes.
        shown: images of each kind.

    Raises:
        UserError: for a model without a discriminator.
    """
    if not isinstance(model, Discriminates):
        raise UserError("this model has no discriminator: GANs have")
    teller = model

    def score(x: Tensor, target: Tensor) -> Tensor:
        return teller.realness(x, Condition(target if model.conditional else None))

    def scores(x: Tensor, label: Tensor | None) -> Tensor:
        target = torch.zeros(len(x), dtype=torch.int64, device=x.device) if label is None else label
        with torch.no_grad():
            return torch.cat([score(x[i : i + BATCH], target[i : i + BATCH]) for i in range(0, len(x), BATCH)])

    of_real, of_drawn = scores(real, labels[0]), scores(drawn, labels[1])
    gap = of_real[:, None] - of_drawn[None, :]
    value = float(0.5 * (1 + gap.sign().mean()))
    error = math.sqrt((len(real) + len(drawn) + 1) / (12 * len(real) * len(drawn)))  # of Mann and Whitney's statistic without any skill
    measured = f"how often it ranks one of {len(real)} held-out images above one of {len(drawn)} drawn ones"
    x = torch.cat([real[:shown], drawn[:shown]])
    none = torch.zeros(shown, dtype=torch.int64, device=x.device)
    target = torch.cat([none[: len(some[:shown])] if own is None else own[:shown] for some, own in zip((real, drawn), labels, strict=True)])
    opinions = torch.cat([of_real[:shown], of_drawn[:shown]]).tolist()
    names = (*real_names[:shown], *(f"drawn {k + 1}" for k in range(len(drawn[:shown]))))
    kinds = ("real",) * len(real[:shown]) + ("drawn",) * len(drawn[:shown])
    said = tuple(f"{kind}: {opinion:+.2f}" for kind, opinion in zip(kinds, opinions, strict=True))
    words = "its logit that the image is real"
    skill = _skill(measured, value, 0.5, 0.5 + SURE * error)
    return JudgedImages(
        "the discriminator",
        teller.discriminator,
        score,
        words,
        x,
        target,
        names,
        said,
        kinds,
        skill,
        drawn=True,
        of_said="The opinion is the logit that an image is real.",
    )


def _accuracy(logits: Callable[[Tensor], Tensor], held: tuple[Tensor, Tensor] | None) -> Skill | None:
    if held is None:
        return None
    x, label = held
    with torch.no_grad():
        right = torch.cat([logits(x[i : i + BATCH]).argmax(1) == label[i : i + BATCH] for i in range(0, len(x), BATCH)])
    guessing = float(torch.bincount(label.cpu()).max()) / len(label)  # by who always names the commonest
    least = guessing + SURE * math.sqrt(guessing * (1 - guessing) / len(label))
    return _skill(f"the share of {len(label)} held-out images that it names rightly", float(right.float().mean()), guessing, least)


def _skill(measured: str, value: float, guessing: float, least: float) -> Skill | None:
    """None where nothing could count as more than guessing: of few images, or of those of one class."""
    return None if least >= 1 else Skill(measured, value, guessing, least)
