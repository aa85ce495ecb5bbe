"""A linear probe: how well classes are told apart by what the layers of a trained model make of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from calotype.capabilities import HasActivations
from calotype.config import Data
from calotype.data import Images, load
from calotype.data.images import Pixels, Progress, holdout_order, some
from calotype.data.load import require_images
from calotype.engine.device import pick_device
from calotype.engine.display import Display, Terminal, progress
from calotype.engine.run import Run
from calotype.errors import UserError
from calotype.files import name_of
from calotype.losses.logistic import logistic
from calotype.metrics.confidence import exact_interval
from calotype.metrics.paired_accuracy import ComparedAccuracy, Rights, compared, said
from calotype.metrics.predictions import in_batches
from calotype.metrics.score import Interval
from calotype.models import MODELS, build, stored
from calotype.networks.blocks import evaluating
from calotype.precise import pooled
from calotype.settings import Count, Seed, value
from calotype.types import Model, Noise

COUNT = 10_000  # labelled images that a probe is fitted to at most
TESTED = 5_000  # held-out images that it is tested on at most
CHOOSING = 2_500  # images by which layers are compared
WIDEST = 2_048  # numbers that a layer is reduced to at most
GRIDS = (4, 2, 1)  # parts a side that maps are averaged over: the most that leave no more numbers than that
VALIDATED = 0.2  # the share of the images by which layer and decay are chosen
DECAYS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
COMPARING = 1e-2  # the decay at which layers are compared
PIXELS = "pixels"


@dataclass(frozen=True)
class ProbeResult:
    """What a linear probe of a model is right about. Intervals are of 95%, on test images that nothing was chosen by."""

    model: str
    data: str
    classes: tuple[str, ...]
    layer: str  # that the probe saw, chosen by a part of the images it was fitted to
    dimension: int  # numbers of it
    decay: float  # weight of the penalty, chosen alike
    fitted: int  # labelled images
    right: int
    n: int  # test images
    interval: Interval  # of right / n, exact
    others: tuple[ComparedAccuracy, ...]  # the same probe of the pixels, and of the same network before any training
    layers: Mapping[str, float]  # accuracy by each layer, on the images by which one was chosen

    @property
    def accuracy(self) -> float:
        """The share of test images that are named rightly."""
        return self.right / self.n


@dataclass(frozen=True)
class _Fitted:
    layer: str
    dimension: int
    decay: float
    right: Rights  # of each test image
    layers: Mapping[str, float]


@dataclass(frozen=True)
class _Set:
    """Images of which the first ``fit`` rows fit a probe, those up to ``chosen`` choose, and the others test it."""

    images: Images
    labels: Tensor
    fit: int
    chosen: int

    def rows(self, most: int) -> NDArray[np.int64]:
        """Some of those that fit and choose, in their shares: both begin with an order that holds every class everywhere."""
        share = min(1.0, most / self.chosen)
        fit, choose = np.arange(round(self.fit * share)), np.arange(round((self.chosen - self.fit) * share))
        return np.concatenate([fit, self.fit + choose])


def probe(
    model: str | Path,
    data: str,
    *,
    count: int = COUNT,
    seed: int = 0,
    device: str = "auto",
    display: Display | None = None,
) -> ProbeResult:
    """The accuracy of a logistic regression on the activations of a trained network (Alain & Bengio 2016).

    Asked are the discriminator of a GAN (Radford et al. 2016, section 5), the encoder of a VAE, and the network of a diffusion model, given
    images with a little noise (Xiang et al. 2023). Maps are averaged over a grid of at most 4x4 parts and standardized. Layer, noise level
    and decay are chosen by a fifth of the labelled images, the probe is then fitted to all of them, and tested once on held-out ones.

    Args:
        model: The folder of a run, or a ``model/`` folder.
        data: Labelled images: what they hold out tests. Where the run was trained on the same source, these are the images that it held
            out; of another source nobody knows here what the model saw.
        count: Labelled images that the probe is fitted to at most.
        seed: Of the noise, and of the untrained network beside it.
        device: Where the model computes.
        display: Told how far it has come; a bar or lines on stderr where none is given.

    Raises:
        UserError: for a model without such layers, and for images without two classes or with too few of them to divide.
    """
    count, seed = value("count", count, Annotated[Count, Field(ge=50)]), value("seed", seed, Seed)
    found = stored.find(model)
    kind: Any = MODELS[type(found.config)]
    if not issubclass(kind, HasActivations):
        raise UserError(
            f"{model} is of the family {found.config.kind}, which has no features to probe: GANs, vae, sgan and diffusion models have"
        )
    if found.spec.points is not None:
        raise UserError(f"{model} makes points of {found.spec.points.name} and no images: a probe is of models of images")
    with closing(display or Terminal()) as shown:
        trained, where = found.model().to(pick_device(device)), pick_device(device)
        layers = trained.layers() if isinstance(trained, HasActivations) else ()
        if not layers:
            raise UserError(f"{model} has no layers of its own that could be probed: its discriminator looks through a network of others")
        options = _as_trained(Path(model), found.folder, data)
        images = _divided(data, found.spec.size, found.spec.channels, options, count, progress(shown.show, f"reading {data}"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = build(found.config, found.spec).to(where)
        own = _of_network(trained, images, seed, where, shown, "the model")
        rivals = {
            PIXELS: _of_pixels(images, shown),
            "untrained network": _of_network(fresh, images, seed, where, shown, "the untrained network"),
        }
    right, n = int(own.right.sum()), len(own.right)
    return ProbeResult(
        name_of(Path(model)),
        images.images.name,
        images.images.classes,
        own.layer,
        own.dimension,
        own.decay,
        images.chosen,
        right,
        n,
        exact_interval(right, n),
        tuple(
            compared(name if rival.layer == name else f"{name}, {rival.layer}", own.right, rival.right) for name, rival in rivals.items()
        ),
        own.layers,
    )


def _as_trained(path: Path, folder: Path, source: str) -> Data:
    """How the run of a model divided this very source, so that the probe is tested by what the model never saw; else as usual."""
    if folder == path:
        return Data()
    options = Run(path).read_config()[0].data
    if options.source != source:
        return Data()
    if not options.holdout:
        raise UserError(f"{path} was trained on all of {source}, and nothing is left to test a probe by: name other images with `data`")
    return options


def _divided(source: str, size: int, channels: int, options: Data, count: int, progress: Progress | None) -> _Set:
    """Labelled images in three parts: fitting, choosing, and testing, of which the last is what the source holds out."""
    require_images(source)
    fit = "crop" if options.fit == "tile" else options.fit
    split = load(source, size=size, channels=channels, fit=fit, holdout=options.holdout, progress=progress)
    train, held = split.train, split.holdout
    if train.labels is None or len(train.classes) < 2:
        what = "no labels" if train.labels is None else "one class only"
        raise UserError(f"{source} has {what}, and a probe tells classes apart: give images in class subfolders")
    if min(len(train), 5 * len(held)) < 5 * len(train.classes):
        many = some(len(train) + len(held), "image")
        raise UserError(f"{source} has {many} of {len(train.classes)} classes, too few to fit and test a probe: give more")
    train = train.take(holdout_order(len(train), train.labels)[:count])
    held = held.take(holdout_order(len(held), held.labels)[:TESTED])
    assert train.labels is not None
    assert held.labels is not None
    labels = np.concatenate([train.labels, held.labels])
    both = replace(train, pixels=np.concatenate([train.pixels, held.pixels]), labels=labels, files=())
    return _Set(both, torch.from_numpy(labels), len(train) - max(1, round(VALIDATED * len(train))), len(train))


def _of_network(model: Model, images: _Set, seed: int, device: torch.device, display: Display, what: str) -> _Fitted:
    """The probe of the best layer of a network."""
    assert isinstance(model, HasActivations)
    rows, pixels, classes = images.rows(CHOOSING), images.images.pixels, len(images.images.classes)
    fit, y = int((rows < images.fit).sum()), images.labels[torch.from_numpy(rows)]
    tried = _activations(model, pixels[rows], model.layers(), seed, device, progress(display.show, f"comparing layers of {what}"))
    layers = {name: _right(x[:fit], y[:fit], x[fit:], y[fit:], classes, COMPARING).mean() for name, x in tried.items()}
    best = max(layers, key=lambda name: layers[name])
    del tried
    x = _activations(model, pixels, [best], seed, device, progress(display.show, f"probing {what}"))[best]
    return _probed(best, x, images, {name: float(share) for name, share in layers.items()})


def _of_pixels(images: _Set, display: Display) -> _Fitted:
    """The probe of the images themselves."""
    display.show("probing the pixels", 0, 1)
    x = torch.from_numpy(images.images.pixels.reshape(len(images.images), -1).astype(np.float32) / 127.5 - 1)
    return _probed(PIXELS, x, images, {})


def _probed(layer: str, x: Tensor, images: _Set, layers: Mapping[str, float]) -> _Fitted:
    """Choose the decay, fit to all that fits and chooses, and test once."""
    y, fit, chosen, classes = images.labels, images.fit, images.chosen, len(images.images.classes)
    shares = {decay: float(_right(x[:fit], y[:fit], x[fit:chosen], y[fit:chosen], classes, decay).mean()) for decay in DECAYS}
    decay = max(shares, key=lambda one: shares[one])  # of equal ones the largest
    return _Fitted(layer, x.shape[1], decay, _right(x[:chosen], y[:chosen], x[chosen:], y[chosen:], classes, decay), layers)


def _right(x: Tensor, y: Tensor, asked: Tensor, labels: Tensor, classes: int, decay: float) -> Rights:
    """Whether each of the images ``asked`` (M, d) gets its label from a logistic regression fitted to (N, d)."""
    weight, bias = logistic(x, y, classes, decay)
    right: Rights = (torch.nn.functional.linear(asked, weight, bias).argmax(1) == labels).numpy()
    return right


@torch.no_grad()
def _activations(
    model: Model, pixels: Pixels, layers: Sequence[str], seed: int, device: torch.device, progress: Progress | None
) -> dict[str, Tensor]:
    """What layers make of images (N, H, W, C), (N, d) float32 each on the processor; layers that take no part are left out."""
    assert isinstance(model, HasActivations)
    parts: list[dict[str, Tensor]] = []
    with evaluating(model):
        for image, noise in _with_noise(in_batches(pixels, device, progress), seed, device):
            parts.append({name: vectors(found).cpu() for name, found in model.activations(image, layers, noise).items()})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _with_noise(batches: Iterator[Tensor], seed: int, device: torch.device) -> Iterator[tuple[Tensor, Noise]]:
    start = 0
    for image in batches:
        yield image, Noise(len(image), seed, start, device)
        start += len(image)


def vectors(found: Tensor) -> Tensor:
    """Maps (N, C, h, w) as vectors (N, d): means over the finest grid that leaves at most ``WIDEST`` numbers. Vectors stay as they are."""
    if found.ndim == 2:
        return found.float()
    grid = next((g for g in GRIDS if g <= min(found.shape[2:]) and g * g * found.shape[1] <= WIDEST), 1)
    return pooled(found.float(), grid).flatten(1)


def facts(found: ProbeResult) -> dict[str, Any]:
    """The result as plain data."""
    return {
        "model": found.model,
        "data": found.data,
        "classes": list(found.classes),
        "layer": found.layer,
        "dimension": found.dimension,
        "decay": found.decay,
        "fitted": found.fitted,
        "right": found.right,
        "n": found.n,
        "accuracy": found.accuracy,
        "interval": list(found.interval),
        "others": [
            {
                "name": other.name,
                "right": other.right,
                "accuracy": other.accuracy,
                "interval": list(other.interval),
                "difference": other.difference,
                "difference_interval": list(other.difference_interval),
                "p": other.p,
            }
            for other in found.others
        ],
        "layers": dict(found.layers),
    }


def told(found: ProbeResult) -> list[str]:
    """The result for people."""

    def share(accuracy: float, interval: Interval) -> str:
        return f"{100 * accuracy:.1f}% [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"

    name = f"{found.model}, {found.layer}"
    width = max(len(one) for one in (name, *(other.name for other in found.others)))
    return [
        f"linear probe on {found.data}: fitted to {some(found.fitted, 'labelled image')}, tested on {found.n:,} held out",
        f"  {name:<{width}}  {share(found.accuracy, found.interval)}",
        *(f"  {other.name:<{width}}  {share(other.accuracy, other.interval)}  the model {said(other)}" for other in found.others),
    ]
