import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import poisson
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as oracle_ms_ssim

from calotype.errors import UserError
from calotype.metrics.diversity import birthday, different_bins, holm, inception_score, kmeans, ms_ssim, ms_ssim_diversity, ssim


def pictures(seed, n, size, channels=1):
    rng = np.random.default_rng(seed)
    light = gaussian_filter(rng.normal(size=(n, size, size, channels)), (0, 2, 2, 0))
    return np.clip(128 + 50 * light / light.std(), 0, 255).astype(np.uint8)


def noisy(pixels, sigma, seed=9):
    return np.clip(pixels + sigma * np.random.default_rng(seed).normal(size=pixels.shape), 0, 255).astype(np.uint8)


def clumps(rng, n):
    """Ten classes, some of them much tighter than others: close pairs come in clumps, as they do among digits."""
    label = rng.integers(10, size=n)
    return (rng.normal(size=(n, 8)) * np.linspace(0.2, 1.5, 10)[label, None] + 2 * np.eye(10, 8)[label]).astype(np.float32)


class TestInceptionScore:
    def test_balanced_one_hot_predictions_score_the_number_of_classes(self):
        assert inception_score(np.eye(10)[np.arange(500) % 10]).value == pytest.approx(10, rel=1e-12)
        assert inception_score(np.eye(10)[np.arange(500) % 10], splits=5).value == pytest.approx(10, rel=1e-12)

    def test_constant_predictions_score_one(self):
        assert inception_score(np.tile([[0.2, 0.5, 0.3]], (50, 1))).value == pytest.approx(1, abs=1e-12)

    def test_two_classes_of_known_divergence(self):
        rows = np.array([[0.9, 0.1], [0.1, 0.9]] * 20)
        assert inception_score(rows).value == pytest.approx(np.exp(0.9 * np.log(1.8) + 0.1 * np.log(0.2)), rel=1e-9)

    def test_the_interval_holds_the_expected_score_about_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        runs = [inception_score(rng.dirichlet([0.3, 0.5, 1.0], size=300)) for _ in range(300)]
        mean = np.mean([run.value for run in runs])
        assert 0.9 <= np.mean([run.interval[0] <= mean <= run.interval[1] for run in runs]) <= 0.985

    def test_rows_that_are_no_probabilities_are_refused(self):
        with pytest.raises(UserError, match="sum to 1"):
            inception_score(np.ones((5, 3)))
        with pytest.raises(UserError, match="at least 20 images"):
            inception_score(np.eye(5), splits=10)


class TestSimilarity:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_ssim_agrees_with_scikit_image(self, channels):
        a = pictures(0, 5, 33, channels)
        b = noisy(a, 20)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        # scikit-image averages over the valid region when it crops by the radius of its window, (11 - 1) / 2
        want = [structural_similarity(p, q, channel_axis=2, **options) for p, q in zip(a, b, strict=True)]
        np.testing.assert_allclose(ssim(a, b), want, rtol=1e-6)
        assert 0.2 < min(want) < max(want) < 0.9

    @pytest.mark.parametrize(("size", "levels", "channels"), [(180, 5, 1), (28, 2, 1), (45, 3, 3), (16, 1, 1)])
    def test_the_scales_agree_with_torchmetrics_and_scikit_image(self, size, levels, channels):
        """The contrast terms of the finer scales are those of torchmetrics (a weight of 0 takes the coarsest out, which it does not crop
        to the valid region); the coarsest is plain SSIM."""
        a = pictures(size, 3, size, channels)
        b = noisy(a, 25)
        weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:levels])
        weights /= weights.sum()
        planes = [torch.from_numpy(z).permute(0, 3, 1, 2).double() for z in (a, b)]
        fine = torch.ones(3)
        if levels > 1:
            fine = oracle_ms_ssim(*planes, data_range=255.0, reduction="none", betas=(*weights[:-1], 0.0))
        small = [torch.nn.functional.avg_pool2d(z, 2 ** (levels - 1)).permute(0, 2, 3, 1).numpy() for z in planes]
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": 2}
        coarse = [structural_similarity(p, q, **options) for p, q in zip(*small, strict=True)]
        want = fine.numpy() * np.array(coarse) ** weights[-1]
        np.testing.assert_allclose(ms_ssim(a, b), want, rtol=1e-6)
        assert want.max() < 0.99

    def test_an_image_is_like_itself_alone(self):
        a = pictures(3, 4, 28)
        np.testing.assert_allclose(ms_ssim(a, a), 1)
        assert ms_ssim(a, a[::-1]).max() < 0.7

    def test_diversity_falls_when_images_repeat(self):
        many, few = pictures(4, 200, 28), pictures(5, 3, 28)[np.arange(200) % 3]
        rich, poor = ms_ssim_diversity(many), ms_ssim_diversity(few)
        assert rich.interval[1] < poor.interval[0]
        same = [ms_ssim_diversity(pictures(100 + i, 60, 28)) for i in range(40)]
        mean = np.mean([run.value for run in same])
        assert np.mean([run.interval[0] <= mean <= run.interval[1] for run in same]) >= 0.85

    def test_images_below_the_window_have_none(self):
        assert ms_ssim_diversity(pictures(0, 50, 10)) is None
        with pytest.raises(UserError, match="11x11"):
            ssim(pictures(0, 2, 10), pictures(1, 2, 10))
        with pytest.raises(UserError, match="one shape"):
            ssim(pictures(0, 2, 28), pictures(1, 3, 28))


