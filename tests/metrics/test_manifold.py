import numpy as np
import prdc as oracle
import pytest
from sklearn.neighbors import NearestNeighbors

from calotype.errors import UserError
from calotype.metrics.manifold import expected_coverage, nearest, prdc, radii, wilson


def normal(seed, n, d=8, scale=1.0, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, d)) * scale + shift).astype(np.float32)


@pytest.mark.parametrize("block", [64, 2000])
def test_nearest_agrees_with_scikit_learn_far_from_the_origin(block):
    x, y = normal(0, 300, shift=50), normal(1, 400, shift=50)
    index, distance = nearest(x, y, block)
    want, where = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(y.astype(np.float64)).kneighbors(x.astype(np.float64))
    assert (index == where[:, 0]).all()
    np.testing.assert_allclose(distance, want[:, 0], rtol=1e-5)


def test_a_copy_is_at_distance_zero():
    y = normal(0, 500, 64, shift=3)
    index, distance = nearest(y[[7, 480]], y, 100)
    assert index.tolist() == [7, 480]
    assert distance.max() == 0


def test_radii_agree_with_scikit_learn_and_leave_the_image_itself_out():
    y = normal(0, 400, shift=50)
    want, _ = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(y.astype(np.float64)).kneighbors(y.astype(np.float64))
    np.testing.assert_allclose(radii(y, 5, 150), want[:, 1:], rtol=1e-5)
    some = np.array([399, 0, 151, 7])
    np.testing.assert_allclose(radii(y, 5, 150, some), want[some, 1:], rtol=1e-5)


@pytest.mark.parametrize("block", [123, 2000])
@pytest.mark.parametrize("k", [3, 5])
def test_prdc_agrees_with_the_authors_package(k, block):
    x, y = normal(0, 500, scale=0.8), normal(1, 700)
    ours = prdc(x, y, k_pr=k, k_dc=k, block=block)
    theirs = oracle.compute_prdc(real_features=y, fake_features=x, nearest_k=k)
    assert {name: estimate.value for name, estimate in ours.items()} == pytest.approx(theirs, abs=1e-12)
    assert 0.1 < ours["recall"].value < 0.9


def counted(x, y, k, within):
    """The four scores by their definitions; ``within`` compares a squared distance with a squared radius."""

    def squared(a, b):
        return ((a[:, None].astype(int) - b[None].astype(int)) ** 2).sum(2)

    balls = [np.sort(squared(z, z), 1)[:, k] for z in (x, y)]  # the first of each row is the point itself
    of_real, of_made = within(squared(x, y), balls[1]), within(squared(y, x), balls[0])
    return {
        "precision": of_real.any(1).mean(),
        "recall": of_made.any(1).mean(),
        "density": of_real.sum(1).mean() / k,
        "coverage": of_real.any(0).mean(),
    }


def test_what_lies_on_the_border_of_a_ball_is_outside_of_it():
    """Small whole numbers, so that many distances are exactly equal; their mean is zero, so that nothing is rounded."""
    decided = set()
    for seed in range(6):
        rng, reach = np.random.default_rng(seed), 5 + 2 * (seed % 3)
        x, y = (np.concatenate([z, -z]) for z in (rng.integers(-reach, reach + 1, (20, 3)), rng.integers(-9, 10, (30, 3))))
        ours = {name: e.value for name, e in prdc(x.astype(np.float32), y.astype(np.float32), k_pr=3, k_dc=3).items()}
        outside, inside = (counted(x, y, 3, compare) for compare in (np.less, np.less_equal))
        assert ours == pytest.approx(outside, abs=1e-12)
        assert ours == pytest.approx(oracle.compute_prdc(real_features=y, fake_features=x, nearest_k=3), abs=1e-12)
        decided |= {name for name in ours if inside[name] > outside[name]}
    assert decided == {"precision", "recall", "density", "coverage"}  # each by a tie, somewhere


def test_each_pair_of_scores_has_its_own_number_of_neighbors():
    x, y = normal(0, 500, scale=0.8), normal(1, 700)
    ours = prdc(x, y)
    three, five = (oracle.compute_prdc(real_features=y, fake_features=x, nearest_k=k) for k in (3, 5))
    want = {**five, "precision": three["precision"], "recall": three["recall"]}
    assert {name: estimate.value for name, estimate in ours.items()} == pytest.approx(want, abs=1e-12)
    assert all(abs(three[name] - five[name]) > 1e-3 for name in three)


def test_equal_distributions_have_density_one_and_the_expected_coverage():
    runs = [prdc(normal(2 * i, 300), normal(2 * i + 1, 200)) for i in range(40)]
    density, coverage = (np.mean([run[name].value for run in runs]) for name in ("density", "coverage"))
    assert density == pytest.approx(1, abs=0.03)
    assert coverage == pytest.approx(expected_coverage(300, 200), abs=0.004)
    assert abs(expected_coverage(200, 300) - expected_coverage(300, 200)) > 0.02  # the test can tell the two counts apart


@pytest.mark.parametrize(("dropped", "want"), [(1, 0.880), (3, 0.692), (5, 0.498)])
def test_dropping_classes_lowers_coverage_by_the_known_amount(dropped, want):
    rng = np.random.default_rng(dropped)

    def classes(n, kept):
        label = np.arange(n) % kept
        return (rng.normal(size=(n, 4)) + 100 * np.eye(4)[label % 4] * (1 + label // 4)[:, None]).astype(np.float32)

    runs = [prdc(classes(1000, 10 - dropped), classes(1000, 10))["coverage"] for _ in range(8)]
    per_class, kept = 100, 10 - dropped
    exact = kept / 10 * expected_coverage(1000 // kept, per_class)
    assert exact == pytest.approx(want, abs=0.003)
    assert np.mean([run.value for run in runs]) == pytest.approx(exact, abs=0.007)
    assert all(run.interval[0] < exact < run.interval[1] for run in runs)


def test_intervals_hold_the_expected_values_about_as_often_as_they_say():
    runs = [prdc(normal(2 * i, 200, 4), normal(2 * i + 1, 200, 4, scale=1.2)) for i in range(80)]
    for name in ("precision", "recall", "density", "coverage"):
        mean = np.mean([run[name].value for run in runs])
        held = np.mean([run[name].interval[0] <= mean <= run[name].interval[1] for run in runs])
        assert held >= 0.88, name
        width = np.mean([run[name].interval[1] - run[name].interval[0] for run in runs])
        assert width < 2.2 * 3.92 * np.std([run[name].value for run in runs]), name


def test_wilson_has_its_textbook_value():
    assert wilson(10, 100) == pytest.approx((0.05523, 0.17437), abs=1e-5)
    for n in range(1, 400):
        assert (wilson(0, n)[0], wilson(n, n)[1]) == (0, 1)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (normal(0, 5), normal(1, 50), "5 images cannot have 5"),
        (normal(0, 50), normal(1, 50, 9), "same d"),
        (normal(0, 50)[:, 0], normal(1, 50), "same d"),
        (np.full((50, 8), np.nan, np.float32), normal(1, 50), "NaN"),
    ],
)
def test_bad_features_are_refused(x, y, words):
    with pytest.raises(UserError, match=words):
        prdc(x, y, k_pr=5)
