"""Nobody waits for what others do, and nothing is held that nobody uses: lanes, models in memory, connections."""

from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from calotype.capabilities import HasDecoder
from calotype.cli.main import main
from calotype.serve import batching, requests, server
from calotype.serve.app import create_app
from calotype.serve.lanes import in_time
from calotype.serve.settings import Settings
from calotype.serve.shelf import OPENED, Shelf
from tests.serve.on_a_socket import service, until


def test_where_a_model_draws_is_known_before_it_is_opened(folders: dict[str, Path]) -> None:
    shelf = Shelf(tuple(folders.values()), "cpu")
    shelf.fill()
    drawing = [one for one in shelf.models if "sample" in one.abilities]
    assert {one.one_pass for one in drawing} == {True, False}
    assert all(one.one_pass == isinstance(one.generator().model, HasDecoder) for one in drawing)


def test_pads_wait_neither_for_directions_nor_for_models_of_many_passes(folders: dict[str, Path]) -> None:
    app = create_app(Settings(models=(folders["hinge"], folders["flow-matching"]), log="none"))
    lanes = app.state.calotype.lanes
    with TestClient(app, base_url="http://localhost:8420") as client:
        ids = {one["recipe"]: one["id"] for one in client.get("/v1/models").json()["models"]}
        there = client.get(f"/v1/models/{ids['hinge']}/directions").json()["directions"]
        end = threading.Event()
        for lane in (lanes.slow, lanes.many):
            lane._thread.submit(end.wait)
        try:
            answers: list[Any] = []
            place = f"/v1/models/{ids['hinge']}"
            asked = [(f"{place}/explore", {"moves": {there[0]["id"]: 1.0}}), (f"{place}/sample", {})]
            thread = threading.Thread(target=lambda: answers.extend(client.post(place, json=body) for place, body in asked), daemon=True)
            thread.start()
            thread.join(30)
            assert [one.status_code for one in answers] == [200, 200]
        finally:
            end.set()
        assert client.post(f"/v1/models/{ids['flow-matching']}/sample", json={"options": {"steps": 1}}).status_code == 200
        assert "calotype_images_drawn_total 2" in client.get("/metrics").text


@pytest.mark.parametrize(("words", "most"), [(["--opened", "3"], 3), ([], OPENED)])
def test_the_shelf_holds_as_many_models_as_the_command_says(
    words: list[str], most: int, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Settings] = []

    def kept(settings: Settings, listener: socket.socket, *, demo: bool) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr("calotype.cli.serve._serve", kept)
    assert main(["serve", str(folders["hinge"]), "--port", "0", "--state", str(tmp_path), *words]) == 0
    assert create_app(found[0]).state.calotype.shelf.memory.most == most


def test_models_that_were_not_asked_for_long_leave_memory_unless_they_are_used(folders: dict[str, Path]) -> None:
    shelf = Shelf((folders["hinge"], folders["vae"], folders["resnet"]), "cpu", opened=2)
    shelf.fill()
    first, second, third = shelf.models
    used = first.generator()
    second.generator()
    third.classifier()
    first.generator("slow")
    gc.collect()
    assert not second._opened
    assert first.generator() is used, "and is not read twice"
    assert len(shelf.memory._held) == 2
    shelf.remove(first.id)
    assert all(owner != id(first) for owner, _ in shelf.memory._held)


def test_what_nobody_waits_for_ends(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    begun, left = threading.Event(), threading.Event()

    def endless(*_: object) -> None:
        begun.set()
        try:
            while True:
                in_time()
                time.sleep(0.002)
        finally:
            left.set()

    monkeypatch.setattr(batching, "draw_each", endless)
    with service(Settings(models=(folders["hinge"],), log="none")) as (client, state):
        place, body = f"/v1/models/{client.get('/v1/models').json()['models'][0]['id']}/sample", b"{}"
        head = f"POST {place} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=30) as line:
            line.sendall(head.encode() + body)
            assert begun.wait(60)
        assert left.wait(20), "long before its time is over"
        until(lambda: state.lanes.quick.waiting == 0, 20)


def test_connections_that_do_not_ask_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADERS", 0.5)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(Settings(log="none")), log_level="critical", ws="none", http=server.Protocol)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
    thread.start()
    try:
        for said in (b"", b"GET /health HTTP/1.1\r\nHost: loc", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            with socket.create_connection(listener.getsockname(), timeout=30) as line:
                began = time.monotonic()
                line.sendall(said)
                whole = said.endswith(b"\r\n\r\n")
                if whole:
                    assert _answer(line).startswith(b"HTTP/1.1 200")
                    time.sleep(0.7)  # and a connection that asked may stay until the next request begins
                    line.sendall(said)
                    assert _answer(line).startswith(b"HTTP/1.1 200")
                    line.sendall(b"G")
                while _more(line):
                    pass
                assert time.monotonic() - began < 20
    finally:
        running.should_exit = True
        thread.join(20)


def _answer(line: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"}"):
        more = line.recv(4096)
        assert more, "it was closed"
        found += more
    return found


def _more(line: socket.socket) -> bytes:
    try:
        return line.recv(4096)
    except ConnectionResetError:
        return b""


def test_more_images_than_a_request_may_ask_for_are_no_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--demo", "--max-images", str(requests.MOST_IMAGES + 1)]) == 2
    assert "max-images" in capsys.readouterr().err
