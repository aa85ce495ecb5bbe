"""Several processes, one model: what the loop needs of PyTorch's own engine, started by ``torchrun`` or Slurm's ``srun``.

What processes could decide differently (by their clocks, disks, memory, signals) the first one decides for all (`World.first`); what
any of them may find (a number that is not finite, a signal) all of them learn (`World.most`). Where one fails, all end: the first that
fails prints its line, the others end with its exit code.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from calotype.engine.peers import Peers
from calotype.errors import TrainingError, UserError
from calotype.parallel import together

T = TypeVar("T")

ASK = 1.0  # seconds between two polls
LONGEST = 100.0  # steps between them

PATIENCE = timedelta(minutes=10)  # that processes wait for each other within a step; where one works alone there is no limit


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int = 0
    size: int = 1
    local: int = 0  # the rank on this machine: which GPU to take
    here: int = 1  # processes of this training on this machine, which share its memory
    peers: Peers | None = field(default=None, repr=False)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their mean over all processes, in one flat all-reduce."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with together():
            dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def most(self, *values: float) -> list[float]:
        """The largest of the processes' values, each by itself. What the first alone decides is 0 or less elsewhere."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        with together():
            dist.all_reduce(shared, dist.ReduceOp.MAX)
        return shared.tolist()

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return self.most(flag) == [1.0]

    def first(self, work: Callable[[], T]) -> T:
        """What ``work`` returns to the first process, which alone does it while the others wait; plain JSON."""
        return work() if self.peers is None else self.peers.first(work)

    def all(self, value: T) -> list[T]:
        """The ``value`` of each process, plain JSON, in the order of the ranks; nobody goes on before the last has come."""
        return [value] if self.peers is None else self.peers.all(value)

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The first process's tensors by name, on the processor of all of them."""
        if self.size == 1:
            return dict(tensors)
        packed = pack_tensors({name: t.detach().cpu().contiguous() for name, t in tensors.items()}) if self.is_main else b""
        size = self.first(lambda: len(packed))
        data = torch.frombuffer(bytearray(packed or size), dtype=torch.uint8)
        with together():
            dist.broadcast(data, 0)
        return parse_tensors(data.numpy().tobytes())


class Poll:
    """What any process may say at any time (a signal to stop), heard by all of them after the same step: asked about once a second."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._left, self._steps, self._since = 1, 1, time.perf_counter()

    def __call__(self, flag: bool) -> bool:
        """Whether any process said so, as far as was asked; to be called after every step."""
        if self.world.size == 1:
            return flag
        self._left -= 1
        if self._left:
            return False
        now = time.perf_counter()
        each = (now - self._since) / self._steps
        said, steps = self.world.most(flag, min(max(1.0, ASK // each), LONGEST) if self.world.is_main else 0.0)
        self._left, self._steps, self._since = int(steps), int(steps), now
        return said > 0


@contextmanager
def joined(world: World | None = None, farewell: Callable[[], None] = lambda: None) -> Iterator[World]:
    """This process among those that ``torchrun`` (or ``srun`` with the same variables) started; alone where there are none.

    Nobody leaves before all are done, or one has failed.

    Args:
        world: where it was joined already: then nothing is done.
        farewell: called before a process that waits in vain is ended, since nothing else is then.

    Raises:
        UserError: where the variables do not say which process this is.
        ElsewhereError: where another process failed first.
        LostError: where another one is gone.
    """
    if world is not None:
        yield world
        return
    ours = dist.is_available() and not dist.is_initialized()
    world = _join(farewell)
    if world.peers is None:
        yield world
        return
    failed = False
    try:
        yield world
        world.peers.all(None)
    except BaseException as error:
        failed = True
        if (other := world.peers.settle(error)) is not error:
            raise other from None
        raise
    finally:
        # closing its connections frees those that wait for this process; where a GPU has work left that would wait itself
        if ours and not (failed and torch.cuda.is_initialized()):  # type: ignore[no-untyped-call]
            dist.destroy_process_group()
        world.peers.leave()


def _join(farewell: Callable[[], None]) -> World:
    try:
        if (size := int(os.environ.get("WORLD_SIZE", "1"))) == 1:
            return World()
        if not dist.is_available():
            raise UserError("this build of PyTorch trains in one process only: start it without torchrun")
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        local, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        # two connections, because one that waits keeps all others waiting
        (store, rank, size), (own, _, _) = (next(rendezvous("env://", timeout=PATIENCE)) for _ in range(2))
    except ValueError as error:
        raise UserError(f"the variables of torchrun are not those of several processes ({error}): start them by torchrun") from None
    except RuntimeError:
        raise TrainingError("the process that torchrun calls number 0 cannot be reached: check MASTER_ADDR and MASTER_PORT") from None
    # a script that trains twice must not find in the store what was said the first time
    number = (int(store.add("joined", 1)) - 1) // size
    store, own = (PrefixStore(f"calotype/{number}", whole) for whole in (store, own))
    holds = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    peers = Peers(store, own, rank, size, holds, farewell)
    if not dist.is_initialized():
        try:
            dist.init_process_group(store=PrefixStore("group", store), rank=rank, world_size=size, timeout=PATIENCE)
        except RuntimeError:
            raise TrainingError(f"of {size} processes not all came together within {PATIENCE.seconds // 60} minutes") from None
    peers.begin()
    return World(rank, size, local, here, peers)
