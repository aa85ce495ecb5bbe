"""Models in files: ``config.json`` says what ``model.safetensors`` means. Nothing in them runs as code.

What the two claim costs nothing before they agree. The model is built without memory first; weights are read only once their names,
shapes and types are those of the model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.overrides import TorchFunctionMode

from calotype import degrade, earlier
from calotype.errors import DamagedError, UserError, printable
from calotype.files import absent, read_json
from calotype.models import MODELS, ModelConfig, blank
from calotype.settings import checked, shown
from calotype.types import ImageSpec, Model, Source

CONFIG, WEIGHTS = "config.json", "model.safetensors"
HEADER = 16 << 20  # bytes of the header of a file of weights; that of the largest published recipe takes a hundredth of it
MAKERS = (torch.empty, torch.zeros, torch.ones, torch.randn)  # what layers get their tensors from
MORE = 100  # tensors that a model may make beyond twice those of its file: no recipe makes more than it keeps
FLOATS = ("F64", "F32", "F16", "BF16")  # what weights may be stored as
OTHERS = {torch.int64: "I64", torch.uint8: "U8", torch.bool: "BOOL"}  # what other tensors of a model are stored as


@dataclass(frozen=True)
class Stored:
    """A model in a folder: what its ``config.json`` says of it, and the way to the model itself."""

    folder: Path
    config: ModelConfig
    spec: ImageSpec
    recipe: str

    @property
    def starts_from(self) -> Source | None:
        """As `calotype.types.Model` has it."""
        return self.spec.source if MODELS[type(self.config)].from_source else None

    def model(self) -> Model:
        """The model with its weights, on the processor, without the state that only training needs.

        Raises:
            UserError: where the file cannot be read.
            DamagedError: where it does not hold the weights of such a model, or weights that are not finite.
        """
        weights = self.folder / WEIGHTS
        try:
            with open(weights, "rb") as stream:
                if int.from_bytes(stream.read(8), "little") > HEADER:
                    raise DamagedError(f"{WEIGHTS} has no header")
            with _encodable(weights) as name, safe_open(name, "pt") as file:
                names = {earlier.parameter(name): name for name in file.keys()}  # noqa: SIM118 - it is no dict
                held = {name: file.get_slice(there) for name, there in names.items()}
                with _Limit(2 * len(held) + MORE):
                    model = blank(self.config, self.spec)
                _fill(model, held, lambda name: file.get_tensor(names[name]))
        except OSError as error:
            raise UserError(f"{weights} cannot be read ({error.strerror or error})") from None
        except (UserError, SafetensorError) as error:
            raise _damaged(self.folder, error) from None
        return model


def folder_of(path: Path) -> Path | None:
    """The folder with the model of a run, or of a ``model/`` folder by itself; None where there is none. Raises ``OSError``."""
    return next((f for f in (path / "model", path) if (f / CONFIG).is_file() and (f / WEIGHTS).is_file()), None)


def find(path: str | os.PathLike[str], wanted: str = "a run folder, or its model/ folder with config.json and model.safetensors") -> Stored:
    """What is stored in a run, or in a ``model/`` folder by itself.

    Raises:
        UserError: where there is no model, with what is ``wanted``.
        DamagedError: where there is one that this version did not write.
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"{shown(path)} is no path: give {wanted}")
    try:
        folder = folder_of(Path(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{printable(str(path))} cannot be read ({getattr(error, 'strerror', None) or error}): give {wanted}") from None
    if folder is None and not Path(path).exists():
        raise UserError(absent(Path(path), wanted))
    if folder is None:
        raise UserError(f"{printable(str(path))} holds no trained model: give {wanted}")
    facts = read_json(folder / CONFIG)
    try:
        brought = {"model": earlier.model, "spec": earlier.spec}
        of = checked(_Facts, {name: bring(facts[name]) for name, bring in brought.items() if name in facts})
        _require_sense(of.spec)
        return Stored(folder, of.model, of.spec, printable(str(facts.get("recipe", "")))[:100])
    except UserError as error:
        raise _damaged(folder, error) from None


@dataclass(frozen=True)
class _Facts:
    """What ``config.json`` must hold."""

    model: ModelConfig
    spec: ImageSpec


def _require_sense(spec: ImageSpec) -> None:
    """Raise `UserError` where what a model was trained to undo is no degradation, or gives something else than the model takes."""
    if (spec.channels == 2) != (spec.points is not None) or (spec.points is not None and spec.size != 1):
        raise UserError("two channels are the coordinates of points, in images of one pixel")
    source = spec.source
    if source is None or not source.degradation:
        return
    made = degrade.parse(source.degradation)
    channels = set()
    for of in (1, 3):
        with suppress(UserError):  # gray takes color away where there is some
            channels.add(made.channels(of))
    if (made.conditioning, made.scale) != (source.conditioning, source.scale) or source.channels not in channels:
        raise UserError(f"{source.degradation} does not give what the model takes")


@contextmanager
def _encodable(path: Path) -> Iterator[str]:
    """A name of the file that safetensors takes, which wants UTF-8: of the open file, where its own is none."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)


def finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether every floating-point tensor is free of infinities and NaN."""
    return all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())


def _damaged(folder: Path, error: Exception) -> DamagedError:
    return DamagedError(f"the model in {folder} is damaged or from another version ({str(error).splitlines()[0]})")


class _Limit(TorchFunctionMode):
    """Raises `DamagedError` when so many tensors are made: a number in a configuration is no reason to build for ever."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= func in MAKERS
        if self.left < 0 and func in MAKERS:  # and nowhere else: what ends a block without gradients comes this way too
            raise DamagedError(f"{CONFIG} describes a larger model than {WEIGHTS} holds")
        return func(*args, **(kwargs or {}))


def _fill(model: Model, held: Mapping[str, Any], read: Callable[[str], Tensor]) -> None:
    """Give a model without memory the tensors of a file, which must be its own; state of the training alone is left out."""
    whole = model.state_dict()
    wanted = {name: t for name, t in whole.items() if not name.startswith(model.training_only)}
    if odd := next(iter(sorted(wanted.keys() ^ held.keys())), None):
        raise DamagedError(f"{printable(odd)[:100]} is {'missing' if odd in wanted else 'no part of it'}")
    for name, like in wanted.items():
        shape, kind = list(held[name].get_shape()), held[name].get_dtype()
        if shape != list(like.shape) or kind not in (FLOATS if like.is_floating_point() else (OTHERS[like.dtype],)):
            raise DamagedError(f"{name} is {kind} {shape}, not {like.dtype} {list(like.shape)}")
    state = {name: read(name).to(like.dtype, copy=True) for name, like in wanted.items()}  # not a map of the file
    if not finite(state):
        raise DamagedError("its weights are not finite: the training diverged, or the file changed")
    model.load_state_dict(state, strict=False, assign=True)
    for name in whole.keys() - wanted.keys():
        place, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(place), leaf, None)
