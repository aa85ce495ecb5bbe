"""Attacks that services of this kind were broken by, each answered as it has to be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from calotype.errors import SettingError
from calotype.serve.app import create_app
from calotype.serve.bodies import BodyLimit
from calotype.serve.safety import host_of, same_origin
from calotype.serve.settings import Settings, loopback
from tests.serve.served import JSON

TOKEN = "correct-horse-battery-staple"
BROWSER = {"sec-fetch-site": "same-origin", "origin": "http://localhost:8420"}


@pytest.fixture(scope="module")
def locked() -> Iterator[TestClient]:
    """A service that takes a token, without models."""
    app = create_app(Settings(host="0.0.0.0", names=("calotype.example",), token=TOKEN, log="none"))
    with TestClient(app, base_url="http://calotype.example", follow_redirects=False) as client:
        yield client


def refused(answer: Any, status: int) -> str:
    """The message of a refusal of a status, as every one has it."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "field", "allowed"}
    assert error["message"]
    assert "\n" not in error["message"]
    return str(error["message"])


def test_without_a_token_it_listens_to_this_machine_alone() -> None:
    assert all(map(loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert Settings().host == "127.0.0.1"
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", ""):
        with pytest.raises(SettingError, match="token"):
            Settings(host=host)
    for token in ("short", "with some spaces in it", "ünïcödé-ünïcödé-ünïcödé", "a" * 15):
        with pytest.raises(SettingError, match="16 characters"):
            Settings(token=token)
    assert Settings(host="0.0.0.0", token=TOKEN).token == TOKEN


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8420", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[::2]"]
)
def test_a_name_that_somebody_points_to_this_machine_is_refused(client: TestClient, host: str) -> None:
    """DNS rebinding: the browser believes that it talks to the attacker's own server."""
    refused(client.get("/v1/models", headers={"host": host}), 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:8420", "[::1]:8420", "LOCALHOST"])
def test_its_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9000"},  # another program of this machine
        {"origin": "file://"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    ],
)
def test_pages_of_others_may_ask_nothing(client: TestClient, ids: dict[str, str], headers: dict[str, str]) -> None:
    refused(client.post(f"/v1/models/{ids['hinge']}/sample", json={}, headers=headers), 403)
    refused(client.get("/v1/models", headers=headers), 403)


def test_a_link_may_be_followed_and_no_header_allows_other_origins(client: TestClient) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/health", headers=link).status_code == 200
    refused(client.get("/health", headers={**link, "sec-fetch-dest": "iframe"}), 403)
    own = client.get("/health", headers=BROWSER)
    assert own.status_code == 200
    assert not [name for name in own.headers if name.startswith("access-control")]
    refused(client.options("/v1/models", headers={**BROWSER, "access-control-request-method": "POST"}), 405)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/json-patch+json",
        "text/plain; application/json",
        "application/json; charset=utf-16",
    ],
)
def test_what_needs_no_preflight_changes_nothing(client: TestClient, ids: dict[str, str], kind: str) -> None:
    refused(client.post(f"/v1/models/{ids['hinge']}/sample", content=b"{}", headers={"content-type": kind}), 415)


def test_json_is_taken_as_it_is(client: TestClient, ids: dict[str, str]) -> None:
    place = f"/v1/models/{ids['hinge']}/sample"
    refused(client.post(place, content=b"{}", headers={**JSON, "content-encoding": "gzip"}), 415)
    assert client.post(place, content=b"{}", headers={"content-type": 'Application/JSON; charset="UTF-8"'}).status_code == 200
    refused(client.post(place, content=b"", headers=JSON), 422)
    for body in (
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"seed": 1' + b"0" * 5000 + b"}",
        b'{"seed": NaN}',
        b'"\\ud800"',
        b"null",
        b"[]",
        b"7",
    ):
        answer = client.post(place, content=body, headers=JSON)
        assert answer.status_code in (400, 422), (body[:20], answer.text)
        refused(answer, answer.status_code)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_none(client: TestClient, method: str) -> None:
    refused(client.request(method, "/v1/models"), 405)


@pytest.mark.parametrize(
    "path",
    [
        "/windows/win.ini",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/C:/x",
        "/C:%5Cx",
        "//server/share/x",
        "/%5C%5Cserver%5Cshare",
        "/static/..%2f..%2fpyproject.toml",
        "/static/%2e%2e/app.py",
        "/v1/models/..%2f..%2fetc/directions",
        "/v1/models/%2fetc%2fpasswd/directions",
        "/v1/models/C:%5Cx/directions",
        "/v1/models/%00/directions",
        "/v1/../../../etc/passwd",
        "/file:///etc/passwd",
    ],
)
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    if answer.headers["content-type"].startswith("text/html"):  # as the page says it
        assert "import" not in answer.text
    else:
        refused(answer, 404)


def test_a_model_has_no_other_name_than_its_id(client: TestClient, folders: Any) -> None:
    for name in ("hinge", str(folders["hinge"]), "../hinge"):
        answer = client.post("/v1/models/" + name.replace("/", "%2f") + "/sample", json={})
        refused(answer, 404)
    listed = client.get("/v1/models").text
    assert str(folders["hinge"].parent) not in listed, "nobody is told where models lie"


