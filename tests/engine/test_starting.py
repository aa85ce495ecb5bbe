"""Trainings that start from the weights of another model, and discriminators of which early blocks stay as they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from calotype.cli import main
from calotype.config import Config
from calotype.engine import starting
from calotype.engine.distributed import World
from calotype.engine.run import Run
from calotype.engine.train import resume, train
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import UserError
from calotype.models import GANConfig, build, stored
from calotype.networks.biggan import BigGANDiscriminatorConfig
from calotype.networks.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from calotype.networks.mlp import MLPDiscriminatorConfig
from calotype.networks.modern import ModernDiscriminatorConfig
from calotype.networks.progressive import ProgressiveDiscriminatorConfig, ProgressiveGeneratorConfig
from calotype.networks.projected import ProjectedDiscriminatorConfig
from calotype.networks.residual_gan import ResNetDiscriminatorConfig
from calotype.networks.style import StyleDiscriminatorConfig
from calotype.settings import checked
from calotype.types import ImageSpec
from tests.engine.test_resume import Said, interrupt
from tests.small import changed, final_state, same, small, split_of, tiny_gan

FREEZING: dict[str, Any] = {
    "dcgan": DCGANDiscriminatorConfig(width=4, spectral=True, norm="none"),
    "resnet": ResNetDiscriminatorConfig(width=4, attention=14),
    "biggan": BigGANDiscriminatorConfig(width=2),
    "style": StyleDiscriminatorConfig(width=4, widest=8),
    "progressive": ProgressiveDiscriminatorConfig(width=4, widest=8, growth=0.0),
}


def saved(config: Config, folder: Path, seed: int = 0) -> Path:
    """An exported model that nobody trained."""
    torch.manual_seed(seed)
    spec = ImageSpec(28, 1, tuple("0123456789"))
    model = build(config.model, spec)
    for part in model.modules():
        if isinstance(getattr(part, "phase", None), torch.Tensor):
            part.phase.fill_(3.0)
    folder.mkdir()
    Run(folder).export(model, config, spec, 1)
    return folder


def begun(config: Config, name: str = "dcgan") -> tuple[Trainer, str]:
    """A trainer before its first step, and what was said of where it starts."""
    trainer, said = Trainer(config, split_of(name), TrainState(steps=100), torch.device("cpu"), World()), Said()
    starting.take(trainer, said)
    return trainer, said.lines[-1]


def tuned(folder: Path, steps: int = 4, **model: Any) -> Config:
    """A small training that starts from the model in a folder."""
    config = starting.based_on(small("dcgan", steps), str(folder))
    return checked(Config, replace(config, model=changed(config.model, **model)))


@pytest.mark.parametrize("name", ["gan", "rpgan", "flow-matching", "vqvae", "glow", "denoise"])
def test_a_model_of_any_family_is_taken_as_it_is(runs: Path, name: str) -> None:
    train(small(name, 2), out=runs / "a")
    kept = stored.find(runs / "a").model().state_dict()
    config = starting.based_on(small(name), "a")
    assert config.train.start == "a"
    trainer, said = begun(config, name)
    for model in (trainer.model, trainer.average):
        own = model.state_dict()
        assert all(torch.equal(tensor, own[key]) for key, tensor in kept.items())
    assert f"starting from a ({name}): {len(kept)} of " in said
    assert (trainer.progress.step, trainer.progress.seen) == (0, 0)
    assert not any(key.startswith("optimizer/") for key in trainer.state())
    fresh = Trainer(replace(config, train=replace(config.train, start=None)), split_of(name), TrainState(4), torch.device("cpu"), World())
    assert not all(torch.equal(tensor, fresh.model.state_dict()[key]) for key, tensor in kept.items())


def test_what_has_another_shape_starts_anew_and_is_named(runs: Path) -> None:
    config = small("dcgan")
    generator = replace(config.model.generator, condition="input")  # type: ignore[union-attr]
    folder = saved(replace(config, model=replace(config.model, generator=generator)), runs / "a")  # type: ignore[arg-type]
    kept = stored.find(folder).model().state_dict()
    trainer, said = begun(tuned(folder, conditional=True))
    own = trainer.model.state_dict()
    taken = [key for key in own if key in kept and kept[key].shape == own[key].shape]
    assert all(torch.equal(kept[key], own[key]) for key in taken)
    assert f"{len(taken)} of {len(own)} tensors are taken; " in said
    assert "generator.layers.0.weight (of another shape)" in said
    assert "discriminator.head.embed.weight" in said
    assert "start anew" in said
    assert "not used" not in said
    assert "1 of the model given is not used" in starting._told({}, {}, {"odd": torch.zeros(1)})


def test_the_settings_of_the_model_are_taken_with_the_shape_of_its_images(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(small("rpgan", width=4), runs / "a")
    words = ["--from", "a", "--show-config"]
    assert main(["train", *words, "--data", "clothing"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["recipe"], found["train"]["start"], found["data"]["size"], found["data"]["channels"]) == ("rpgan", "a", 28, 1)
    assert (found["model"]["loss"], found["model"]["generator"]["width"]) == ("relativistic_pairing", 4)
    assert main(["train", "dcgan", *words, "--model.loss", "hinge", "--size", "32", "--channels", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["recipe"], found["data"]["size"], found["data"]["channels"]) == ("dcgan", 32, 3)
    assert (found["model"]["loss"], found["model"]["generator"]["width"]) == ("hinge", 4)


def test_settings_of_the_model_that_nothing_reads_here_are_nobodys_mistake(runs: Path) -> None:
    """Of a model that knew classes, on images without labels."""
    folder = saved(small("rpgan"), runs / "a")
    config = starting.based_on(small("dcgan", 1), str(folder))
    config = replace(config, data=replace(config.data, source="photos", fit="tile"))
    assert train(config, out=runs / "b").complete
    with pytest.raises(UserError, match=r"`model\.conditional` has no effect here"):
        train(replace(config, train=replace(config.train, start=None)), out=runs / "c")


@pytest.mark.parametrize("network", FREEZING)
def test_frozen_blocks_stay_as_they_are_and_all_others_learn(runs: Path, network: str) -> None:
    generator = ProgressiveGeneratorConfig(width=4, widest=8, growth=0.0) if network == "progressive" else DCGANGeneratorConfig(width=4)
    base = replace(small("dcgan"), model=GANConfig(generator=generator, discriminator=FREEZING[network], latent=8))
    folder = saved(base, runs / "a")
    config = tuned(folder, freeze_discriminator=2)
    trainer, _ = begun(replace(config, optimizer=replace(config.optimizer, weight_decay=0.1, l1=0.1)))
    before = {key: value.clone() for key, value in trainer.state().items()}
    for _ in range(8):  # then the average moves
        trainer.step()
    after = trainer.state()
    frozen = [key for key, p in trainer.model.named_parameters() if not p.requires_grad]
    discriminator: Any = trainer.model.discriminator
    early = {id(p) for block in discriminator.early()[:2] for part in block for p in part.parameters()}
    assert {id(p) for p in trainer.model.parameters() if not p.requires_grad} == early
    assert len(frozen) >= 2
    assert all(torch.equal(before[f"{of}/{key}"], after[f"{of}/{key}"]) for key in frozen for of in ("model", "average"))
    learned = [key for key, p in trainer.model.named_parameters() if p.requires_grad]
    still = [key for key in learned if torch.equal(before[f"model/{key}"], after[f"model/{key}"])]
    assert all(".from_rgb." in key or ".to_rgb." in key for key in still), still  # of sizes that it has outgrown
    assert any(key.startswith("discriminator") for key in learned)
    assert len([key for key in after if key.startswith("optimizer/discriminator/") and key.endswith("exp_avg")]) == len(
        [key for key in learned if key.startswith("discriminator")]
    )


def test_clipping_leaves_frozen_weights_alone(runs: Path) -> None:
    folder = saved(small("dcgan"), runs / "a")
    trainer, _ = begun(tuned(folder, freeze_discriminator=1, clip_weights=1e-3, loss="wasserstein"))
    trainer.step()
    largest = {
        p.requires_grad: max(
            float(q.detach().abs().max()) for q in trainer.players[0].module.parameters() if q.requires_grad == p.requires_grad
        )
        for p in trainer.players[0].module.parameters()
    }
    assert largest[False] > 1e-2
    assert largest[True] <= 1e-3 + 1e-9


def test_a_tuned_run_resumes_to_the_same_bits_and_begins_again_where_it_began(runs: Path) -> None:
    folder = saved(small("dcgan"), runs / "a")
    config = tuned(folder, steps=6, freeze_discriminator=1)
    for name in ("whole", "parts", "again"):
        train(config, out=runs / name)
    interrupt(runs / "parts", 4)
    hidden = folder.rename(runs / "gone")  # nothing of it is needed where there is a checkpoint
    assert resume(runs / "parts").complete
    hidden.rename(folder)
    shutil.rmtree(runs / "again" / "checkpoints")
    assert resume(runs / "again").complete
    assert same(final_state(runs / "whole"), final_state(runs / "parts"))
    assert same(final_state(runs / "whole"), final_state(runs / "again"))
    assert "- started from the weights of: a\n" in (runs / "whole" / "model" / "README.md").read_text()
    assert json.loads((runs / "whole" / "config.json").read_text())["config"]["train"]["start"] == str(folder)
    shutil.rmtree(runs / "again" / "checkpoints")
    shutil.rmtree(folder)
    saved(small("dcgan"), folder, seed=1)
    with pytest.raises(UserError, match="changed since the run began"):
        resume(runs / "again")
    with pytest.raises(UserError, match=r"a resumed run keeps its settings \(train.start"):
        resume(runs / "parts", replace(config, train=replace(config.train, start="elsewhere")))


def test_where_there_is_nothing_to_start_from(runs: Path) -> None:
    folder = saved(small("dcgan"), runs / "a")
    with pytest.raises(UserError, match="does not exist: give a run folder"):
        starting.based_on(small("dcgan"), "nowhere")
    with pytest.raises(UserError, match="the family gan, and ddpm is of the family diffusion"):
        starting.based_on(small("ddpm"), str(folder))
    with pytest.raises(UserError, match=r"no layer of the model in .* fits"):
        train(replace(tiny_gan(2), train=replace(tiny_gan(2).train, start=str(folder))), out=runs / "b")
    frozen = replace(small("dcgan"), model=changed(small("dcgan").model, freeze_discriminator=1))
    with pytest.raises(UserError, match=r"`model\.freeze_discriminator` keeps layers .* `train\.start`"):
        train(frozen, out=runs / "b")
    assert not (runs / "b").exists()
    with pytest.raises(UserError, match="dcgan has 3 of them before its head: give at most as many"):
        train(tuned(folder, freeze_discriminator=4), out=runs / "b")


@pytest.mark.parametrize(
    "network", [MLPDiscriminatorConfig(), ModernDiscriminatorConfig(), ProjectedDiscriminatorConfig(features="random")], ids=str
)
def test_networks_that_are_not_made_of_early_blocks_refuse(network: Any) -> None:
    config = GANConfig(discriminator=network, freeze_discriminator=1)
    with pytest.raises(UserError, match=f"network {network.network} has none: give 0, or another network"), torch.device("meta"):
        build(config, ImageSpec(28, 1))
