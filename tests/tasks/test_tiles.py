"""Pictures in tiles: equal to the whole, in bounded memory, and honest about models that look at everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from calotype.models.restorer import Restorer, RestorerConfig
from calotype.tasks import tiles
from calotype.tasks.tiles import Look, Plan, look_of, padded, plan, tiled
from calotype.types import ImageSpec, Source


class Stack(nn.Module):
    """Convolutions whose reach is known: one pixel each, times the pixels that become one place."""

    def __init__(self, layers: int, unshuffle: int = 1, scale: int = 1, channels: int = 1) -> None:
        super().__init__()
        self.unshuffle, self.scale, wide = unshuffle, scale, 6
        inner = [nn.Conv2d(wide, wide, 3, padding=1) for _ in range(layers - 2)]
        self.layers = nn.Sequential(
            nn.Conv2d(channels * unshuffle**2, wide, 3, padding=1), *inner, nn.Conv2d(wide, (unshuffle * scale) ** 2, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        down, right = -height % self.unshuffle, -width % self.unshuffle
        h = nn.functional.pad(x, (0, right, 0, down), mode="replicate")
        h = self.layers(nn.functional.pixel_unshuffle(h, self.unshuffle))
        made: Tensor = nn.functional.pixel_shuffle(h, self.unshuffle * self.scale)
        return made[:, :, : height * self.scale, : width * self.scale].tanh()


class Global(Stack):
    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        return (made - made.mean((2, 3), keepdim=True)) / made.std((2, 3), keepdim=True)


@torch.no_grad()
def in_tiles(function: tiles.Function, x: Tensor, cut: Plan) -> Tensor:
    bands: list[tuple[int, Tensor]] = []
    shares: list[float] = []
    height, width = x.shape[2:]
    tiled(
        function, lambda a, b, c, d: x[:, :, a:b, c:d], lambda at, rows: bands.append((at, rows.clone())), height, width, cut, shares.append
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert [at for at, _ in bands] == [sum(rows.shape[1] for _, rows in bands[:i]) for i in range(len(bands))]
    return torch.cat([rows for _, rows in bands], 1)[None]


@pytest.mark.parametrize(("unshuffle", "scale"), [(1, 1), (2, 1), (3, 1), (1, 3), (2, 2), (4, 1)])
@pytest.mark.parametrize("size", [(161, 258), (97, 1), (1, 300), (5, 7)])
def test_tiles_give_what_the_whole_gives(unshuffle: int, scale: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = Stack(3, unshuffle, scale)
    x = torch.rand(1, 1, *size) * 2 - 1
    look = look_of(model, model, 1)
    assert look.reach is not None
    assert unshuffle <= look.reach <= 4 * unshuffle
    cut = plan(look, *size, 96)
    with torch.no_grad():
        whole = padded(model, x)
    made = in_tiles(model, x, cut)
    assert made.shape == whole.shape
    assert float((made - whole).abs().max()) < 1 / 255  # half of a level of 8 bits
    if max(size) > 100:
        shallow = in_tiles(model, x, Plan(96, 2, 0))  # the check can fail
        assert float((shallow - whole).abs().max()) > 1e-3


def test_a_reach_of_the_models_own_makes_tiles_exact() -> None:
    torch.manual_seed(0)
    model = Stack(6)
    model.reach = 6
    x = torch.rand(1, 1, 200, 150)
    cut = plan(look_of(model, model, 1), 200, 150, 96)
    assert cut.reach == 6
    with torch.no_grad():
        assert float((in_tiles(model, x, cut) - model(x)).abs().max()) < 1e-6


@given(st.integers(1, 400), st.integers(0, 30), st.integers(96, 200))
def test_weights_of_tiles_sum_to_one(side: int, reach: int, tile: int) -> None:
    cut = plan(Look(reach, 1e4), side, side, tile)
    total = torch.zeros(side)
    spans = tiles._spans(side, cut)
    for (start, end), weight in zip(spans, tiles._weights(spans, reach), strict=True):
        total[start:end] += weight
        assert start % tiles.GRID == 0
        assert bool((weight >= 0).all())
    assert torch.allclose(total, torch.ones(side))
    assert spans[-1][1] == side
    if not cut.note:  # what a tile cannot know does not count
        for (start, end), weight in zip(spans, tiles._weights(spans, reach), strict=True):
            assert start == 0 or not weight[:reach].any()
            assert end == side or not weight[len(weight) - reach :].any()


def test_a_model_that_sees_everything_gets_the_whole_picture_or_says_that_it_does_not() -> None:
    torch.manual_seed(0)
    model = Global(3)
    look = look_of(model, model, 1)
    assert look.reach is None
    assert plan(look, 300, 200).tile >= 300
    cut = plan(look, 300, 200, 100)
    assert "looks at the whole picture" in cut.note
    assert plan(Look(5, 400.0), 300, 200, 100).note == ""
    assert "seams may show" in plan(Look(60, 400.0), 300, 200, 100).note
    huge = plan(look, 100_000, 100_000)
    assert huge.tile < 100_000


def test_tiles_of_costly_models_are_smaller() -> None:
    cheap, costly = plan(Look(10, 100.0), 5000, 5000), plan(Look(10, 2000.0), 5000, 5000)
    assert costly.tile < cheap.tile < 5000
    assert cheap.tile**2 * 100 <= tiles.MEMORY


@pytest.mark.parametrize(("network", "unshuffle", "levels"), [("residual", 5, 0), ("residual", 7, 0), ("naf", 2, 4), ("curves", 7, 0)])
def test_tiles_begin_where_the_squares_of_a_network_do(network: str, unshuffle: int, levels: int) -> None:
    torch.manual_seed(0)
    config = RestorerConfig(network=network, width=8, depth=1, levels=levels, unshuffle=unshuffle)  # type: ignore[arg-type]
    restorer = Restorer(config, ImageSpec(48, 3, source=Source(3, degradation="noise:25")))
    for name, parameter in restorer.named_parameters():
        if any(part in name for part in ("tail", "beta", "gamma")):  # which begin at zero
            nn.init.normal_(parameter, std=0.1)
    x = torch.rand(1, 3, 450, 500) * 2 - 1
    look = look_of(restorer.restore, restorer, 3)
    assert look.reach is not None
    assert look.grid % (unshuffle * 2**levels) == 0
    cut = plan(look, 450, 500, 96)
    assert cut.step < 450
    with torch.no_grad():
        whole = restorer.restore(x)
    assert float((in_tiles(restorer.restore, x, cut) - whole).abs().max()) < 1 / 255
    astray = in_tiles(restorer.restore, x, Plan(cut.step - cut.step % tiles.GRID + tiles.GRID, cut.overlap, cut.reach))
    if cut.step > tiles.GRID and (cut.step + tiles.GRID) % look.grid and network != "curves":
        assert float((astray - whole).abs().max()) > 2 / 255  # the check can fail


def test_what_is_said_of_the_size_of_tiles_is_so() -> None:
    asked = plan(Look(20, 400.0, 336), 900, 900, 100)
    assert asked.step == 336
    assert asked.note.startswith(f"tiles are {asked.tile} pixels a side, the least for this model")
    assert plan(Look(20, 400.0, 336), 900, 900, 500).note == plan(Look(20, 40000.0, 336), 900, 900).note == ""
    for reach in (0, 5, 23, 24, 25, 40, None):
        for tile in (tiles.SMALLEST, 97, 150, 250):
            cut = plan(Look(reach, 400.0), 900, 900, tile)
            assert cut.tile <= tile
            assert not cut.note or f"tiles of {cut.tile} pixels" in cut.note


def test_no_more_rows_are_kept_than_the_picture_has() -> None:
    x = torch.rand(1, 1, 20, 300)
    assert torch.equal(in_tiles(lambda part: part, x, Plan(10**10, 0, None)), x)  # such a band would fit nowhere