def test_neither_paths_nor_addresses_are_fields(client: TestClient, ids: dict[str, str]) -> None:
    for field in ("path", "url", "file", "image_url", "model", "out"):
        assert field in refused(client.post(f"/v1/models/{ids['hinge']}/sample", json={field: "http://evil.example/x"}), 422)
    for image in ("/etc/passwd", "file:///etc/passwd", "http://evil.example/x.png", "data:image/png;base64,AAAA"):
        refused(client.post(f"/v1/models/{ids['denoise']}/restore", json={"image": image}), 400)
    refused(client.post("/v1/images/generations", json={"response_format": "url"}), 422)


def test_a_body_is_counted_before_it_is_read(client: TestClient, settings: Settings) -> None:
    limit = settings.max_body
    refused(client.post("/v1/trace", content=b"x" * (limit + 1), headers=JSON), 413)
    refused(client.post("/v1/trace", content=b"{}", headers={**JSON, "content-length": str(10**12)}), 413)


def _asked() -> dict[str, Any]:
    return {"type": "http", "method": "POST", "headers": [(b"transfer-encoding", b"chunked")], "path": "/"}


def test_bodies_without_an_end_slow_ones_and_many_at_once_are_given_up() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it got through")

    async def never() -> Any:
        await asyncio.sleep(60)

    async def part() -> Any:
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(BodyLimit(app, 100, seconds=0.02)(_asked(), never, send))
    assert sent[0]["status"] == 408
    sent.clear()
    asyncio.run(BodyLimit(app, 1000)(_asked(), part, send))
    assert sent[0]["status"] == 413
    sent.clear()
    limit = BodyLimit(app, 100, at_once=50)
    asyncio.run(limit(_asked(), part, send))
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"retry-after"]) == (429, b"1")
    assert limit.held == 0, "what was given up takes no room"


def test_every_answer_says_what_browsers_are_to_forbid(client: TestClient, ids: dict[str, str]) -> None:
    answers = [client.get("/health"), client.get("/nothing"), client.get("/health", headers={"host": "evil.example"})]
    answers.append(client.post(f"/v1/models/{ids['hinge']}/sample", json={}, headers={"accept": "image/png"}))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"])
def test_without_the_token_nothing_is_answered(locked: TestClient, shown: str) -> None:
    headers = {"authorization": shown.encode("latin-1")} if shown else {}
    for path in ("/v1/models", "/metrics", "/openapi.json"):
        answer = locked.get(path, headers=headers)
        refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert locked.get("/health", headers=headers).status_code == 200
    refused(locked.post("/health", json={}, headers=headers), 401)


def test_the_token_opens_and_a_browser_keeps_a_cookie_in_its_place(locked: TestClient) -> None:
    assert locked.get("/v1/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    refused(locked.get("/metrics?token=wrong"), 401)
    answer = locked.get(f"/metrics?a=1&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/metrics?a=1")
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/"))
    kept = {"cookie": cookie.split(";")[0]}
    assert locked.get("/v1/models", headers=kept).status_code == 200
    refused(locked.post("/v1/trace", json={}, headers={**kept, "origin": "http://evil.example"}), 403)
    locked.cookies.clear()
    assert locked.get(f"http://calotype.example//evil.example/x?token={TOKEN}").headers["location"].startswith("/evil.example")
    locked.cookies.clear()


def test_who_opens_a_page_without_the_token_is_asked_for_it(locked: TestClient) -> None:
    answer = locked.get("/runs?a=1", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?to=%2Fruns%3Fa%3D1")
    refused(locked.get("/v1/models", headers={"accept": "text/html"}), 401)


def test_where_others_are_let_in_it_answers_to_numbers_and_to_the_names_it_was_given(locked: TestClient) -> None:
    for host in ("calotype.example", "192.168.1.7:8420", "[fe80::1]:8420", "localhost:8420"):
        assert locked.get("/health", headers={"host": host}).status_code == 200
    refused(locked.get("/health", headers={"host": "evil.example"}), 403)
    assert not Settings().knows("192.168.1.7")


def test_behind_https_the_cookie_stays_there(locked: TestClient) -> None:
    answer = locked.get(f"/?token={TOKEN}", headers={"x-forwarded-proto": "https"})
    locked.cookies.clear()
    assert "Secure" in answer.headers["set-cookie"]


def test_hosts_and_origins_are_read_strictly() -> None:
    assert [host_of(one) for one in ("a:1", "a:b", "a b", "[::1", "[::1]x", "a\r\nb", "A.B:80")] == ["a", "", "", "", "", "", "a.b"]
    assert not same_origin("http://localhost:8420.evil.example", "localhost:8420")
    assert not same_origin("http://evil.example", "")
    assert same_origin("http://localhost", "localhost:80")


def test_an_address_with_a_token_and_many_fields_is_refused(locked: TestClient) -> None:
    assert "16" in refused(locked.get("/?token=x" + "&a" * 16), 400)
    assert "16" in refused(locked.get(f"/?token={TOKEN}" + "&a" * 16), 400)
    assert locked.get(f"/?token={TOKEN}" + "&a=1" * 15).status_code == 303
