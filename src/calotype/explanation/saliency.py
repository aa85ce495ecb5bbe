"""The parts of a page on which pixels a network judges by: integrated gradients and Grad-CAM, each beside its sanity check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calotype import pictures
from calotype.explanation.attribution import COMPLETE, FEWEST, MOST, ImageScore, grad_cam, integrated_gradients, spatial_layer
from calotype.explanation.colors import enlarged, heat, over, rgb, signed
from calotype.explanation.sanity import SURVIVES, LayerSanity, Sanity, cascade, layers_of, shuffled
from calotype.explanation.section import Curves, Exhibit, Pixels, Strip, Table
from calotype.metrics.wording import number

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Skill:
    """Whether a network knows what it is asked at all: of one that guesses there is nothing to explain."""

    measured: str  # "the share of 500 held-out images that it names rightly"
    value: float
    guessing: float  # what a network reaches that knows nothing
    least: float  # what it takes to count as more than guessing, by chance hardly ever reached

    @property
    def there(self) -> bool:
        """Whether it knows more than nothing."""
        return self.value > self.least


@dataclass(frozen=True)
class Judged:
    """Images that a network judged, and how it can be asked again."""

    who: str  # "the classifier", "the discriminator"
    network: nn.Module  # whose layers are meant
    score: ImageScore
    scored: str  # what the score is, in words
    x: Tensor  # (N, C, H, W) in [-1, 1]
    target: Tensor  # (N,) int64
    names: tuple[str, ...]  # what each image is called
    said: tuple[str, ...]  # what it says of each: "7, 99.3%"
    heads: tuple[str, ...]  # in a word: "7"
    skill: Skill | None  # None where no images tell
    drawn: bool = False  # whether a model drew some of the images

    def run(self) -> Tensor:
        """Judge one image."""
        return self.score(self.x[:1], self.target[:1])


@dataclass(frozen=True)
class Attribution:
    """Maps of what speaks for a judgement, unless they are refused."""

    name: str
    title: str
    says: str
    status: str  # "SHOWN" or "REFUSED"
    because: str  # why, in one sentence
    sanity: Sanity
    caption: str
    strip: Pixels  # (3 * N, H, W, 3): images, maps, and the maps of the same images with the top layer shuffled
    rows: tuple[str, ...]
    heads: tuple[str, ...]
    facts: Table
    numbers: dict[str, Any] = field(default_factory=dict)
    drawn: bool = False

    @property
    def refused(self) -> bool:
        """Whether the maps are not to be taken for explanations."""
        return self.status == "REFUSED"

    def exhibits(self) -> Sequence[Exhibit]:
        """The maps, where they are not refused, and the check that they passed or failed."""
        columns = len(self.strip) // len(self.rows)
        verdict = Table(f"Sanity check: {self.because}", ("", "rank correlation", "of sizes alone"), _checked(self.sanity))
        if self.refused:
            return (verdict, _fall(self.sanity))
        return (Strip(self.caption, self.strip, columns, self.rows, self.heads, drawn=self.drawn), self.facts, verdict, _fall(self.sanity))

    def data(self) -> dict[str, Any]:
        """The verdict, the check and what is known of every image."""
        return {
            "status": self.status,
            "because": self.because,
            "limit": SURVIVES,
            "sanity": [
                {"layer": one.layer, "correlation": one.correlation, "absolute": one.absolute, "standard_error": one.error}
                for one in self.sanity.cascade
            ],
            **self.numbers,
        }


def gradients_part(judged: Judged, seed: int = 0, progress: Progress | None = None) -> Attribution:
    """Integrated gradients of every image from black, complete to 1%, with their sanity check.

    The check compares the maps as they are shown: summed over the colors, with their signs. Sizes alone follow the ink of a digit, whatever
    the network: with a black baseline they are differences from black times a gradient, and what is black has none.
    """
    black = torch.tensor(-1.0, device=judged.x.device)
    found = integrated_gradients(judged.score, judged.x, judged.target, black)

    def again() -> Tensor:
        made = integrated_gradients(judged.score, judged.x, judged.target, black, tolerance=0, most=FEWEST)
        return made.map.sum(1).cpu()

    layers = layers_of(judged.network, judged.run)
    sanity = cascade(layers, again, seed=seed, progress=progress)
    with shuffled(layers[0][1], seed):
        without = again()
    images, maps = pictures.to_uint8(judged.x.cpu()), found.map.sum(1).cpu()
    complete = found.remaining <= COMPLETE
    rows = tuple(
        (name, said, number(float(gained)), number(float(total)), f"{100 * float(remaining):.2f}%", str(int(steps)))
        for name, said, gained, total, remaining, steps in zip(
            judged.names, judged.said, found.gained, found.map.double().flatten(1).sum(1), found.remaining, found.steps, strict=True
        )
    )
    lacking = "" if bool(complete.all()) else f" {int((~complete).sum())} did not get there within {MOST:,} intervals, and say so."
    status, because = _verdict(judged, sanity)
    return Attribution(
        "integrated-gradients",
        "Which pixels speak for it: integrated gradients",
        f"Blue pixels raised the score that {judged.who} gives, red ones lowered it, against a black image. The score is {judged.scored}. "
        f"{'REFUSED: ' if status == 'REFUSED' else ''}{because}",
        status,
        because,
        sanity,
        "Above the images, below them the pixels that speak for what it says (blue) and against it (red), each map by its own scale; in "
        "the "
        "last row the same of the network with its top layer shuffled, which knows the classes no more.",
        _stacked(images, signed(maps), signed(without)),
        ("image", "integrated gradients", "top layer shuffled"),
        judged.heads,
        Table(
            f"The sum over all pixels is what the image gains over black. The path is cut finer until {100 * COMPLETE:.0f}% or less is "
            f"missing.{lacking}",
            ("image", f"{judged.who} says", "gained", "sum of the map", "missing", "intervals"),
            rows,
        ),
        {
            "skill": _skill(judged.skill),
            "images": [
                {"name": name, "says": said, "gained": float(gained), "missing": float(remaining), "intervals": int(steps)}
                for name, said, gained, remaining, steps in zip(
                    judged.names, judged.said, found.gained, found.remaining, found.steps, strict=True
                )
            ],
            "complete": bool(complete.all()),
        },
        judged.drawn,
    )


def cam_part(judged: Judged, seed: int = 0, progress: Progress | None = None) -> Attribution:
    """Grad-CAM of every image, with its sanity check at the size of the maps, which are not below zero and so compared as they are."""
    layer_name, layer, (height, width) = spatial_layer(judged.network, judged.run)

    def again() -> Tensor:
        return grad_cam(judged.score, layer, judged.x, judged.target).cpu()

    maps = again()
    layers = layers_of(judged.network, judged.run)
    sanity = cascade(layers, again, seed=seed, progress=progress)
    with shuffled(layers[0][1], seed):
        without = again()
    images, size = pictures.to_uint8(judged.x.cpu()), judged.x.shape[-1]
    empty = sum(float(one.max()) <= 0 for one in maps)
    status, because = _verdict(judged, sanity)
    lit = "" if not empty else f" {empty} of {len(maps)} maps are empty: no place of this layer speaks for what it says."
    where = f"{layer_name} has {height}x{width} places for {size}x{size} pixels: a place stands for {size / height:.0f} pixels a side"
    return Attribution(
        "grad-cam",
        "Which places speak for it: Grad-CAM",
        f"Bright places hold what raised the score that {judged.who} gives; what lowered it is left out. The maps are those of the last "
        "layer "
        f"with 7 places a side or more: {where}, and finer than that they do not show. "
        f"{'REFUSED: ' if status == 'REFUSED' else ''}{because}",
        status,
        because,
        sanity,
        "Above the images, below them the places that speak for what it says, over the image, each map by its own scale; in the last row "
        "the "
        "same of the network with its top layer shuffled, which knows the classes no more." + lit,
        _stacked(images, over(heat(enlarged(maps, size)), images), over(heat(enlarged(without, size)), images)),
        ("image", "Grad-CAM", "top layer shuffled"),
        judged.heads,
        Table(
            "The images, and what it says of them.",
            ("image", f"{judged.who} says"),
            tuple(zip(judged.names, judged.said, strict=True)),
        ),
        {
            "skill": _skill(judged.skill),
            "layer": layer_name,
            "places": [height, width],
            "images": [{"name": name, "says": said} for name, said in zip(judged.names, judged.said, strict=True)],
            "empty": empty,
        },
        judged.drawn,
    )


def _verdict(judged: Judged, sanity: Sanity) -> tuple[str, str]:
    """Whether maps are shown, and why."""
    top, skill = sanity.top, judged.skill
    fell = (
        f"with the top layer ({top.layer}) shuffled, the rank correlation with the original maps is {number(top.correlation)}; "
        f"above {SURVIVES} they would not depend on what it learned"
    )
    if sanity.refused:
        return "REFUSED", f"the maps hardly change when {judged.who} forgets what it learned: {fell}. They show the image, not the network."
    if skill is not None and not skill.there:
        return "REFUSED", (
            f"{judged.who} knows nothing that could be explained: {skill.measured} is {number(skill.value)}, and guessing gives "
            f"{number(skill.guessing)}."
        )
    known = "" if skill is not None else f" Whether {judged.who} is right at all is not known: there are no held-out images with labels."
    return "SHOWN", f"passed: {fell}.{known}"


def _checked(sanity: Sanity) -> tuple[tuple[str, str, str], ...]:
    return tuple((_until(one), number(one.correlation), number(one.absolute)) for one in sanity.cascade)


def _until(one: LayerSanity) -> str:
    return f"shuffled down to {one.layer}"


def _fall(sanity: Sanity) -> Curves:
    places = [0.0, *(float(k + 1) for k in range(len(sanity.cascade)))]
    lines = {
        "maps as they are shown": (places, [1.0, *(one.correlation for one in sanity.cascade)]),
        "their sizes alone": (places, [1.0, *(one.absolute for one in sanity.cascade)]),
        f"refused above, after the top layer: {SURVIVES}": ([places[0], places[-1]], [SURVIVES, SURVIVES]),
    }
    caption = "How like the original the maps stay as layers are shuffled from the top down (Adebayo et al. 2018)."
    return Curves(caption, "layers shuffled, from the top", "rank correlation", lines)


def _skill(skill: Skill | None) -> dict[str, Any] | None:
    return None if skill is None else {"measured": skill.measured, "value": skill.value, "guessing": skill.guessing, "least": skill.least}


def _stacked(images: Pixels, maps: Pixels, without: Pixels) -> Pixels:
    return np.concatenate([rgb(images), maps, without])
