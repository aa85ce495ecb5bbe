"""Generated images beside the real ones that are nearest to them, as figures of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from calotype.evaluation.result import Neighbors, Pixels
from calotype.metrics.wording import number, space_in_words
from calotype.report.drawing import text
from calotype.report.html import linked, picture, sheet, shrunk, tag

_NEAREST = 12
_SMALL = 64  # pixels: the side of an image in a row of neighbors


def near(found: Neighbors, caption: str) -> str:
    """Small figures: each generated image beside its nearest real ones, with the distances below."""
    parts: list[tuple[str, Pixels, tuple[float, ...], tuple[str, ...]]] = [("generated", found.generated, (), ())]
    for name, images, far, files in (
        ("nearest in training", found.train, found.train_distance, found.train_name),
        ("nearest held out", found.holdout, found.holdout_distance, found.holdout_name),
    ):
        if images is not None:
            parts.append((name, images, far, files))
    wide = {1: 4, 2: 8, 3: 12}[len(parts)]
    cells = ""
    for i in range(min(_NEAREST, len(found.generated))):
        row = np.stack([images[i] for _, images, _, _ in parts])
        alt = f"Generated image {i + 1}" + "".join(f", {name}" for name, *_ in parts[1:])
        shown = picture(sheet(shrunk(row, _SMALL), columns=len(row)), alt, width=16 * wide)
        labels = "".join(_below(far[i : i + 1], files[i : i + 1]) for _, _, far, files in parts)
        cells += f"<figure>{shown}<figcaption>{labels}</figcaption></figure>"
    order = ", ".join(name for name, *_ in parts)
    named = ", and the name of the file" if found.train_name else ""
    below = f" Below: the distance, as seen by {linked(space_in_words(found.features))}{named}." if found.features else ""
    lead = tag("p", f"{linked(caption)} Left to right: {linked(order)}.{below}", kind="quiet")
    return f'{lead}<div class="near" style="--wide: {wide}rem">{cells}</div>'


def _below(far: Sequence[float], files: Sequence[str]) -> str:
    """What stands below an image: its distance and its name, of a file without the folders, which are shown where the pointer rests."""
    said = "".join(number(value) for value in far)
    return f"<span>{said}" + "".join(f'<small title="{text(name)}">{_named(PurePosixPath(name))}</small>' for name in files) + "</span>"


def _named(path: PurePosixPath) -> str:
    """The name of a file, which may break anywhere but in its suffix."""
    return f'{text(path.stem)}<span class="nowrap">{text(path.suffix)}</span>' if path.suffix else text(path.name)
