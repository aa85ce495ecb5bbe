"""Options from dataclasses by tyro, with its errors brought to one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import TypeVar

import tyro

from calotype.errors import UserError

T = TypeVar("T")


def parse(kind: type[T], words: Sequence[str], prog: str, default: T | None = None) -> T:
    """The options in ``words`` as a dataclass; ``--help`` prints and exits; `UserError` for anything that does not fit."""
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            if default is None:
                return tyro.cli(kind, args=list(words), prog=prog, config=config)
            return tyro.cli(kind, args=list(words), prog=prog, default=default, config=config)
    except SystemExit as stop:
        if stop.code == 0:
            raise
        command = prog.split(" [")[0]
        raise UserError(f"{_one_line(complaint.getvalue(), command)}; {command} --help lists the options") from None


def _one_line(box: str, command: str) -> str:
    """The words of tyro's framed message without its frame, title and closing hint."""
    lines = [line.strip("│╭╮╰╯ ") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    said = [line for line in lines[1:] if not set(line) <= {"─", "-"} and not line.startswith("For full helptext")]
    text = " ".join(said).split("Argument helptext:")[0].replace(f"{command} --help", "").strip(" .,")
    return text[:1].lower() + text[1:] if text else "the options do not fit"
