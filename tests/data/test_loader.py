from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calotype.data import Augmentation, Loader, prepare
from calotype.data.images import Images, make_images
from calotype.data.loader import Sampler
from calotype.data.prepared import read_prepared
from calotype.errors import UserError

SMALL = st.integers(1, 40)
SEEDS = st.integers(0, 2**40)


def numbered(count: int, labels: bool = True) -> Images:
    """Images of which each holds its own number, asymmetric left to right."""
    pixels = np.zeros((count, 8, 8, 1), np.uint8)
    pixels[:, 0, :, 0] = np.arange(count)[:, None]
    pixels[:, 1, :4, 0] = 255
    return make_images(pixels, np.arange(count) % 3 if labels else None, "abc", "numbered")


@settings(deadline=None, max_examples=50)
@given(SMALL, SEEDS, st.integers(0, 10**6))
def test_every_epoch_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    rows, _ = Sampler(count, seed).cut(epoch * count, count)
    assert sorted(rows) == list(range(count))


@settings(deadline=None, max_examples=50)
@given(SMALL, SEEDS, st.integers(0, 200), st.integers(1, 100), st.booleans())
def test_order_is_a_pure_function_of_place(count: int, seed: int, seen: int, batch: int, flip: bool) -> None:
    whole, mirrored = Sampler(count, seed).cut(0, seen + batch, flip)
    rows, part = Sampler(count, seed).cut(seen, batch, flip)
    assert rows.tolist() == whole[seen:].tolist()
    assert (part is None) == (not flip)
    if mirrored is not None and part is not None:
        assert part.tolist() == mirrored[seen:].tolist()


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(Sampler(50, seed).permutation(epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


@settings(deadline=None, max_examples=30)
@given(st.integers(4, 20), st.integers(1, 4), SEEDS, st.integers(0, 100))
def test_ranks_partition_the_batch(batch: int, world: int, seed: int, seen: int) -> None:
    images = numbered(20)
    whole = Loader(images, batch, seed, Augmentation(flip=True)).batch_at(seen)
    for rank in range(world):
        part = Loader(images, batch, seed, Augmentation(flip=True), rank=rank, world=world).batch_at(seen)
        assert torch.equal(part.image, whole.image[rank::world])
        assert part.condition.label is not None
        assert whole.condition.label is not None
        assert torch.equal(part.condition.label, whole.condition.label[rank::world])


def test_values_layout_and_labels() -> None:
    images = numbered(20)
    batch = Loader(images, 6, 0).batch_at(3)
    assert batch.image.dtype == torch.float32
    assert batch.image.shape == (6, 1, 8, 8)
    assert batch.image.permute(0, 2, 3, 1).is_contiguous()
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert batch.image.max() == 1.0
    assert batch.image.min() == -1.0
    numbers = ((batch.image[:, 0, 0, 0] + 1) * 127.5).round().long()
    assert batch.condition.label is not None
    assert batch.condition.label.dtype == torch.int64
    assert torch.equal(batch.condition.label, numbers % 3)
    assert Loader(numbered(20, labels=False), 6, 0).batch_at(0).condition.label is None


def test_every_level_is_exact_and_symmetric() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    image = Loader(make_images(levels, None, (), "levels"), 4, 0).batch_at(0).image
    values = image.flatten().sort().values
    assert torch.equal(values, -values.flip(0))
    assert torch.allclose(values.double(), torch.arange(256, dtype=torch.float64) / 127.5 - 1, atol=1e-7, rtol=0)


def test_a_batch_is_the_callers_own() -> None:
    loader = Loader(numbered(20), 5, 0)
    first = loader.batch_at(0)
    first.image.zero_()
    assert first.condition.label is not None
    first.condition.label.zero_()
    assert loader.batch_at(0).image.abs().sum() > 0
    assert loader.images.labels is not None
    assert loader.images.labels.sum() > 0


def test_half_of_the_images_are_mirrored_anew_each_epoch() -> None:
    loader = Loader(numbered(200), 200, 7, Augmentation(flip=True))
    mirrored = [(loader.batch_at(200 * epoch).image[:, 0, 1, 0] < 0) for epoch in range(2)]
    assert 70 < mirrored[0].sum() < 130
    assert 60 < (mirrored[0] ^ mirrored[1]).sum() < 140
    plain = Loader(numbered(200), 200, 7).batch_at(0).image
    flipped = loader.batch_at(0).image
    assert torch.equal(torch.where(mirrored[0][:, None, None, None], plain.flip(3), plain), flipped)


def test_memory_mapped_equals_in_memory(tmp_path: Path) -> None:
    prepare("mnist5k", tmp_path / "digits", size=8)
    held = read_prepared(tmp_path / "digits.calotype").images()
    mapped = read_prepared(tmp_path / "digits.calotype", in_memory=0).images()
    assert not isinstance(held.pixels, np.memmap)
    assert isinstance(mapped.pixels, np.memmap)
    assert mapped.fingerprint == held.fingerprint
    one, other = (Loader(images, 30, 3, Augmentation(flip=True), rank=1, world=2) for images in (held, mapped))
    assert other._waits
    assert not one._waits
    for seen in (0, 30, 60, 4990, 5020, 30, 30, 0, 123_456):  # guesses right and wrong, and across epochs
        a, b = one.batch_at(seen), other.batch_at(seen)
        assert torch.equal(a.image, b.image)
        assert a.condition.label is not None
        assert b.condition.label is not None
        assert torch.equal(a.condition.label, b.condition.label)


def test_too_few_images_or_ranks() -> None:
    with pytest.raises(UserError, match="20 images to train on, too few for a batch of 21"):
        Loader(numbered(20), 21, 0)
    with pytest.raises(UserError, match="cannot be shared"):
        Loader(numbered(20), 2, 0, world=3)
