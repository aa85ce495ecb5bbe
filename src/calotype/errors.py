"""The two ways in which a command may end badly; everything else is a bug and shows its traceback."""


class CalotypeError(Exception):
    """One clear line that says what went wrong and what to do about it. The command line prints it and exits with 1."""

    exit_code = 1


class UserError(CalotypeError):
    """The input is at fault (a file, an option, a folder), found before any work was lost. Exit code 2."""

    exit_code = 2


class TrainingError(CalotypeError):
    """Training could not go on although the input was good; the run on disk is intact. Exit code 1."""
