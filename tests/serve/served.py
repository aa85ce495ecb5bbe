"""Models with random weights in folders, and images as requests carry them."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save

from calotype.models import build
from calotype.types import ImageSpec, Model
from tests.small import small, spec_of

JSON = {"content-type": "application/json"}


def put_model(folder: Path, recipe: str, spec: ImageSpec | None = None, **model: Any) -> Path:
    """The folder of a small model of a recipe, as a run exports it."""
    config, spec = small(recipe, **model).model, spec or spec_of(recipe)
    made = shaken(build(config, spec))
    state = {name: t.contiguous() for name, t in made.state_dict().items() if not name.startswith(made.training_only)}
    place = folder / recipe
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps({"recipe": recipe, "model": asdict(config), "spec": asdict(spec)}))
    (place / "model.safetensors").write_bytes(save(state))
    return place


@torch.no_grad()
def shaken(model: Model) -> Model:
    """A model whose weights are random all over: networks begin with layers of zeros, which make all images alike."""
    rng = torch.Generator().manual_seed(0)
    for weights in model.parameters():
        weights.add_(0.05 * torch.randn(weights.shape, generator=rng))
    return model


def picture(size: tuple[int, int] = (28, 28), form: str = "PNG", channels: int = 1, seed: int = 0) -> bytes:
    """A picture of random pixels, of a width and a height, as a file."""
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
    pixels: NDArray[np.uint8] = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def mask(size: int, top: int) -> str:
    """A mask that is white from a row on, in base64."""
    pixels = np.zeros((size, size), np.uint8)
    pixels[top:] = 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return text(stream.getvalue())


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def opened(encoded: str) -> Image.Image:
    """The picture in a text of base64."""
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def tampered(encoded: str) -> str:
    """A picture whose marker has other fields than those that its checksum is of."""
    told, data = PngInfo(), io.BytesIO()
    with opened(encoded) as image:
        for name, words in image.text.items():  # type: ignore[attr-defined]
            told.add_itxt(name, words.replace("seed", "Seed"))
        image.save(data, "PNG", pnginfo=told)
    return text(data.getvalue())


def pixels_of(encoded: str) -> NDArray[np.uint8]:
    """Its pixels."""
    return np.asarray(opened(encoded))
