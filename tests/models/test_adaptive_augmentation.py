"""Adaptive discriminator augmentation: how its share moves, and that no generator learns it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from calotype.losses.transforms import adaptive
from calotype.models.gan import GAN
from calotype.models.gan_config import GANConfig
from calotype.types import ImageSpec, Step
from tests.small import changed

ADAPTIVE = changed(GANConfig(latent=6, augment=("adaptive",), augment_images=100), width=4)


def test_more_is_augmented_where_the_discriminator_is_sure() -> None:
    model = GAN(ADAPTIVE, ImageSpec(12, 1))
    share = model.augment_share
    assert share == 0
    unsure = torch.tensor([1.0, 1.0, 1.0, -1.0])  # a mean sign of .5
    for logits, wanted in ((unsure, 0.0), (torch.ones(10), 0.1), (torch.ones(10), 0.2), (unsure, 0.16), (torch.ones(1000), 1.0)):
        model._adapted(logits, Step(0, torch.Generator()))
        assert share.item() == pytest.approx(wanted)


def shares(leaking: bool) -> Tensor:
    """What a generator that may draw four turned images learns of data that know one, shown through augmentations."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    corner = -torch.ones(8, 8)
    corner[:3, :3] = 1
    kinds = torch.stack([torch.rot90(corner, k) for k in range(4)])[:, None]
    choice = nn.Parameter(torch.zeros(4))
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    players = torch.optim.Adam([choice], 0.05, (0.0, 0.99)), torch.optim.Adam(judge.parameters(), 0.01, (0.0, 0.99))

    def seen(image: Tensor) -> Tensor:
        images = image.expand(64, 1, 8, 8)
        if leaking:  # every turn is as likely as the others, whatever the image was
            turns = torch.randint(0, 4, (64,), generator=rng).tolist()
            return torch.stack([torch.rot90(x, k, (1, 2)) for x, k in zip(images, turns, strict=True)])
        return adaptive(images, 0.5, rng)

    for _ in range(200):
        fake = (choice.softmax(0)[:, None, None, None] * kinds).sum(0, keepdim=True)
        loss = softplus(judge(seen(fake.detach()))).mean() + softplus(-judge(seen(kinds[:1]))).mean()
        players[1].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        players[1].step()
        players[0].zero_grad()
        softplus(-judge(seen(fake))).mean().backward()  # type: ignore[no-untyped-call]
        players[0].step()
    return choice.detach().softmax(0)


def test_a_generator_does_not_draw_what_only_augmentation_does() -> None:
    assert shares(leaking=False)[0] > 0.9


def test_one_that_is_shown_every_turn_does() -> None:
    assert shares(leaking=True)[0] < 0.9
