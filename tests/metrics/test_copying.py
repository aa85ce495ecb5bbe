import numpy as np
import pytest
from scipy.stats import hypergeom

from calotype.errors import UserError
from calotype.metrics.copying import auth_pct, copying, feature_likelihood

D = 12


def draw(rng, n, scale=1.0):
    return (scale * rng.normal(size=(n, D))).astype(np.float32)


def copies(rng, train, share, n, scale=1.0, blur=0.05):
    """Generated images a share of which are training images with a little noise."""
    x, many = draw(rng, n, scale), round(share * n)
    x[:many] = train[rng.integers(len(train), size=many)] + blur * draw(rng, many)
    return x


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.4])
def test_no_false_alarms_whatever_the_dispersion(scale):
    rng = np.random.default_rng(round(10 * scale))
    runs = [copying(draw(rng, 400, scale), draw(rng, 400), draw(rng, 200), permutations=499) for _ in range(80)]
    assert np.mean([run.p <= 0.05 for run in runs]) <= 0.125
    assert np.mean([run.p <= 0.5 for run in runs]) >= 0.3  # nor is it asleep


def test_duplicates_in_the_data_are_no_copying():
    """A tenth of the data occurs three times, anywhere: a fresh draw of such an image is as near to a training image as to the holdout."""
    rng = np.random.default_rng(7)
    runs = []
    for _ in range(60):
        kinds = draw(rng, 800)
        images = np.concatenate([kinds, kinds[:80], kinds[:80]])
        images = images[rng.permutation(len(images))]
        runs.append(copying(images[:240], images[240:720], images[720:], permutations=499).p)
    assert np.mean(np.array(runs) < 0.01) <= 0.05
    assert np.mean(np.array(runs) <= 0.5) >= 0.3  # nor is it asleep


def test_copies_of_repeated_images_are_found():
    rng = np.random.default_rng(8)
    train = np.concatenate([draw(rng, 800), *[draw(rng, 100)] * 2]).astype(np.float32)
    assert copying(copies(rng, train, 0.05, 800), train, draw(rng, 500)).p < 0.01


def test_repetition_alone_is_no_copying():
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(40):
        x = draw(rng, 10)[rng.integers(10, size=400)]
        runs.append(copying(x, draw(rng, 400), draw(rng, 200), permutations=499).p)
    assert np.mean(np.array(runs) <= 0.05) <= 0.15


@pytest.mark.parametrize(("share", "least"), [(0.02, 0.8), (0.05, 1.0)])
def test_copies_are_found(share, least):
    rng = np.random.default_rng(1)
    train = draw(rng, 1000)
    runs = [copying(copies(rng, train, share, 1000), train, draw(rng, 1000), permutations=999) for _ in range(10)]
    assert np.mean([run.p < 0.01 for run in runs]) >= least
    assert np.mean([run.effect.interval[0] <= share <= run.effect.interval[1] for run in runs]) >= 0.8
    assert np.mean([run.effect.value for run in runs]) == pytest.approx(share, rel=0.35)


def test_a_small_holdout_still_finds_them():
    rng = np.random.default_rng(2)
    train = draw(rng, 1800)
    runs = [copying(copies(rng, train, 0.05, 1500), train, draw(rng, 200)) for _ in range(8)]
    assert np.mean([run.p < 0.01 for run in runs]) >= 0.75
    assert runs[0].expected == pytest.approx(0.9)


def test_a_generator_that_only_copies_is_measured_beyond_the_closest():
    rng = np.random.default_rng(3)
    train = draw(rng, 500)
    run = copying(copies(rng, train, 0.6, 500), train, draw(rng, 300))
    assert run.effect.value == pytest.approx(0.6, abs=0.1)


def test_the_closest_pairs_are_the_copies():
    rng = np.random.default_rng(4)
    train = draw(rng, 300)
    x = draw(rng, 400)
    x[17], x[250] = train[5], train[123] + np.float32(0.01)
    run = copying(x, train, draw(rng, 300))
    assert run.generated[:2].tolist() == [17, 250]
    assert run.train[:2].tolist() == [5, 123]
    assert run.distances[0] == 0
    assert run.distances[1] == pytest.approx(0.01 * np.sqrt(D), rel=1e-3)


