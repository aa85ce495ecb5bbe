"""The pixel transformer: what each pixel sees, for runs of every length."""

import pytest
import torch

from calotype.networks.pixel_transformer import PixelTransformer
from tests.networks.causality import assert_sees_exactly_the_pixels_before, assert_visits_see_what_the_whole_sees, images, scrambled


def small(shape, segment, classes=0, **options):
    return PixelTransformer(shape, width=8, depth=2, heads=2, segment=segment, classes=classes, **options)


@pytest.mark.parametrize("segment", [1, 3, 4, 6, 9])
@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 5)])
def test_a_pixel_sees_all_pixels_before_it_and_no_other(shape, segment):
    assert_sees_exactly_the_pixels_before(small(shape, segment), shape)


@pytest.mark.parametrize("segment", [1, 4])
@pytest.mark.parametrize(("shape", "first"), [((1, 9, 9), 0), ((3, 8, 8), 0), ((1, 9, 9), 4), ((1, 8, 8), 8)])
def test_a_visit_sees_what_the_whole_sees(shape, first, segment):
    assert_visits_see_what_the_whole_sees(small(shape, segment, classes=3), shape, torch.tensor([0, 2, 1]), first)


def test_attention_brings_in_what_the_window_does_not_show():
    """The first pixel lies outside every window of the last one."""
    network, x = scrambled(small((1, 9, 9), 4)), images(1, (1, 9, 9)).requires_grad_()
    (through,) = torch.autograd.grad(network(x)[..., 8, 8].sum(), x)
    for block in network.blocks:
        block._attend = lambda tokens, cache, capacity: torch.zeros_like(tokens)
    (without,) = torch.autograd.grad(network(x)[..., 8, 8].sum(), x)
    assert through[0, 0, 0, 0] != 0
    assert without[0, 0, 0, 0] == 0


def test_labels_and_places_matter():
    network = scrambled(small((1, 6, 6), 3, classes=2))
    x = images(1, (1, 6, 6)).expand(2, -1, -1, -1)
    first, second = network(x, torch.tensor([0, 1]))
    assert float((first - second).abs().min(0).values.max()) > 1e-3
    flat = network(torch.zeros_like(x), torch.tensor([0, 0]))[0]
    assert float((flat[:, 5, 4] - flat[:, 4, 4]).abs().max()) > 1e-3


def test_dropout_acts_in_training_alone():
    network = scrambled(small((1, 6, 6), 3, dropout=0.5)).float()
    x = images(2, (1, 6, 6)).float()
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
