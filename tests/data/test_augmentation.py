"""Patches, rotations, degradations and sources: what becomes of an image on its way into a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from calotype import degrade
from calotype.data import Augmentation, Images, Loader, load
from calotype.data.images import make_images
from calotype.errors import UserError
from calotype.types import Source


def pictures(count: int, size: int = 20, channels: int = 1, offset: int = 0) -> Images:
    """Images that tell their number in every pixel's lower half and their place in the rest."""
    pixels = np.random.RandomState(offset).randint(0, 256, (count, size, size, channels)).astype(np.uint8)
    pixels[:, 0, 0, 0] = offset + np.arange(count)
    return make_images(pixels, None, (), "numbered", digest=np.zeros((count, 32), np.uint8))


def back(image: torch.Tensor) -> np.ndarray:
    return ((image + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_a_patch_is_cut_from_its_image_and_all_places_occur() -> None:
    images = pictures(4, size=10)
    loader = Loader(images, 4, 0, Augmentation(patch=8))
    assert loader.spec.size == 8
    order = Loader(images, 4, 0)
    places = set()
    for seen in range(0, 400, 4):
        patches, whole = back(loader.batch_at(seen).image), back(order.batch_at(seen).image)
        for patch, image in zip(patches, whole, strict=True):
            found = [(t, x) for t in range(3) for x in range(3) if (image[t : t + 8, x : x + 8] == patch).all()]
            assert len(found) == 1
            places.add(found[0])
    assert len(places) == 9


def test_turns_show_all_eight_positions_and_only_those() -> None:
    images = pictures(1, size=8)
    ways = {np.ascontiguousarray(np.rot90(m, k)).tobytes() for m in (images.pixels[0], images.pixels[0][:, ::-1]) for k in range(4)}
    loader = Loader(images, 1, 0, Augmentation(rot90=True))
    seen = {back(loader.batch_at(i).image)[0].tobytes() for i in range(200)}
    assert len(ways) == 8
    assert seen == ways


def test_a_degraded_source_goes_with_its_image_and_repeats() -> None:
    loader = Loader(pictures(6, size=12), 4, 3, Augmentation(degrade=degrade.parse("downsample:3")))
    assert loader.spec.source == Source(1, 3, (), "downsample:3")
    batch, again = loader.batch_at(8), loader.batch_at(8)
    assert batch.condition.source is not None
    assert batch.condition.source.shape == (4, 1, 4, 4)
    assert torch.equal(batch.condition.source, again.condition.source)  # type: ignore[arg-type]
    noisy = Loader(pictures(6, size=12), 4, 3, Augmentation(degrade=degrade.parse("noise:25")))
    first, other = noisy.batch_at(0), noisy.batch_at(6)  # the same images an epoch apart get other noise
    assert first.condition.source is not None
    assert other.condition.source is not None
    assert 0.1 < float((first.condition.source - first.image).std()) < 0.3
    assert not torch.equal(first.condition.source, other.condition.source)


def test_the_map_of_the_noise_level_tells_half_of_the_levels() -> None:
    loader = Loader(pictures(64, size=8), 64, 0, Augmentation(degrade=degrade.parse("noise:0-50")))
    assert loader.spec.source == Source(1, 1, ("sigma",), "noise:0-50")
    batch = loader.batch_at(0)
    assert batch.condition.source is not None
    picture, told = batch.condition.source[:, :1], batch.condition.source[:, 1, 0, 0]
    sigma = (picture - batch.image).std((1, 2, 3)) * 127.5
    blind = told == -1
    assert 16 < int(blind.sum()) < 48
    assert torch.allclose(told[~blind] * 50, sigma[~blind], rtol=0.35, atol=1)


def test_unpaired_sources_of_one_set_are_never_its_targets() -> None:
    loader = Loader(pictures(20), 4, 0, Augmentation(degrade=degrade.parse("noise:0"), paired=False))
    targets, sources = set(), set()
    for seen in range(0, 80, 4):
        batch = loader.batch_at(seen)
        assert batch.condition.source is not None
        targets |= {int(x) for x in back(batch.image)[:, 0, 0, 0]}
        sources |= {int(x) for x in back(batch.condition.source)[:, 0, 0, 0]}
    assert targets == set(range(0, 20, 2))
    assert sources == set(range(1, 20, 2))
    assert loader.spec.source is not None
    assert (loader.spec.source.degradation, loader.spec.source.paired) == ("noise:0", False)


@pytest.mark.parametrize("paired", [True, False])
def test_a_partner_is_in_step_or_in_an_order_of_its_own(paired: bool) -> None:
    images = replace(pictures(30), partner=pictures(30, offset=100))
    loader = Loader(images, 10, 0, Augmentation(paired=paired))
    batch = loader.batch_at(0)
    assert batch.condition.source is not None
    pairs = zip(back(batch.image)[:, 0, 0, 0], back(batch.condition.source)[:, 0, 0, 0], strict=True)
    assert all(int(b) == int(a) + 100 for a, b in pairs) is paired
    assert loader.spec.source == Source(1, paired=paired)


def test_paired_patches_are_cut_at_the_same_place() -> None:
    pixels = pictures(8, size=16)
    loader = Loader(replace(pixels, partner=pixels), 8, 0, Augmentation(patch=8, rot90=True))
    batch = loader.batch_at(0)
    assert torch.equal(batch.image, batch.condition.source)  # type: ignore[arg-type]


def test_a_patch_larger_than_the_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"too small for patches of 48: give `data.patch=20`"):
        Loader(pictures(4), 4, 0, Augmentation(patch=48))


def test_photographs_are_cut_into_tiles_and_held_out_whole(tmp_path) -> None:  # type: ignore[no-untyped-def]
    split = load("photos", fit="tile", cache=tmp_path)
    assert split.train.spec.size == 180
    assert split.train.spec.channels == 3
    assert len(split.train) == 63
    assert len(split.holdout) == 18  # 451x300 and 600x400 pixels: 3 x 2 and 4 x 3 tiles


def test_tiles_cover_an_image_and_none_straddles_the_holdout(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.RandomState(0)
    for index in range(5):
        image = rng.randint(0, 256, (40, 70, 3)).astype(np.uint8)
        image[..., 0] = index  # tells the file
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    Image.fromarray(np.zeros((20, 90, 3), np.uint8)).save(tmp_path / "low.png")
    split = load(str(tmp_path), size=32, fit="tile", holdout=0.2, cache=tmp_path / "cache")
    assert [s.name for s in split.train.skipped] == ["low.png"]
    assert "smaller than a tile of 32" in split.train.skipped[0].reason
    held, kept = ({int(x) for x in part.pixels[:, 0, 0, 0]} for part in (split.holdout, split.train))
    assert held
    assert not held & kept
    assert len(split.train) + len(split.holdout) == 5 * 6
    assert len(split.holdout) == 6


def test_every_process_has_its_own_noise() -> None:
    images = make_images(np.full((4, 16, 16, 1), 128, np.uint8), None, (), "gray", digest=np.zeros((4, 32), np.uint8))
    parts = [Loader(images, 4, 0, Augmentation(degrade=degrade.parse("noise:25")), rank=rank, world=2).batch_at(0) for rank in (0, 1)]
    first, second = (part.condition.source[:, 0].flatten() for part in parts)  # type: ignore[index]
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.2


def test_one_image_has_no_two_sides() -> None:
    with pytest.raises(UserError, match="holds one image"):
        Loader(pictures(1), 1, 0, Augmentation(degrade=degrade.parse("invert"), paired=False))


def test_a_patch_that_is_advised_fits_the_scale() -> None:
    with pytest.raises(UserError, match=r"`data\.patch=16` or less"):
        Loader(pictures(2), 1, 0, Augmentation(patch=24, degrade=degrade.parse("downsample:8")))


def test_one_tiny_picture_does_not_decide_the_tiles(tmp_path: Path) -> None:
    for index, (width, height) in enumerate([(33, 17), *[(200, 90 + n) for n in range(6)]]):
        Image.fromarray(np.zeros((height, width, 3), np.uint8) + index).save(tmp_path / f"{index}.png")
    found = load(str(tmp_path), fit="tile", holdout=0)
    assert found.train.spec.size == 90
    assert [skipped.name for skipped in found.train.skipped] == ["0.png"]
