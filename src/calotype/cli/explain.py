"""``calotype explain``."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from calotype import pictures
from calotype.cli.outcomes import printable_lines
from calotype.cli.outputs import require_place, tell_unmarked
from calotype.cli.parse import parse
from calotype.cli.shell import Shell
from calotype.evaluation.explaining import explain, opened_model
from calotype.evaluation.result import plain
from calotype.explanation.codes import Codes
from calotype.explanation.interpolation import loop
from calotype.explanation.inversion import STEPS
from calotype.explanation.section import to_json
from calotype.files import unused
from calotype.provenance.marker import Provenance
from calotype.report.animation import require_animation, save_animation
from calotype.report.files import require_page, save_explanation
from calotype.settings import Count, Seed

Frames = Annotated[int, Field(ge=2, le=1000)]


@dataclass(frozen=True)
class Options:
    """Tell why a model makes what it makes, on one page that needs nothing else: a browser shows it.

    Of models with latents (GANs, VAEs, flows, diffusion): directions in which images change and what changes along them in numbers; units
    that a class needs; how well it makes images that are given, its training images and others; the way from one image to another; the
    training images most like its own. Of diffusion what is decided when; of VAEs which latents say something; of autoregressive models and
    flows the bits of each pixel; of classifiers and discriminators which pixels speak for what they say (integrated gradients, Grad-CAM),
    refused where the map is none of the network. What a model has not is left out.

    Directions are called by what is measured (slant, thickness, brightness, colorfulness), by a class (class-7), or by how they were
    found without labels (sefa-1, pca-2). --images are sought among what the model can make.

    With --json the numbers of all parts: {"subject", "about", "seed", "notes", "sections": {NAME: {...}}, "written"}.

    Examples:
    calotype explain runs/hinge-mnist5k-0001
    calotype explain runs/vae-mnist5k-0001 --parts named-directions --directions slant thickness
    calotype explain runs/hinge-photos-0001 --classifier runs/resnet-photos-0001 --images mine.png --animation walk.webp
    calotype explain runs/resnet-photos-0001 --images cat.jpg --parts integrated-gradients grad-cam
    """

    model: Annotated[
        Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")
    ]  # a run, or a model/ folder; digits: the packaged recognizer
    images: tuple[str, ...] = ()  # images to explain: files, folders, zips or data sets (of those, held-out images)
    classifier: str | None = None  # who says what images show: digits, or the run of a classifier; digits for digits where none is given
    data: str | None = None  # the images it was trained on, where it does not know them itself
    holdout: str | None = None  # real images that it never saw, likewise
    label: str | None = None  # the one class to explain (conditional models and classifiers)
    parts: tuple[str, ...] = ()  # of the page, by name; all that the model has where none is given
    directions: tuple[str, ...] = ()  # to explain, by name; all that are known where none is given
    count: Count | None = None  # images that directions are learned from; 2,000 where none is given, fewer of slow models
    steps: Count = STEPS  # of the search for the latents of an image
    animation: Path | None = None  # a moving picture to write as well, of images that become others: .gif, .webp or .mp4
    frames: Frames = 48  # of the animation
    out: Path | None = None  # the page, replaced where it exists; else explanation.html, explanation-2.html ..., whichever is free
    provenance: Provenance = "full"  # what the animation says of its making; minimal: that a model made it, but not how
    seed: Seed = 0  # of all that is drawn
    device: str = "auto"  # auto, cpu, cuda, mps
    json: bool = False  # print the numbers as JSON


def run(words: list[str]) -> int:
    """Explain; prints where the page is."""
    options = parse(Options, words, "calotype explain")
    out = options.out or unused(Path("explanation.html"))
    require_page(out)
    if options.animation is not None:
        require_animation(options.animation)
        require_place(options.animation)
    animated = None if options.animation is None else _animated(options)
    with closing(Shell()) as display:
        found = explain(
            options.model,
            images=options.images,
            classifier=options.classifier,
            data=options.data,
            holdout=options.holdout,
            label=options.label,
            parts=options.parts,
            directions=options.directions,
            count=options.count,
            steps=options.steps,
            seed=options.seed,
            device=options.device,
            display=display,
        )
    save_explanation(found, out)
    if animated is not None and options.animation is not None:
        _animate(options, *animated, options.animation)
    written = [str(path) for path in (out, options.animation) if path is not None]
    if options.json:
        print(json.dumps(plain(to_json(found) | {"written": written}), allow_nan=False))
    else:
        parts = "; ".join(one.title for one in found.sections)
        print(printable_lines([parts, *(f"{what}: {path}" for what, path in zip(("page", "animation"), written, strict=False))]))
    return 0


def _animated(options: Options) -> tuple[Codes, int | None]:
    """What an animation is made of. Raises `UserError` for a model without latents, before anything else takes its time."""
    generator = opened_model(options.model, options.device)
    return Codes(generator), generator.label(options.label)


def _animate(options: Options, codes: Codes, label: int | None, path: Path) -> None:
    """Write images that become others."""
    generator = codes.generator
    frames = loop(codes, options.frames, options.seed, label)
    marker = generator.made("decoding", seed=options.seed, label=options.label, options={"frames": options.frames}).at(options.provenance)
    save_animation([pictures.grid(frame, columns=3, least=240) for frame in frames], path, marker)
    tell_unmarked(options.provenance)
