"""What every request has to pass before anything looks at it, as plain ASGI.

From the outside in: `Headers` (what browsers are told to forbid), `Guard` (host, origin, token, kind of content), and
`calotype.serve.bodies.BodyLimit` (how much is read, and how long that may take). A request that does not pass costs no more than its
headers.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from calotype.serve.asgi import App, Receive, Scope, Send, answer, encoded, headers_of
from calotype.serve.refusal import Refusal
from calotype.serve.settings import Settings

COOKIE = "calotype_session"
OPEN = ("/health", "/sign-in")  # that need no token: whether it lives is no secret, nor how one shows it
OPEN_BELOW = "/static/"  # what pages are made of holds nothing private
FIELDS = 16  # of an address with a token
SIGN_IN = "/sign-in"  # where a browser without it is sent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; "
    "media-src 'self' blob:; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "cache-control": "no-store",
}
"""That an answer gets which does not set them itself."""


def host_of(authority: str) -> str:
    """The name in ``name:port``, without brackets, in small letters; empty for what is none.

    >>> host_of("LocalHost:8420"), host_of("[::1]:8420"), host_of("a b"), host_of("evil@localhost")
    ('localhost', '::1', '', '')
    """
    text = authority.strip().lower()
    if not text or any(c in text for c in " @/\\?#,\t\r\n\0"):
        return ""
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        return inner if bracket and (not rest or (rest[1:].isdecimal() and rest[0] == ":")) else ""
    name, colon, port = text.partition(":")
    return name if not colon or port.isdecimal() else ""


def same_origin(origin: str, host: str) -> bool:
    """Whether an ``Origin`` is that of the page that the service itself serves at this ``Host``.

    >>> same_origin("http://localhost:8420", "localhost:8420"), same_origin("http://localhost:9000", "localhost:8420")
    (True, False)
    >>> same_origin("null", "localhost:8420"), same_origin("https://calotype.example", "calotype.example")
    (False, True)
    """
    scheme, found, authority = origin.strip().lower().partition("://")
    if not found or scheme not in ("http", "https"):
        return False
    port = ":80" if scheme == "http" else ":443"
    return authority.removesuffix(port) == host.strip().lower().removesuffix(port)


def session(token: str) -> str:
    """What a browser keeps in the place of a token, which never follows from it."""
    return hmac.new(token.encode(), b"calotype serve session", hashlib.sha256).hexdigest()


class Guard:
    """Refuses requests that were addressed to another name, come from other pages, carry no token or change things as forms can.

    - ``Host`` has to be a name of the service: a name that an attacker points to this machine (DNS rebinding) is none.
    - ``Origin`` and ``Sec-Fetch-Site`` have to be the service's own; only following a link to a page may come from elsewhere.
    - A token is compared in constant time, as ``Authorization: Bearer TOKEN`` or the cookie that ``/?token=TOKEN`` leaves.
    - What changes anything is ``application/json``, which no page of another origin may send unasked: text/plain, forms and multipart
      need no preflight.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self._token = settings.token.encode()
        self._session = session(settings.token) if settings.token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at one request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        try:
            self.require_own(scope)
            if self._token and (token := self._asked(scope)) is not None:
                return await self._enter(token, scope, send)
            require_json(scope)
            self.require_token(scope)
        except Refusal as refusal:
            if refusal.status == 401 and _is_visit(scope):
                return await _to_sign_in(scope, send)
            return await answer(send, refusal)
        return await self.app(scope, receive, send)

    def require_own(self, scope: Scope) -> None:
        """Raise `Refusal` (403) unless a request is addressed to the service, by nobody's page but its own."""
        hosts = headers_of(scope, b"host")
        if len(hosts) != 1 or not self.settings.knows(host_of(hosts[0])):
            raise Refusal(403, "this service does not answer to that host name: start it with `name` for that", "Host")
        origins = headers_of(scope, b"origin")
        if len(origins) > 1 or (origins and not same_origin(origins[0], hosts[0])):
            raise Refusal(403, "pages of other origins may ask nothing of this service", "Origin")
        site = (headers_of(scope, b"sec-fetch-site") or ["none"])[0].lower()
        link = scope["method"] in ("GET", "HEAD") and headers_of(scope, b"sec-fetch-mode") == ["navigate"]
        document = headers_of(scope, b"sec-fetch-dest") == ["document"]
        if site not in ("none", "same-origin") and not (link and document):
            raise Refusal(403, "pages of other origins may ask nothing of this service", "Sec-Fetch-Site")

    def require_token(self, scope: Scope) -> None:
        """Raise `Refusal` (401) for a request without the token, where there is one."""
        if not self._token or (scope["method"] in ("GET", "HEAD") and (scope["path"] in OPEN or scope["path"].startswith(OPEN_BELOW))):
            return
        given = headers_of(scope, b"authorization")
        shown = given[0].partition(" ")[2].strip() if len(given) == 1 and given[0].lower().startswith("bearer ") else ""
        if hmac.compare_digest(shown.encode("utf-8", "replace"), self._token) or self._remembered(scope):
            return
        raise Refusal(
            401,
            "this service wants its token: Authorization: Bearer TOKEN, or open /?token=TOKEN in a browser once",
            "Authorization",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _remembered(self, scope: Scope) -> bool:
        for text in headers_of(scope, b"cookie"):
            try:
                found = SimpleCookie(text).get(COOKIE)
            except CookieError:
                continue
            if found is not None and hmac.compare_digest(found.value.encode("utf-8", "replace"), self._session.encode()):
                return True
        return False

    def _asked(self, scope: Scope) -> str | None:
        """The token in the address, where a person opens the page with it."""
        if scope["method"] != "GET" or b"token=" not in scope.get("query_string", b""):
            return None
        try:
            given = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=FIELDS).get("token")
        except ValueError:
            raise Refusal(400, f"an address with a token has {FIELDS} fields at most", "token", f"up to {FIELDS} fields") from None
        return given[0] if given else None

    async def _enter(self, token: str, scope: Scope, send: Send) -> None:
        """Leave a cookie in place of a token that is right, and the address without it."""
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            raise Refusal(401, "that is not the token of this service", "token", headers={"WWW-Authenticate": "Bearer"})
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=FIELDS)
        rest = urlencode({name: values for name, values in query.items() if name != "token"}, doseq=True)
        place = _own(scope["path"]) + (f"?{rest}" if rest else "")
        secure = "; Secure" * ("https" in (scope.get("scheme"), *headers_of(scope, b"x-forwarded-proto")))  # as a proxy in front says
        cookie = f"{COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict{secure}"
        fields = {
            "location": place,
            "set-cookie": cookie,
            "content-length": "0",
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
        }
        await send({"type": "http.response.start", "status": 303, "headers": encoded(fields.items())})
        await send({"type": "http.response.body", "body": b""})


