import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torchmetrics.image.kid import poly_mmd

from calotype.errors import UserError
from calotype.metrics.kid import kid


def draw(seed, n, shift=0.0, d=16):
    rng = np.random.default_rng(seed)
    return (np.abs(rng.normal(size=(n, d))) + shift).astype(np.float32)


def by_definition(x, y):
    xx, yy, xy = (polynomial_kernel(a.astype(np.float64), b.astype(np.float64), degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    inner = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    return sum(inner) - 2 * xy.mean()


def standard_error(estimate):
    return (estimate.interval[1] - estimate.value) / 1.959964


@pytest.mark.parametrize("block", [70, 2000])
def test_it_is_the_u_statistic_whatever_the_block(block):
    x, y = draw(0, 300, 0.2), draw(1, 250)
    assert kid(x, y, block=block).value == pytest.approx(by_definition(x, y), rel=1e-4)
    assert by_definition(x, y) > 0.05


def test_the_interval_does_not_depend_on_the_block_either():
    x, y = draw(0, 300), draw(1, 250)
    np.testing.assert_allclose(kid(x, y, block=70).interval, kid(x, y).interval, rtol=1e-3)


def test_it_agrees_with_torchmetrics():
    x, y = draw(0, 200, 0.2), draw(1, 200)
    theirs = float(poly_mmd(torch.from_numpy(x).double(), torch.from_numpy(y).double(), degree=3, gamma=None, coef=1.0))
    assert kid(x, y).value == pytest.approx(theirs, rel=1e-4)


def test_a_set_against_itself_is_slightly_negative():
    x = draw(0, 200)
    assert -0.2 < kid(x, x).value < 0


@pytest.mark.parametrize(("shift", "n", "m", "chunk"), [(0.0, 120, 120, 5000), (0.05, 150, 80, 5000), (0.05, 200, 200, 50)])
def test_the_standard_error_is_the_spread_over_runs(shift, n, m, chunk):
    runs = [kid(draw(2 * i, n, shift), draw(2 * i + 1, m), chunk=chunk) for i in range(200)]
    values = np.array([run.value for run in runs])
    errors = np.array([standard_error(run) for run in runs])
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.2)
    held = np.mean([run.interval[0] <= values.mean() <= run.interval[1] for run in runs])
    assert held >= 0.85
    if not shift:
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))


def test_chunks_use_every_image_and_change_little():
    x, y = draw(0, 1000, 0.1), draw(1, 900)
    whole, chunked = kid(x, y), kid(x, y, chunk=250)
    assert chunked.value == pytest.approx(whole.value, abs=0.6 * standard_error(whole))
    assert standard_error(chunked) == pytest.approx(standard_error(whole), rel=0.15)
    assert kid(x[:996], y[:896], chunk=250).value != chunked.value


def test_a_large_common_offset_costs_no_digits():
    x, y = draw(0, 300, 0.2) + np.float32(3), draw(1, 300) + np.float32(3)
    assert kid(x, y).value == pytest.approx(by_definition(x, y), rel=1e-3)


def test_bad_features_are_refused():
    with pytest.raises(UserError, match="at least four"):
        kid(draw(0, 3), draw(1, 50))
    with pytest.raises(UserError, match="same d"):
        kid(draw(0, 50, d=3), draw(1, 50))
    with pytest.raises(UserError, match="NaN"):
        kid(np.full((50, 16), np.inf, np.float32), draw(1, 50))
