"""The part of a report's page about the classification accuracy score."""

from __future__ import annotations

from calotype.evaluation.result import Report
from calotype.metrics.paired_accuracy import said
from calotype.report.drawing import text
from calotype.report.html import linked, table, tag, term
from calotype.report.text_recognition import cas_in_words, share_in_words

_MOST_ROWS = 60  # classes of the table


def taught(report: Report) -> str:
    """What a classifier learns from drawn images, beside what the same one learns from real ones, class by class."""
    found = report.cas
    if found is None:
        return ""
    lead = (
        f"The classifier of the recipe {found.classifier} was trained on {found.images:,} generated images alone, and once more on as many "
        f"real ones, {found.steps} steps each. Both name the same {found.n:,} held-out real images. {cas_in_words(found)}"
    )
    both = [
        ["generated images", share_in_words(found.right, found.n, found.interval), ""],
        ["real images", share_in_words(found.real.right, found.n, found.real.interval), said(found.real)],
    ]
    shown = sorted(found.classes, key=lambda one: (one.generated - one.real) / one.n if one.n else 0.0)
    left_out = len(shown) - _MOST_ROWS
    rows = [
        [
            text(one.name),
            f"{one.n:,}",
            share_in_words(one.generated, one.n, one.generated_interval),
            share_in_words(one.real, one.n, one.real_interval),
            f"{100 * (one.generated - one.real) / one.n:+.1f}" + (" <strong>lost</strong>" if one.lost else "") if one.n else "",
        ]
        for one in (shown[:_MOST_ROWS] if left_out > 0 else shown)
    ]
    more = f" {left_out} more are left out; report.json has all." if left_out > 0 else ""
    below = f"Recall of each class, the most harmed first; lost: the exact intervals lie apart.{more}"
    head = ["Class", "Images", "From generated images", "From real images", "Points"]
    return (
        tag("p", linked(lead), kind="quiet")
        + table(["Trained on", term("classification accuracy score"), term("Paired difference")], both)
        + tag("p", linked(below), kind="quiet")
        + table(head, rows)
    )
