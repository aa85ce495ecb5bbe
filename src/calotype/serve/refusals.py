"""Why a request is refused, where that is neither bad input nor a mistake of ours; each has its status in HTTP."""

from __future__ import annotations

from calotype.errors import UserError


class FullError(UserError):
    """There is no room for one more at the moment: 429, with the seconds after which to ask again."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownError(UserError):
    """Nothing has such an id: 404."""


class ConflictError(UserError):
    """What is asked for cannot be done in the state that things are in: 409."""
