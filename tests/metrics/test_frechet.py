import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid

from calotype.errors import UserError
from calotype.metrics.frechet import Moments, bias, check_count, extrapolated, frechet, frechet_estimate

D = 8
ROOT = np.random.default_rng(99).normal(size=(D, D)) / np.sqrt(D)  # of the common covariance
STRETCH = np.linspace(0.8, 1.3, D)


def draw(rng, n, other=False):
    z = rng.normal(size=(n, D))
    return ((z * STRETCH) @ ROOT + 0.1 if other else z @ ROOT).astype(np.float32)


def population(n, other=False):
    cov = ROOT.T @ np.diag(STRETCH**2) @ ROOT if other else ROOT.T @ ROOT
    return Moments(np.full(D, 0.1) if other else np.zeros(D), cov, n)


def test_moments_are_those_of_numpy():
    features = draw(np.random.default_rng(0), 9000) + np.float32(30)
    moments = Moments.of(features)
    np.testing.assert_allclose(moments.mean, features.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.cov, np.cov(features.astype(np.float64).T), rtol=1e-9)
    assert moments.n == 9000


def test_commuting_covariances_have_a_closed_form():
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(D, D)))
    one, two, shift = rng.uniform(0.1, 2, D), rng.uniform(0.1, 2, D), rng.normal(size=D)
    a = Moments(np.zeros(D), basis @ np.diag(one) @ basis.T, 10)
    b = Moments(shift, basis @ np.diag(two) @ basis.T, 10)
    assert frechet(a, b) == pytest.approx((shift**2).sum() + ((np.sqrt(one) - np.sqrt(two)) ** 2).sum(), rel=1e-12)
    assert frechet(a, a) == pytest.approx(0, abs=1e-12)


def test_it_agrees_with_sqrtm_and_with_torchmetrics():
    rng = np.random.default_rng(1)
    a, b = Moments.of(draw(rng, 300)), Moments.of(draw(rng, 200, other=True))
    slow = ((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov - 2 * sqrtm(a.cov @ b.cov).real)
    assert frechet(a, b) == pytest.approx(slow, rel=1e-9)
    theirs = _compute_fid(*(torch.from_numpy(z) for z in (a.mean, a.cov, b.mean, b.cov)))
    assert frechet(a, b) == pytest.approx(float(theirs), rel=1e-9)
    assert frechet(a, b) > 0.05


@pytest.mark.parametrize("other", [False, True])
def test_the_closed_form_bias_is_what_simulation_shows(other):
    n, m, runs = 200, 120, 400
    rng = np.random.default_rng(3)
    true = frechet(population(n, other), population(m))
    measured = [frechet(Moments.of(draw(rng, n, other)), Moments.of(draw(rng, m))) - true for _ in range(runs)]
    want = bias(population(n, other), population(m))
    assert np.mean(measured) == pytest.approx(want, abs=3 * np.std(measured) / np.sqrt(runs) + 0.04 * want)
    assert want > 0.05


def test_the_bias_of_a_shared_covariance_is_the_known_one():
    values = np.array([0.5, 1.0, 3.0])
    a = Moments(np.zeros(3), np.diag(values), 100)
    pairs = sum(p * q / (2 * (p + q)) for p in values for q in values)
    assert bias(a, a) == pytest.approx((2 / 100) * (values.sum() + values.sum() / 4 + pairs), rel=1e-12)


def test_extrapolation_removes_the_bias():
    rng = np.random.default_rng(4)
    true = frechet(population(9, True), population(9))
    runs = [extrapolated(draw(rng, 400, other=True), draw(rng, 300), seed=i) for i in range(60)]
    limits, last = np.array([limit for limit, _ in runs]), np.array([points[-1][1] for _, points in runs])
    assert abs(limits.mean() - true) < 3 * limits.std() / np.sqrt(len(runs)) + 0.005
    assert last.mean() - true > 0.02
    sizes = [n for n, _ in runs[0][1]]
    assert len(sizes) == 10
    assert sizes == sorted(sizes)
    assert sizes[-1] == 400


@pytest.mark.parametrize(("other", "least"), [(False, 0.95), (True, 0.88)])
def test_the_jackknife_interval_holds_the_expected_value(other, least):
    rng = np.random.default_rng(5)
    runs = [frechet_estimate(draw(rng, 200, other), draw(rng, 150)) for _ in range(120)]
    values = np.array([run.value for run in runs])
    held = np.mean([run.interval[0] <= values.mean() <= run.interval[1] for run in runs])
    assert held >= least
    width = np.mean([run.interval[1] - run.interval[0] for run in runs])
    assert width < 1.7 * 4.04 * values.std()  # near-equal distributions: about 1.4, because second-order terms count twice


def test_the_jackknife_is_the_one_of_the_definition():
    rng = np.random.default_rng(6)
    x, y = draw(rng, 40, other=True), draw(rng, 30)
    run = frechet_estimate(x, y, groups=100)  # one image a group
    left = [frechet(Moments.of(np.delete(x, i, 0)), Moments.of(y)) for i in range(40)]
    right = [frechet(Moments.of(x), Moments.of(np.delete(y, i, 0))) for i in range(30)]
    error = np.sqrt(sum((len(v) - 1) / len(v) * ((v - np.mean(v)) ** 2).sum() for v in (np.array(left), np.array(right))))
    assert run.value == pytest.approx(frechet(Moments.of(x), Moments.of(y)), rel=1e-12)
    assert run.interval[1] - run.value == pytest.approx(error * 1.9955, rel=2e-3)  # Student's t with 68 degrees of freedom


def test_too_few_images_are_refused_and_few_ones_warned_of():
    with pytest.raises(UserError, match="64 images are too few for features of 64 dimensions"):
        check_count(64, 64)
    assert "320" in check_count(319, 64)
    assert check_count(320, 64) is None
    with pytest.raises(UserError, match="dimensions"):
        frechet(population(9), Moments(np.zeros(3), np.eye(3), 9))
    with pytest.raises(UserError, match="NaN"):
        Moments.of(np.full((9, 3), np.nan, np.float32))
