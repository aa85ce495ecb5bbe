"""How much of a request is read, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from calotype.serve.asgi import App, Receive, Scope, Send, answer, headers_of
from calotype.serve.refusal import FullError, Refusal

BODY_SECONDS = 30.0  # in which a body has to arrive
BODIES = 4  # bodies of the largest size that are held at once


class BodyLimit:
    """Reads the whole body of a request, up to a limit, before anything of it is parsed; and holds only so many at once."""

    def __init__(self, app: App, limit: int, *, seconds: float = BODY_SECONDS, at_once: int | None = None) -> None:
        self.app, self.limit, self.seconds = app, limit, seconds
        self.room, self.held = at_once or BODIES * limit, 0  # bytes of all bodies together

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body of one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        taken = 0
        chunks: list[bytes] = []

        def take(size: int) -> None:
            nonlocal taken
            if taken + size > self.limit:
                raise Refusal(413, f"a request has {self.limit:,} bytes at most", "body", f"up to {self.limit:,} bytes")
            if self.held + size > self.room:
                raise FullError("too much is being sent at once: come again")
            taken, self.held = taken + size, self.held + size

        try:
            try:
                self._require_length(scope)
                async with asyncio.timeout(self.seconds):
                    more = True
                    while more:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return None
                        chunk, more = message.get("body", b""), message.get("more_body", False)
                        take(len(chunk))
                        chunks.append(chunk)
            except TimeoutError:
                return await answer(send, Refusal(408, f"the request took more than {self.seconds:g} s to arrive"), close=True)
            except Refusal as refusal:
                return await answer(send, refusal, close=True)  # what is still to come is never read
            return await self.app(scope, _replayed(b"".join(chunks), receive), send)
        finally:
            self.held -= taken

    def _require_length(self, scope: Scope) -> None:
        for text in headers_of(scope, b"content-length"):
            if not text.isdecimal() or len(text) > 18 or int(text) > self.limit:
                raise Refusal(413, f"a request has {self.limit:,} bytes at most", "body", f"up to {self.limit:,} bytes")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, for an application that reads it once more."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()  # that the other side has gone
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
