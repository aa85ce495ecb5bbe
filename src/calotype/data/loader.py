"""Batches of the endless order of the training images, each a pure function of (seed, images seen)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.data.images import Coordinates, ImageSource, Labels, Pixels, some
from calotype.data.sampler import Sampler
from calotype.degrade import Degradation
from calotype.errors import UserError
from calotype.types import Batch, Condition, ImageSpec, Noise, Source, mix

_Own = tuple[Pixels | Coordinates, Labels | None, Mapping[str, NDArray[np.float32]]]  # images, their labels and targets
_Rows = tuple[_Own, Pixels | Coordinates | None]  # the same, and the pixels of what they are made from
# streams of random numbers beside those of the sampler: what is degraded how, put beside what, and which labels come when
_DEGRADE, _PARTNER, _LABELLED = 3, 4, 5


@dataclass(frozen=True)
class Augmentation:
    """What becomes of an image between its source and a batch."""

    flip: bool = False  # half of the images, chosen anew in each epoch, are mirrored left and right
    rot90: bool = False  # mirrored and rotated by multiples of 90 degrees, all eight ways alike
    patch: int | None = None  # a random square of so many pixels a side is cut out
    degrade: Degradation | None = None  # makes ``Condition.source`` of the image, or of its partner
    paired: bool = True  # whether source and image show the same; else the sources come in an order of their own

    def spec(self, images: ImageSource) -> ImageSpec:
        """What a model needs to know of the batches."""
        base = images.spec
        spec = replace(base, size=min(self.patch or base.size, base.size))
        if self.degrade is None and images.partner is None and self.paired:
            return spec
        degradation = self.degrade
        channels = (images.partner or images).spec.channels
        return replace(
            spec,
            source=Source(
                channels if degradation is None else degradation.channels(channels),
                1 if degradation is None else degradation.scale,
                () if degradation is None else degradation.conditioning,
                "" if degradation is None else degradation.spec,
                self.paired,
            ),
        )


class Loader:
    """Batches of a set of images, each a pure function of (seed, images seen).

    Args:
        images: The images. Those that wait for a disk are read ahead, one batch at a time, by one thread.
        batch: Images in a batch over all ranks together.
        seed: What decides order, cutting, mirroring and degrading.
        augmentation: What becomes of the images.
        labelled: Where labels are hidden, the images whose labels are known, be they fewer than a batch: as many of them come with every
            batch, in an order of their own (``Batch.labelled``).
        rank: The process that asks; it gets rows ``rank::world`` of each batch.
        world: The number of processes.
        device: Where batches go.

    Raises:
        UserError: If there are fewer images than ``batch``, or images are smaller than the patch.
    """

    def __init__(
        self,
        images: ImageSource,
        batch: int,
        seed: int,
        augmentation: Augmentation | None = None,
        *,
        labelled: ImageSource | None = None,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch < 1 or not 0 <= rank < world <= batch:
            raise UserError(f"a batch of {batch:,} cannot be shared by {world} processes: give at least one image to each")
        if len(images) < batch:
            raise UserError(
                f"{images.name} has {some(len(images), 'image')} to train on, too few for a batch of {batch:,}: "
                "give a smaller `train.batch` or more images"
            )
        self.augmentation = augmentation or Augmentation()
        self.images = images
        self.spec = self.augmentation.spec(images)
        self.batch = batch
        self.seed = seed
        self.rank = rank
        self.world = world
        self.device = torch.device(device)
        partner, paired = images.partner, self.augmentation.paired
        alone = partner is None and not paired  # then no image may ever be on both sides
        self._own = _Stream(images, seed, self.augmentation, rank, world, half=0 if alone else None)
        self._sources = None
        if partner is not None or alone:
            own = seed if paired else mix(seed, _PARTNER)
            self._sources = _Stream(partner or images, own, self.augmentation, rank, world, half=1 if alone else None)
        self._labelled = None if labelled is None else _Stream(labelled, mix(seed, _LABELLED), self.augmentation, rank, world)
        self._waits = images.waits
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[_Rows]] | None = None

    def batch_at(self, seen: int) -> Batch:
        """The images number ``seen`` to ``seen + batch - 1`` of the endless order.

        Images are float32 in [-1, 1], (n, C, H, W) over memory in the order (n, H, W, C), with ``n`` this rank's part
        of the batch; labels, where there are any, are int64; ``Condition.source`` is there where ``augmentation`` or a partner makes it.
        Targets are float32, and those of the images, whatever becomes of their pixels.
        """
        (pixels, labels, targets), partner = self._read_ahead(seen) if self._waits else self._gather(seen)
        image = self._to_image(pixels)
        source = None if partner is None else self._to_image(partner)
        if self.augmentation.degrade is not None:
            noise = Noise(len(image), mix(self.seed, _DEGRADE, self.rank), seen, self.device)
            source = self.augmentation.degrade(image if source is None else source, noise).source
        condition = Condition(None if labels is None else self._to_device(torch.from_numpy(labels)), source)
        told = {name: self._to_device(torch.from_numpy(numbers)) for name, numbers in targets.items()}
        return Batch(image, condition, told, self._known_at(seen))

    def _known_at(self, seen: int) -> Batch | None:
        """The images with known labels that come with a batch, where labels are hidden."""
        if self._labelled is None:
            return None
        pixels, labels, _ = self._labelled.rows(seen, self.batch)
        assert labels is not None
        return Batch(self._to_image(pixels), Condition(self._to_device(torch.from_numpy(labels))))

    def once(self, most: int, batch: int) -> Iterator[Batch]:
        """At most so many images, each once, as they are: none is varied, cut or mirrored. All processes get the same ones."""
        chosen = np.sort(np.random.RandomState(0).permutation(len(self.images))[:most])
        for first in range(0, len(chosen), batch):
            rows = chosen[first : first + batch]
            labels = self.images.labels_at(rows)
            condition = Condition(None if labels is None else self._to_device(torch.from_numpy(labels)))
            yield Batch(self._to_image(self.images.pixels_at(rows)), condition)

    def _to_image(self, pixels: Pixels | Coordinates) -> Tensor:
        image = self._to_device(torch.from_numpy(pixels))
        if image.is_floating_point():
            return image.permute(0, 3, 1, 2)
        # In this order 0 and 255 become exactly -1 and 1, and the 256 levels are symmetric around zero.
        return image.to(torch.float32).sub_(127.5).mul_(1 / 127.5).permute(0, 3, 1, 2)

    def _gather(self, seen: int) -> _Rows:
        return self._own.rows(seen, self.batch), None if self._sources is None else self._sources.rows(seen, self.batch)[0]

    def _read_ahead(self, seen: int) -> _Rows:
        """The rows of a batch, from the guess where it was right; only the one thread touches the file and the order."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "calotype-data")
        ahead, self._ahead = self._ahead, None
        right = ahead is not None and ahead[0] == seen
        future = ahead[1] if ahead is not None and right else self._thread.submit(self._gather, seen)
        rows = future.result()
        self._ahead = (seen + self.batch, self._thread.submit(self._gather, seen + self.batch))
        return rows

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return tensor
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


