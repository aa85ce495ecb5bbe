"""The report of ``check`` as lines for a terminal."""

from __future__ import annotations

import math
import shlex

from calotype.data.check import SHOWN, DataCheck
from calotype.data.duplicates import PAIRS
from calotype.data.images import some, told
from calotype.engine.display import duration
from calotype.errors import printable
from calotype.recipes.choice import FROM_PHOTOGRAPHS, Advice, RecognitionAdvice
from calotype.spelling import as_options


def describe(found: DataCheck, advice: Advice, expected: float | None = None, recognition: RecognitionAdvice | None = None) -> list[str]:
    """The lines: counts, what is wrong, what to train with, to draw and to recognize; ``expected`` are the minutes that drawing takes."""
    counts = f"{some(found.images, 'usable image')}, {len(found.skipped):,} unusable, {some(found.others, 'other file')}"
    head = f"{printable(found.source)} ({found.kind}): {counts}"
    return [
        head,
        *_mostly_repeats(found),
        *_contents(found),
        *_duplicates(found),
        *_unusable(found),
        *(f"  note      {as_options(note)}" for note in found.notes),
        *_advice(found, advice, expected),
        *_recognition(found, recognition),
    ]


def _mostly_repeats(found: DataCheck) -> list[str]:
    """What is to be known before anything else: that there are few images, each many times."""
    if found.different * 2 > found.images:
        return []
    return [f"  WARNING   these are {some(found.different, 'image')}, repeated: a generator can learn no more than that"]


def _contents(found: DataCheck) -> list[str]:
    sizes, animated = found.sizes, f"; {found.animated:,} animated, of which the first frame counts" if found.animated else ""
    rest = f" and {some(sizes.different - len(sizes.common), 'more size')}" if sizes.different > len(sizes.common) else ""
    median = f"{sizes.median[0]}x{sizes.median[1]}"
    ranges = f"widths {_range(sizes.widths)}, heights {_range(sizes.heights)}, median {median}; " if sizes.different > 1 else ""
    how = "the source says so" if found.own_split else "a tenth" + (" of each class" if found.classes else "")
    split = f"{found.holdout:,} held out ({how})" if found.holdout else "none held out"
    return [
        f"  size      {ranges}{_counts(dict(sizes.common))}{rest}",
        *_oblong(found),
        f"  modes     {_counts(found.modes)}" + (f"; {found.gray:,} without color" if found.gray else ""),
        f"  formats   {_counts(found.formats)}{animated}",
        f"  classes   {_counts(found.classes) if found.classes else 'none'}",
        f"  split     {found.train:,} to train on, {split}",
    ]


def _oblong(found: DataCheck) -> list[str]:
    """What a training does with images that are not square, and how much of them that costs."""
    sizes = found.sizes
    if sizes.usual is None:
        return []
    which = "all" if sizes.oblong == found.images else f"{sizes.oblong:,} of {found.images:,}"
    side = "height" if not sizes.wide else "width" if sizes.wide == sizes.oblong else "longer side"
    most = f" (at most {sizes.most:.0%})" if f"{sizes.most:.0%}" != f"{sizes.lost:.0%}" else ""
    lost = f"{sizes.lost:.0%} of the {side} is lost{' on average' if most else ''}{most}"
    return [
        f"  shape     {which} not square, mostly {sizes.usual[0]}x{sizes.usual[1]}: training keeps the middle square (--data.fit crop), "
        f"so that {lost}; --data.fit pad (black borders) and stretch keep it"
    ]


def _duplicates(found: DataCheck) -> list[str]:
    lines = [f"  the same  {some(found.exact_extra, 'image', ' repeats', ' repeat')} another one pixel for pixel"]
    lines += _first(["    " + " = ".join(group[:4]) + (" ..." if len(group) > 4 else "") for group in found.exact])
    least = "at least " if found.near_pairs >= PAIRS else ""
    lines.append(f"  similar   {least}{some(found.near_pairs, 'pair', ' is', ' are')} nearly the same")
    lines += _first([f"    {a} ~ {b} ({difference:.3f})" for a, b, difference in found.near])
    if found.across:
        have = "pair has" if found.across == 1 else "pairs have"
        lines.append(f"  WARNING   {least}{found.across:,} {have} one image in each part of the split: scores will flatter")
        lines += _first([f"    {a} | {b}" for a, b in found.across_examples])
    return lines


def _unusable(found: DataCheck) -> list[str]:
    return _first([f"  unusable  {line}" for line in told(found.skipped, SHOWN)], 3 * SHOWN)


def command(advice: Advice, source: str, expected: float | None = None) -> str:
    """The command that trains as advised, for so many minutes."""
    options = {"size": advice.size, "channels": advice.channels, "train.batch": advice.batch, "data.flip": advice.flip}
    options["minutes"] = max(1, math.ceil(advice.minutes if expected is None else expected))
    return f"calotype train {advice.recipe} --data {shlex.quote(printable(source))} " + " ".join(f"--{k} {v}" for k, v in options.items())


def recognition_command(advice: RecognitionAdvice, source: str) -> str:
    """The command that trains a classifier as advised."""
    first = "calotype train --from photos" if advice.recipe == FROM_PHOTOGRAPHS else f"calotype train {advice.recipe}"
    size = "" if advice.size is None else f" --size {advice.size}"
    return f"{first} --data {shlex.quote(printable(source))}{size} --minutes {advice.minutes:g}"


def _recognition(found: DataCheck, advice: RecognitionAdvice | None) -> list[str]:
    if advice is None:
        return []
    return [f"  classify  {recognition_command(advice, found.source)}", f"    recipe    {advice.recipe}: {as_options(advice.reason)}"]


def reasons(advice: Advice) -> list[str]:
    """What was chosen, and why, a line each."""
    chosen = {"recipe": advice.recipe, "size": advice.size, "channels": advice.channels, "batch": advice.batch, "flip": advice.flip}
    chosen["minutes"] = f"{advice.minutes:g}"
    return [f"    {name:<9} {chosen[name]}: {as_options(reason)}" for name, reason in advice.reasons.items()]


def _advice(found: DataCheck, advice: Advice, expected: float | None) -> list[str]:
    lines = [f"  advice    {command(advice, found.source, expected)}", *reasons(advice)]
    if expected is None:
        return lines
    return [*lines, f"    time      about {duration(60 * expected)} on this machine until most of what it draws can be told for what it is"]


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]:,} to {ends[1]:,}" if ends[0] < ends[1] else f"{ends[0]:,}"


def _counts(counts: dict[str, int]) -> str:
    shown = list(counts.items())[: 2 * SHOWN]
    return ", ".join(f"{name} {count:,}" for name, count in shown) + (
        f", {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
    )


def _first(lines: list[str], shown: int = SHOWN) -> list[str]:
    return lines[:shown] + ([f"    ... {len(lines) - shown:,} more"] if len(lines) > shown else [])
