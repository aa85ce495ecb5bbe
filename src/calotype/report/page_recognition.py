"""The parts of a report's page that only classifiers have."""

from __future__ import annotations

from collections.abc import Sequence

from calotype.evaluation.recognized import NamedImage
from calotype.evaluation.result import Pixels, Report
from calotype.metrics.paired_accuracy import said
from calotype.metrics.score import Interval
from calotype.report import plots_recognition, plots_reliability
from calotype.report.drawing import text
from calotype.report.html import figure, linked, picture, sheet, shrunk, table, tag, term
from calotype.report.text_recognition import calibration_in_words, known_labels, percent

_SMALL = 96  # pixels: the side of an image in a row
_MOST_ROWS = 60  # classes of the table


def classes(report: Report) -> str:
    """Each class: how many of its images are found, and how many that are taken for it are of it."""
    found = report.recognition
    if found is None:
        return ""
    weakest = sorted(found.classes, key=lambda one: 2.0 if one.recall is None else one.recall)
    left_out = len(weakest) - _MOST_ROWS
    more = f" {left_out} that are recognized better are left out; report.json has all." if left_out > 0 else ""
    rows = [
        [text(one.name), f"{one.n:,}", _share(one.recall, one.recall_interval), _share(one.precision, one.precision_interval)]
        for one in (weakest[:_MOST_ROWS] if left_out > 0 else found.classes)
    ]
    lead = tag("p", linked(f"On held-out images, with exact 95% intervals (Clopper and Pearson).{more}"), kind="quiet")
    return lead + table(["Class", "Images", term("Recall of a class"), term("Precision of a class")], rows)


def labels_only(report: Report) -> str:
    """Beside the same network that learned from the labelled images alone."""
    found = report.recognition
    if found is None or found.labels_only is None:
        return ""
    lead = (
        f"The same network, trained in the same steps on {known_labels(found)} and nothing else, shows what the images without labels are "
        "worth. Both name the same held-out images."
    )
    own = found.right / found.n
    rows = [
        ["this model", _share(own, found.interval), ""],
        ["labels only", _share(found.labels_only.accuracy, found.labels_only.interval), said(found.labels_only)],
    ]
    return tag("p", linked(lead), kind="quiet") + table(["", term("accuracy"), term("Paired difference")], rows, marked=0)


def confusion(report: Report) -> str:
    """What is taken for what."""
    found = report.recognition
    if found is None:
        return ""
    left_out = len(found.classes) - plots_recognition.MOST
    more = f" The {plots_recognition.MOST} classes with the most mistakes are shown; report.json has all." if left_out > 0 else ""
    caption = f"Confusion matrix: held-out images of each class by what they were taken for. Off the diagonal: mistakes.{more}"
    return figure(plots_recognition.confusion(found), caption)


def reliability(report: Report) -> str:
    """How far its probabilities are true."""
    found = report.recognition
    if found is None:
        return ""
    caption = f"{calibration_in_words(found)} On the line, beliefs are true; below it, it is too sure."
    drawing = plots_reliability.reliability(found.before, found.after, "at its temperature")
    return figure(drawing, caption)


def mistakes(report: Report) -> str:
    """The held-out images that it was wrong about while it was sure."""
    found, images = report.recognition, report.pictures.mistakes
    if found is None or images is None:
        return ""
    wrong = found.n - found.right
    lead = f"The held-out images that it took most firmly for something else, of {wrong:,} mistakes. Some may have wrong labels."
    return tag("p", lead, kind="quiet") + _gallery(images, found.mistakes, "it says")


def suspects(report: Report) -> str:
    """The training images whose labels are doubtful."""
    found, images = report.recognition, report.pictures.suspects
    if found is None or images is None:
        return ""
    lead = (
        f"{found.suspected:,} of {found.checked:,} training images have a label that a judge firmly denies which learned from the others: "
        "wrong labels, or hard images. The most doubtful ones:"
    )
    return tag("p", lead, kind="quiet") + _gallery(images, found.suspects, "the judge says")


def _gallery(images: Pixels, names: Sequence[NamedImage], who: str) -> str:
    cells = ""
    for image, one in zip(images, names, strict=False):
        shown = picture(sheet(shrunk(image[None], _SMALL), columns=1), f"{one.image}: {one.label}, taken for {one.named}", width=_SMALL)
        said = f"{text(one.label)}; {who} <strong>{text(one.named)}</strong>, {percent(one.probability)}"
        below = f'<span>{said}<small title="{text(one.image)}">{text(one.image)}</small></span>'
        cells += f"<figure>{shown}<figcaption>{below}</figcaption></figure>"
    return f'<div class="near" style="--wide: 8rem">{cells}</div>'


def _share(value: float | None, span: Interval | None) -> str:
    if value is None:
        return "<span class='quiet'>none</span>"
    return percent(value) + ("" if span is None else f"<br><span class='quiet nowrap'>{percent(span[0])} to {percent(span[1])}</span>")