def _is_visit(scope: Scope) -> bool:
    """Whether a person opens a page."""
    visits = headers_of(scope, b"sec-fetch-mode") == ["navigate"] or any("text/html" in one for one in headers_of(scope, b"accept"))
    return visits and scope["method"] == "GET" and not scope["path"].startswith("/v1")


async def _to_sign_in(scope: Scope, send: Send) -> None:
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = {} if b"token=" in scope.get("query_string", b"") else {"to": _own(scope["path"]) + (f"?{query}" if query else "")}
    place = f"{SIGN_IN}?{urlencode(wanted)}" if wanted else SIGN_IN
    await send({"type": "http.response.start", "status": 303, "headers": encoded({"location": place, "content-length": "0"}.items())})
    await send({"type": "http.response.body", "body": b""})


def _own(path: str) -> str:
    """A path of this service, whatever it begins with: two slashes would lead to another one."""
    return quote("/" + path.lstrip("/\\"))


def require_json(scope: Scope) -> None:
    """Raise `Refusal` (405, 415) for a request that changes something in another form than JSON."""
    method = scope["method"]
    if method in ("GET", "HEAD"):
        return
    if method not in ("POST", "DELETE"):
        raise Refusal(405, f"{method[:20]} is no method of this service", headers={"Allow": "GET, HEAD, POST, DELETE"})
    if headers_of(scope, b"content-encoding"):
        raise Refusal(415, "send JSON as it is, without content-encoding", "Content-Encoding", "none")
    lengths = headers_of(scope, b"content-length")
    empty = not headers_of(scope, b"transfer-encoding") and lengths in ([], ["0"])
    kinds = headers_of(scope, b"content-type")
    if method == "DELETE" and empty and not kinds:
        return
    kind, _, parameters = (kinds[0] if len(kinds) == 1 else "").lower().partition(";")
    if kind.strip() != "application/json" or parameters.replace(" ", "").replace('"', "") not in ("", "charset=utf-8"):
        raise Refusal(415, "send application/json", "Content-Type", "application/json")


class Headers:
    """Gives every answer the headers of `HEADERS` that it does not have."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def dressed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                there = {key.lower() for key, _ in message.get("headers", ())}
                own = encoded((name, value) for name, value in HEADERS.items() if name.encode() not in there)
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        await self.app(scope, receive, dressed)
