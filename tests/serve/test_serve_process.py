"""The command itself, in a process of its own: it answers before its models are there, under load, and ends in order."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from calotype.cli.main import main

WAIT = 120.0  # seconds, on a busy machine


@pytest.fixture(scope="module")
def served(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service of one model, and its port."""
    state = tmp_path_factory.mktemp("state")
    words = [sys.executable, "-m", "calotype", "serve", str(folders["hinge"]), "--port", "0", "--state", str(state), "--log", "all"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield process, int(found[1])
        process.kill()


def asked(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    data = None if body is None else json.dumps(body)
    connection.request(method, path, data, {"content-type": "application/json"} if data else {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_it_answers_many_at_once_and_each_what_it_would_alone(served: tuple[subprocess.Popen[str], int]) -> None:
    port = served[1]
    assert asked(port, "GET", "/health")[0] == 200
    place = f"/v1/models/{json.loads(asked(port, 'GET', '/v1/models')[1])['models'][0]['id']}/sample"
    alone = {seed: asked(port, "POST", place, {"seed": seed, "label": "3"}) for seed in range(4)}
    found: list[tuple[int, tuple[int, bytes]]] = []

    def ask(number: int) -> None:
        found.append((number % 4, asked(port, "POST", place, {"seed": number % 4, "label": "3"})))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    assert all(answer == alone[seed] for seed, answer in found)
    numbers = asked(port, "GET", "/metrics")[1].decode()
    drawn, batches = (float(re.search(rf"^calotype_{name} (\S+)", numbers, re.M)[1]) for name in ("images_drawn_total", "batches_total"))  # type: ignore[index]
    assert (drawn, batches < drawn) == (28, True), "some were drawn together"


def test_a_body_in_chunks_without_an_end_is_cut_off(served: tuple[subprocess.Popen[str], int]) -> None:
    with socket.create_connection(("127.0.0.1", served[1]), timeout=WAIT) as line:
        head = "POST /v1/trace HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        line.sendall(head.encode())
        piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        sent = 0
        try:
            while sent < 200:
                line.sendall(piece)
                sent += 1
        except OSError:  # it has hung up
            pass
        assert sent < 200, "and not read for ever"
    assert asked(served[1], "GET", "/health")[0] == 200


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_ends_in_order_and_its_lines_are_json_without_secrets(served: tuple[subprocess.Popen[str], int]) -> None:
    process, port = served
    asked(port, "GET", "/nothing?token=very-secret-token-of-mine")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in err.splitlines()]
    assert {line["event"] for line in lines} == {"request"}
    assert all({"time", "request", "method", "route", "status", "seconds", "bytes"} <= line.keys() for line in lines)
    assert "very-secret" not in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "MODEL is missing"),
        (["no/such/run"], "no/such/run"),
        (["."], "holds no trained model"),
        (["--demo", "--host", "0.0.0.0"], "lets other machines in"),
        (["--demo", "--source", "pets"], "give NAME=FOLDER"),
        (["--demo", "--source", "pets=no/such"], "does not exist"),
        (["--demo", "--token-file", "no/such"], "cannot be read"),
        (["--demo", "--port", "70000"], "--port"),
        (["--demo", "--log", "some"], "--log"),
    ],
)
def test_bad_input_is_one_line_before_anything_begins(
    words: list[str], said: str, runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CALOTYPE_TOKEN", raising=False)
    assert main(["serve", *words, "--state", str(runs / "state")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (runs / "state").exists()


def test_an_address_that_is_taken_is_told(runs: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", str(folders["hinge"]), "--port", str(port), "--state", str(runs / "state")]) == 2
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
