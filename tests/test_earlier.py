"""Files of earlier versions mean today what they meant then."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from calotype import earlier
from calotype.models import GANConfig
from calotype.networks.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from calotype.networks.mlp import MLPDiscriminatorConfig, MLPGeneratorConfig
from calotype.settings import checked
from calotype.types import ImageSpec, Source


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"how": "noise:0-55", "known": ["sigma"]}, Source(3, 1, ("sigma",), "noise:0-55")),
        ({"how": "downsample:2", "scale": 2}, Source(3, 2, (), "downsample:2")),
        ({"how": "paired"}, Source(3)),
        ({"how": "unpaired"}, Source(3, paired=False)),
        ({"how": "unpaired invert"}, Source(3, degradation="invert", paired=False)),
        ({"degradation": "invert", "paired": False}, Source(3, degradation="invert", paired=False)),
    ],
)
def test_what_a_model_was_made_from(old: dict[str, Any], new: Source) -> None:
    assert checked(ImageSpec, earlier.spec({"size": 28, "channels": 3, "source": {"channels": 3, **old}})).source == new


def test_the_setting_for_rotations_has_its_usual_name() -> None:
    assert earlier.config({"data": {"source": "photos", "turn": True}}) == {"data": {"source": "photos", "rot90": True}}
    assert earlier.config({"data": {"rot90": True}, "model": 3}) == {"data": {"rot90": True}, "model": 3}
    assert [earlier.config({"data": odd}) for odd in (None, 3, [])] == [{"data": None}, {"data": 3}, {"data": []}]


@pytest.mark.parametrize("odd", [None, 3, [], {"source": None}, {"source": 3}, {"source": {"how": 3}}, {"source": []}])
def test_what_is_not_as_expected_is_left_to_the_reader(odd: Any) -> None:
    assert earlier.spec(odd) == odd


FLAT = {"kind": "gan", "latent": 7, "width": 8, "discriminator_width": None, "generator_norm": "layer", "discriminator_norm": "none"}
FLAT |= {"depth": 2, "activation": "relu", "dropout": 0.25, "spectral": True, "minibatch_std": True, "pace": 2.0, "smooth": 0.9}


def test_the_flat_settings_of_a_gan_are_those_of_its_networks() -> None:
    made = checked(GANConfig, earlier.model({**FLAT, "network": "dcgan"}))
    assert made.generator == DCGANGeneratorConfig(width=8, norm="layer")
    assert made.discriminator == DCGANDiscriminatorConfig(width=8, norm="none", dropout=0.25, spectral=True, minibatch_std=True)
    assert (made.latent, made.discriminator_lr_mult, made.smooth) == (7, 2.0, 0.9)
    made = checked(GANConfig, earlier.config({"model": {**FLAT, "network": "mlp", "discriminator_width": 16}})["model"])
    assert made.generator == MLPGeneratorConfig(width=8, depth=2, activation="relu", norm="layer")
    assert isinstance(made.discriminator, MLPDiscriminatorConfig)
    assert (made.discriminator.width, made.discriminator.depth, made.discriminator.dropout) == (16, 2, 0.25)
    assert earlier.model(asdict(made)) == asdict(made)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"kind": "diffusion", "path": "straight"}, {"kind": "diffusion", "path": "rectified"}),
        ({"kind": "diffusion", "path": "linear"}, {"kind": "diffusion", "path": "vp-linear"}),
        ({"kind": "diffusion", "path": "cosine"}, {"kind": "diffusion", "path": "vp-cosine"}),
        ({"kind": "diffusion", "path": "exploding"}, {"kind": "diffusion", "path": "ve"}),
        ({"kind": "diffusion", "path": 3}, {"kind": "diffusion", "path": 3}),
        ({"kind": "hvae", "rungs": 3}, {"kind": "hvae", "latent_blocks": 3}),
        ({"kind": "gan", "pace": 2.0}, {"kind": "gan", "discriminator_lr_mult": 2.0}),
        ({"kind": "vae", "pace": 2.0}, {"kind": "vae", "pace": 2.0}),
        ({"kind": ["gan"]}, {"kind": ["gan"]}),
        (3, 3),
    ],
)
def test_settings_have_the_names_of_today(old: Any, new: Any) -> None:
    assert earlier.model(old) == new
    assert earlier.model(new) == new


def test_tensors_and_events_have_the_names_of_today() -> None:
    names = ["model/encoder.trunk.layers.0.weight", "crown.base.bias", "average/trunked.crown", "optimizer/generator/3/exp_avg"]
    assert [earlier.parameter(name) for name in names] == [
        "model/encoder.backbone.layers.0.weight",
        "decoder.base.bias",
        "average/trunked.crown",
        "optimizer/generator/3/exp_avg",
    ]
    assert earlier.record({"event": "retreat", "step": 3}) == {"event": "rollback", "step": 3}
    assert earlier.record({"event": "score", "step": 3}) == {"event": "score", "step": 3}


def test_what_a_report_called_floor_is_the_baseline() -> None:
    old = {
        "schema": 1,
        "scores": [{"name": "FD", "floor": 1.5}],
        "evaluations": [{"nfe": 5, "floor": 0.5}],
        "verdicts": [
            {"name": "copying", "status": "PASS", "asked": True},
            {"name": "oscillation", "status": "CANNOT TELL", "asked": False},
        ],
    }
    new = earlier.report(old)
    assert (new["schema"], new["scores"], new["evaluations"]) == (2, [{"name": "FD", "baseline": 1.5}], [{"nfe": 5, "baseline": 0.5}])
    assert new["verdicts"] == [{"name": "copying", "status": "PASS"}, {"name": "oscillation", "status": "NOT APPLICABLE"}]
    assert earlier.report(new) == new
    assert [earlier.report(odd) for odd in (None, [], {"scores": None})] == [None, [], {"scores": None}]