class _Stream:
    """The endless order of one set of images, cut and rotated as ``augmentation`` says. Two of one seed and length stay in step.

    ``half`` takes every other image only, from the first (0) or the second (1) on.
    """

    def __init__(self, images: ImageSource, seed: int, augmentation: Augmentation, rank: int, world: int, half: int | None = None) -> None:
        self._images, self._augmentation, self._rank, self._world, self._half = images, augmentation, rank, world, half
        if half is not None and len(images) < 2:
            raise UserError(f"{images.name} holds one image, and images without partners are divided into two sides: give more images")
        self._sampler = Sampler(len(images) if half is None else len(images) // 2, seed)
        self._side = images.spec.size
        scale = 1 if augmentation.degrade is None else augmentation.degrade.scale
        if augmentation.patch is not None and augmentation.patch > self._side:
            raise UserError(
                f"the images of {images.name} are {self._side} pixels a side, too small for patches of {augmentation.patch}: "
                f"give `data.patch={self._side // scale * scale}` or less"
            )

    def rows(self, seen: int, batch: int) -> _Own:
        """Pixels (n, H, W, C), labels (n,) int64 and targets (n, K) float32 of this rank's rows of a batch, copied."""
        augmentation, mine = self._augmentation, slice(self._rank, None, self._world)
        rows, mirrored = self._sampler.cut(seen, batch, augmentation.flip)
        rows = rows[mine] if self._half is None else 2 * rows[mine] + self._half
        labels = self._images.labels_at(rows)
        if augmentation.patch is None and not augmentation.rot90:
            pixels: Pixels | Coordinates = self._images.pixels_at(rows)
        else:
            places = self._sampler.numbers(seen, batch)[mine]
            pixels = np.stack([self._cut(int(row), place) for row, place in zip(rows, places, strict=True)])
        if mirrored is not None:
            mirrored = mirrored[mine]
            pixels[mirrored] = pixels[mirrored, :, ::-1]
        return pixels, labels, self._images.targets_at(rows)

    def _cut(self, row: int, place: NDArray[np.float64]) -> Pixels:
        """A random square of one image, in a random one of its eight positions."""
        side = self._augmentation.patch or self._side
        top, left = (int(u * (self._side - side + 1)) for u in place[:2])
        pixels = self._images.square_at(row, top, left, side)
        if not self._augmentation.rot90:
            return pixels
        way = int(place[2] * 8)
        return np.rot90(pixels[:, ::-1] if way & 4 else pixels, way & 3)
