"""The words of ASGI that the rules of the service are written in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from calotype.serve.refusal import Refusal, body_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def headers_of(scope: Scope, name: bytes) -> list[str]:
    """All values of a header of a request."""
    return [value.decode("latin-1") for key, value in scope.get("headers", ()) if key == name]


def encoded(fields: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]


async def answer(send: Send, refusal: Refusal, *, close: bool = False) -> None:
    """Say no."""
    body = body_of(refusal)
    fields = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    fields |= {"connection": "close"} if close else {}
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": encoded(fields.items())})
    await send({"type": "http.response.body", "body": body})
