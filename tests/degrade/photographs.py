"""Pieces of the photographs that the package carries."""

from __future__ import annotations

import zipfile

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from calotype.data import embedded


def piece(name: str, top: int, left: int, height: int = 128, width: int = 160) -> Tensor:
    """(1, 3, height, width) in [-1, 1]."""
    with zipfile.ZipFile(embedded.photographs("photos")) as archive:
        (found,) = [entry for entry in archive.namelist() if name in entry]
        pixels = np.asarray(Image.open(archive.open(found)).convert("RGB"))
    cut = pixels[top : top + height, left : left + width].transpose(2, 0, 1).copy()
    return torch.from_numpy(cut)[None].float().sub(127.5).mul(1 / 127.5)
