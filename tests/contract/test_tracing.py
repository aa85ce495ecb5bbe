"""Samples of every family are drawn anew bit for bit by what their files say, out of the batch in which they were drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import calotype
from calotype.capabilities import Inverts
from calotype.models import build
from calotype.provenance.watermark import WatermarkKey
from tests.contract.test_capabilities import having
from tests.contract.test_models import from_noise
from tests.small import small, spec_of

KEY = WatermarkKey(bytes(range(32)))


def generator(name: str) -> calotype.Generator:
    """A model whose weights are far from their start, with a digest."""
    torch.manual_seed(0)
    model = build(small(name).model, spec_of(name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return calotype.Generator(model, name, torch.device("cpu"), "ab" * 32)


@from_noise
def test_samples_are_drawn_anew_bit_for_bit(name: str, runs: Path) -> None:
    model = generator(name)
    paths = calotype.save_images(model.sample(3, seed=3, batch_size=2), "each", marker=model.marker(3, seed=3, batch_size=2))
    found = calotype.trace(paths[1:], model)
    assert [one.remade for one in found] == ["the same", "the same"], found
    # another picture of the same model is not taken for it
    moved = model.marker(3, seed=3, batch_size=2).one(2)
    calotype.pictures.save(calotype.pictures.to_picture(calotype.pictures.to_uint8(model.sample(1, seed=4))[0]), Path("a.png"), moved)
    assert calotype.trace("a.png", model)[0].remade != "the same"


@pytest.mark.parametrize("name", having(Inverts))
def test_watermarked_samples_are_drawn_anew_with_the_key_alone(name: str, runs: Path) -> None:
    model = generator(name)
    options = {"guidance": 0.0} if name == "tarflow" else {}
    marked, plain = (model.sample(3, seed=3, watermark=key, **options) for key in (KEY, None))
    assert not torch.allclose(marked, plain, atol=1e-2)
    alone = model.sample(1, seed=3, start=2, watermark=KEY, **options)
    assert float((marked[2:] - alone).abs().mean()) < 1e-3  # a chain of random weights enlarges what sums round otherwise
    paths = calotype.save_images(marked, "each", marker=model.marker(3, seed=3, watermark=KEY, **options))
    (found,) = calotype.trace(paths[1], model, watermark=KEY)
    assert found.remade == "the same", found
    assert found.watermark is not None
    (blind,) = calotype.trace(paths[1], model)
    assert blind.remade == "not tried"
    assert KEY.id in blind.notes[0]


@pytest.mark.parametrize("name", having(Inverts))
def test_noise_is_found_of_every_image_by_itself(name: str) -> None:
    model = generator(name).model
    assert isinstance(model, Inverts)
    images = torch.rand(3, *model.spec.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = model.invert(images)
    assert noise.ndim == 2
    assert len(noise) == 3
    assert torch.allclose(noise[1:2], model.invert(images[1:2]), atol=1e-2, rtol=1e-2)
