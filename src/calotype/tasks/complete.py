"""The rest of an image of which the upper part is given."""

from __future__ import annotations

import torch
from torch import Tensor

from calotype.errors import UserError
from calotype.tasks.sample import Generator
from calotype.types import Completes, Condition, Noise

BATCH = 64  # images drawn at once


@torch.no_grad()
def complete(generator: Generator, images: Tensor, keep: float, *, label: Tensor | None = None, samples: int = 1, seed: int = 0) -> Tensor:
    """Keep the upper share ``keep`` of images (N, C, H, W) in [-1, 1] bit for bit and draw the rest, ``samples`` times each.

    Returns (N, samples, C, H, W). Completion ``j`` of image ``i`` depends on ``seed`` and i * samples + j alone. Raises `UserError`
    for a model that cannot, and where nothing or everything would be kept.
    """
    model = generator.model
    if not isinstance(model, Completes):
        raise UserError(f"a {generator.recipe} model cannot complete images: pixelcnn and pixel-transformer can")
    rows = round(keep * images.shape[2])
    if not 0 < rows < images.shape[2]:
        raise UserError(f"--keep {keep:g} keeps {rows} of {images.shape[2]} rows: give a share between 0 and 1, such as 0.5")
    known = images.repeat_interleave(samples, 0)
    labels = None if label is None or not model.conditional else label.repeat_interleave(samples, 0)
    parts = []
    for start in range(0, len(known), BATCH):
        part = slice(start, start + BATCH)
        piece = known[part].to(generator.device)
        condition = Condition(None if labels is None else labels[part]).to(generator.device)
        parts.append(model.complete(piece, rows, Noise(len(piece), seed, start, generator.device), condition).float().cpu())
    return torch.cat(parts).view(len(images), samples, *images.shape[1:])
