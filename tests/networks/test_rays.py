"""Holes filled along lines."""

from __future__ import annotations

import pytest
import torch

from calotype.networks.rays import DIRECTIONS, Rays, along, preferred, steps
from calotype.networks.restorer import filled
from calotype.types import Source

HOLES = Source(3, 1, ("mask",), "mask:box")
CASES = torch.Generator().manual_seed(3)


def network() -> Rays:
    torch.manual_seed(0)
    return Rays(HOLES, 3, width=8, depth=1, levels=1, unshuffle=2)


def half_planes(n: int, side: int = 32) -> torch.Tensor:
    """(n, 3, side, side): two colors on both sides of a straight edge through the middle part, in one of the directions."""
    at = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).float() - side / 2
    made = []
    for number in range(n):
        down, across = DIRECTIONS[number % len(DIRECTIONS)]
        offset = float(torch.rand((), generator=CASES) * 8 - 4)
        side_of = (at[0] * across - at[1] * down > offset * (down**2 + across**2) ** 0.5).float()
        first, second = torch.rand(2, 3, 1, 1, generator=CASES) * 2 - 1
        made.append(first * side_of + second * (1 - side_of))
    return torch.stack(made)


def with_box(picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture with a smooth filling in its middle and its mask, and where the hole is, (N, H, W)."""
    known = torch.ones_like(picture[:, :1])
    known[:, :, 10:22, 10:22] = 0
    return torch.cat([filled(picture * known, known), known], 1), known[:, 0] == 0


@pytest.mark.parametrize("direction", [*DIRECTIONS, (0, -1), (-2, 1)])
def test_steps_to_what_is_known_are_counted(direction: tuple[int, int]) -> None:
    hole = torch.rand(2, 13, 17, generator=torch.Generator().manual_seed(1)) < 0.8
    found = steps(hole, *direction)
    for n, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(13), torch.arange(17)).tolist():
        count, row, column = 0, y, x
        while 0 <= row < 13 and 0 <= column < 17 and hole[n, row, column]:
            count, row, column = count + 1, row + direction[0], column + direction[1]
        if 0 <= row < 13 and 0 <= column < 17:
            assert found[n, y, x] == count
        else:
            assert found[n, y, x] >= 1e6


def test_an_edge_goes_on_along_its_own_direction_alone() -> None:
    picture = half_planes(8)
    source, hole = with_box(picture)
    values, told = along(source[:, :3].permute(0, 2, 3, 1), hole)
    truth = picture.permute(0, 2, 3, 1)[hole]
    error = (values - truth).abs().mean(2).view(9, 8, -1).mean(2)  # of the smooth filling and each direction, for each picture
    for number in range(8):
        assert error[1 + number, number] < 1e-5
        assert int(error[:, number].argmin()) == 1 + number
        assert error[0, number] > 0.02
    apart, short = told[:, 1::3], told[:, 2::3]
    assert float(torch.stack([apart[n, n] for n in range(8)]).max()) < 1e-5  # the ends of the right direction agree
    assert not told.transpose(0, 1)[:, ~hole].any()
    assert bool((short.transpose(0, 1)[:, hole] > 0).all())


def test_what_no_line_reaches_is_smooth() -> None:
    source, _ = with_box(half_planes(2))
    everywhere = torch.ones(2, 32, 32, dtype=torch.bool)
    values, _ = along(source[:, :3].permute(0, 2, 3, 1), everywhere)
    assert torch.equal(values[1:], values[:1].expand(8, -1, -1))


def test_it_starts_with_lines_whose_ends_agree_and_keeps_what_is_known() -> None:
    picture = half_planes(8)
    source, hole = with_box(picture)
    made = network()(source).detach()
    inside = hole[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(made[~inside], picture[~inside])
    smooth, start = (float((x - picture)[inside].abs().mean()) for x in (source[:, :3], made))
    assert 0.05 < start < 0.8 * smooth
    assert network()(source[:, :, :31, :27]).shape == (8, 3, 31, 27)


def test_lines_count_the_less_the_longer_they_are_and_the_farther_their_ends_differ() -> None:
    told = torch.zeros(4, 24)
    told[:, 2::3], told[:, 1::3] = 0.3, 0.1
    told[1, 4], told[2, 4], told[3, 2::3] = 0.5, 0.0, 0.9  # the second direction's ends differ, or agree; a narrow hole
    weights = preferred(told).softmax(1)
    assert weights[1, 2] < 0.3 * weights[0, 2] < 0.3 * weights[2, 2]
    assert weights[3, 0] > 0.9 > 0.6 > weights[0, 0]


def test_it_learns_which_way_an_edge_goes_on() -> None:
    rays = network()
    optimizer = torch.optim.Adam(rays.parameters(), 1e-2)
    for _ in range(60):
        picture = half_planes(8)
        optimizer.zero_grad()
        (rays(with_box(picture)[0]) - picture).abs().mean().backward()
        optimizer.step()
    unseen = half_planes(16)
    source, _ = with_box(unseen)
    with torch.no_grad():
        learned, start = (float((filling(source) - unseen).abs().mean()) for filling in (rays, network()))
    assert learned < 0.6 * start
