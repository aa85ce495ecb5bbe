"""The parts of a report's page that only models have which make images from images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calotype.evaluation.result import Crop, Method, Report
from calotype.metrics.quality import PSNR, SSIM
from calotype.metrics.score import Estimate, Score
from calotype.report import plots, plots_models
from calotype.report.drawing import text
from calotype.report.html import linked, picture, sheet, table, tag, term
from calotype.report.text import sentence, signed

_SHOWN = 160  # CSS pixels of a piece
_WHAT = {"before": "before", "after": "after", "again": "back again", "truth": "truth", "difference": "error"}


def before_after(report: Report) -> str:
    """Pieces of the worst, the median and the best image at their own pixels; of a translator, the first pictures."""
    crops = report.pictures.crops
    if not crops:
        return ""
    if report.restoration is None:
        titles = dict.fromkeys(crop.title for crop in crops)
        return '<div class="pair">' + "".join(_rows([crop for crop in crops if crop.title == title]) for title in titles) + "</div>"
    lead = (
        "Pieces of single images at their own pixels: before, after, and the truth. The last shows where the result is wrong: "
        "black for 32 levels of 255 or more."
    )
    return tag("p", lead, kind="quiet") + "".join(map(piece, crops))


def _rows(crops: Sequence[Crop]) -> str:
    """Pictures below each other, each row from before to after."""
    kinds = [name for name in _WHAT if getattr(crops[0], name) is not None]
    images = np.stack([getattr(crop, name) for crop in crops for name in kinds])
    order = ", ".join(_WHAT[name] for name in kinds)
    caption = f"<strong>{text(crops[0].title)}</strong>: the first held-out ones, not selected. Left to right: {order}."
    shown = picture(sheet(images, columns=len(kinds)), f"{crops[0].title}: {order}", width=80 * len(kinds))
    return f"<figure><figcaption>{caption}</figcaption>{shown}</figure>"


def piece(crop: Crop, who: str = "") -> str:
    """One piece before and after, under its name."""
    cells = ""
    for name, said in _WHAT.items():
        image = getattr(crop, name)
        if image is not None:
            made = sheet(image[None], columns=1, side=max(image.shape))
            cells += f"<figure>{picture(made, f'{said}: {crop.title}', width=_SHOWN)}<figcaption>{said}</figcaption></figure>"
    return f'<h3>{text(who + ", " + crop.title if who else sentence(crop.title).rstrip("."))}</h3><div class="crops">{cells}</div>'


def methods(report: Report) -> str:
    """The model beside what needs no training."""
    found = report.restoration
    if found is None:
        return ""
    rows = [[term(m.name), spanned(m.psnr, 2), spanned(m.ssim, 4), _gain(m)] for m in found.methods]
    count = len(found.images)
    spans = f"Intervals hold the mean with 95% certainty (Student's t over {count} images)" if count > 1 else "One image has no interval"
    lead = (
        f"Damage: <code>{text(found.degradation)}</code>. Scores: {text(found.convention)}. {spans}. The last column is the mean of the "
        "differences image by image, which is surer than the difference of the means: below zero the other method is better."
    )
    head = ["Method", term(f"{PSNR.name}, dB"), term(SSIM.name), "This model is better by, dB"]
    shown = [(m.name, Score(PSNR.name, m.psnr.value, m.psnr.interval, None, count, count, "", PSNR.kind)) for m in found.methods]
    drawn = f"<figure>{plots.models(PSNR.name, shown)}</figure>"
    return tag("p", lead, kind="quiet") + table(head, rows, marked=0) + f'<div class="pair">{drawn}{_each(report)}</div>'


def _each(report: Report) -> str:
    found = report.restoration
    if found is None or found.best is None or len(found.images) < 3:
        return ""
    name = found.best.name
    return f"<figure>{plots_models.pairs(found.methods[0].name, name, found.psnr[found.methods[0].name], found.psnr[name])}</figure>"


def spanned(found: Estimate, digits: int) -> str:
    """A mean with its interval below."""
    if found.interval is None:
        return f"{found.value:.{digits}f}"
    low, high = found.interval
    return f"{found.value:.{digits}f}<br><span class='quiet nowrap'>{low:.{digits}f} to {high:.{digits}f}</span>"


def _gain(method: Method) -> str:
    if method.gain is None:
        return ""
    span = method.gain.interval
    return signed(method.gain.value) + (
        "" if span is None else f"<br><span class='quiet nowrap'>{signed(span[0])} to {signed(span[1])}</span>"
    )


def levels(report: Report) -> str:
    """PSNR against the noise level."""
    found = report.restoration
    if found is None or not found.levels:
        return ""
    names = list(dict.fromkeys(name for level in found.levels for name in level.psnr))
    rows = [[term(name), *(f"{level.psnr[name]:.2f}" if name in level.psnr else "" for level in found.levels)] for name in names]
    head = [term(f"{PSNR.name}, dB"), *(f"sigma {level.sigma:g}" for level in found.levels)]
    lead = "The same images at fixed noise levels (sigma, of 255): the model told the level, not told it, and what needs no training."
    drawn = f"<figure>{plots_models.levels(found.levels)}</figure><figure>{table(head, rows)}</figure>"
    return tag("p", linked(lead), kind="quiet") + f'<div class="pair">{drawn}</div>'