class TestDifferentBins:
    def test_equal_distributions_differ_in_at_most_one_of_twenty(self):
        rng = np.random.default_rng(0)
        runs = [different_bins(clumps(rng, 400), clumps(rng, 600), seed=i).different for i in range(60)]
        assert np.mean([count > 0 for count in runs]) <= 0.1

    def test_a_dropped_class_is_found(self):
        rng = np.random.default_rng(1)
        real, some = clumps(rng, 1000), clumps(rng, 1000)
        kept = some[np.linalg.norm(some - 2 * np.eye(10, 8)[0], axis=1) > 1]
        result = different_bins(kept, real, bins=10)
        assert result.different >= 1
        assert result.bins == 10
        assert result.p.shape == (10,)
        assert result.generated.sum() == len(kept)
        assert result.real.sum() == 500

    def test_holm_is_that_of_the_textbook(self):
        np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])

    def test_kmeans_finds_separate_clusters(self):
        rng = np.random.default_rng(2)
        points = (10 * np.eye(5)[np.arange(500) % 5] + 0.1 * rng.normal(size=(500, 5))).astype(np.float32)
        centers = kmeans(points, 5, rng)
        assert sorted(centers.argmax(1)) == [0, 1, 2, 3, 4]
        np.testing.assert_allclose(centers.max(1), 10, atol=0.1)

    def test_few_images_are_refused(self):
        with pytest.raises(UserError, match="20 bins need at least 80"):
            different_bins(np.ones((50, 2)), np.ones((50, 2)), bins=20)


class TestBirthday:
    @pytest.mark.parametrize("support", [100, 3000])
    def test_a_known_support_is_estimated(self, support):
        rng = np.random.default_rng(support)
        runs = []
        for _ in range(12):
            x = clumps(rng, support)[rng.integers(support, size=600)]
            runs.append(birthday(x))
        assert np.mean([run.interval[0] <= support <= run.interval[1] for run in runs]) >= 0.75
        assert np.median([run.support for run in runs]) == pytest.approx(support, rel=0.25)

    def test_repetitions_are_found_against_real_images(self):
        rng = np.random.default_rng(0)
        x = clumps(rng, 500)[rng.integers(500, size=600)]
        run = birthday(x, clumps(rng, 600), permutations=299)
        assert run.p < 0.01
        assert run.support < 1000
        assert run.real == 10
        assert run.distances[0] == 0
        first, second = run.pairs[0]
        assert first != second
        assert (x[first] == x[second]).all()

    def test_equal_distributions_raise_no_alarm_although_close_pairs_come_in_clumps(self):
        rng = np.random.default_rng(1)
        runs = [birthday(clumps(rng, 300), clumps(rng, 300), permutations=99) for _ in range(80)]
        assert np.mean([run.p <= 0.05 for run in runs]) <= 0.125
        assert np.mean([run.p <= 0.5 for run in runs]) >= 0.35
        assert 5 < np.median([run.collisions for run in runs]) < 20

    def test_the_interval_is_the_exact_one_of_a_poisson_number(self):
        from calotype.metrics.diversity import _poisson

        for count in (0, 1, 7, 300):
            low, high = _poisson(count)
            assert poisson.cdf(count, high) == pytest.approx(0.025, abs=1e-6)
            assert count == 0 or poisson.sf(count - 1, low) == pytest.approx(0.025, abs=1e-6)

    def test_without_a_collision_the_support_has_no_upper_end(self):
        run = birthday(clumps(np.random.default_rng(0), 100))
        assert run.collisions == 0
        assert run.support == run.interval[1] == np.inf
        assert run.interval[0] == pytest.approx(100 * 99 / 2 / 3.6889, rel=1e-3)
        assert run.p is None
        with pytest.raises(UserError, match="ten images"):
            birthday(clumps(np.random.default_rng(0), 9))
