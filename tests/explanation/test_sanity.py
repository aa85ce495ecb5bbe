"""The sanity check: maps of the network fall with what it learned, maps of the image alone are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from calotype.capabilities import Classifies
from calotype.data import load
from calotype.explanation.attribution import ImageScore, grad_cam, integrated_gradients, spatial_layer
from calotype.explanation.sanity import cascade, layers_of, rank_correlation, shuffled
from calotype.metrics.features_kinds import embedded_digits
from calotype.types import Model

BLACK = torch.tensor(-1.0)


@pytest.fixture(scope="module")
def recognizer() -> Model:
    return embedded_digits()[0]


@pytest.fixture(scope="module")
def digits() -> Tensor:
    pixels = np.asarray(load("mnist5k", holdout=0.1).holdout.pixels[:6])
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1


def logits_of(model: Model, x: Tensor) -> Tensor:
    assert isinstance(model, Classifies)
    return model.logits_of(model.features(x))


def score_of(model: Model) -> ImageScore:
    return lambda x, target: logits_of(model, x).gather(1, target[:, None])[:, 0]


def test_rank_correlations_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 6)).round(1), rng.normal(size=(6, 6)).round(1)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, np.ones((6, 6))) == 0


def test_layers_come_from_the_last_to_the_first_with_their_normalization() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    network.add_module("unused", nn.Linear(3, 3))
    network.add_module("label", nn.Embedding(2, 3))
    found = layers_of(network, lambda: network[:6](torch.zeros(1, 1, 6, 6)) + network.label(torch.zeros(1, dtype=torch.int64)))
    assert [name for name, _ in found] == ["5", "3", "0"]
    assert found[0][1] == [network[5], network.label]  # what is added to the last layer by the class goes with it
    assert found[2][1] == [network[0], network[1]]


def test_weights_are_shuffled_for_a_while_and_then_back() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8))
    with torch.no_grad():
        for tensor in (network[1].weight, network[1].running_mean):
            tensor.copy_(torch.arange(8.0))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with shuffled([network[0], network[1]], 3):
        inside = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert not torch.equal(inside["0.weight"], before["0.weight"])
    assert torch.equal(inside["0.weight"].flatten().sort().values, before["0.weight"].flatten().sort().values)
    assert torch.equal(inside["1.weight"], inside["1.running_mean"])  # what belongs to a channel stays together
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_normalized_weights_are_shuffled_and_find_their_norm() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(spectral_norm(nn.Conv2d(2, 8, 3)), nn.Flatten(), spectral_norm(nn.Linear(8, 5)), nn.Linear(5, 1))
    for _ in range(30):
        network(torch.randn(4, 2, 3, 3))
    network.eval()
    layers = layers_of(network, lambda: network(torch.zeros(1, 2, 3, 3)))
    assert [name for name, _ in layers] == ["3", "2", "0"]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weight = network[2].weight.clone()
    with shuffled(layers[1][1], 1):
        inside = network[2].weight.clone()
    assert not torch.allclose(inside, weight, atol=0.05)
    assert float(torch.linalg.matrix_norm(inside.detach(), 2)) == pytest.approx(1, abs=0.02)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network[2].parametrizations.weight[0].training


def test_an_edge_detector_that_poses_as_an_explanation_is_refused(recognizer: Model, digits: Tensor) -> None:
    edges = torch.tensor([[[[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]]])
    layers = layers_of(recognizer, lambda: logits_of(recognizer, digits[:1]))
    assert layers[0][0] == "network.head"
    target = logits_of(recognizer, digits).argmax(1)

    def confident_edges() -> Tensor:  # it even asks the network, and uses what it says for its strength
        p = logits_of(recognizer, digits).softmax(1).gather(1, target[:, None]).view(-1, 1, 1, 1)
        return F.conv2d(digits, edges, padding=1).abs() * p

    with torch.no_grad():
        found = cascade(layers, confident_edges)
    assert found.refused
    assert found.top.correlation > 0.99
    assert len(found.cascade) == len(layers)


@pytest.mark.parametrize("method", ["integrated gradients", "Grad-CAM"])
def test_maps_of_a_trained_network_pass(recognizer: Model, digits: Tensor, method: str) -> None:
    score = score_of(recognizer)
    target = logits_of(recognizer, digits).argmax(1)
    _, layer, _ = spatial_layer(recognizer, lambda: logits_of(recognizer, digits[:1]))

    def maps() -> Tensor:
        if method == "Grad-CAM":
            return grad_cam(score, layer, digits, target)
        return integrated_gradients(score, digits, target, BLACK, tolerance=0, most=8).map

    before = maps()
    found = cascade(layers_of(recognizer, lambda: logits_of(recognizer, digits[:1]))[:3], maps)
    assert not found.refused
    assert abs(found.top.correlation) < 0.3
    assert torch.equal(maps(), before)  # the network is what it was


def test_what_is_signed_passes_by_its_signs_alone(recognizer: Model, digits: Tensor) -> None:
    """A fact about digits: how strong an attribution is follows the ink whatever the network, which a reader of sizes has to know."""
    score = score_of(recognizer)
    target = logits_of(recognizer, digits).argmax(1)

    def maps() -> Tensor:
        return integrated_gradients(score, digits, target, BLACK, tolerance=0, most=8).map

    found = cascade(layers_of(recognizer, lambda: logits_of(recognizer, digits[:1]))[:1], maps)
    assert found.top.absolute > 0.9
    strengths = cascade(layers_of(recognizer, lambda: logits_of(recognizer, digits[:1]))[:1], lambda: maps().abs())
    assert strengths.refused
