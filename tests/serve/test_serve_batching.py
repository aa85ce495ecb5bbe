"""The same bits for the same seed, number, class and options, whatever an image is drawn with."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from calotype.errors import UserError
from calotype.models import MODELS, build
from calotype.recipes import RECIPES, named
from calotype.serve import batching
from calotype.serve.batching import Batcher, Row, RowNoise, draw_each, draw_rows, marker_of, width_of
from calotype.serve.lanes import Lane, in_time
from calotype.serve.refusal import FullError, Refusal
from calotype.tasks.sample import Generator, load
from calotype.tasks.trace import trace
from calotype.types import Noise, SamplingOptions
from tests.serve.served import shaken
from tests.small import from_source, small, spec_of

DRAWING = {type(named(name).model): name for name in reversed(RECIPES) if MODELS[type(named(name).model)].draws and not from_source(name)}
"""A recipe of each family that draws images from noise."""


def generator_of(name: str) -> Generator:
    return Generator(shaken(build(small(name).model, spec_of(name))), name, torch.device("cpu"), "0" * 64)


@pytest.mark.parametrize("name", DRAWING.values())
def test_no_image_depends_on_those_beside_it(name: str) -> None:
    generator = generator_of(name)
    options, width = generator.check({"steps": 2} if "steps" in generator.model.sampling.names() else {}), width_of(generator)
    rows = [Row(7 * place, place, place % 3 if generator.model.conditional else None) for place in range(width)]
    together = draw_rows(generator, rows, options)
    assert len({image.tobytes() for image in together}) > 1
    for place in (0, 1, width // 2, width - 1):
        assert np.array_equal(draw_rows(generator, [rows[place]], options)[0], together[place])
    assert np.array_equal(draw_rows(generator, rows[::-1], options), together[::-1])
    assert np.array_equal(draw_rows(generator, rows[: width - 3], options), together[: width - 3])


def test_rows_have_the_noise_of_their_seed_and_number() -> None:
    rows = [Row(3, 5), Row(0, 2**40), Row(3, 6)]
    expected = torch.cat([Noise(1, row.seed, row.index).normal(4) for row in rows])
    assert torch.equal(RowNoise(rows, torch.device("cpu")).normal(4), expected)


@pytest.mark.parametrize("recipe", ["hinge", "vae", "pixelcnn"])
def test_an_image_is_found_again_by_its_marker(folders: dict[str, Path], tmp_path: Path, recipe: str) -> None:
    from calotype.serve.images import png

    generator = load(folders[recipe], "cpu")
    rows = [Row(1, 8, 2), Row(4, 0, 3), Row(1, 9, None)]
    drawn = [*draw_rows(generator, rows[:2], generator.check({})), draw_rows(generator, rows[2:], generator.check({}))[0]]
    for number, (image, row) in enumerate(zip(drawn, rows, strict=True)):
        place = tmp_path / f"{number}.png"
        place.write_bytes(png(image, marker_of(generator, row, {})))
        found = trace(place, generator)[0]
        assert found.remade == "the same", found
    other = tmp_path / "other.png"
    other.write_bytes(png(drawn[0], marker_of(generator, Row(2, 8, 2), {})))
    assert trace(other, generator)[0].remade != "the same"


def test_requests_share_batches_and_get_their_own_images() -> None:
    generator = generator_of("hinge")
    width, options = width_of(generator), generator.check({})

    async def all_at_once() -> tuple[list[list[np.ndarray]], Batcher]:
        lane = Lane("test", 100, 30)
        batcher = Batcher(lane)
        asked = [[Row(seed, place, seed % 10) for place in range(1 + seed % 3)] for seed in range(20)]
        found = await asyncio.gather(*(batcher.draw(generator, rows, {}) for rows in asked))
        lane.close()
        return list(found), batcher

    found, batcher = asyncio.run(all_at_once())
    rows = [Row(seed, place, seed % 10) for seed in range(20) for place in range(1 + seed % 3)]
    alone = [draw_rows(generator, [row], options)[0] for row in rows]
    assert all(np.array_equal(a, b) for a, b in zip([image for part in found for image in part], alone, strict=True))
    assert batcher.drawn == len(rows)
    assert batcher.batches <= -(-len(rows) // width) + 1, "and not one each"
    assert batcher.waiting == 0


def test_images_of_other_options_or_without_a_class_are_drawn_apart() -> None:
    generator = generator_of("flow-matching")

    async def both() -> list[list[np.ndarray]]:
        lane = Lane("test", 100, 30)
        batcher = Batcher(lane)
        few, more = {"steps": 1}, {"steps": 3}
        found = await asyncio.gather(
            batcher.draw(generator, [Row(1, 0, 2)], few),
            batcher.draw(generator, [Row(1, 0, 2)], more),
            batcher.draw(generator, [Row(1, 0)], few),
            batcher.draw(generator, [Row(1, 0, 2)], few),
        )
        lane.close()
        return list(found)

    few, more, without, again = asyncio.run(both())
    assert np.array_equal(few[0], again[0])
    assert not np.array_equal(few[0], more[0])
    assert not np.array_equal(few[0], without[0])


def test_a_full_queue_says_when_to_come_again_and_forgets_who_has_gone() -> None:
    generator = generator_of("hinge")

    async def too_many() -> None:
        lane = Lane("test", 2, 30)
        batcher = Batcher(lane, most=4)
        with pytest.raises(FullError) as full:
            await batcher.draw(generator, [Row(0, place, 0) for place in range(5)], {})
        assert int(full.value.headers["Retry-After"]) >= 1
        with pytest.raises(UserError, match="no sampling option"):
            await batcher.draw(generator, [Row(0, 0, 0)], {"steps": 3})
        waiting = asyncio.create_task(batcher.draw(generator, [Row(0, 0, 0)], {}))
        await asyncio.sleep(0)
        waiting.cancel()
        assert len(await batcher.draw(generator, [Row(0, 1, 0)], {})) == 1
        assert batcher.waiting == 0
        slow = [asyncio.create_task(lane.do(time.sleep, 0.05)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(FullError):
            await lane.do(time.sleep, 0)
        await asyncio.gather(*slow)
        lane.close()

    asyncio.run(too_many())


def test_work_ends_when_its_time_is_over() -> None:
    def endless() -> None:
        while True:
            in_time()

    async def late() -> None:
        lane = Lane("test", 2, 0.05)
        with pytest.raises(Refusal) as refusal:
            await lane.do(endless)
        assert refusal.value.status == 503
        assert await lane.do(lambda: 7) == 7, "and the lane goes on"
        lane.close()

    asyncio.run(late())
    in_time()  # without a limit nobody is late


class _Slow:
    """Draws no faster than that, and looks at the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.batches, self.ended, self.seconds = 0, 0, seconds
        monkeypatch.setattr(batching, "draw_each", self)

    def __call__(self, generator: Generator, rows: list[Row], options: SamplingOptions) -> list[object]:
        self.batches += 1
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            in_time()
            time.sleep(0.002)
        self.ended += 1
        return list(draw_each(generator, rows, options))


