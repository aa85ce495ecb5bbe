"""Copying: are generated images training images in disguise?"""

from __future__ import annotations

from calotype.diagnose.verdict import Finding
from calotype.metrics.copying import Copying

REMEDIES = (
    "more training images, without duplicates (calotype data check)",
    "a smaller --model.width",
    "a shorter --minutes",
    "--data.flip True (not for digits or text)",
    "--optimizer.weight-decay 0.01 --optimizer.name adamw",
)


def copying(first: Copying, second: Copying, spaces: tuple[str, str]) -> Finding:
    """Whether the images closest to real ones are closest to training images more often than chance allows, in two feature spaces.

    Both must see it: the p-value is the larger of the two. FAIL from 1% of copies. Where not even 10% would show, there is no verdict.
    """
    weaker = max(first, second, key=lambda c: c.p)
    return Finding(
        "copying",
        effect=max(0.0, min(first.effect.value, second.effect.value)),
        warn=1e-9,
        fail=0.01,
        blind=0.1,
        p=weaker.p,
        detectable=max(1.0 if c.detectable is None else c.detectable for c in (first, second)),
        says={
            "PASS": "No sign that generated images are closer to training images than to images that the model never saw.",
            "CANNOT TELL": "Too few images to see copies: draw more with --count, or hold out more.",
            "FAIL": "Some generated images are copies, or near copies, of training images.",
        },
        evidence="; ".join(
            f"about {100 * c.effect.value:.1f}% copies by {space} (p = {c.p:.2g})" for c, space in zip((first, second), spaces, strict=True)
        ),
        remedies=REMEDIES,
    )
