"""Whatever a decoder does to a broken file, kept within that file: what it raises becomes a reason, what it prints is dropped."""

from __future__ import annotations

import ctypes
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import Lock

from PIL import _imaging

from calotype.errors import printable


class UnusableError(Exception):
    """The reason why a file cannot be used, in a few words."""


class TooLargeError(UnusableError):
    """An image of more pixels than are allowed."""

    def __init__(self, size: tuple[int, int], limit: int) -> None:
        super().__init__(f"{size[0]}x{size[1]} pixels are more than the limit of {limit:,}: scale it down first")


class TooDeepError(UnusableError):
    """An image whose samples take more bytes than are allowed."""

    def __init__(self, size: tuple[int, int], memory: int, limit: int) -> None:
        words = f"{size[0]}x{size[1]} pixels unpack to {memory:,} bytes, more than the limit of {limit:,}"
        super().__init__(f"{words}: scale it down, or save it with 16 bits a channel")


@contextmanager
def reading(what: str = "cannot be decoded") -> Iterator[None]:
    """Within this, every error becomes an ``UnusableError`` that begins with ``what``, and nothing comes upon the terminal unasked.

    It holds for all that is asked of Pillow: a header, a palette or an orientation may be as broken as pixels are, and decoders
    raise nearly every exception there is.
    """
    with _QUIET.held():
        try:
            yield
        except UnusableError:
            raise
        except MemoryError:
            raise UnusableError("there is not enough memory for it") from None
        except Exception as error:
            raise UnusableError(f"{what}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error says, short and fit to be printed."""
    return printable((str(error).splitlines() or [""])[0][:120]) or type(error).__name__


class _Quiet:
    """The warnings of Pillow, silent as long as any thread reads: filters belong to the whole process, so that threads share one."""

    def __init__(self) -> None:
        self.lock, self.readers = Lock(), 0

    @contextmanager
    def held(self) -> Iterator[None]:
        with self.lock:
            if self.readers == 0:
                _silence()
                self.own = warnings.catch_warnings()
                self.own.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            self.readers += 1
        try:
            yield
        finally:
            with self.lock:
                self.readers -= 1
                if self.readers == 0:
                    self.own.__exit__(None, None, None)


_QUIET = _Quiet()


@cache
def _silence() -> None:
    """What Pillow logs goes to none but handlers that others set up; libtiff, whose errors reach Pillow as such, writes nothing besides."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(Exception):  # where it cannot be reached from outside, as on Windows, they stay
        library = ctypes.CDLL(_imaging.__file__)
        for handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)
