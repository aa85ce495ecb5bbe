"""Which latents of a variational autoencoder say something of images, and what each of them changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype import pictures
from calotype.capabilities import HasEncoder, HasPosterior
from calotype.errors import UserError
from calotype.explanation.section import Exhibit, LinePlot, Strip, Table
from calotype.metrics.likelihood import ACTIVE, active_units
from calotype.types import Condition, Model

BATCH = 50
REACH = 3.0  # standard deviations of the prior to either side


@dataclass(frozen=True)
class UnitActivity:
    """How much each latent unit says of images; the units in the order of the model."""

    nats: NDArray[np.float64]  # (z,): the mean divergence of its posterior from its prior
    activity: NDArray[np.float64]  # (z,): the variance over images of its posterior mean (Burda et al. 2016, section 5.2)
    active: NDArray[np.bool_]  # (z,): whether that is more than .01
    images: int  # that were encoded

    @property
    def order(self) -> NDArray[np.int64]:
        """The units, that of the largest divergence first."""
        found: NDArray[np.int64] = np.argsort(-self.nats, kind="stable")
        return found


@dataclass(frozen=True)
class Traversal:
    """What becomes of images where one latent moves and the others stay."""

    latents: tuple[int, ...]  # their places among the flattened latents, one a row
    values: tuple[float, ...]  # one a column, in standard deviations of the prior
    images: Tensor  # (rows, columns, C, H, W) in [-1, 1]
    moved: tuple[float, ...]  # of each row: root mean square change of a number of the image between the two ends, of 2


@dataclass(frozen=True)
class LatentUnits:
    """Which latents of a VAE say something, and what those that vary most do to an image."""

    activity: UnitActivity
    moved: Traversal
    single: bool  # whether a unit is one latent (`moves_single_units`)

    name = "latent-units"
    title = "Which latents say something, and what"
    says = (
        "An image is made from a list of latents. A latent whose divergence is near zero says nothing of any image: it could be left "
        "out. Each row of pictures moves one of the latents that vary most between images and leaves all others as they are."
    )

    def exhibits(self) -> Sequence[Exhibit]:
        """Divergences, and traversals."""
        found, order = self.activity, self.activity.order
        ranks = [float(k + 1) for k in range(len(order))]
        parts: list[Exhibit] = [
            Table(
                f"Over {found.images} images. A unit is active where its posterior mean varies by more than {ACTIVE} (Burda et al. 2016).",
                ("", ""),
                (
                    ("active units", f"{int(found.active.sum())} of {len(order)}"),
                    ("divergence from the prior, all units", f"{found.nats.sum():.1f} nats an image"),
                    ("half of it in", f"{int((found.nats[order].cumsum() < found.nats.sum() / 2).sum()) + 1} units"),
                ),
            ),
            LinePlot(
                "The divergence of each unit, that of the largest first: what it says of an image, in nats.",
                "unit, by rank",
                "nats",
                {"divergence from the prior": (ranks, found.nats[order].tolist())},
            ),
            LinePlot(
                "How much the posterior mean of the same units varies between images; 1 is all that the prior allows.",
                "unit, by rank of its divergence",
                "variance",
                {"activity": (ranks, found.activity[order].tolist())},
            ),
        ]
        if self.moved.latents:
            hint = "" if self.single else " Units are whole maps here, of which a row moves one number."
            rows = tuple(f"latent {place}" for place in self.moved.latents)
            caption = (
                f"The {len(rows)} latents that vary most between images, moved from {-REACH:g} to {REACH:g} standard deviations around "
                f"those of one image.{hint}"
            )
            heads = tuple(f"{value:+.1f}" for value in self.moved.values)
            parts.append(Strip(caption, pictures.to_uint8(self.moved.images.flatten(0, 1)), len(heads), rows, heads))
        return parts

    def data(self) -> dict[str, Any]:
        """Every unit."""
        found = self.activity
        return {
            "images": found.images,
            "active": int(found.active.sum()),
            "threshold": ACTIVE,
            "units": [
                {"unit": k, "nats": float(nats), "activity": float(found.activity[k]), "active": bool(found.active[k])}
                for k, nats in enumerate(found.nats)
            ],
            "traversals": [
                {"latent": place, "rms_change": change} for place, change in zip(self.moved.latents, self.moved.moved, strict=True)
            ],
        }


@torch.no_grad()
def unit_activity(model: Model, x: Tensor, label: Tensor | None = None) -> UnitActivity:
    """Divergence and activity of every latent unit over images (N, C, H, W) in [-1, 1], of labels (N,) where the model knows classes.

    Raises:
        UserError: for a model without an encoder that gives distributions, and for fewer than two images.
    """
    if not isinstance(model, HasPosterior):
        raise UserError("this model gives no distribution of latents: VAEs do")
    parts = []
    for first in range(0, len(x), BATCH):
        rows = slice(first, first + BATCH)
        parts.append(model.posterior(x[rows], Condition(None if label is None else label[rows])))
    means, nats = (torch.cat([part[i].cpu().double() for part in parts]).flatten(1).numpy() for i in range(2))
    return UnitActivity(nats.mean(0), means.var(0, ddof=1) if len(means) > 1 else np.zeros(means.shape[1]), active_units(means), len(means))


@torch.no_grad()
def traversal(
    model: Model, x: Tensor, base: Tensor, label: Tensor | None = None, rows: int = 10, columns: int = 9, base_label: Tensor | None = None
) -> Traversal:
    """The latents that vary most over images, each moved from -3 to 3 standard deviations of its prior around the latents of one image.

    Latents are ranked by the variance over ``x`` of what the model encodes them as; only those above the threshold of an active unit are
    moved. Values are those of the latent itself, in units of the prior, not what is added to it.

    Args:
        model: with an encoder.
        x: images (N, C, H, W) to rank by.
        base: the image (1, C, H, W) that the others of its latents are from.
        label: (N,) classes of ``x``, where the model knows them.
        rows: latents at most.
        columns: values of each.
        base_label: (1,) the class of ``base``.

    Raises:
        UserError: for a model without an encoder.
    """
    if not isinstance(model, HasEncoder):
        raise UserError("this model cannot find the latents of an image: VAEs, flows and diffusion models can")
    parts = [model.encode(x[i : i + BATCH], Condition(None if label is None else label[i : i + BATCH])) for i in range(0, len(x), BATCH)]
    spread = torch.cat(parts).flatten(1).cpu().double().var(0)
    ranked = [int(place) for place in spread.argsort(descending=True)[:rows] if spread[place] > ACTIVE]
    values = torch.linspace(-REACH, REACH, columns)
    start = model.encode(base, Condition(base_label)).flatten(1)
    made = []
    for place in ranked:
        latents = start.repeat(columns, 1)
        latents[:, place] = values.to(latents)
        condition = Condition(None if base_label is None else base_label.repeat(columns))
        made.append(model.decode(latents.view(columns, *model.latent_shape), condition).float().cpu())
    shape = (len(ranked), columns, *model.spec.shape)
    images = torch.stack(made).clamp(-1, 1) if made else torch.empty(shape)
    return Traversal(tuple(ranked), tuple(values.tolist()), images, _moved(images))


def moves_single_units(model: Model, units: int) -> bool:
    """Whether a unit of the posterior is one number of the latents: not so in hierarchies, whose units are maps."""
    return isinstance(model, HasEncoder) and prod(model.latent_shape) == units


def _moved(images: Tensor) -> tuple[float, ...]:
    return tuple(float((row[-1] - row[0]).square().mean().sqrt()) for row in images)
