"""The noise levels of training, and when guidance acts."""

import pytest
import torch

from calotype.diffusion.guidance import guide, scale_at
from calotype.diffusion.path import PATHS
from calotype.diffusion.times import normal_half_log_snr, stratified, uniform_half_log_snr


def test_normal_log_ratios_are_normal():
    ratios = normal_half_log_snr(4096, torch.Generator().manual_seed(0), mean=-0.5, spread=1.5).double()
    assert float(ratios.mean()) == pytest.approx(-0.5, abs=0.01)
    assert float(ratios.std()) == pytest.approx(1.5, abs=0.02)
    assert bool(ratios.isfinite().all())


def test_stratified_numbers_are_one_in_each_bin_in_random_order():
    share = stratified(64, torch.Generator().manual_seed(0))
    bins = (share * 64).floor().long()
    assert sorted(bins.tolist()) == list(range(64))
    assert bins.tolist() != list(range(64))
    assert torch.equal(share, stratified(64, torch.Generator().manual_seed(0)))
    assert not torch.equal(share, stratified(64, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("name", PATHS)
def test_uniform_times_are_uniform_on_the_clock_of_the_path(name):
    drawn = uniform_half_log_snr(1000, torch.Generator().manual_seed(0), PATHS[name].schedule).sort().values
    expected = PATHS[name].schedule((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000).float()
    assert torch.allclose(drawn[50:950], expected[50:950], atol=0.03)
    assert bool(drawn.isfinite().all())


def test_guidance_extrapolates_from_the_unconditional_through_the_conditional():
    conditional, unconditional = torch.tensor([2.0]), torch.tensor([1.0])
    assert [float(guide(conditional, unconditional, s)) for s in (0.0, 0.5, 1.0, 3.0)] == [1.0, 1.5, 2.0, 4.0]


def test_guidance_acts_only_within_its_interval():
    assert [scale_at(t, 3.0, (0.25, 0.5)) for t in (0.2, 0.25, 0.4, 0.5, 0.6)] == [1.0, 3.0, 3.0, 3.0, 1.0]
