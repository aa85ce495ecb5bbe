import gzip
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from test_data_idx_cifar import digits, idx

from calotype.data import load
from calotype.data.download import PUBLIC, PublicSet, Remote, continue_download, fetch
from calotype.errors import UserError
from calotype.files import cache_folder


@dataclass
class Server:
    """A server on this machine that can break off, ignore ranges, and remembers what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)  # bytes sent by the next answers before they break off
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            data = state.files.get(self.path.lstrip("/"))
            if data is None:
                self.send_error(404)
                return
            start = int(re.findall(r"bytes=(\d+)-", wanted)[0]) if wanted and state.ranges else 0
            if start and start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            limit = state.break_after.pop(0) if state.break_after else len(data)
            self.wfile.write(data[start : start + limit])

        def log_message(self, format: str, *args: object) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


DATA = np.random.RandomState(0).bytes(300_000)


def remote(server: Server, data: bytes = DATA, name: str = "a.bin") -> Remote:
    return Remote(name, f"sha256:{hashlib.sha256(data).hexdigest()}", (server.url + name,))


def test_broken_connection_is_continued(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = DATA
    server.break_after = [100_000, 50_000]
    folder = fetch("set", (remote(server),), tmp_path)
    assert (folder / "a.bin").read_bytes() == DATA
    assert [wanted for _, wanted in server.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert [path.name for path in folder.iterdir()] == ["a.bin"]


def test_download_is_continued_by_a_later_command(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = DATA
    server.break_after = [1000, 1000, 1000]
    with pytest.raises(UserError, match=r"try again to continue, or put a.bin into a folder and name that instead"):
        fetch("set", (remote(server),), tmp_path)
    assert (tmp_path / "set" / "a.bin.part").stat().st_size == 3000
    assert not (tmp_path / "set" / "a.bin").exists()
    calls: list[tuple[int, int]] = []
    fetch("set", (remote(server),), tmp_path, lambda done, total: calls.append((done, total)))
    assert server.asked[-1][1] == "bytes=3000-"
    assert (tmp_path / "set" / "a.bin").read_bytes() == DATA
    assert calls[-1] == (300_000, 300_000)
    count = len(server.asked)
    fetch("set", (remote(server),), tmp_path)
    assert len(server.asked) == count  # nothing is fetched twice


def test_server_that_ignores_ranges(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = DATA
    server.ranges = False
    (tmp_path / "a.part").write_bytes(DATA[:1234])
    continue_download(server.url + "a.bin", tmp_path / "a.part")
    assert (tmp_path / "a.part").read_bytes() == DATA


def test_part_that_is_longer_than_the_file(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = DATA
    (tmp_path / "a.part").write_bytes(DATA + b"more")
    continue_download(server.url + "a.bin", tmp_path / "a.part")
    assert (tmp_path / "a.part").read_bytes() == DATA


def test_wrong_contents_are_not_kept(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = DATA[:-1] + b"?"
    with pytest.raises(UserError, match=r"could not download a.bin"):
        fetch("set", (remote(server),), tmp_path)
    assert list((tmp_path / "set").iterdir()) == []
    server.files["a.bin"] = DATA
    assert (fetch("set", (remote(server),), tmp_path) / "a.bin").read_bytes() == DATA


def test_second_address_is_tried(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = DATA
    known = remote(server)
    both = Remote(known.name, known.hash, (server.url + "missing.bin", known.urls[0]))
    assert (fetch("set", (both,), tmp_path) / "a.bin").read_bytes() == DATA


def test_one_line_when_nothing_answers(tmp_path: Path) -> None:
    known = Remote("a.bin", "sha256:" + "0" * 64, ("http://127.0.0.1:9/a.bin",))
    with pytest.raises(UserError) as problem:
        fetch("set", (known,), tmp_path)
    assert "\n" not in str(problem.value)


def test_a_server_that_never_stops_is_left(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calotype.data.download._LARGEST", 2 * len(DATA))
    server.files["a.bin"] = DATA * 3
    with pytest.raises(UserError, match=r"could not download a.bin \(.*the server sends more than"):
        fetch("a", (remote(server),), tmp_path)
    assert list((tmp_path / "a").iterdir()) == []
    server.files["a.bin"] = DATA
    assert (fetch("a", (remote(server),), tmp_path) / "a.bin").read_bytes() == DATA


def test_named_set_is_downloaded_verified_and_read(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for part, count, start in (("train", 30, 0), ("t10k", 10, 100)):
        for kind, array in zip(("images-idx3", "labels-idx1"), digits(count, start), strict=True):
            name = f"{part}-{kind}-ubyte.gz"
            server.files[name] = gzip.compress(idx(array), mtime=0)
            files.append(Remote(name, f"md5:{hashlib.md5(server.files[name]).hexdigest()}", (server.url + name,)))
    monkeypatch.setitem(PUBLIC, "mnist", PublicSet(tuple(files), tuple("0123456789")))
    split = load("mnist")
    assert (len(split.train), len(split.holdout)) == (30, 10)
    assert split.train.classes == tuple("0123456789")
    assert split.train.name == "mnist"
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(server.files)


def test_addresses_and_hashes_are_complete() -> None:
    assert set(PUBLIC) == {"mnist", "fashion-mnist", "cifar10"}
    for public in PUBLIC.values():
        assert len(public.classes) == 10
        for file in public.files:
            assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.hash)
            assert file.urls
            assert all(url.endswith("/" + file.name) for url in file.urls)


def test_cache_folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder() == cache
    monkeypatch.delenv("CALOTYPE_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "calotype"
