"""The linear probe: against scikit-learn, on layers of which is known what they hold, and without a look at what tests it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import calotype
from calotype.cli.main import main
from calotype.config import Data
from calotype.data import load
from calotype.engine.display import Display
from calotype.tasks import probe
from calotype.types import ImageSpec, Model, Noise
from tests.cli.exported import export

CPU = torch.device("cpu")


class Planted(Model):
    """Layers of which one says nothing, one something, and one all."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = ImageSpec(28, 1, tuple("0123456789"))

    def layers(self) -> Sequence[str]:
        return ("noise", "coarse", "pixels")

    def activations(self, x: Tensor, layers: Sequence[str], noise: Noise) -> dict[str, Tensor]:
        every = {"noise": noise.normal(8), "coarse": x.mean((2, 3)), "pixels": x.flatten(1)}
        return {name: every[name] for name in layers}


@pytest.fixture(scope="module")
def digits() -> probe._Set:
    return probe._divided("mnist5k", 28, 1, Data(), 500, None)


def test_the_parts_are_apart_and_the_holdout_tests(digits: probe._Set) -> None:
    held = load("mnist5k").holdout
    assert (digits.fit, digits.chosen, len(digits.images)) == (400, 500, 1000)
    marks = [image.tobytes() for image in digits.images.pixels]
    assert set(marks[500:]) == {image.tobytes() for image in held.pixels}
    assert not set(marks[:500]) & set(marks[500:])
    for part in (slice(0, 400), slice(400, 500), slice(500, None)):
        assert np.bincount(digits.images.labels[part], minlength=10).min() >= 8  # type: ignore[index]
    rows = digits.rows(100)
    assert (len(rows), int((rows < 400).sum()), int(rows.max())) == (100, 80, 419)


def test_a_probe_of_pixels_is_what_scikit_learn_makes_of_them(digits: probe._Set) -> None:
    found = probe._of_pixels(digits, Display())
    x, y = digits.images.pixels.reshape(1000, -1) / 127.5 - 1, digits.images.labels
    assert y is not None
    scaled = StandardScaler().fit(x[:500])
    # of the sum of losses plus half the squared weights / C; here half the decay times them is added to the mean
    judge = LogisticRegression(C=1 / (found.decay * 500), max_iter=2000).fit(scaled.transform(x[:500]), y[:500])
    right = judge.predict(scaled.transform(x[500:])) == y[500:]
    assert abs(float(right.mean()) - float(found.right.mean())) <= 0.01
    assert float((right == found.right).mean()) > 0.98
    assert found.dimension == 784


def test_the_layer_that_says_most_is_chosen_and_labels_that_test_have_no_say(digits: probe._Set) -> None:
    found = probe._of_network(Planted(), digits, 0, CPU, Display(), "the model")
    assert found.layer == "pixels"
    assert found.layers["noise"] < 0.25
    assert found.layers["noise"] < found.layers["coarse"] < found.layers["pixels"]
    assert found.right.mean() > 0.8
    mixed = digits.labels.clone()
    mixed[500:] = mixed[500:].roll(1)
    blind = probe._of_network(Planted(), probe._Set(digits.images, mixed, 400, 500), 0, CPU, Display(), "the model")
    assert (blind.layer, blind.decay, blind.layers) == (found.layer, found.decay, found.layers)
    assert blind.right.mean() < 0.25


def test_maps_become_means_over_as_fine_a_grid_as_there_is_room_for() -> None:
    maps = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    assert probe.vectors(maps).shape == (2, 48)
    assert torch.allclose(probe.vectors(maps)[0, 0], maps[0, 0, :2, :2].mean())
    assert probe.vectors(torch.zeros(2, 300, 8, 8)).shape == (2, 1200)
    assert probe.vectors(torch.zeros(2, 3000, 8, 8)).shape == (2, 3000)
    assert probe.vectors(torch.zeros(2, 3, 3, 3)).shape == (2, 12)
    assert probe.vectors(torch.zeros(2, 7)).shape == (2, 7)


def test_a_command_and_python_say_the_same_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = export("vae", tmp_path / "vae", 1, None)
    words = ["probe", model, "--data", "mnist5k", "--count", "100", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    again = calotype.probe(model, "mnist5k", count=100, display=Display())
    assert found == json.loads(json.dumps(probe.facts(again)))
    assert (found["fitted"], found["n"]) == (100, 500)
    assert found["interval"][0] <= found["accuracy"] <= found["interval"][1]
    assert [other["name"].partition(",")[0] for other in found["others"]] == ["pixels", "untrained network"]
    pixels = found["others"][0]
    assert pixels["difference"] == pytest.approx(found["accuracy"] - pixels["accuracy"])
    assert set(found["layers"]) >= {"level 1", "posterior mean"}
    assert "linear probe on mnist5k: fitted to 100 labelled images" in probe.told(again)[0]


@pytest.mark.parametrize(
    ("recipe", "data", "says"),
    [
        ("pixelcnn", "mnist5k", "family autoregressive, which has no features to probe"),
        ("gan", "nowhere", "nowhere"),
        ("gan", "BARE", "has no labels, and a probe tells classes apart"),
        ("gan", "ring", "ring holds points"),
    ],
)
def test_what_cannot_be_probed_is_one_line(recipe: str, data: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, source = export(recipe, tmp_path / "model", 1, None), data
    if data == "BARE":
        source = str(tmp_path / "bare")
        calotype.save_images(torch.rand(12, 1, 28, 28) * 2 - 1, Path(source))
    assert main(["probe", model, "--data", source, "--count", "100"]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in err
