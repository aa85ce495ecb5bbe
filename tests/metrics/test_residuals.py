"""Statistics of fine detail against counts written out, and the symmetries that they must have."""

from __future__ import annotations

import numpy as np
import pytest

from calotype.errors import UserError
from calotype.metrics.residuals import GROUPS, co_occurrences, levels, residual_features, spectra


def noise(n: int, side: int = 20, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels)).astype(np.uint8)


def test_co_occurrences_are_what_counting_by_hand_gives() -> None:
    image = np.random.default_rng(1).integers(100, 112, (1, 17, 19, 1)).astype(np.uint8)
    x = image[0, :, :, 0].astype(float)
    steps = np.clip(np.rint((x[:, 1:] - x[:, :-1]) / 3), -2, 2).astype(int)  # the first residual, in its fine step
    counts: dict[tuple[int, ...], float] = {}
    for axis, table in ((0, steps), (1, steps.T)):
        place = [tuple(row[i : i + 3]) for row in table for i in range(len(row) - 2)]
        for one in place:
            kind = min(one, one[::-1], tuple(-v for v in one), tuple(-v for v in one[::-1]))
            counts[kind] = counts.get(kind, 0) + 0.5 / len(place)
        del axis
    found = co_occurrences(image)[0]
    kinds = len(found) // 8
    assert sorted(v**2 for v in found[:kinds] if v) == pytest.approx(sorted(counts.values()), abs=1e-6)
    assert (found.reshape(8, kinds) ** 2).sum(1) == pytest.approx(np.ones(8), abs=1e-5)


@pytest.mark.parametrize("change", ["left", "up", "turned", "negative"])
def test_co_occurrences_do_not_depend_on_direction_or_sign(change: str) -> None:
    x = noise(3)
    other = {"left": x[:, :, ::-1], "up": x[:, ::-1], "turned": x.transpose(0, 2, 1, 3), "negative": 255 - x}[change]
    a, b = co_occurrences(x).reshape(3, 8, -1), co_occurrences(np.ascontiguousarray(other)).reshape(3, 8, -1)
    if change == "turned":  # rows become columns: the first two residuals change places
        b = b[:, [2, 3, 0, 1, 4, 5, 6, 7]]
    assert a == pytest.approx(b, abs=1e-6)
    assert a != pytest.approx(co_occurrences(noise(3, seed=1)).reshape(3, 8, -1), abs=1e-3)


def test_spectra_have_the_power_where_it_is() -> None:
    side = 32
    at = np.arange(side)
    wave = (128 + 100 * np.cos(2 * np.pi * 8 * at / side))[None, None, :, None] * np.ones((1, side, 1, 1))
    found = spectra(wave.astype(np.uint8))[0]
    cells = 16
    rows = found.reshape(cells, -1)  # frequencies along the columns of the image, then along its rows
    assert np.unravel_index(rows.argmax(), rows.shape) == (0, 8 * cells // (side // 2 + 1))
    flat = np.expm1(spectra(noise(400, side)).astype(np.float64)).mean(0)[1:]
    assert flat.max() / flat.min() < 2.2  # the window weighs all but the lowest frequencies alike


def test_levels_count_values() -> None:
    x = noise(1)
    x[0, :10] = 0
    found = levels(x)[0] ** 2
    assert found[:16].sum() == pytest.approx(1)
    assert found[16] == pytest.approx((x == 0).mean())
    assert found[17] == pytest.approx((x == 255).mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_features_of_an_image_depend_on_it_alone(channels: int) -> None:
    x = noise(5, 24, channels)
    whole = residual_features(x)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert whole[3:4] == pytest.approx(residual_features(x[3:4]), abs=1e-4)
    assert whole.shape[1] == sum(residual_features(x[:1], (name,)).shape[1] for name in GROUPS)


@pytest.mark.parametrize("shape", [(1, 15, 20, 1), (1, 20, 20, 2), (20, 20, 1)])
def test_other_layouts_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="16x16"):
        residual_features(np.zeros(shape, np.uint8))
