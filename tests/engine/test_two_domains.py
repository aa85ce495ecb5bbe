"""A model drawn from noise in two domains goes through everything that a training asks of a model: coupled generators as they may come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import softplus

import calotype
from calotype import models
from calotype.capabilities import DrawsPairs
from calotype.config import Config
from calotype.engine.distributed import World
from calotype.engine.images import open_images
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import UserError
from calotype.evaluation.evaluate import evaluate
from calotype.models import GANConfig
from calotype.types import Batch, Condition, ImageSpec, Model, Noise, Player, SamplingOptions, Step
from tests.engine.test_resume import interrupt
from tests.small import final_state, same, small

LATENT = 4


class Coupled(Model):
    """Two generators that share their first layer, and two discriminators that share their last (Liu & Tuzel 2016), as small as can be."""

    def __init__(self, config: GANConfig, spec: ImageSpec) -> None:
        super().__init__()
        if spec.source is None or spec.source.paired:
            raise UserError("a coupled GAN learns from unpaired images of two domains")
        self.config, self.spec = config, spec
        pixels = spec.channels * spec.size**2
        self.generator = nn.ModuleDict({"shared": nn.Linear(LATENT, 8), "own": nn.ModuleList(nn.Linear(8, pixels) for _ in range(2))})
        self.discriminator = nn.ModuleDict({"own": nn.ModuleList(nn.Linear(pixels, 8) for _ in range(2)), "shared": nn.Linear(8, 1)})

    def players(self) -> Sequence[Player]:
        return (Player("discriminator", self.discriminator, self._discriminate), Player("generator", self.generator, self._generate))

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        return self.sample_pairs(noise, condition, options)[0]

    def sample_pairs(
        self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None
    ) -> tuple[Tensor, Tensor]:
        first, second = self._pairs(noise.normal(LATENT))
        return first, second

    def _pairs(self, latent: Tensor) -> list[Tensor]:
        hidden = self.generator["shared"](latent).relu()
        return [own(hidden).tanh().view(-1, *self.spec.shape) for own in self.generator["own"]]  # type: ignore[union-attr]

    def _fakes(self, batch: Batch, step: Step) -> list[Tensor]:
        return self._pairs(torch.randn(len(batch.image), LATENT, generator=step.rng))

    def _logits(self, images: Sequence[Tensor]) -> Tensor:
        seen = [own(x.flatten(1)) for own, x in zip(self.discriminator["own"], images, strict=True)]  # type: ignore[call-overload]
        logits: Tensor = self.discriminator["shared"](torch.cat(seen).relu())
        return logits

    def _discriminate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        assert batch.condition.source is not None
        real = self._logits([batch.image, batch.condition.source])
        return {"loss": softplus(-real).mean() + softplus(self._logits([x.detach() for x in self._fakes(batch, step)])).mean()}

    def _generate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"loss": softplus(-self._logits(self._fakes(batch, step))).mean()}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    """Digits and their edges, of other digits: the first experiment of the paper."""
    monkeypatch.setitem(models.MODELS, GANConfig, Coupled)
    plain = small("gan", 4)
    return replace(plain, data=replace(plain.data, degrade="edges", paired=False), log=replace(plain.log, grid=6))


def test_it_trains_resumes_and_draws_pairs_in_its_grid(config: Config, tmp_path: Path) -> None:
    for name in "ab":
        run = train(config, out=tmp_path / name).run
    interrupt(tmp_path / "b", 2)
    resume(tmp_path / "b")
    assert same(*(final_state(tmp_path / name) for name in "ab"))
    generator = calotype.load(run.folder, device="cpu")
    model = generator.model
    assert isinstance(model, DrawsPairs)
    assert model.starts_from is None
    with torch.no_grad():
        first, second = model.sample_pairs(Noise(6, seed=config.train.seed))
    assert torch.equal(generator.sample(6, seed=config.train.seed), first)
    assert not torch.equal(first, second)
    shown = calotype.pictures.to_uint8(torch.stack([first, second], 1).flatten(0, 1))
    with Image.open(run.grids()[-1][1]) as grid:
        assert np.array_equal(np.asarray(grid), np.asarray(calotype.pictures.grid(shown, columns=6)))


def test_it_is_put_to_work_as_one_that_draws(config: Config, tmp_path: Path) -> None:
    config = replace(config, log=replace(config.log, evaluate=4, evaluate_images=80))
    run = train(config, out=tmp_path / "run").run
    assert run.use() is None
    assert "--count 64" in (run.model / "README.md").read_text()
    assert any(event.get("event") == "score" for event in run.log().read())
    report = evaluate(run.folder, short=True, device="cpu")
    assert report.scores


def test_both_domains_are_seen_and_unpaired(config: Config) -> None:
    trainer = Trainer(config, open_images(config.data), TrainState(steps=9), torch.device("cpu"), World())
    batch = trainer.loader.batch_at(0)
    assert batch.condition.source is not None
    assert batch.condition.source.shape == batch.image.shape
    before = {name: t.clone() for name, t in trainer.state().items()}
    trainer.step()
    assert all(not torch.equal(before[name], t) for name, t in trainer.state().items() if name.startswith("model/"))


def test_others_that_draw_from_noise_still_refuse_two_domains(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(models.MODELS, GANConfig, models.GAN)
    with pytest.raises(UserError, match="makes images from noise"):
        Trainer(config, open_images(config.data), TrainState(steps=9), torch.device("cpu"), World())
