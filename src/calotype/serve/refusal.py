"""How the service says no: a status, and one line that says what is wrong and what to do, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from calotype.errors import CalotypeError, SettingError, printable


class Refusal(CalotypeError):
    """A request that is not answered as it was meant.

    Attributes:
        status: Of HTTP.
        field: What in the request it is about; empty for none.
        allowed: What that takes, in words.
        headers: That the answer has besides.
    """

    def __init__(self, status: int, message: str, field: str = "", allowed: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.field, self.allowed, self.headers = status, field, allowed, dict(headers or {})


class FullError(Refusal):
    """There is no room for one more just now: 429, with the seconds after which to come again."""

    def __init__(self, message: str, retry_after: float = 1) -> None:
        self.retry_after = max(1, round(retry_after))
        super().__init__(HTTPStatus.TOO_MANY_REQUESTS, message, headers={"Retry-After": str(self.retry_after)})


class UnknownError(Refusal):
    """Nothing has such an id: 404."""

    def __init__(self, message: str, field: str = "id") -> None:
        super().__init__(HTTPStatus.NOT_FOUND, message, field)


class ConflictError(Refusal):
    """What is asked for cannot be done in the state that things are in: 409."""

    def __init__(self, message: str, field: str = "", allowed: str = "") -> None:
        super().__init__(HTTPStatus.CONFLICT, message, field, allowed)


def told(message: str, field: str = "", allowed: str = "") -> dict[str, Any]:
    """An error as the service says it."""
    return {"error": {"message": printable(message)[:1000], "field": printable(field)[:200], "allowed": printable(allowed)[:1000]}}


def refusal_of(error: Exception) -> Refusal:
    """What becomes of an error of Calotype: 400 for one that is the user's."""
    if isinstance(error, Refusal):
        return error
    status = HTTPStatus.BAD_REQUEST if getattr(error, "exit_code", 1) == 2 else HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, SettingError):
        return Refusal(status, str(error), error.field, error.allowed)
    return Refusal(status, str(error))


def body_of(refusal: Refusal) -> bytes:
    """The body of the answer."""
    return json.dumps(told(str(refusal), refusal.field, refusal.allowed)).encode()
