"""The ways in which a command may end badly, each of one clear line; everything else is a bug."""

import unicodedata


class CalotypeError(Exception):
    """One clear line that says what went wrong and what to do about it. The command line prints it and exits with 1."""

    exit_code = 1


class UserError(CalotypeError):
    """The input is at fault (a file, an option, a folder), found before any work was lost. Exit code 2."""

    exit_code = 2


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
