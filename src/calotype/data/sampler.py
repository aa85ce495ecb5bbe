"""The endless order of the training images, a pure function of (seed, images seen), and the batches cut from it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calotype.data.images import Images, Labels, Pixels, some
from calotype.errors import UserError
from calotype.types import Batch, Condition, mix

_Rows = tuple[Pixels, Labels | None]
_FLIP = 1  # the third key of the generator that decides which images are mirrored


def _frozen(*keys: int) -> np.random.RandomState:
    """A generator keyed by integers whose stream is the same under every release of numpy, so that a resumed run keeps its order."""
    key = mix(*keys)
    return np.random.RandomState([key & 0xFFFFFFFF, key >> 32])


class Order:
    """Epoch after epoch of ``count`` images: each epoch is a permutation keyed by (seed, epoch)."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed
        self._orders: dict[int, NDArray[np.int64]] = {}
        self._flips: dict[int, NDArray[np.bool_]] = {}

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The permutation of one epoch, (count,) int64."""
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}  # a batch may straddle two epochs
            self._orders[epoch] = _frozen(self.seed, epoch).permutation(self.count)
        return self._orders[epoch]

    def flips(self, epoch: int) -> NDArray[np.bool_]:
        """Whether the image at each place of one epoch is mirrored, (count,) bool."""
        if epoch not in self._flips:
            self._flips = {e: f for e, f in self._flips.items() if e == epoch - 1}
            self._flips[epoch] = _frozen(self.seed, epoch, _FLIP).randint(0, 2, self.count).astype(bool)
        return self._flips[epoch]

    def cut(self, seen: int, batch: int, flip: bool = False) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """Which images are number ``seen`` to ``seen + batch - 1``, (batch,) int64, and which of them are mirrored."""
        epoch, start = divmod(seen, self.count)
        if start + batch <= self.count:
            return self.order(epoch)[start : start + batch], self.flips(epoch)[start : start + batch] if flip else None
        rows, mirrored = [], []
        while batch > 0:
            stop = min(self.count, start + batch)
            rows.append(self.order(epoch)[start:stop])
            if flip:
                mirrored.append(self.flips(epoch)[start:stop])
            epoch, start, batch = epoch + 1, 0, batch - (stop - start)
        return np.concatenate(rows), np.concatenate(mirrored) if flip else None


class Loader:
    """Batches of a set of images, each a pure function of (seed, images seen).

    Args:
        images: The images. Memory-mapped ones are read ahead, one batch at a time, by one thread.
        batch: Images in a batch over all ranks together.
        seed: What decides order and mirroring.
        flip: Whether half of the images, chosen anew in each epoch, are mirrored left and right.
        rank: The process that asks; it gets rows ``rank::world`` of each batch.
        world: The number of processes.
        device: Where batches go.

    Raises:
        UserError: If there are fewer images than ``batch``.
    """

    def __init__(
        self,
        images: Images,
        batch: int,
        seed: int,
        *,
        flip: bool = False,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch < 1 or not 0 <= rank < world <= batch:
            raise UserError(f"a batch of {batch:,} cannot be shared by {world} processes: give at least one image to each")
        if len(images) < batch:
            raise UserError(
                f"{images.name} has {some(len(images), 'image')} to train on, too few for a batch of {batch:,}: "
                "give a smaller --train.batch or more images"
            )
        self.images = images
        self.batch = batch
        self.flip = flip
        self.rank = rank
        self.world = world
        self.device = torch.device(device)
        self._order = Order(len(images), seed)
        self._shape = images.pixels.shape[1:]
        self._table = images.pixels.reshape(len(images), -1)  # rows are copied faster than blocks
        self._mapped = _is_mapped(images.pixels)
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[_Rows]] | None = None

    def batch_at(self, seen: int) -> Batch:
        """The images number ``seen`` to ``seen + batch - 1`` of the endless order.

        Images are float32 in [-1, 1], (n, C, H, W) over memory in the order (n, H, W, C), with ``n`` this rank's part
        of the batch; labels, where there are any, are int64.
        """
        pixels, labels = self._read_ahead(seen) if self._mapped else self._gather(seen)
        image = self._to_device(torch.from_numpy(pixels))
        # In this order 0 and 255 become exactly -1 and 1, and the 256 levels are symmetric around zero.
        image = image.to(torch.float32).sub_(127.5).mul_(1 / 127.5).permute(0, 3, 1, 2)
        return Batch(image, Condition() if labels is None else Condition(label=self._to_device(torch.from_numpy(labels))))

    def _gather(self, seen: int) -> _Rows:
        """Pixels (n, H, W, C) uint8 and labels (n,) int64 of this rank's rows of a batch, copied."""
        rows, mirrored = self._order.cut(seen, self.batch, self.flip)
        if self.world > 1:
            rows = rows[self.rank :: self.world]
            mirrored = None if mirrored is None else mirrored[self.rank :: self.world]
        pixels = np.take(self._table, rows, axis=0).reshape(len(rows), *self._shape)
        if mirrored is not None:
            pixels[mirrored] = pixels[mirrored, :, ::-1]
        return pixels, None if self.images.labels is None else self.images.labels[rows]

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


def _is_mapped(array: np.ndarray | None) -> bool:
    """Whether an array, or what it is a view of, lies in a memory-mapped file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False