def test_all_batches_of_a_request_have_its_time_together(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, slow = generator_of("hinge"), _Slow(monkeypatch, 0.3)

    async def late() -> None:
        lane = Lane("test", 3, 0.5)
        batcher = Batcher(lane)
        began = time.monotonic()
        with pytest.raises(Refusal, match="took longer") as refusal:
            await batcher.draw(generator, [Row(0, place, 0) for place in range(8 * width_of(generator))], {})
        assert refusal.value.status == 503
        assert time.monotonic() - began < 2
        lane.close()
        assert batcher.waiting == batcher.requests == 0

    asyncio.run(late())
    assert slow.ended <= 2


def test_as_many_requests_draw_as_the_lane_lets_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = generator_of("hinge")
    _Slow(monkeypatch, 0.05)

    async def many() -> None:
        lane = Lane("test", 3, 30)
        batcher = Batcher(lane)
        found = await asyncio.gather(*(batcher.draw(generator, [Row(0, place, 0)], {}) for place in range(5)), return_exceptions=True)
        assert [isinstance(one, FullError) for one in found] == [False, False, False, True, True]
        lane.close()

    asyncio.run(many())


def test_a_batch_that_nobody_waits_for_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, slow = generator_of("hinge"), _Slow(monkeypatch, 20)

    async def gone() -> None:
        lane = Lane("test", 3, 30)
        batcher = Batcher(lane)
        waiting = asyncio.create_task(batcher.draw(generator, [Row(0, 0, 0)], {}))
        while not slow.batches:
            await asyncio.sleep(0.01)
        waiting.cancel()
        slow.seconds = 0.0
        assert len(await batcher.draw(generator, [Row(0, 1, 0)], {})) == 1
        lane.close()

    began = time.monotonic()
    asyncio.run(gone())
    assert time.monotonic() - began < 10
    assert slow.ended == 1


def test_an_image_that_is_not_finite_is_told_to_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = generator_of("hinge")
    rows = [Row(0, place, 0) for place in range(3)]
    alone = draw_rows(generator, rows, generator.check({}))
    draw = generator.model.sample

    def broken(*asked: object) -> torch.Tensor:
        images = draw(*asked)  # type: ignore[arg-type]
        images[1] = torch.nan
        return images

    monkeypatch.setattr(generator.model, "sample", broken)

    async def three() -> list[object]:
        lane = Lane("test", 9, 30)
        batcher = Batcher(lane)
        found = await asyncio.gather(*(batcher.draw(generator, [row], {}) for row in rows), return_exceptions=True)
        lane.close()
        assert batcher.batches == 1
        return list(found)

    first, second, third = asyncio.run(three())
    assert isinstance(second, UserError)
    assert "finite" in str(second)
    assert np.array_equal(first[0], alone[0])  # type: ignore[index]
    assert np.array_equal(third[0], alone[2])  # type: ignore[index]
