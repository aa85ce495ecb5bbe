"""The parts of a page on which pixels a network judges by: integrated gradients and Grad-CAM, each beside its sanity check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calotype import pictures
from calotype.explanation.attribution import COMPLETE, MOST, SIDE, ImageScore, grad_cam, integrated_gradients, spatial_layer
from calotype.explanation.colors import enlarged, heat, over, rgb, signed
from calotype.explanation.sanity import LAYERS, SURVIVES, Sanity, cascade, layers_of, shuffled
from calotype.explanation.section import Exhibit, LinePlot, Pixels, Strip, Table
from calotype.metrics.wording import number

COARSE = 8  # intervals of the path of maps that are only compared
SMALL, FEW_LAYERS = 64, 5  # pixels a side of images of which all steps of the sanity check are made, and those of larger ones

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
class JudgedImages:
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
    of_said: str = ""  # what the numbers in ``said`` are

    def run(self) -> Tensor:
        """Judge one image."""
        return self.score(self.x[:1], self.target[:1])


@dataclass(frozen=True)
class Attribution:
    """Maps of what speaks for a judgement, unless they are refused."""

    name: str
    title: str
    lead: str  # what is to be seen, and how far it can be believed
    refusal: str  # why the maps are no explanation; empty where they are shown
    sanity: Sanity
    checked: str  # what the check says, in words
    strip: Strip  # images, maps, and the maps of the same images with the top layer shuffled
    facts: Table | None
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """SHOWN or REFUSED."""
        return "REFUSED" if self.refusal else "SHOWN"

    @property
    def says(self) -> str:
        """What is to be seen, or why it is not."""
        return f"REFUSED: {self.refusal} No map is shown." if self.refusal else self.lead

    def exhibits(self) -> Sequence[Exhibit]:
        """The maps, where they are not refused, and the check that they passed or failed."""
        rows = tuple((f"shuffled down to {one.layer}", number(one.correlation), number(one.absolute)) for one in self.sanity.cascade)
        check = (
            Table(f"Sanity check: {self.checked}", ("layers", "rank correlation with the original maps", "of their sizes alone"), rows),
            _fall(self.sanity),
        )
        return check if self.refusal else (self.strip, *([self.facts] if self.facts is not None else []), *check)

    def data(self) -> dict[str, Any]:
        """The verdict, the check and what is known of every image."""
        return {
            "status": self.status,
            "refusal": self.refusal or None,
            "limit": SURVIVES,
            "sanity": [
                {"layer": one.layer, "correlation": one.correlation, "absolute": one.absolute, "standard_error": one.error}
                for one in self.sanity.cascade
            ],
            **self.numbers,
        }


def gradients_part(judged: JudgedImages, seed: int = 0, progress: Progress | None = None) -> Attribution:
    """Integrated gradients of every image from black, complete to 1%, with their sanity check.

    The check compares the maps as they are shown: summed over the colors, with their signs. Sizes alone follow the ink of a digit, whatever
    the network: with a black baseline they are differences from black times a gradient, and what is black has none.
    """
    black = torch.tensor(-1.0, device=judged.x.device)
    found = integrated_gradients(judged.score, judged.x, judged.target, black)

    def again() -> Tensor:
        made = integrated_gradients(judged.score, judged.x, judged.target, black, tolerance=0, most=COARSE)
        return made.map.sum(1).cpu()

    sanity, without = _checked(judged, again, seed, progress)
    images, maps = pictures.to_uint8(judged.x.cpu()), found.map.sum(1).cpu()
    sums, complete = found.map.cpu().double().flatten(1).sum(1), found.remaining <= COMPLETE
    each = list(zip(judged.names, judged.said, found.gained, sums, found.remaining, found.steps, strict=True))
    rows = tuple(
        (name, said, number(float(gained)), number(float(total)), f"{100 * float(missing):.2f}%", str(int(steps)))
        for name, said, gained, total, missing, steps in each
    )
    lacking = "" if bool(complete.all()) else f" {int((~complete).sum())} did not get there within {MOST:,} intervals: see what is missing."
    mind = ""
    if sanity.top.absolute > SURVIVES:
        mind = (
            " Mind the colors, not how strong they are: where a map is strong it is so of any network, because what is black in the "
            f"image gets nothing (the sizes alone keep a rank correlation of {number(sanity.top.absolute)})."
        )
    return Attribution(
        "integrated-gradients",
        "Which pixels speak for it: integrated gradients",
        f"Blue pixels raise the score that {judged.who} gives, red ones lower it, compared with a black image. The score is "
        f"{judged.scored}.{mind}",
        _refusal(judged, sanity),
        sanity,
        _in_words(judged, sanity),
        Strip(
            "The images, what speaks for what it says (blue) and against it (red), each map by its own scale; in the last row the same of "
            "the network with its top layer shuffled, which knows nothing more of what it is asked.",
            _stacked(images, signed(maps), signed(without)),
            len(images),
            ("image", "integrated gradients", "top layer shuffled"),
            judged.heads,
            drawn=judged.drawn,
        ),
        Table(
            f"The sum over all pixels is what the image gains over black. The path is cut finer until {100 * COMPLETE:.0f}% or less of it "
            f"is missing.{lacking} {judged.of_said}",
            ("image", f"{judged.who} says", "gained", "sum of the map", "missing", "intervals"),
            rows,
        ),
        {
            "skill": _skill(judged.skill),
            "complete": bool(complete.all()),
            "images": [
                {"name": name, "says": said, "gained": float(gained), "missing": float(missing), "intervals": int(steps)}
                for name, said, gained, _, missing, steps in each
            ],
        },
    )


def cam_part(judged: JudgedImages, seed: int = 0, progress: Progress | None = None) -> Attribution:
    """Grad-CAM of every image, with its sanity check at the size of the maps, which are not below zero and so compared as they are."""
    layer_name, layer, (height, width) = spatial_layer(judged.network, judged.run)

    def again() -> Tensor:
        return grad_cam(judged.score, layer, judged.x, judged.target).cpu()

    maps = again()
    sanity, without = _checked(judged, again, seed, progress)
    images, size = pictures.to_uint8(judged.x.cpu()), judged.x.shape[-1]
    empty = sum(float(one.max()) <= 0 for one in maps)
    lit = "" if not empty else f" {empty} of {len(maps)} maps are empty: no place of this layer speaks for what it says."
    return Attribution(
        "grad-cam",
        "Which places speak for it: Grad-CAM",
        f"Bright places hold what raises the score that {judged.who} gives; what lowers it is left out. The maps are those of "
        f"{layer_name}, the last layer with {SIDE} places a side or more. It has {height}x{width} for {size}x{size} pixels: one place "
        f"stands for {size / height:.0f} pixels a side, and nothing finer is known.",
        _refusal(judged, sanity),
        sanity,
        _in_words(judged, sanity),
        Strip(
            "The images, the places that speak for what it says, over the image, each map by its own scale; in the last row the same "
            f"of the network with its top layer shuffled, which knows nothing more of what it is asked.{lit}",
            _stacked(images, over(heat(enlarged(maps, size)), images), over(heat(enlarged(without, size)), images)),
            len(images),
            ("image", "Grad-CAM", "top layer shuffled"),
            judged.heads,
            drawn=judged.drawn,
        ),
        None,
        {
            "skill": _skill(judged.skill),
            "layer": layer_name,
            "places": [height, width],
            "empty": empty,
            "images": [{"name": name, "says": said} for name, said in zip(judged.names, judged.said, strict=True)],
        },
    )


def _checked(judged: JudgedImages, again: Callable[[], Tensor], seed: int, progress: Progress | None) -> tuple[Sanity, Tensor]:
    """The sanity check, and the maps of the network whose top layer is shuffled."""
    layers = layers_of(judged.network, judged.run)
    most = LAYERS if judged.x.shape[-1] <= SMALL else FEW_LAYERS
    sanity = cascade(layers, again, seed=seed, most=most, progress=progress)
    with shuffled(layers[0][1], seed):
        return sanity, again()


def _refusal(judged: JudgedImages, sanity: Sanity) -> str:
    """Why maps are no explanation; empty where nothing speaks against them."""
    skill = judged.skill
    if sanity.refused:
        return (
            f"the maps hardly change when {judged.who} forgets what it learned: with its top layer shuffled they keep a rank "
            f"correlation of {number(sanity.top.correlation)}, and above {SURVIVES} they show the image, not the network."
        )
    if skill is not None and not skill.there:
        return (
            f"{judged.who} knows nothing that could be explained: {skill.measured} is {number(skill.value)}, and guessing gives "
            f"{number(skill.guessing)}."
        )
    return ""


def _in_words(judged: JudgedImages, sanity: Sanity) -> str:
    top, skill = sanity.top, judged.skill
    fell = (
        f"with the top layer ({top.layer}) shuffled, the maps as they are shown keep a rank correlation of {number(top.correlation)}; "
        f"above {SURVIVES} they are refused."
    )
    if skill is None:
        return f"{fell} Whether {judged.who} is right at all is not known: there are too few held-out images with labels, or of one class."
    return f"{fell} As for {judged.who}, {skill.measured} is {number(skill.value)}; guessing gives {number(skill.guessing)}."


def _fall(sanity: Sanity) -> LinePlot:
    places = [0.0, *(float(k + 1) for k in range(len(sanity.cascade)))]
    lines = {
        "maps as they are shown": (places, [1.0, *(one.correlation for one in sanity.cascade)]),
        "their sizes alone": (places, [1.0, *(one.absolute for one in sanity.cascade)]),
        "refused above": ([places[0], places[-1]], [SURVIVES, SURVIVES]),
    }
    caption = "How like the original the maps stay as layers are shuffled from the top down (Adebayo et al. 2018); the first one decides."
    return LinePlot(caption, "layers shuffled, from the top", "rank correlation", lines)


def _skill(skill: Skill | None) -> dict[str, Any] | None:
    return None if skill is None else {"measured": skill.measured, "value": skill.value, "guessing": skill.guessing, "least": skill.least}


def _stacked(images: Pixels, maps: Pixels, without: Pixels) -> Pixels:
    return np.concatenate([rgb(images), maps, without])
