"""Which units of a generator a class needs: channels of inner layers are set to zero, and a classifier says what is left of the class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calotype import pictures
from calotype.data.images import Progress
from calotype.explanation.class_codes import PER_CLASS, ClassBeliefs, ClassCodes, codes_of_classes
from calotype.explanation.codes import Codes
from calotype.explanation.layers import InnerLayer, without
from calotype.explanation.section import Exhibit, LinePlot, Pixels, Strip, Table
from calotype.metrics.score import Estimate
from calotype.networks.hooks import recorded

TOGETHER = (1, 2, 4, 8)  # units that are ablated at once
CHANCES = 4  # times that as many units are chosen at random
SHOWN = 4  # images of each class before and after
UNITS = 512  # of a layer at most, those that put out most

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class LayerResponse:
    """What a class loses by each unit of a layer."""

    layer: str
    side: int  # pixels of its maps
    units: NDArray[np.int64]  # (U,) the channels that were ablated one by one
    drop: Doubles  # (U, classes): by how much the mean belief in the class of its images falls; NaN for classes without images
    channels: int  # of the layer, of which the units are all or those that put out most

    def ranked(self, number: int) -> NDArray[np.int64]:
        """The units, that first which the class loses most by."""
        return self.units[np.argsort(-self.drop[:, number], kind="stable")]


@dataclass(frozen=True)
class ClassDamage:
    """What is left of a class, and of the others, when units that it needs are gone: of images that ranked none of them."""

    name: str
    images: int  # of it, that were looked at
    units: tuple[int, ...]  # the first of its ranking
    before: Estimate  # belief in the class of its images
    after: tuple[float, ...]  # with the first 1, 2, 4 ... of them gone, as `TOGETHER` says
    random: tuple[float, ...]  # with as many units gone that were chosen at random
    left: Estimate  # belief in the class with all of ``units`` gone
    others: Estimate | None  # what images of the other classes lose by it, of the belief in theirs; None where there are none


@dataclass(frozen=True)
class UnitAblation:
    """The units that classes need."""

    layers: Sequence[LayerResponse]
    judged: int  # which of them ``classes`` is about
    classes: Sequence[ClassDamage]
    images: Pixels  # (classes * 2 * SHOWN, H, W, C): of each class before, then after
    steps: tuple[int, ...]
    lacking: tuple[str, ...] = ()  # classes of which the classifier was sure in no image

    name = "unit-ablation"
    title = "Units that a class needs"
    says = (
        "A generator paints with units, channels of its inner layers. Here they are switched off: those that a classifier loses a class by "
        "are those that paint it. Switching off as many at random is the comparison: only what hurts more than that means anything."
    )

    def exhibits(self) -> Sequence[Exhibit]:
        """Before and after, the course of the damage, and a table."""
        layer, count = self.layers[self.judged], len(self.classes[0].units)
        names = tuple(one.name for one in self.classes)
        strip = Strip(
            f"Images of each class, and the same without the {count} of {len(layer.units)} units of layer {layer.layer} "
            f"({layer.side}x{layer.side} maps) that the class needs most.",
            self.images,
            2 * SHOWN,
            names,
            (*["before"] * SHOWN, *["after"] * SHOWN),
        )
        mean = {kind: np.mean([getattr(one, kind) for one in self.classes], 0) for kind in ("after", "random")}
        start = float(np.mean([one.before.value for one in self.classes]))
        x = [0.0, *map(float, self.steps)]
        curves = LinePlot(
            "The classifier's belief in the class, the mean over classes, without units that it needs, and without as many at random.",
            "units switched off",
            "belief in the class",
            {"needed by the class": (x, [start, *mean["after"]]), "at random": (x, [start, *mean["random"]])},
        )
        rows = [
            (
                one.name,
                str(one.images),
                f"{one.before.value:.2f}",
                f"{one.left.value:.2f}",
                f"{one.random[-1]:.2f}",
                "" if one.others is None else f"{one.others.value:+.2f}",
                _units(one.units),
            )
            for one in self.classes
        ]
        unseen = f" Too few images were surely of {', '.join(self.lacking)} to rank units and to judge them." if self.lacking else ""
        few = f" Of a class there are {PER_CLASS} images at most: a number of one or two says little."
        table = Table(
            f"Belief in the class of fresh images, before and without {count} units; last, what images of other classes lose of theirs."
            + few * (min(one.images for one in self.classes) < SHOWN)
            + unseen,
            ("Class", "Images", "Before", "Without its units", "Without random ones", "Others lose", "Units"),
            tuple(rows),
        )
        return [strip, curves, table, self._by_layer()]

    def _by_layer(self) -> Table:
        rows = []
        for one in self.layers:
            drop = one.drop[:, ~np.isnan(one.drop).any(0)]
            units = str(len(one.units)) if len(one.units) == one.channels else f"{len(one.units)} of {one.channels}"
            rows.append((one.layer, f"{one.side}x{one.side}", units, f"{drop.max(0).mean():.3f}", f"{np.median(drop):.3f}"))
        head = ("Layer", "Maps", "Units", "Loss by the one that matters most", "Loss by the median unit")
        most = any(len(one.units) < one.channels for one in self.layers)
        caption = "What a class loses by a single unit, the mean over classes, by layer, coarse maps first."
        return Table(caption + f" Of larger layers the {UNITS} units that put out most." * most, head, tuple(rows))

    def data(self) -> dict[str, Any]:
        """All responses."""
        judged = self.layers[self.judged]
        return {
            "layers": [
                {
                    "layer": one.layer,
                    "side": one.side,
                    "channels": one.channels,
                    "units": one.units.tolist(),
                    "drop": [[None if np.isnan(x) else float(x) for x in row] for row in one.drop],
                }
                for one in self.layers
            ],
            "judged_layer": judged.layer,
            "ablated_together": list(self.steps),
            "classes": [
                {
                    "name": one.name,
                    "images": one.images,
                    "units": list(one.units),
                    "before": one.before.value,
                    "after": list(one.after),
                    "random": list(one.random),
                    "left": one.left.value,
                    "left_interval": None if one.left.interval is None else list(one.left.interval),
                    "others_lose": None if one.others is None else one.others.value,
                }
                for one in self.classes
            ],
            "classes_without_images": list(self.lacking),
        }


def _units(units: Sequence[int]) -> str:
    return ", ".join(map(str, units[:8])) + (" ..." if len(units) > 8 else "")


def responses(
    codes: Codes, layer: InnerLayer, beliefs: ClassBeliefs, some: ClassCodes, classes: int, progress: Progress | None = None
) -> LayerResponse:
    """Ablate the units of a layer one by one (Bau et al. 2019, GAN dissection, section 3.2, with a classifier in place of a segmentation).

    Returns by how much the mean belief in the class of its images falls, (units, classes), NaN for classes without images.
    """
    units = _most_active(codes, layer, some)
    before = _own(beliefs, codes.images(some.codes, some.labels), some.of)
    drop = np.full((len(units), classes), np.nan)
    for place, unit in enumerate(units):
        with without(layer, [int(unit)]):
            lost = before - _own(beliefs, codes.images(some.codes, some.labels), some.of)
        for k in sorted(set(some.of.tolist())):
            drop[place, k] = float(lost[some.of == k].mean())
        if progress is not None:
            progress(place + 1, len(units))
    return LayerResponse(layer.name, layer.side, units, drop, layer.channels)


def _most_active(codes: Codes, layer: InnerLayer, some: ClassCodes) -> NDArray[np.int64]:
    """The channels of a layer, in their order: all, or the `UNITS` whose output is largest, the mean absolute one over some images."""
    if layer.channels <= UNITS:
        return np.arange(layer.channels, dtype=np.int64)
    total = np.zeros(layer.channels)

    def look(module: nn.Module, given: object, out: object) -> None:
        assert isinstance(out, Tensor)
        total[:] += out.detach().abs().float().reshape(*out.shape[:2], -1).mean(2).sum(0).cpu().numpy()

    with recorded([layer.module], look):
        codes.images(some.codes, some.labels)
    return np.sort(np.argsort(-total, kind="stable")[:UNITS]).astype(np.int64)


def damage(
    codes: Codes, layer: InnerLayer, response: LayerResponse, beliefs: ClassBeliefs, fresh: ClassCodes, names: Sequence[str], seed: int = 0
) -> tuple[list[ClassDamage], Pixels, tuple[int, ...]]:
    """What is left of each class of ``fresh`` images without the units that it needs; images before and after; how many units were gone.

    There is an image at least, and every class of these was asked for its response.
    """
    steps = tuple(n for n in TOGETHER if n <= max(1, len(response.units) // 2))
    images = codes.images(fresh.codes, fresh.labels)
    before = _own(beliefs, images, fresh.of)
    rng = np.random.default_rng(seed)
    found, shown = [], []
    for k in sorted(set(fresh.of.tolist())):
        mine, ranking = fresh.of == k, response.ranked(k)
        own = fresh.only([k])
        after = [_without(codes, layer, beliefs, own, ranking[:n]) for n in steps]
        by_chance = [
            torch.cat([_without(codes, layer, beliefs, own, rng.permutation(response.units)[:n]) for _ in range(CHANCES)]) for n in steps
        ]
        with without(layer, ranking[: steps[-1]].tolist()):
            changed = codes.images(fresh.codes, fresh.labels)
        left = _own(beliefs, changed, fresh.of)
        found.append(
            ClassDamage(
                names[k],
                int(mine.sum()),
                tuple(ranking[: steps[-1]].tolist()),
                Estimate.mean(before[mine].numpy()),
                tuple(float(one.mean()) for one in after),
                tuple(float(one.mean()) for one in by_chance),
                Estimate.mean(left[mine].numpy()),
                Estimate.mean((before - left)[~mine].numpy()) if (~mine).any() else None,
            )
        )
        pair = [pictures.to_uint8(x[mine][:SHOWN]) for x in (images, changed)]
        shown += [np.concatenate([one, np.full((SHOWN - len(one), *one.shape[1:]), 255, np.uint8)]) for one in pair]
    return found, np.concatenate(shown), steps


def _without(codes: Codes, layer: InnerLayer, beliefs: ClassBeliefs, some: ClassCodes, units: NDArray[np.int64]) -> Tensor:
    with without(layer, units.tolist()):
        return _own(beliefs, codes.images(some.codes, some.labels), some.of)


def _own(beliefs: ClassBeliefs, images: Tensor, of: Tensor) -> Tensor:
    """The belief (N,) in the class of each image."""
    return beliefs(images).gather(1, of[:, None])[:, 0]


def unit_ablation(
    codes: Codes,
    layers: Sequence[InnerLayer],
    beliefs: ClassBeliefs,
    names: Sequence[str],
    label: Tensor | None,
    *,
    seed: int = 0,
    progress: Callable[[str], Progress | None] = lambda what: None,
) -> UnitAblation | None:
    """Rank the units of all layers, and judge those of the middle one; None where of no class there are images to do both with."""
    classes = len(names)
    some = codes_of_classes(codes, beliefs, classes, label, seed)
    fresh = codes_of_classes(codes, beliefs, classes, label, seed + 1)
    if not len(some.codes) or not len(fresh.codes) or not layers:
        return None
    both = [k for k in range(classes) if (some.of == k).any() and (fresh.of == k).any()]
    if not both:
        return None
    fresh = fresh.only(both)
    told = [responses(codes, layer, beliefs, some, classes, progress(f"units of layer {layer.name}")) for layer in layers]
    middle = (len(layers) - 1) // 2
    found, images, steps = damage(codes, layers[middle], told[middle], beliefs, fresh, names, seed)
    asked = range(classes) if label is None or not codes.generator.model.conditional else (label >= 0).nonzero()[:, 0].tolist()
    lacking = tuple(names[k] for k in asked if k not in both)
    return UnitAblation(told, middle, found, images, steps, lacking)
