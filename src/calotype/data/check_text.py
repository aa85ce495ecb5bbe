"""The report of ``check`` as lines for a terminal."""

from __future__ import annotations

from calotype.data.check import SHOWN, Check


def describe(found: Check) -> list[str]:
    """The lines: counts, what is wrong, what to train with."""
    head = f"{found.source} ({found.kind}): {found.images:,} usable images, {len(found.skipped):,} unusable, {found.others:,} other files"
    return [
        head,
        *_contents(found),
        *_duplicates(found),
        *_unusable(found),
        *(f"  note      {note}" for note in found.notes),
        *_advice(found),
    ]


def _contents(found: Check) -> list[str]:
    sizes, animated = found.sizes, f"; {found.animated:,} animated, of which the first frame counts" if found.animated else ""
    rest = f" and {sizes.different - len(sizes.common)} more sizes" if sizes.different > len(sizes.common) else ""
    split = "the source says so" if found.own_split else "a tenth" + (" of each class" if found.classes else "")
    return [
        f"  size      {_size(sizes.smallest)} to {_size(sizes.largest)}, median {_size(sizes.median)}; {_counts(dict(sizes.common))}{rest}",
        f"  modes     {_counts(found.modes)}" + (f"; {found.grey:,} without color" if found.grey else ""),
        f"  formats   {_counts(found.formats)}{animated}",
        f"  classes   {_counts(found.classes) if found.classes else 'none'}",
        f"  split     {found.train:,} to train on, {found.holdout:,} held out ({split})",
    ]


def _duplicates(found: Check) -> list[str]:
    lines = [f"  the same  {found.exact_extra:,} images repeat another one pixel for pixel"]
    lines += _first(["    " + " = ".join(group[:4]) + (" ..." if len(group) > 4 else "") for group in found.exact])
    lines.append(f"  similar   {found.near_pairs:,} pairs are nearly the same")
    lines += _first([f"    {a} ~ {b} ({difference:.3f})" for a, b, difference in found.near])
    if found.across:
        lines.append(f"  WARNING   {found.across:,} of these pairs have one image in each part of the split: scores will flatter")
        lines += _first([f"    {a} | {b}" for a, b in found.across_examples])
    return lines


def _unusable(found: Check) -> list[str]:
    return _first([f"  unusable  {entry.name}: {entry.reason}" for entry in found.skipped], 3 * SHOWN)


def _advice(found: Check) -> list[str]:
    advice = found.advice
    options = f"--size {advice.size} --channels {advice.channels} --train.batch {advice.batch}"
    lines = [f"  advice    calotype train {advice.recipe} --data {found.source} {options}"]
    return lines + [f"    {key}: {reason}" for key, reason in advice.reasons.items()]


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _counts(counts: dict[str, int]) -> str:
    shown = list(counts.items())[: 2 * SHOWN]
    return ", ".join(f"{name} {count:,}" for name, count in shown) + (
        f", {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
    )


def _first(lines: list[str], shown: int = SHOWN) -> list[str]:
    return lines[:shown] + ([f"    ... {len(lines) - shown:,} more"] if len(lines) > shown else [])
