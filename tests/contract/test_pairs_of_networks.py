"""Generator and discriminator are chosen apart: every pair of networks plays a game, or says in one line why it cannot."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from calotype.cli import main
from calotype.engine.run import Run
from calotype.errors import UserError
from calotype.models.gan import GAN
from calotype.models.gan_config import GANConfig
from calotype.models.gan_networks import DISCRIMINATORS, GENERATORS, discriminator_of, generator_of
from calotype.models.stored import find
from calotype.networks.conditional_norm import ConditionalNorm
from calotype.networks.norms import NormName
from calotype.networks.residual import BlockKind
from calotype.settings import checked
from calotype.types import Batch, Condition, ImageSpec, Noise, Step

SPEC = ImageSpec(32, 3, ("zero", "one"))
TINY: dict[str, dict[str, Any]] = {
    "mlp": {"width": 8, "depth": 1},
    "biggan": {"width": 2, "shared": 4},
    "progressive": {"widest": 8},
    "style": {"widest": 8, "styles": 8, "depth": 2},
    "modern": {"width": 8, "blocks": 1, "group": 4},
    "projected": {"width": 4, "features": "random", "warmup": 0.0},
}
NORMS = get_args(NormName)
LAYERS: dict[str, tuple[type[nn.Module], ...]] = {
    "batch": (nn.BatchNorm1d, nn.BatchNorm2d),
    "instance": (nn.InstanceNorm2d,),
    "layer": (nn.GroupNorm,),
    "group": (nn.GroupNorm,),
    "none": (),
}


def tiny(kind: type) -> Any:
    """The smallest network of a kind."""
    config = kind()
    settings = {"width": 4, **TINY.get(config.network, {})}
    return replace(config, **{name: value for name, value in settings.items() if name in {f.name for f in fields(config)}})


def name_of(kind: Any) -> str:
    network: str = kind().network
    return network


def called(kind: type) -> str:
    return kind.__name__


def both(setting: str) -> list[type]:
    """The networks of either player for which something can be chosen."""
    return [kind for kind in (*GENERATORS, *DISCRIMINATORS) if setting in {f.name for f in fields(kind)}]


def played(config: GANConfig) -> None:
    """Take a step of each player, and draw."""
    torch.manual_seed(0)
    model, rng = GAN(config, SPEC).train(), torch.Generator().manual_seed(0)
    batch = Batch(torch.rand(4, 3, 32, 32, generator=rng) * 2 - 1, Condition(torch.tensor([0, 1, 0, 1])))
    step = Step(0, rng, progress=0.5)
    for player in model.players():
        loss = player.loss(batch, step)["loss"]
        owned = list(player.module.parameters())
        gradients = torch.autograd.grad(loss, owned, allow_unused=True)
        found = [g for g in gradients if g is not None]
        assert all(bool(g.isfinite().all()) for g in found)
        assert any(bool(g.abs().max() > 0) for g in found)
        with torch.no_grad():
            for parameter, gradient in zip(owned, gradients, strict=True):
                if gradient is not None:
                    parameter -= 1e-3 * gradient
    model.eval()
    with torch.no_grad():
        images = model.sample(Noise(2))
    assert images.shape == (2, 3, 32, 32)
    assert bool(images.isfinite().all())


@pytest.mark.parametrize("discriminator", DISCRIMINATORS, ids=name_of)
@pytest.mark.parametrize("generator", GENERATORS, ids=name_of)
def test_every_pair_plays_or_says_why_it_cannot(generator: type, discriminator: type) -> None:
    config = GANConfig(generator=tiny(generator), discriminator=tiny(discriminator), latent=8)
    growing = [name_of(kind) == "progressive" for kind in (generator, discriminator)]
    if any(growing) and not all(growing):
        with pytest.raises(UserError, match=r"^networks grow together: [^\n]*$"):
            played(config)
        return
    played(config)
    played(replace(config, conditional=True))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("of", both("norm"), ids=called)
def test_every_normalization_where_there_are_maps_to_normalize(of: type, norm: NormName) -> None:
    config = replace(tiny(of), norm=norm)
    build: Any = generator_of if of in GENERATORS else discriminator_of
    extra = (8,) if of in GENERATORS else ()
    if name_of(of) == "mlp" and norm == "instance":
        with pytest.raises(UserError, match=r"^instance normalization needs feature maps[^\n]*$"):
            build(config, SPEC.shape, *extra, 0)
        return
    network = build(config, SPEC.shape, *extra, 0)
    layers = [part for part in network.modules() if isinstance(part, nn.GroupNorm | nn.InstanceNorm2d | nn.BatchNorm1d | nn.BatchNorm2d)]
    assert bool(layers) == (norm != "none")
    assert all(isinstance(layer, LAYERS[norm]) for layer in layers)
    if norm == "layer":
        assert all(isinstance(layer, nn.GroupNorm) and layer.num_groups == 1 for layer in layers)
    other = {"discriminator": config} if of in DISCRIMINATORS else {"generator": config}
    played(replace(GANConfig(generator=tiny(next(iter(GENERATORS))), discriminator=tiny(next(iter(DISCRIMINATORS))), latent=8), **other))


@pytest.mark.parametrize("of", both("spectral"), ids=called)
def test_spectral_normalization_bounds_every_layer(of: type) -> None:
    for spectral in (True, False):
        config = replace(tiny(of), spectral=spectral, norm="none")
        network: nn.Module
        network = generator_of(config, SPEC.shape, 8, 0) if of in GENERATORS else discriminator_of(config, SPEC.shape, 0)  # type: ignore[arg-type]
        layers = [part for part in network.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
        assert layers
        assert all(is_parametrized(layer) == spectral for layer in layers)
        if spectral:
            for _ in range(200):  # iterations of the estimate
                weights: list[Tensor] = [layer.weight for layer in layers]
            for layer, weight in zip(layers, weights, strict=True):
                matrix = weight.transpose(0, 1).flatten(1) if isinstance(layer, nn.ConvTranspose2d) else weight.flatten(1)
                assert float(torch.linalg.matrix_norm(matrix.detach(), 2)) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("blocks", get_args(BlockKind))
def test_every_block_of_residual_networks(blocks: BlockKind) -> None:
    networks = [replace(tiny(kind), blocks=blocks) for kind in both("blocks") if name_of(kind) == "resnet"]
    assert len(networks) == 2
    played(GANConfig(generator=networks[0], discriminator=networks[1], latent=8))


def test_what_a_network_has_no_choice_of_is_refused_in_one_line() -> None:
    for network, setting in (("style", "norm"), ("biggan", "spectral"), ("modern", "norm"), ("mlp", "kernel")):
        with pytest.raises(UserError, match=rf"^[^\n]*{setting}[^\n]*$"):
            checked(GANConfig, {"generator": {"network": network, setting: "batch"}})


def test_a_fully_connected_generator_meets_kernels_of_five(runs: Any) -> None:
    words = ["--model.discriminator.network", "dcgan", "--model.discriminator.kernel", "5", "--model.discriminator.width", "4"]
    assert main(["train", "gan", *words, "--steps", "2", "--train.batch", "8", "--report", "False", "--out", "a"]) == 0
    config = find(Run(runs / "a").model).config
    assert isinstance(config, GANConfig)
    assert (config.generator.network, config.discriminator.network) == ("mlp", "dcgan")
    model: Any = find(runs / "a").model()
    sides = [layer.kernel_size for layer in model.discriminator.modules() if isinstance(layer, nn.Conv2d)]
    assert sides == [(5, 5)] * 3
    assert not any(isinstance(part, ConditionalNorm) for part in model.modules())
