"""What became of pictures, in words and as JSON: for all commands that make pictures of pictures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calotype.data.images import some
from calotype.errors import printable
from calotype.spelling import as_options, spelled
from calotype.tasks.batch import Interrupted, Outcome
from calotype.tasks.score import Scored, Scores, mean, means, remarks


@dataclass(frozen=True)
class About:
    """What was asked for, as far as it is told again."""

    out: Path | None = None
    degraded: str | None = None  # the degradation that came first
    truth: str | None = None  # where the originals are
    seed: int = 0
    compare: Path | None = None  # where before and after are


def facts(outcomes: Sequence[Outcome], about: About) -> dict[str, Any]:
    """Everything, for a machine."""
    files = []
    for outcome in outcomes:
        if outcome.error or outcome.kept:
            continue
        row: dict[str, Any] = {"file": outcome.file, "height": outcome.size[0], "width": outcome.size[1]}
        row |= {"written": str(outcome.written) if outcome.written else None, "notes": spelled(outcome.notes)}
        files.append({**row, **outcome.scored.as_json()} if outcome.scored else row)
    scored = [outcome.scored for outcome in outcomes if outcome.scored]
    return {
        "files": files,
        **({"mean": mean(scored)} if scored else {}),
        "failed": [{"file": outcome.file, "error": as_options(outcome.error)} for outcome in outcomes if outcome.error],
        "existing": [outcome.file for outcome in outcomes if outcome.kept],
        "degrade": about.degraded,
        "truth": about.truth,
        "seed": about.seed,
        "compare": str(about.compare) if about.compare else None,
    }


def told(outcomes: Sequence[Outcome], about: About) -> str:
    """The same for people."""
    lines = []
    if scored := [(outcome.file, outcome.scored) for outcome in outcomes if outcome.scored]:
        every = [one for _, one in scored]
        lines += [*_table(scored), "", "PSNR in dB, SSIM, perceptual distance (less is better)"]
        against = f"{about.degraded}, seed {about.seed}" if about.truth is None else f"against the originals in {about.truth}"
        lines.append(f"{against}; {means(every).convention}")
        lines += remarks(every) if len(every) > 1 else []
    lines += written(outcomes, about)
    if about.compare is not None:
        lines.append(f"before and after in {about.compare}{_first(about)}")
    return printable_lines(lines)


def printable_lines(lines: Sequence[str]) -> str:
    """Lines that a terminal can take."""
    return "\n".join(map(printable, lines))


def written(outcomes: Sequence[Outcome], about: About) -> list[str]:
    """Where the results are, in words."""
    done, kept = [outcome for outcome in outcomes if outcome.written], sum(outcome.kept for outcome in outcomes)
    if not done and not kept:
        return []
    there = f"{some(kept, 'result')} there already" if kept else ""
    if not done:
        return [f"{there}, in {about.out}: nothing else was left to do"]
    (height, width), many = done[0].size, f"{some(len(done), 'picture')} in {about.out}"
    said = many if len(done) > 1 else f"{done[0].written}: {width}x{height}"
    return [f"{said}{_first(about)}{f'; {there}' if there else ''}"]


def ended(outcomes: Sequence[Outcome]) -> int:
    """Say what was lost and what failed; returns the exit code."""
    for outcome in outcomes:
        for note in outcome.notes:
            print(f"calotype: {outcome.file}: {as_options(note)}", file=sys.stderr)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        print(f"calotype: {len(failed)} of {some(len(outcomes), 'picture')} failed:", file=sys.stderr)
        for outcome in failed:
            print(f"  {outcome.file}: {as_options(outcome.error)}", file=sys.stderr)
    return 1 if failed else 0


def stopped(stop: Interrupted, words: Sequence[str], out: str | None, skips: bool, goes_on: bool) -> str:
    """What had been done when the user stopped it, and the command that goes on where one does.

    Args:
        stop: How far it came.
        words: The command.
        out: Where results go.
        skips: Whether the command leaves results alone that exist.
        goes_on: Whether it could.
    """
    done = sum(not outcome.error for outcome in stop.outcomes)
    text = f"stopped: {done} of {some(stop.total, 'picture')} done"
    if out is None or stop.total == 1:
        return text
    if not goes_on:
        return f"{text}, in {out}; the same command does all of them again"
    return f"{text}, in {out}; this goes on: {shlex.join([*words, *([] if skips else ['--skip-existing'])])}"


def _first(about: About) -> str:
    """What was done to the pictures before anything else."""
    return f", degraded first by {about.degraded}" if about.degraded else ""


def _table(scored: Sequence[tuple[str, Scored]]) -> list[str]:
    """Scores, a line for each file and one for the mean."""
    whole = means([one for _, one in scored])
    names = list(whole.baselines)
    rows = [*scored, *([("mean", whole)] if len(scored) > 1 else [])]
    table = [["", "result", *names]]
    table += [[label, *(_words(one) for one in (row.own, *(row.baselines[name] for name in names)))] for label, row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return ["  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]) for line in table]


def _words(scores: Scores) -> str:
    near = "" if scores.perceptual is None else f" {scores.perceptual:.3f}"
    return f"{scores.psnr:.2f} {scores.ssim:.4f}{near}".replace("inf", "exact").replace("nan", "-")
