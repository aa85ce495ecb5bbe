"""Feature spaces of networks that others trained: their weights come from a local file, or are downloaded once and verified."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from calotype.data.download import Remote, fetch
from calotype.errors import UserError
from calotype.files import cache_folder, expanded, sha256
from calotype.metrics.features_space import FeatureSpace


@dataclass(frozen=True)
class Weights:
    """A published file of weights."""

    name: str  # of the network
    file: str
    sha256: str
    url: str
    size: str  # for people
    variable: str  # of the environment, that names a local copy


INCEPTION = Weights(
    "inception",
    "pt_inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    "96 MB",
    "CALOTYPE_INCEPTION",
)
DINOV2 = Weights(
    "dinov2",
    "dinov2_vits14_pretrain.pth",
    "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
    "88 MB",
    "CALOTYPE_DINOV2",
)


def inception(device: torch.device | str = "cpu", path: Path | None = None) -> FeatureSpace:
    """Inception v3 of the 2015-12-05 graph, layer ``pool_3``: the features of FID, KID and the inception score.

    Probabilities are those of the inception score: the softmax of the 1008 logits without bias.

    Raises:
        UserError: where the weights are not there and cannot be had, or are not the published ones.
    """
    from calotype.networks.inception import FEATURES, OUTPUTS, Inception

    file = weights_file(INCEPTION, path)
    network = Inception()
    _fill(network, file, INCEPTION)
    network = network.eval().requires_grad_(False).to(device)

    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        features, logits = network(x)
        return features, logits.softmax(1)

    classes = tuple(str(number) for number in range(OUTPUTS))
    return FeatureSpace(
        "inception", "pool_3", FEATURES, INCEPTION.sha256[:8], extract, classes=classes, batch=50, device=str(device), network="inception"
    )


def dinov2(device: torch.device | str = "cpu", path: Path | None = None) -> FeatureSpace:
    """DINOv2 ViT-S/14, its class token: features made without labels, closer to what people see than Inception (Stein et al. 2023).

    Raises:
        UserError: as `inception`.
    """
    from calotype.networks.dinov2 import DINOv2

    file = weights_file(DINOV2, path)
    network = DINOv2()
    _fill(network, file, DINOV2)
    network = network.eval().requires_grad_(False).to(device)

    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return network(x), None

    return FeatureSpace("dinov2", "class token", network.width, DINOV2.sha256[:8], extract, batch=50, device=str(device), network="dinov2")


def weights_file(weights: Weights, path: Path | None = None) -> Path:
    """The published file: ``path``, else where the environment says, else in the cache folder, else downloaded into it.

    Every one of them is verified against the published SHA-256.

    Raises:
        UserError: where there is none, with what to do.
    """
    named = os.environ.get(weights.variable)
    local = path or (expanded(named) if named else None)
    folder = cache_folder() / "weights"
    if local is None:
        local = folder / weights.file
        if not local.is_file():
            try:
                fetch("weights", (Remote(weights.file, f"sha256:{weights.sha256}", (weights.url,)),), cache_folder())
            except UserError:
                raise UserError(
                    f"the features {weights.name!r} need the published weights ({weights.size}), which could not be downloaded: "
                    f"get {weights.url} and put it into {folder}, or name the file by {weights.variable}; `features=random` needs none"
                ) from None
    advice = f"correct {weights.variable}, or get {weights.url}"
    try:
        if not local.is_file():
            raise UserError(f"there is no file {local} with the weights of {weights.name}: {advice}")
        found = sha256(local)
    except OSError as error:
        raise UserError(f"{local} cannot be read ({error.strerror or error}): {advice}") from None
    if found != weights.sha256:
        raise UserError(
            f"{local} is not the published file of {weights.name} (SHA-256 {weights.sha256[:8]}...), or a damaged one: get it again"
        )
    return local


def _fill(network: nn.Module, file: Path, weights: Weights) -> None:
    """Load a state dict, tensors only, whose names and shapes must be the network's."""
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        found = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
        # old files lack the counters of batch normalization, which nothing reads in evaluation
        lacking = {name: t for name, t in network.state_dict().items() if name.endswith("num_batches_tracked") and name not in found}
        network.load_state_dict(found | lacking)
    except (pickle.UnpicklingError, RuntimeError, AttributeError, EOFError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file} does not hold the weights of {weights.name} ({reason}): get {weights.url} again") from None
