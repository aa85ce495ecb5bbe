"""Latent tools against a model whose latents are known: an orthogonal map of the pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from calotype import pictures
from calotype.cli import main
from calotype.data import load
from calotype.engine.train import train
from calotype.errors import UserError
from calotype.models import build
from calotype.tasks import latents
from calotype.tasks.complete import complete
from calotype.tasks.model_inputs import given
from calotype.tasks.sample import Generator
from calotype.types import Condition, ImageSpec, Model, Noise
from tests.small import small

SPEC = ImageSpec(8, 1, ("a", "b"))


class Rotation(Model):
    """Latents are the rotated pixels; a label shifts them."""

    conditional = True

    def __init__(self) -> None:
        super().__init__()
        self.spec = SPEC
        torch.manual_seed(0)
        self.register_buffer("basis", torch.linalg.qr(torch.randn(64, 64))[0])

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (4, 16)

    def _shift(self, condition: Condition | None) -> Tensor:
        label = None if condition is None else condition.label
        return torch.zeros(1, 1) if label is None else label[:, None].float()

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return (x.flatten(1) @ self.basis + self._shift(condition)).view(-1, 4, 16)

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return ((z.flatten(1) - self._shift(condition)) @ self.basis.T).view(-1, 1, 8, 8)

    def complete(self, known: Tensor, rows: int, noise: Noise, condition: Condition | None = None) -> Tensor:
        drawn = noise.uniform(*SPEC.shape) * 2 - 1
        return torch.cat([known[:, :, :rows], drawn[:, :, rows:]], 2)


@pytest.fixture
def generator() -> Generator:
    return Generator(Rotation(), "rotation", torch.device("cpu"))


def some(count: int) -> Tensor:
    return torch.rand(count, *SPEC.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_an_image_comes_back_from_the_latents_of_its_class(generator: Generator) -> None:
    images, label = some(100), torch.arange(100) % 2  # more than one batch
    assert torch.allclose(latents.reconstruct(generator, images, label), images, atol=1e-5)
    assert not torch.allclose(latents.encode(generator, images, label), latents.encode(generator, images), atol=0.1)


def test_the_spherical_path_keeps_length_and_turns_evenly() -> None:
    a, b = torch.randn(2, 3, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = a / a.norm(), 3 * b / b.norm()
    way = latents.between(a, b, 7).flatten(1)
    assert torch.allclose(way[0], a.flatten())
    assert torch.allclose(way[-1], b.flatten())
    assert torch.allclose(way.norm(dim=1), torch.linspace(1, 3, 7, dtype=torch.float64))
    unit = way / way.norm(dim=1, keepdim=True)
    angles = torch.arccos((unit[1:] * unit[:-1]).sum(1).clamp(-1, 1))
    assert torch.allclose(angles, angles.mean().expand(6), atol=1e-9)
    line = latents.between(a, b, 7, "linear").flatten(1)
    assert torch.allclose(line[1:] - line[:-1], ((b - a) / 6).flatten().expand(6, -1))
    assert line[3].norm() < way[3].norm()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_path_between_parallel_latents_is_the_line(sign: int) -> None:
    a = torch.ones(4)
    way = latents.between(a, sign * 2 * a, 3)
    assert torch.isfinite(way).all()
    assert torch.allclose(way, latents.between(a, sign * 2 * a, 3, "linear"))


def test_interpolation_begins_and_ends_at_its_ends(generator: Generator) -> None:
    images = some(3)
    made = latents.interpolate(generator, latents.encode(generator, images), 5)
    assert made.shape == (10, 1, 8, 8)
    for at, image in ((0, 0), (4, 1), (5, 1), (9, 2)):
        assert torch.allclose(made[at], images[image], atol=1e-5)
    with pytest.raises(UserError, match="two ends"):
        latents.interpolate(generator, latents.encode(generator, images[:1]), 5)


def test_neighbors_are_those_of_brute_force() -> None:
    pool, queries = torch.randn(30, 4, 2), torch.randn(5, 4, 2)
    index, distance = latents.neighbors(queries, pool, 3)
    every = (queries[:, None] - pool[None]).flatten(2).norm(dim=2).numpy()
    assert (index == every.argsort(1)[:, :3]).all()
    assert np.allclose(distance, np.sort(every, 1)[:, :3], atol=1e-5)
    assert latents.neighbors(queries, pool, 99)[0].shape == (5, 30)


def test_a_plane_holds_normal_quantiles_of_two_latents(generator: Generator) -> None:
    found = latents.encode(generator, latents.plane(generator, 4, (17, 3))).flatten(1).view(4, 4, 64)
    want = norm.ppf((np.arange(4) + 0.5) / 4)
    assert np.allclose(found[:, 2, 17], want, atol=1e-5)
    assert np.allclose(found[2, :, 3], want, atol=1e-5)
    rest = [i for i in range(64) if i not in (3, 17)]
    assert float(found[:, :, rest].abs().max()) < 1e-5
    for axes in ((0, 0), (0, 64), (-1, 2)):
        with pytest.raises(UserError, match="0 to 63"):
            latents.plane(generator, 4, axes)


def test_latents_of_a_seed_are_those_that_it_draws_from() -> None:
    gan = Generator(build(small("dcgan").model, SPEC), "dcgan", torch.device("cpu"))
    seeds = latents.of_seeds(gan, [5, 9])
    assert torch.allclose(latents.decode(gan, seeds)[1:], gan.sample(1, seed=9), atol=1e-5)
    with pytest.raises(UserError, match="dcgan model cannot find the latents"):
        latents.encode(gan, some(2))
    with pytest.raises(UserError, match="dcgan model cannot complete"):
        complete(gan, some(2), 0.5)


def test_a_completion_keeps_what_is_given_and_depends_on_its_number_alone(generator: Generator) -> None:
    images = some(40)
    made = complete(generator, images, 0.5, samples=2)
    assert made.shape == (40, 2, 1, 8, 8)
    assert torch.equal(made[:, 0, :, :4], images[:, :, :4])
    assert not torch.equal(made[:, 0], made[:, 1])
    assert torch.equal(made[:3], complete(generator, images[:3], 0.5, samples=2))
    assert not torch.equal(made[:3], complete(generator, images[:3], 0.5, samples=2, seed=1))
    for keep in (0.0, 0.01, 1.0, 1.5):
        with pytest.raises(UserError, match="share between 0 and 1"):
            complete(generator, images, keep)


def test_images_are_given_as_files_and_data_sets(runs: Path) -> None:
    digits = ImageSpec(28, 1, tuple("0123456789"))
    held = given(("mnist5k",), digits, 5)
    assert held.label is not None
    assert held.image.shape == (5, 1, 28, 28)
    pictures.save(pictures.to_picture(pictures.to_uint8(held.image)[2]), runs / "one.png")
    one = given((str(runs / "one.png"), "mnist5k"), digits, 2)
    assert one.label is None  # the file has none
    assert torch.equal(one.image[0], held.image[2])
    assert given(("mnist5k",), ImageSpec(16, 3), 1).image.shape == (1, 3, 16, 16)
    (runs / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    with pytest.raises(UserError, match=r"bad\.png cannot be used"):
        given((str(runs / "bad.png"),), digits, 1)
    with pytest.raises(UserError, match="ring holds points and no images"):
        given(("ring",), digits, 1)


def test_the_command_writes_a_picture_of_each_way(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(small("gan", 2), out=runs / "g")
    assert main(["latents", "interpolate", str(runs / "g"), "--seeds", "1", "2", "3", "--steps", "4", "--out", str(runs / "way")]) == 0
    assert (runs / "way.png").is_file()
    assert main(["latents", "plane", str(runs / "g"), "--side", "3", "--axes", "1", "2", "--out", str(runs / "p.png"), "--json"]) == 0
    assert '"images": 9' in capsys.readouterr().out
    for words, tells in (
        (["plane", str(runs / "g"), "--side", "0"], "--side: give a whole number from 1 to 1,000, not 0"),
        (["interpolate", str(runs / "g")], "--seeds 1 2, or --images"),
        (["reconstruct", str(runs / "g"), "--images", "mnist5k"], "cannot find the latents"),
        (["guess", str(runs / "g")], "unknown command 'latents guess'"),
        (["plane", str(runs / "g"), "--out", str(runs / "no" / "p.txt")], "unknown suffix"),
    ):
        assert main(["latents", *words]) == 2
        assert tells in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["vae", "glow"])
def test_the_commands_work_on_models_of_classes(recipe: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(small(recipe, 2), out=runs / "m")
    held = given(("mnist5k",), ImageSpec(28, 1, tuple("0123456789")), 2)
    for index, picture in enumerate(pictures.to_uint8(held.image)):
        pictures.save(pictures.to_picture(picture), runs / f"{index}.png")
    files, out = [str(runs / "0.png"), str(runs / "1.png")], ["--out", str(runs / "p.png")]
    for words in (
        ["reconstruct", str(runs / "m"), "--images", "mnist5k", "--count", "2"],
        ["reconstruct", str(runs / "m"), "--images", *files, "--label", "3"],
        ["interpolate", str(runs / "m"), "--seeds", "1", "2", "--steps", "3"],
        ["interpolate", str(runs / "m"), "--images", *files, "--steps", "3", "--label", "3"],
        ["plane", str(runs / "m"), "--side", "2", "--label", "4"],
        ["neighbors", str(runs / "m"), "--count", "2", "--nearest", "2"],
    ):
        assert main(["latents", *words, *out]) == 0, (words, capsys.readouterr().err)
        assert (runs / "p.png").is_file()
        (runs / "p.png").unlink()
    assert main(["latents", "reconstruct", str(runs / "m"), "--images", *files, *out]) == 2
    assert "name their class with --label" in capsys.readouterr().err


def test_an_image_of_the_training_set_is_its_own_neighbor(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(small("glow", 2), out=runs / "m")
    first = load("mnist5k").train
    pictures.save(pictures.to_picture(np.asarray(first.pixels[7])), runs / "seven.png")
    assert first.labels is not None
    label = first.classes[int(first.labels[7])]
    words = ["neighbors", str(runs / "m"), "--images", str(runs / "seven.png"), "--label", label, "--out", str(runs / "p.png"), "--json"]
    capsys.readouterr()
    assert main(["latents", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["neighbors"][0][0] == 7
    assert found["distances"][0][0] < 1e-3
