"""Generators of which is known what they do, and why."""

from __future__ import annotations

import torch
from scipy.linalg import hadamard
from torch import Tensor, nn

from calotype.explanation.codes import Codes
from calotype.tasks.sample import Generator
from calotype.types import Condition, ImageSpec, Model

SIDE = 16
STRENGTHS = (8.0, 6.0, 4.5, 3.0, 2.0, 1.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
"""How much images change along each planted direction: as many as there are latents."""


def orthogonal(size: int, seed: int = 0) -> Tensor:
    """An orthogonal matrix whose columns are the planted directions."""
    q: Tensor = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]
    return q.float()


class Linear(Model):
    """Images (N, 1, 16, 16) that are sums of as many patterns as there are latents: ``planted[:, k]`` leads along pattern k.

    Patterns are rows of a Hadamard matrix, so that all pixels depend on the latents alike, as the derivation of SeFa wants it.
    """

    def __init__(self, scale: float = 0.01) -> None:
        super().__init__()
        self.spec = ImageSpec(SIDE, 1)
        self.planted = orthogonal(len(STRENGTHS))
        patterns = torch.from_numpy(hadamard(SIDE**2)[: len(STRENGTHS)]).float()
        self.network = nn.Linear(len(STRENGTHS), SIDE**2).requires_grad_(False)
        self.network.weight.copy_(scale * (self.planted * torch.tensor(STRENGTHS) @ patterns).T)
        self.network.bias.fill_(-0.1)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (len(STRENGTHS),)

    @property
    def decoding(self) -> nn.Module:
        return self.network

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        out: Tensor = self.network(z)
        return out.view(-1, 1, SIDE, SIDE)


class Painter(Model):
    """Images (N, 1, 8, 8) painted by eight rectified units: unit k lights up column k, and its latent has to be above zero for it."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = ImageSpec(8, 1, tuple("abcdefgh"))
        self.network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 64)).requires_grad_(False)
        first, last = self.network[0], self.network[2]
        first.weight.copy_(torch.eye(8))
        first.bias.zero_()
        last.bias.fill_(-1)
        columns = torch.zeros(64, 8)
        for k in range(8):
            columns[k::8, k] = 1
        last.weight.copy_(columns)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (8,)

    @property
    def decoding(self) -> nn.Module:
        return self.network

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        out: Tensor = self.network(z)
        return out.view(-1, 1, 8, 8)


class Memory(Model):
    """Shows one of the images that it has stored: the one whose key is nearest to the latents, nearly alone."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.spec = ImageSpec(images.shape[2], images.shape[1])
        self.images = images
        keys = torch.randn(len(images), 32, generator=torch.Generator().manual_seed(0))
        self.network = nn.Linear(32, len(images), bias=False).requires_grad_(False)
        self.network.weight.copy_(keys)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (32,)

    @property
    def decoding(self) -> nn.Module:
        return self.network

    def decode(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.einsum("nk,kchw->nchw", self.network(z).softmax(1), self.images)


def codes_of(model: Model) -> Codes:
    """The codes of a planted generator."""
    return Codes(Generator(model, "planted", torch.device("cpu")))


def alike(a: Tensor, b: Tensor) -> float:
    """|cos| of two vectors."""
    a, b = a.double(), b.double()
    return float((a @ b).abs() / (a.norm() * b.norm()))
