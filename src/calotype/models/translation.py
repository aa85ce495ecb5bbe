"""What all translators share: what they refuse, and how their discriminators are watched."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from calotype.errors import UserError
from calotype.losses.adversarial import least_squares, ranked_above
from calotype.networks.patchgan import PatchGAN, halvings_for
from calotype.types import ImageSpec, Source

Direction = Literal["a2b", "b2a"]


def side_of(spec: ImageSpec) -> Source:
    """What is translated from. Raises `UserError` where there is nothing, or where it is not a picture of the same size."""
    source = spec.source
    if source is None:
        raise UserError(
            "a translator learns from two kinds of pictures: name the other with `data.partner`, or how to make it: `data.degrade`"
        )
    if source.scale != 1 or source.conditioning:
        raise UserError(f"a translator makes a picture of one of the same size, which {source} does not give: calotype train denoise")
    return source


def require_room(spec: ImageSpec, halvings: int) -> None:
    """Raise `UserError` where a generator would halve images down to one place, which cannot be normalized."""
    if spec.size < 2 << halvings:
        raise UserError(
            f"a generator of {halvings} halvings needs images of {2 << halvings} pixels or more, and these have {spec.size}: "
            "give fewer `model.halvings`"
        )


def patch_discriminator(channels: int, width: int, halvings: int | None, size: int) -> PatchGAN:
    """A discriminator of as many halvings as asked for, or as fit images of ``size`` pixels a side; `UserError` for too many of them."""
    if halvings is not None and size < 3 << halvings:
        raise UserError(
            f"a discriminator of {halvings} halvings needs images of {3 << halvings} pixels or more, and these have {size}: "
            "give fewer `model.discriminator_halvings`"
        )
    return PatchGAN(channels, width=width, halvings=halvings or halvings_for(size))


def told_apart(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The least-squares loss of a discriminator (Mao et al. 2017), which sees both kinds in one pass."""
    on_real, on_fake = discriminator(torch.cat([real, fake])).split([len(real), len(fake)])
    return least_squares("discriminator", on_fake, on_real)


def taken_for_real(discriminator: nn.Module, fake: Tensor) -> Tensor:
    """The generator's side of it: the mean squared distance of its logits to 1 (Zhu et al. 2017, section 4)."""
    return 2 * least_squares("generator", discriminator(fake))


def watched(on_real: Tensor, on_fake: Tensor, on_holdout: Tensor, boundary: float) -> dict[str, Tensor]:
    """What a discriminator makes of training, translated and held-out pictures, from its logits (N, h, w)."""
    real, fake, holdout = (logits.float().flatten(1).mean(1) for logits in (on_real, on_fake, on_holdout))
    return {
        "d_real": real.mean(),
        "d_fake": fake.mean(),
        "d_holdout": holdout.mean(),
        "d_accuracy": 0.5 * ((on_real > boundary).float().mean() + (on_fake < boundary).float().mean()),
        "d_auc": ranked_above(real, holdout),
    }
