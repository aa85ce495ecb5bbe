"""The gated PixelCNN: what each pixel sees."""

import pytest
import torch

from calotype.networks.pixelcnn import PixelCNN
from tests.networks.causality import assert_sees_exactly_the_pixels_before, assert_visits_see_what_the_whole_sees, images, scrambled, seen


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 5)])
def test_a_pixel_sees_all_pixels_before_it_and_no_other(shape):
    assert_sees_exactly_the_pixels_before(PixelCNN(shape, width=8, depth=4), shape)


@pytest.mark.parametrize(("shape", "first"), [((1, 9, 9), 0), ((3, 8, 8), 0), ((1, 9, 9), 4), ((1, 8, 8), 8)])
def test_a_visit_sees_what_the_whole_sees(shape, first):
    label = torch.tensor([0, 2, 1])
    assert_visits_see_what_the_whole_sees(PixelCNN(shape, width=8, depth=3, classes=3), shape, label, first)


def test_it_sees_no_further_than_its_layers_reach():
    gradient = seen(scrambled(PixelCNN((1, 9, 9), width=8, depth=1)), (1, 9, 9))
    last = gradient[-1].view(9, 9)
    assert (last[:4] == 0).all()  # one layer: one row more than the three of the first
    assert (last[4:8, 5:] > 0).all()


def test_labels_and_places_matter():
    network = scrambled(PixelCNN((1, 6, 6), width=8, depth=2, classes=2))
    x = images(1, (1, 6, 6)).expand(2, -1, -1, -1)
    first, second = network(x, torch.tensor([0, 1]))
    assert float((first - second).abs().min(0).values.max()) > 1e-3
    flat = network(torch.zeros_like(x), torch.tensor([0, 0]))[0]
    assert float((flat[:, 5, 3] - flat[:, 5, 2]).abs().max()) > 1e-3


def test_dropout_acts_in_training_alone():
    network = PixelCNN((1, 6, 6), width=8, depth=2, dropout=0.5)
    x = images(2, (1, 6, 6)).float()
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
