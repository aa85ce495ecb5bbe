"""The feature spaces there are: the shipped recognizer, classifiers of one's own, random networks, coarse pixels."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as parse_tensors
from torch import Tensor
from torch.nn import functional

from calotype.capabilities import HasFeatures
from calotype.data import Images
from calotype.errors import UserError
from calotype.files import name_of, parse_json
from calotype.metrics.features_space import FeatureSpace, hash_of
from calotype.models import stored
from calotype.models.classifier import Classifier, ClassifierConfig  # of the embedded recognizer alone
from calotype.networks.recognizer import RandomNetwork
from calotype.precise import pooled
from calotype.settings import checked
from calotype.types import ImageSpec, Model

DIGITS = ImageSpec(28, 1, tuple("0123456789"))
RANDOM_SEEDS = (1841, 1844, 1851)  # constant forever: they name the random networks
SELECTION_SEED = 1855
COARSE = 12  # pixels a side of the coarse pictures
FLAT = 1.0  # levels of contrast below which a coarse picture counts as empty
_PIXELS = 250 * 32 * 32  # of the images that go through a network at a time


def of_classifier(name: str, model: Model, *, accuracy: float | None = None, device: torch.device | str = "cpu") -> FeatureSpace:
    """The features of a trained classifier. Raises `TypeError` for a model that has none (`HasFeatures`)."""
    device = str(device)
    model.eval().requires_grad_(False).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not isinstance(model, HasFeatures):
        raise TypeError(f"{type(model).__name__} has no features")
    spec, mark, dimension = model.spec, hash_of(model.backbone.state_dict()), model.dimension

    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        features = model.features((x - 127.5) / 127.5)
        return features, model.probabilities(features)

    return FeatureSpace(
        name, "penultimate", dimension, mark, extract, spec.size, spec.channels, spec.classes, accuracy, _batch(spec), device
    )


def digits(device: torch.device | str = "cpu") -> FeatureSpace:
    """The features of the recognizer of gray 28x28 digits that the package carries."""
    model, accuracy = embedded_digits()
    return of_classifier("digits", model, accuracy=accuracy, device=device)


def embedded_digits() -> tuple[Model, float]:
    """The recognizer of gray 28x28 digits that the package carries, and the share of held-out digits that it names rightly.

    ``weights/README.md`` says how it was trained.
    """
    resource = files("calotype.metrics").joinpath("weights", "digits.safetensors")
    raw = resource.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    facts = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["calotype"])
    model = Classifier(checked(ClassifierConfig, facts["config"]), DIGITS)
    model.network.load_state_dict({name: t.float() for name, t in parse_tensors(raw).items()})
    return model.eval(), float(facts["accuracy"])


def of_run(path: Path, device: torch.device | str = "cpu") -> FeatureSpace:
    """The penultimate layer of the classifier in a run, or in a ``model/`` folder by itself.

    Raises:
        UserError: where the folder holds no model, a damaged one, or one that is no classifier.
    """
    found = stored.find(path, "the run folder of a classifier, made by calotype train classifier `data.source=SOURCE`")
    model = found.model()
    if not isinstance(model, HasFeatures):
        kind = found.config.kind
        raise UserError(f"the model in {path} is of the family {kind}: calotype train classifier `data.source=SOURCE` makes a classifier")
    return of_classifier(name_of(path), model, accuracy=_logged_accuracy(found.folder.parent / "log.jsonl"), device=device)


def random(spec: ImageSpec, device: torch.device | str = "cpu") -> tuple[FeatureSpace, ...]:
    """Three fixed random networks (Naeem et al. 2020 judge by such embeddings); scores are averaged over them, with their spread."""
    return tuple(_random(f"random{number}", seed, spec, str(device)) for number, seed in enumerate(RANDOM_SEEDS, 1))


def for_selection(spec: ImageSpec, device: torch.device | str = "cpu") -> FeatureSpace:
    """A random network that no report uses: the one to choose weights by."""
    return _random("selection", SELECTION_SEED, spec, str(device))


def _random(name: str, seed: int, spec: ImageSpec, device: str) -> FeatureSpace:
    network = RandomNetwork(spec.channels, seed).eval().requires_grad_(False).to(device)

    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return network((x - 127.5) / 127.5), None

    mark = hash_of(network.state_dict())
    return FeatureSpace(name, "pooled", network.dimension, mark, extract, spec.size, spec.channels, batch=_batch(spec), device=device)


def coarse(spec: ImageSpec, device: torch.device | str = "cpu") -> FeatureSpace:
    """Coarse pictures: blurred, at most 12 pixels a side, each with its own mean taken away and divided by its own contrast.

    A copy keeps its coarse picture through noise, slight blur and a change of brightness or contrast; two different images rarely
    share one. Nothing is learned, so that it shares no blind spot with a network. It does not see through a shift of a whole
    pixel of small images, or through mirroring.
    """
    side = min(COARSE, spec.size)
    mark = hash_of({"coarse": torch.tensor([side, spec.channels, spec.size, FLAT])})

    def extract(x: Tensor) -> tuple[Tensor, Tensor | None]:
        small = pooled(_blurred(x, spec.size / side / 2), side).flatten(1)
        small = small - small.mean(1, keepdim=True)
        return small / (small.square().mean(1, keepdim=True).sqrt() + FLAT), None

    dimension = spec.channels * side * side
    return FeatureSpace(
        "coarse", f"{side}x{side}", dimension, mark, extract, spec.size, spec.channels, batch=_batch(spec), device=str(device)
    )


def recognized(space: FeatureSpace, images: Images) -> float:
    """The share of labelled images whose class the network of a space names rightly.

    Raises:
        UserError: where the images have no labels, or other classes than the network.
    """
    if images.labels is None or images.classes != space.classes:
        raise UserError(f"{images.name} has not the classes that the features {space.name!r} tell apart: no accuracy can be stated")
    beliefs = space.of(images.pixels).probabilities
    assert beliefs is not None
    return float(np.mean(beliefs.argmax(1) == images.labels))


def _batch(spec: ImageSpec) -> int:
    return max(1, _PIXELS // spec.size**2)


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, C, H, W), the border continued outwards."""
    radius = max(1, round(2 * sigma))
    at = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    x = functional.pad(x, (radius,) * 4, mode="replicate")
    x = functional.conv2d(x, kernel[:, :, :, None], groups=x.shape[1])
    return functional.conv2d(x, kernel[:, :, None, :], groups=x.shape[1])


def _logged_accuracy(log: Path) -> float | None:
    """The last accuracy on held-out images that a run logged."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    for line in reversed(lines):
        try:
            found = parse_json(line).get("accuracy_holdout")
        except ValueError:
            continue
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 1:
            return float(found)
    return None
