"""What an explanation needs, opened, and the parts that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from calotype.data import Images
from calotype.engine.display import Display, Say, Terminal, progress
from calotype.errors import UserError
from calotype.evaluation import explaining_families
from calotype.evaluation.beside import named, of_run
from calotype.evaluation.request import Request
from calotype.evaluation.target import run_of
from calotype.explanation.codes import Codes
from calotype.explanation.section import Explanation, Section
from calotype.explanation.unsupervised import unsupervised
from calotype.files import name_of
from calotype.metrics.features import FeatureSpace, default, pick
from calotype.tasks.model_inputs import Given, given
from calotype.tasks.sample import Generator, load
from calotype.types import HasLatents


@dataclass(frozen=True)
class Explained:
    """A model, opened, and all that parts may ask for beside it."""

    name: str
    generator: Generator
    train: Images | None  # in the shape of the model; None where they are not known
    holdout: Images | None
    given: Given | None  # images that somebody named
    label: int | None  # the one class to explain; None for all
    seed: int
    say: Say | None
    judge: FeatureSpace | None = None

    def progress(self, what: str) -> Callable[[int, int], None] | None:
        """What is told how far a work has come."""
        return progress(self.say, what)


@dataclass(frozen=True)
class ExplanationPart:
    """One line of the table of parts."""

    name: str
    make: Callable[[Explained], Section | None]  # None for a model without what it takes


def _unsupervised(one: Explained) -> Section | None:
    if not isinstance(one.generator.model, HasLatents):
        return None
    return unsupervised(Codes(one.generator), one.seed, one.label)


PARTS: tuple[ExplanationPart, ...] = (
    ExplanationPart("unsupervised-directions", _unsupervised),
    ExplanationPart("denoising", explaining_families.denoising),
    ExplanationPart("latent-units", explaining_families.latent_units),
    ExplanationPart("surprise", explaining_families.pixel_surprise),
    ExplanationPart("integrated-gradients", explaining_families.gradients),
    ExplanationPart("grad-cam", explaining_families.cam),
)


def explain(
    model: str | Path,
    *,
    images: Sequence[str] = (),
    data: str | None = None,
    holdout: str | None = None,
    label: int | str | None = None,
    parts: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    display: Display | None = None,
) -> Explanation:
    """Why a model makes what it makes.

    Args:
        model: The folder of a run, or a ``model/`` folder.
        images: Images to explain: files, folders, zip archives, or data sets (of those, held-out images).
        data: Its training images, where it does not know them itself.
        holdout: Real images that it never saw, likewise.
        label: The one class to explain, by name or place.
        parts: The parts to make, by name; all that the model has without.
        seed: Of all that is drawn.
        device: Where the model computes.
        display: Told how far it has come; a bar or lines on stderr where none is given.

    Raises:
        UserError: for a model of which nothing can be explained, and for names that are none.
    """
    shown = display or Terminal()
    known = [part.name for part in PARTS]
    if unknown := next((name for name in parts if name not in known), None):
        raise UserError(f"no part {unknown!r} of an explanation: choose of {', '.join(known)}")
    opened = _opened(
        Path(model), Request(data=data, holdout=holdout, seed=seed, device=device, say=shown.show, tell=shown.say), images, label
    )
    made = [part.make(opened) for part in PARTS if not parts or part.name in parts]
    sections = [one for one in made if one is not None]
    if not sections:
        raise UserError(
            f"a {opened.generator.recipe} model has nothing of what was asked to be explained: known parts are {', '.join(known)}"
        )
    generator = opened.generator
    parameters = sum(p.numel() for p in generator.model.parameters())
    about = {"recipe": generator.recipe, "model": f"{parameters:,} parameters", "images": "x".join(map(str, generator.spec.shape[::-1]))}
    return Explanation(opened.name, about, sections, seed=seed)


def _opened(path: Path, request: Request, images: Sequence[str], label: int | str | None) -> Explained:
    generator = load(path, request.device)
    generator.require_images()
    spec, run = generator.spec, run_of(path)
    if run is None:
        beside = named(request, spec)
    else:
        config, facts = run.read_config()
        beside = of_run(config.data, facts["data"]["fingerprint"], request, spec, spec)
    asked = given(tuple(images), spec, 16) if images else None
    judge = pick(None, spec)[0] if default(spec) == "digits" else None
    return Explained(name_of(path), generator, beside.train, beside.holdout, asked, generator.label(label), request.seed, request.say, judge)
