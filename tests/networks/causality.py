"""What the networks of autoregressive models must do: see all pixels before one and no other, with and without a cache."""

import torch


def scrambled(network, seed=0, size=0.4):
    """The network in float64, with random weights everywhere: parts that start at zero would hide what they let through."""
    rng = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) * size)
    return network


def images(n, shape, seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def seen(network, shape, label=None):
    """(pixels, pixels): the largest gradient of the features of one pixel with respect to the colors of another."""
    x = images(1, shape).requires_grad_()
    features = network(x, label)[0].flatten(1)
    rows = [torch.autograd.grad(features[:, i].sum(), x, retain_graph=True)[0][0].abs().amax(0).flatten() for i in range(features.shape[1])]
    return torch.stack(rows)


def assert_sees_exactly_the_pixels_before(network, shape, label=None):
    gradient = seen(scrambled(network), shape, label)
    before = torch.ones_like(gradient).tril(-1).bool()
    assert (gradient[~before] == 0).all()  # not one of the pixels at or after
    assert (gradient[before] > 0).all()  # each of those before: no blind spot


def assert_visits_see_what_the_whole_sees(network, shape, label, first):
    """The features of a visit equal those of one pass over the whole image, though each pixel is known only after its turn."""
    network = scrambled(network).float()
    x = images(3, shape).float()
    with torch.no_grad():
        whole = network(x, label)
        canvas = torch.full_like(x, 0.77)
        canvas[:, :, :first] = x[:, :, :first]
        places = []
        for row, column, features in network.visit(canvas, label, first):
            places.append((row, column))
            assert torch.allclose(features, whole[:, :, row, column], atol=1e-4, rtol=1e-4)
            canvas[:, :, row, column] = x[:, :, row, column]
    assert places == [(row, column) for row in range(first, shape[1]) for column in range(shape[2])]
    assert float(whole.std()) > 0.05  # there is something to compare
