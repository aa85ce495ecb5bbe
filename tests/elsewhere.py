"""A device that is not there: it has what Apple's GPUs have, and the processor does its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

THERE = torch.device("meta")  # a kind of device for which PyTorch lets tensors be made of anything

TYPES = {torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64}
"""The numbers that Apple's GPUs know; torch.float64 and torch.complex128 are not among them (PyTorch's notes on the MPS backend)."""

LACKING = {
    *("special_ndtri", "special_log_ndtr", "special_airy_ai", "linalg_eig", "_linalg_eigvals", "_linalg_eigh", "linalg_lstsq"),
    *("linalg_ldl_factor_ex", "linalg_ldl_solve", "linalg_matrix_exp", "geqrf", "ormqr", "frexp", "heaviside", "logspace", "mode"),
    *("put", "take", "segment_reduce", "rrelu_with_noise", "multi_margin_loss", "_ctc_loss", "_pdist_forward"),
    *("fractional_max_pool2d", "fractional_max_pool3d", "adaptive_max_pool3d", "_adaptive_avg_pool3d"),
    *("linalg_qr", "_linalg_svd"),
}
"""Operators without a kernel for them: those that PyTorch 2.13 expects to fail in its own tests (torch/testing/_internal/common_mps.py),
and in the last line two that came after 2.9, the oldest release that Calotype takes. No such device was asked."""

INTO_SHAPE = ("aten::unsqueeze_", "aten::squeeze_", "aten::t_", "aten::transpose_")


class Elsewhere(Tensor):
    """A tensor on the device; ``inner`` holds its numbers."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        place = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype, "device": THERE}
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(cls, inner.shape, **place)  # type: ignore[attr-defined]
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("outside of the device")

    def tolist(self) -> Any:
        return self.inner.tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, **more: Any) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=THERE)


class Generator(torch.Generator):
    """A source of random numbers, on the device where that is asked for."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        made: Generator = super().__new__(cls)
        made.place = torch.device(device)
        return made

    device = property(lambda self: self.place)  # type: ignore[assignment]


class Device(TorchDispatchMode):
    """Does on the processor what is asked of the device, and keeps what that could not do."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.impossible: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Elsewhere)]
        if given and func._schema.name in INTO_SHAPE:  # it is the wrapper that changes
            with no_dispatch():
                func(*args, **kwargs)
        asked = kwargs.get("device")
        lands = bool(given) if asked is None else torch.device(asked) == THERE
        if asked is not None:
            kwargs["device"] = "cpu"
        inner_args, inner_kwargs = tree_map_only(Elsewhere, lambda t: t.inner, (args, kwargs))
        out = func(*inner_args, **inner_kwargs)
        self._look(func, [t.inner for t in given], tree_leaves(out) if lands else [])
        if not lands:
            return out
        same = {id(t.inner): t for t in given}  # what works in place gives back what it was given
        return tree_map_only(Tensor, lambda t: same[id(t)] if id(t) in same else Elsewhere(t), out)

    def _look(self, func: Any, given: list[Tensor], made: list[Any]) -> None:
        name = func._schema.name.removeprefix("aten::")
        tensors = [t for t in (*given, *made) if isinstance(t, Tensor)]
        self.calls += bool(tensors)
        if tensors and name.removesuffix("_") in LACKING:
            self.impossible.add(name)
        self.impossible.update(f"{name} of {t.dtype}" for t in tensors if t.dtype not in TYPES)
        if given and name == "_adaptive_avg_pool2d" and any(a % b for a, b in zip(given[0].shape[-2:], made[0].shape[-2:], strict=True)):
            self.impossible.add("_adaptive_avg_pool2d of sizes that do not divide")


@contextmanager
def elsewhere() -> Iterator[Device]:
    """The device, for as long as it is there."""
    original = torch.tensor, torch.autocast

    def tensor(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        made: Tensor = original[0](data, **more)
        return made if device is None else made.to(device)

    def autocast(kind: str, *rest: Any, **more: Any) -> Any:
        return nullcontext() if kind == THERE.type else original[1](kind, *rest, **more)

    with pytest.MonkeyPatch.context() as patch, Device() as device:
        patch.setattr(torch, "tensor", tensor)
        patch.setattr(torch, "autocast", autocast)
        patch.setattr(torch, "Generator", Generator)
        yield device
