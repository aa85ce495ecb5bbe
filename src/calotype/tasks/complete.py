"""The rest of an image of which the upper part is given."""

from __future__ import annotations

import torch
from torch import Tensor

from calotype.capabilities import Completes
from calotype.data.images import Progress
from calotype.errors import UserError
from calotype.tasks.sample import Generator
from calotype.types import Condition, Noise

BATCH = 64  # images drawn at once


def require_rows(generator: Generator, keep: float) -> int:
    """How many rows the upper share ``keep`` of an image has. Raises `UserError` for a model that completes no images, for none and all."""
    if not isinstance(generator.model, Completes):
        raise UserError(f"a {generator.recipe} model cannot complete images: pixelcnn and pixel-transformer can")
    size = generator.spec.size
    rows = round(keep * size) if 0 <= keep <= 1 else 0
    if not 0 < rows < size:
        raise UserError(f"`keep={keep:g}` keeps {rows} of {size} rows: give a share between 0 and 1, such as 0.5")
    return rows


@torch.no_grad()
def complete(
    generator: Generator,
    images: Tensor,
    keep: float,
    *,
    label: Tensor | None = None,
    samples: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Keep the upper share ``keep`` of images (N, C, H, W) in [-1, 1] bit for bit and draw the rest, ``samples`` times each.

    Returns (N, samples, C, H, W). Completion ``j`` of image ``i`` depends on ``seed`` and i * samples + j alone. Raises `UserError`
    for a model that cannot, and where nothing or everything would be kept.
    """
    rows, model = require_rows(generator, keep), generator.model
    assert isinstance(model, Completes)
    known = images.repeat_interleave(samples, 0)
    labels = None if label is None or not model.conditional else label.repeat_interleave(samples, 0)
    parts = []
    for start in range(0, len(known), BATCH):
        part = slice(start, start + BATCH)
        piece = known[part].to(generator.device)
        condition = Condition(None if labels is None else labels[part]).to(generator.device)
        parts.append(model.complete(piece, rows, Noise(len(piece), seed, start, generator.device), condition).float().cpu())
        if progress is not None:
            progress(min(start + BATCH, len(known)), len(known))
    return torch.cat(parts).view(len(images), samples, *images.shape[1:])
