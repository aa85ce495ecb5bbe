"""The ways in which a command may end badly, each of one clear line; everything else is a bug.

Messages name settings as `calotype.spelling` says: `` `model.smooth=1` ``. Only who shows them to somebody at a shell knows of options.
"""

import shlex
import sys
import tempfile
import traceback
import unicodedata


class CalotypeError(Exception):
    """One clear line that says what went wrong and what to do about it. The command line prints it and exits with 1."""

    exit_code = 1


class UserError(CalotypeError):
    """The input is at fault (a file, an option, a folder), found before any work was lost. Exit code 2."""

    exit_code = 2


class SettingError(UserError):
    """A setting cannot be what it was given.

    Attributes:
        field: The setting by its place in the configuration, ``model.generator.width``, or the name of the argument.
        allowed: What it takes, in words: ``a whole number from 1 to 65,536``; empty where only the message tells.
    """

    def __init__(self, message: str, field: str, allowed: str = "") -> None:
        super().__init__(message)
        self.field, self.allowed = field, allowed


class TrainingError(CalotypeError):
    """Training could not go on although the input was good; the run on disk is intact. Exit code 1."""


class LostError(TrainingError):
    """Another process of the same training is gone."""


class ElsewhereError(CalotypeError):
    """Another process of the same training failed first and says why: nothing is left to print, and the exit code is its own."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process of this training failed")
        self.exit_code = exit_code


class DamagedError(UserError):
    """A file is not what was written, or nothing that Calotype ever wrote."""


def unforeseen(error: BaseException) -> str:
    """One line for what is a mistake of ours: where the whole trace is, or the last place in it where no file can be written."""
    said = printable(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
    place = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    where = f"{place.name}, {place.filename}:{place.lineno}" if place else "no place"
    try:
        path = _trace_of(where, "".join(traceback.format_exception(error)))
    except OSError:
        return f"an error of calotype itself, please report it ({said}, in {where})"
    return f"an error of calotype itself ({said}): please report it with what stands in {path}"


_TRACES: dict[str, str] = {}  # written by this process: the file of each place


def _trace_of(where: str, trace: str) -> str:
    """The file with a trace: one for each place, since a thousand pictures may end at the same."""
    from calotype import __version__

    if where not in _TRACES:
        handle, path = tempfile.mkstemp(".txt", "calotype-error-")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"calotype {__version__}, {shlex.join(sys.argv)}\n{trace}")
        _TRACES[where] = path
    return _TRACES[where]


def printable(text: str) -> str:
    """``text`` from outside (a name, a class, what a library says) as a terminal, a log and a page can take it, in one line.

    What is no character becomes U+FFFD: control characters, which a terminal obeys; line ends; marks that turn the direction of
    reading; bytes that were no UTF-8.

    >>> printable("a\\x1b[2K\\nb")
    'a\ufffd[2K\ufffdb'
    """
    return "".join("\ufffd" if unicodedata.category(c) in _UNPRINTABLE and c not in _JOINERS else c for c in text)


_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset({"\u200c", "\u200d"})  # parts of words in some scripts, and of emoji
