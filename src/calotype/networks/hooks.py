"""Looking at what modules put out, and leaving them as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def recorded(modules: Sequence[nn.Module], look: Callable[[nn.Module, tuple[object, ...], object], object]) -> Iterator[None]:
    """Within it, ``look`` is called after each of the modules with what it was given and what it put out; what it returns is dropped."""

    def hook(module: nn.Module, given: tuple[object, ...], out: object) -> None:
        look(module, given, out)

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def captured(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What modules put out while the block runs, by the names they are given: copies in float32 of the last outputs."""
    names, found = {layer: name for name, layer in layers.items()}, dict[str, Tensor]()

    def keep(module: nn.Module, given: object, out: object) -> None:
        assert isinstance(out, Tensor)
        found[names[module]] = out.detach().float().clone()  # a later layer may work in place

    with recorded(list(names), keep):
        yield found
