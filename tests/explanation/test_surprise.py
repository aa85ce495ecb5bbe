"""The bits of pixels: their mean is the likelihood that a report tells, and each is what the pixels before it leave open."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calotype.data import load
from calotype.errors import UserError
from calotype.evaluation.likelihoods import LabelledImages, _Effort, nats_of
from calotype.explanation.surprise import surprise
from calotype.metrics.likelihood import bits_per_dim
from calotype.tasks.sample import Generator
from calotype.types import Model
from tests.contract.test_models import trainer_of
from tests.small import small, split_of


def trained(name: str, **settings: object) -> Model:
    trainer = trainer_of(small(name, **settings), split_of(name))
    for _ in range(3):
        trainer.step()
    return trainer.model.eval()


@pytest.mark.parametrize("name", ["pixelcnn", "glow", "realnvp", "tarflow"])
def test_the_mean_is_what_a_report_tells(name: str) -> None:
    model = trained(name)
    held = load("mnist5k").holdout
    assert held.labels is not None
    rows = LabelledImages(held.pixels[:60], held.labels[:60] if model.conditional else None)  # more than one batch
    generator = Generator(model, name, torch.device("cpu"))
    told = bits_per_dim(nats_of(generator, model.likelihoods()[0], rows, _Effort(5, True, None)), model.spec.shape)
    x = torch.from_numpy(np.array(rows.pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    found = surprise(model, x, None if rows.label is None else torch.from_numpy(rows.label), seed=5)
    assert found.bits.shape == (60, 28, 28)
    assert found.bits_per_dim == pytest.approx(told.value, rel=1e-5)
    assert sum(found.parts.values()) == pytest.approx(told.value, rel=1e-5)
    assert found.pixelwise == (name == "pixelcnn")
    assert found.kind == model.likelihoods()[0].kind


def test_a_pixel_costs_by_what_stands_before_it_alone() -> None:
    model = trained("pixelcnn", conditional=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    x = torch.randint(0, 256, (1, 1, 28, 28), generator=torch.Generator().manual_seed(0)).float() / 127.5 - 1
    other = x.clone()
    other[0, 0, 10, 14:] = -x[0, 0, 10, 14:]
    first, second = surprise(model, x).bits[0], surprise(model, other).bits[0]
    assert torch.allclose(first[:10], second[:10])
    assert torch.allclose(first[10, :14], second[10, :14])
    assert float((first[10, 14] - second[10, 14]).abs()) > 1e-4


def test_levels_of_a_flow_lie_where_their_places_do() -> None:
    found = surprise(trained("glow"), torch.full((2, 1, 28, 28), -1.0), torch.tensor([0, 1]))
    assert set(found.parts) >= {"values", "level 1", "level 2"}
    assert not found.pixelwise


def test_other_models_are_refused() -> None:
    with pytest.raises(UserError, match="autoregressive models and flows"):
        surprise(Model(), torch.zeros(1, 1, 8, 8))