def test_one_count_has_the_exact_law_of_the_hypergeometric_distribution():
    """Far apart images, each the neighbor of one generated image: no ties, and 18 of the 20 closest are copies."""
    pool = 100 * np.arange(200, dtype=np.float32)[:, None] * np.ones((1, 2), np.float32)
    train, holdout = pool[:120], pool[120:]
    x = np.concatenate([train[:18], holdout[:2], pool[20:100] + 1]).astype(np.float32)
    x[:20] += 0.001 * np.arange(20, dtype=np.float32)[:, None]
    run = copying(x, train, holdout, shares=(0.2,), permutations=99_999)
    assert run.p == pytest.approx(hypergeom(200, 120, 20).sf(17), rel=0.25)


def test_what_is_called_detectable_is_detected_nine_times_of_ten():
    rng = np.random.default_rng(5)
    train, holdout = draw(rng, 600), draw(rng, 600)
    share = copying(draw(rng, 800), train, holdout).detectable
    assert 0.005 < share < 0.04
    found = [copying(copies(rng, train, share, 800), train, draw(rng, 600), permutations=999).p <= 0.01 for _ in range(40)]
    assert np.mean(found) >= 0.78
    fewer = [copying(copies(rng, train, share / 4, 800), train, draw(rng, 600), permutations=999).p <= 0.01 for _ in range(20)]
    assert np.mean(fewer) <= 0.5


def test_a_hopeless_case_says_so():
    rng = np.random.default_rng(6)
    assert copying(draw(rng, 40), draw(rng, 2000), draw(rng, 20)).detectable is None


def test_authenticity_falls_in_proportion_to_the_copies():
    rng = np.random.default_rng(7)
    train = draw(rng, 2000)
    before, after = auth_pct(draw(rng, 3000), train).value, auth_pct(copies(rng, train, 0.4, 3000, blur=0.0), train).value
    assert after / before == pytest.approx(0.6, abs=0.03)
    assert auth_pct(train[:100], train).value == 0


@pytest.mark.parametrize(("dimension", "want"), [(2, 37), (16, 69)])
def test_authenticity_of_honest_samples_is_the_known_one(dimension, want):
    rng = np.random.default_rng(8)
    x, train = (rng.normal(size=(4000, dimension)).astype(np.float32) for _ in range(2))
    assert auth_pct(x, train).value == pytest.approx(want, abs=4)


def test_feature_likelihood_is_zero_for_real_images_and_charges_for_each_fault():
    rng = np.random.default_rng(9)

    def classes(n, kept=8, scale=1.0):
        return draw(rng, n, scale) + np.float32(6) * np.eye(D, dtype=np.float32)[np.arange(n) % kept]

    train, holdout = rng.permutation(classes(800)), classes(400)
    good = feature_likelihood(classes(400), train, holdout)
    assert abs(good.score.value) < 2
    assert abs(good.gap.value) < 4
    for bad in (classes(400, kept=5), classes(400, scale=1.6)):
        assert feature_likelihood(bad, train, holdout).score.interval[0] > good.score.interval[1]
    half, whole = classes(400), train[:400]
    half[::2] = train[:400:2]
    some, all_ = (feature_likelihood(x, train, holdout) for x in (half, whole))
    assert good.gap.interval[1] < some.gap.interval[0]
    assert some.gap.interval[1] < all_.gap.interval[0]
    assert all_.score.interval[0] > good.score.interval[1]


def test_few_or_unlike_images_are_refused():
    rng = np.random.default_rng(10)
    with pytest.raises(UserError, match="19 held-out images are too few"):
        copying(draw(rng, 50), draw(rng, 50), draw(rng, 19))
    with pytest.raises(UserError, match="same d"):
        copying(draw(rng, 50)[:, :3], draw(rng, 50), draw(rng, 50))
    with pytest.raises(UserError, match="39 training images"):
        feature_likelihood(draw(rng, 50), draw(rng, 39), draw(rng, 50))
