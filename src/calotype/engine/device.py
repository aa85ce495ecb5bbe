"""Where and how the arithmetic runs: device, threads, precision, memory, compiler."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from torch import nn

from calotype.config import Training
from calotype.data.images import some
from calotype.errors import CalotypeError, UserError
from calotype.types import Batch, Model, Step


def pick_device(name: str) -> torch.device:
    """The device that ``name`` (auto, cpu, cuda, cuda:1, mps) means on this machine."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:N or mps")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device.type]
    if not present or (device.index or 0) >= max(torch.cuda.device_count(), 1):
        raise UserError(f"no device {name!r} on this machine: choose auto or cpu")
    return device


def machine_of(device: torch.device) -> str:
    """What computes, as far as it decides how sums are rounded."""
    return f"{device.type}, torch {torch.__version__}" + f", {some(torch.get_num_threads(), 'thread')}" * (device.type == "cpu")


def take_device(name: str, local: int = 0, processes: int = 1) -> torch.device:
    """The device for this process to train on: where there are several, each takes the GPU of its number ``local`` on this machine."""
    if processes > 1 and name == "auto" and not torch.cuda.is_available():
        name = "cpu"  # an Apple GPU is not shared
    device = pick_device(name)
    if device.type == "cpu":
        keep_big_blocks()
    elif processes > 1:
        if device.type == "mps":
            raise UserError("several processes cannot train on one Apple GPU: start one, or give `train.device=cpu`")
        if local >= (there := torch.cuda.device_count()):
            raise UserError(f"there is no GPU for process {local} of this machine: start {there} with torchrun --nproc-per-node {there}")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    return device


def pick_bf16(training: Training, model: Model, device: torch.device) -> bool:
    """Whether to train under bfloat16 autocast: where the network gains and the hardware multiplies bfloat16 natively."""
    if training.precision != "auto":
        return training.precision == "bf16"
    if not model.bf16_pays:
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def reseed(device: torch.device, seed: int) -> None:
    """Seed the generators that layers draw from by themselves (dropout).

    ``torch.manual_seed`` would do, but where CUDA is not in use it queues a call with a stack trace each time, for ever.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def keep_big_blocks() -> None:
    """Let glibc reuse large blocks instead of returning them to the system after every layer; elsewhere, nothing.

    Page faults of fresh blocks cost 5 to 20% of a convolutional step on the processor (see docs/speed.md).
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def memory(device: torch.device | str = "cpu") -> float:
    """Bytes of memory that this process may use on a device; infinite where nobody tells."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    found = [math.inf]
    with suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        with suppress(ValueError, OSError):
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found)


def require_memory(size: float, what: str, advice: str, device: torch.device | str = "cpu") -> None:
    """Raise `UserError` where ``size`` bytes are more than there are on a device, used or not."""
    if size > (there := memory(device)):
        raise UserError(f"{what} would take {size / 1e9:,.1f} GB of memory, and there are {there / 1e9:,.1f} GB: {advice}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ended, in any of the ways in which Python and PyTorch say it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and re.search("allocate memory|out of memory", str(error)) is not None


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turn what PyTorch says where memory ends into a `CalotypeError` of one line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            raise CalotypeError(f"not enough memory: {advice}") from None
        raise


def pick_compile(training: Training, model: Model, steps: int, device: torch.device) -> bool:
    """Whether to compile: where that was asked for, or for ``auto`` on CUDA in runs long enough to earn the compilation back.

    On processors it was measured to gain nothing.
    """
    worth = device.type == "cuda" and steps >= 5_000 and importlib.util.find_spec("triton") is not None
    return not model.double_backward and (training.compile == "on" or (training.compile == "auto" and worth))


def compile_networks(model: Model, batch: Batch) -> list[str]:
    """Compile the networks that the players call; returns their names. What cannot be compiled runs as it is."""
    torch._dynamo.config.suppress_errors = True
    names = called(model, batch)
    for name in names:
        model.get_submodule(name).compile(dynamic=False)
    return names


@torch.no_grad()
def called(model: Model, batch: Batch) -> list[str]:
    """The networks that the players' losses call, by name: modules of several layers that are no part of another one.

    The losses of a copy of the model tell. A mere sequence does not count: the compiler takes its parts one by one.
    """
    copy, depth = deepcopy(model), 0
    found: dict[str, None] = {}

    def enter(name: str, *_: object) -> None:
        nonlocal depth
        if not depth:
            found[name] = None
        depth += 1

    def leave(*_: object) -> None:
        nonlocal depth
        depth -= 1

    for name, module in copy.named_modules():
        if any(module.children()) and not isinstance(module, nn.Sequential):
            module.register_forward_pre_hook(partial(enter, name))
            module.register_forward_hook(leave)
    step = Step(0, torch.Generator(batch.image.device).manual_seed(0))
    for player in copy.players():
        player.loss(batch, step)
    return [name for name in found if not any(f"{name}.".startswith(f"{outer}." if outer else "") for outer in found if outer != name)]


def layout_of(training: Training) -> torch.memory_format:
    """The order of the weights' dimensions in memory."""
    return torch.channels_last if training.channels_last else torch.contiguous_format


def statistics(module: nn.Module) -> list[torch.Tensor]:
    """The running statistics of batch normalization: the state that follows from each process's own part of a batch.

    They are means over batches, so that their mean over the processes is what one process would have that saw all the parts.
    """
    return [buffer for name, buffer in module.named_buffers() if is_statistic(name)]


def is_statistic(name: str) -> bool:
    """Whether a buffer of this name is one of `statistics`."""
    return name.endswith(("running_mean", "running_var"))


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes."""
    return [p for p in module.parameters() if p.requires_grad]
