"""What generated images are compared with: equal numbers on both sides, and a clear word where there are too few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calotype import pictures
from calotype.data import Images
from calotype.data.images import make_images
from calotype.diagnose.copies import search
from calotype.diagnose.generated import Generated
from calotype.errors import UserError
from calotype.evaluation import reference_set as chosen
from calotype.evaluation.evaluate import evaluate
from calotype.evaluation.evidence import classes
from calotype.evaluation.generator import Candidate
from calotype.evaluation.reference_set import laid, reference_set, spaces_for
from calotype.metrics.classes import Shares
from calotype.metrics.features import Extracted, FeatureSpace
from calotype.metrics.real_images import RealImages, ReferenceSet

DIGITS = 64  # dimensions of the features of digits


def folder(pixels: np.ndarray, path: Path) -> str:
    path.mkdir()
    for index, image in enumerate(pixels):
        pictures.to_picture(image).save(path / f"{index:05d}.png")
    return str(path)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    from calotype.data import load

    pixels = load("mnist5k").train.pixels
    return np.asarray(pixels[np.random.default_rng(0).permutation(len(pixels))])


def blank(count: int) -> Images:
    return make_images(np.zeros((count, 28, 28, 1), np.uint8), np.arange(count) % 10, [str(i) for i in range(10)], "blank")


def divided(train: int, holdout: int, n: int) -> ReferenceSet:
    def reals(count: int) -> RealImages:
        made = Extracted(np.arange(2.0 * count, dtype=np.float32).reshape(count, 2))
        return RealImages(blank(count), [made], made)

    space = FeatureSpace("none", "none", 2, "0", lambda x: (x, None))
    return laid([space], space, reals(train), reals(holdout), n, 0)


@pytest.mark.parametrize(
    ("train", "holdout", "n", "baseline", "reference"),
    [
        (4500, 500, 2000, 2000, 3000),
        (200, 0, 2000, 100, 100),  # half of the training images stay to compare with
        (200, 50, 2000, 125, 125),
        (1000, 500, 300, 300, 1000),
        (1000, 200, 600, 600, 600),
    ],
)
def test_the_baseline_never_takes_more_than_half_of_the_training_images(
    train: int, holdout: int, n: int, baseline: int, reference: int
) -> None:
    found = divided(train, holdout, n)
    assert (len(found.baseline), len(found.reference)) == (baseline, min(reference, max(2000, n)))
    rows = found.even(n)
    assert len(rows) == baseline
    assert len(set(rows.tolist())) == baseline
    assert rows.max() < n
    assert (rows == found.even(n)).all()


def test_the_images_that_are_scored_come_from_all_over_a_folder() -> None:
    """The files of a folder often stand class by class."""
    rows = divided(200, 0, 2000).even(2000)
    assert np.bincount(rows // 500, minlength=4).min() > 10


def test_scores_and_baseline_rest_on_equally_many_images(digits: np.ndarray, tmp_path: Path) -> None:
    """Real digits in the place of generated ones score what the baseline scores only where both are as many."""
    made, train = folder(digits[:600], tmp_path / "made"), folder(digits[600:800], tmp_path / "train")
    report = evaluate(made, data=train, features="digits", count=600, short=True)
    fd, coverage = report.score("FD"), report.score("coverage")
    assert fd is not None
    assert coverage is not None
    assert fd.n == fd.m == 100
    assert fd.baseline is not None
    assert coverage.baseline is not None
    assert fd.value == pytest.approx(fd.baseline, rel=0.2)
    assert coverage.value == pytest.approx(coverage.baseline, abs=0.1)
    told = "scores use 100 of the 600 images, because only 100 real images are left for the real-vs-real baseline: give more with `holdout`"
    assert told in report.notes
    mode = next(v for v in report.verdicts if v.name == "mode-collapse")
    assert mode.data is not None
    assert mode.data["coverage"] == pytest.approx(coverage.value)


@pytest.mark.parametrize(
    ("train", "holdout", "n", "tells"),
    [
        (200, 0, 64, "64 generated images are too few for features of 64 dimensions: give at least 65"),
        (100, 0, 500, "only 50 real .* and 50 .* 65 of each: give 30 more training images, or 30 more real images with `holdout`"),
        (128, 0, 65, "only 64 real .* and 64 .*: give 2 more training images, or 2 more"),
        (60, 20, 500, "only 40 real .* and 40 .*: give 50 more training images$"),
        (60, 500, 500, "only 60 real .* and 500 .*: give 5 more training images$"),
        (100, 28, 80, "only 64 real .* and 64 .*: give 2 more training images, or 2 more"),
    ],
)
def test_too_few_real_images_are_counted_out(train: int, holdout: int, n: int, tells: str) -> None:
    images, held = blank(train), blank(holdout)
    with pytest.raises(UserError, match=tells) as caught:
        spaces_for(images, held, n, "digits")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "holdout", "n"),
    [(130, 0, 500), (100, 30, 500), (129, 1, 65), (65, 65, 500), (65, 500, 500), (90, 40, 80)],
)
def test_as_many_as_it_asks_for_are_enough(train: int, holdout: int, n: int) -> None:
    """Each is what the line above asks for, and one image fewer is refused again."""
    spaces_for(blank(train), blank(holdout), n, "digits")
    found = divided(train, holdout, n)
    assert min(len(found.baseline), len(found.reference)) == DIGITS + 1
    with pytest.raises(UserError, match="of each: give 1 more training images"):
        spaces_for(blank(train - 1), blank(holdout), n, "digits")


def test_too_few_are_told_before_any_work(digits: np.ndarray, tmp_path: Path) -> None:
    made, train = folder(digits[:100], tmp_path / "made"), folder(digits[600:700], tmp_path / "train")
    seen: list[str] = []
    with pytest.raises(UserError, match="or 30 more real images with `holdout`"):
        evaluate(made, data=train, features="digits", say=lambda what, done, total: seen.append(what))
    assert all(what.startswith("reading ") for what in seen)


def test_reals_without_labels_are_joined(digits: np.ndarray) -> None:
    one = replace(blank(3), labels=None)
    made = Extracted(np.zeros((3, 2), np.float32))
    both = RealImages(one, [made], made) + RealImages(blank(3), [made], made)
    assert len(both) == 6
    assert both.images.labels is None


@pytest.mark.parametrize(("error", "shown"), [(0.02, True), (0.5, False)])
def test_shares_as_rough_as_themselves_are_not_drawn(error: float, shown: bool) -> None:
    found = divided(200, 0, 100)
    made = Extracted(np.zeros((100, 2), np.float32))
    shares = Shares(np.array([0.73, 0.27, *[0.0] * 8]), np.full(10, error), 0.1)
    counts = classes(found, [made], made, shares)
    assert (counts is not None) == shown
    if counts is not None:
        assert counts.generated == (73, 27, *[0] * 8)
        assert all(0 <= low <= high <= 1 for low, high in counts.interval)
        assert counts.judge == "Estimated by a linear classifier, which is right for 10% of real images."


def colorful(count: int, seed: int = 0) -> Images:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return make_images(pixels, None, (), "noise")


@pytest.mark.parametrize(
    ("train", "n", "through", "names", "says"),
    [
        (300, 129, (), ["photos"], None),
        (300, 128, (), ["random1", "random2", "random3"], "need 129 generated images and twice as many real ones: random ones stand in"),
        (257, 129, (), ["random1", "random2", "random3"], "hardly see content"),
        (300, 129, ("efficientnet-lite0",), ["random1", "random2", "random3"], "trained through efficientnet-lite0"),
    ],
)
def test_photographs_are_judged_as_such_where_there_are_enough_and_no_loss_looked_through_the_network(
    train: int, n: int, through: tuple[str, ...], names: list[str], says: str | None
) -> None:
    spaces, caution = spaces_for(colorful(train), None, n, None, through)
    assert [space.name for space in spaces] == names
    assert caution is None if says is None else says in str(caution)


def test_features_that_were_asked_for_give_way_to_no_others() -> None:
    with pytest.raises(UserError, match="128 generated images are too few for features of 128 dimensions"):
        spaces_for(colorful(300), None, 128, "photos")


def test_copies_are_found_among_images_that_no_network_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "LOOKED_SHORT", 280)
    train = colorful(400)
    candidate = Candidate("copies", train.pixels[:140], train, colorful(300, seed=1), count=140)
    found = reference_set(candidate, None, 0, short=True)
    assert (len(found.train), len(found.whole), len(found.holdout)) == (280, 400, 140)
    assert np.array_equal(found.train.images.pixels[5], found.whole.images.pixels[found.in_whole(np.array([5]))[0]])
    drawn, confirm = chosen.drawn_in(found, candidate.images)
    nearby = search(Generated(candidate.images, drawn, confirm, found, 0, [{}], [{}])).nearby
    assert nearby is not None
    assert np.array_equal(np.sort(nearby.train), np.arange(140))
    assert reference_set(candidate, "random", 0, short=True).whole is not None  # which is fast enough to look at all
    assert len(reference_set(candidate, "random", 0, short=True).train) == 400
