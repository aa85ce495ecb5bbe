"""How much do requests gain by being drawn together? Clients at once against one after another, the same service, in one run.

    python benchmarks/serve_load.py RUN --seconds 20 --clients 64

Starts `calotype serve RUN` on a free port and asks for one image a request, each of its own seed: first one client, which waits for each
answer, then all clients at once, then one client again. Prints requests a second, their ratio, what was not answered with 200, the
memory of the service, the time to its first answer, and where the model can be explored the latency of moves. Where playwright and
Chromium are installed: the first contentful paint of its pages at the width of a desktop and of a phone, each from a fresh browser context.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PAINT = """() => new Promise(done => new PerformanceObserver(list => {
    for (const one of list.getEntries()) if (one.name === "first-contentful-paint") done(one.startTime);
}).observe({type: "paint", buffered: true}))"""


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        data = None if body is None else json.dumps(body)
        for attempt in (1, 2):
            try:
                self.connection.request(method, path, data, {"content-type": "application/json"} if data else {})
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, ConnectionError):  # a connection that was idle has been closed
                self.connection.close()
                if attempt == 2:
                    raise
        raise AssertionError


def load(port: int, path: str, clients: int, seconds: float, first: int) -> tuple[float, Counter[str]]:
    """Requests a second that were answered, and how they were."""
    found: Counter[str] = Counter()
    until, lock = time.perf_counter() + seconds, threading.Lock()

    def work(number: int) -> None:
        client, own, seed = Client(port), Counter[str](), first + number * 10**6
        while time.perf_counter() < until:
            seed += 1
            try:
                own[str(client.ask("POST", path, {"seed": seed, "label": None})[0])] += 1
            except OSError as error:
                own[type(error).__name__] += 1
        with lock:
            found.update(own)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found["200"] / (time.perf_counter() - began), found


def number(port: int, name: str) -> float:
    text = Client(port).ask("GET", "/metrics")[1].decode()
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def processor_time(pid: int) -> float:
    """Seconds that a process has computed; not a number where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def latencies(port: int, place: str, count: int) -> list[float]:
    """Seconds that moves among the latents take, one after another."""
    client = Client(port)
    known = json.loads(client.ask("GET", f"{place}/directions")[1])["directions"]
    body: dict[str, Any] = {"seed": 1, "moves": {one["id"]: 0.5 for one in known[:2]}}
    found = []
    for turn in range(count + 5):
        body["moves"][known[0]["id"]] = turn / count
        began = time.perf_counter()
        status, _ = client.ask("POST", f"{place}/explore", body)
        assert status == 200
        found.append(time.perf_counter() - began)
    return sorted(found[5:])


def paints(port: int, count: int = 5) -> Iterator[tuple[str, list[float]]]:
    """The names of pages and the milliseconds to their first contentful paint, sorted; nothing without a browser."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or find_spec("playwright") is None:
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser)
        for width, height in ((1280, 800), (390, 844)):
            for path in ("/", "/runs", "/gallery", "/compare"):
                found = []
                for _ in range(count):
                    context = chromium.new_context(viewport={"width": width, "height": height})
                    page = context.new_page()
                    page.goto(f"http://127.0.0.1:{port}{path}", wait_until="load")
                    found.append(float(page.evaluate(PAINT)))
                    context.close()
                yield f"{path} at {width} pixels", sorted(found)
        chromium.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--moves", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as state:
        words = [sys.executable, "-m", "calotype", "serve", str(options.run), "--port", "0", "--state", state]
        began = time.perf_counter()
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found, "it did not start"
            port = int(found[1])
            Client(port).ask("GET", "/health")
            took, worked = time.perf_counter() - began, processor_time(process.pid)
            print(f"first answer after {took:.2f} s, {worked:.2f} s of processor time", flush=True)
            try:
                measure(port, options)
            finally:
                process.terminate()


def measure(port: int, options: argparse.Namespace) -> None:
    """Print what is to be known of a service that runs."""
    model = json.loads(Client(port).ask("GET", "/v1/models")[1])["models"][0]
    place = f"/v1/models/{model['id']}"
    load(port, f"{place}/sample", 2, 2.0, 0)  # the model is opened
    alone, _ = load(port, f"{place}/sample", 1, options.seconds / 2, 10**9)
    before = number(port, "calotype_resident_bytes")
    together, answers = load(port, f"{place}/sample", options.clients, options.seconds, 2 * 10**9)
    after = number(port, "calotype_resident_bytes")
    again, _ = load(port, f"{place}/sample", 1, options.seconds / 2, 3 * 10**9)
    one = (alone + again) / 2
    print(f"one client: {alone:.1f} and {again:.1f} requests/s; {options.clients} clients: {together:.1f}; ratio {together / one:.2f}")
    print(f"answers: {dict(answers)}; memory {before / 2**20:.0f} -> {after / 2**20:.0f} MiB")
    drawn, batches = number(port, "calotype_images_drawn_total"), number(port, "calotype_batches_total")
    print(f"{drawn:.0f} images in {batches:.0f} batches")
    if "explore" in model["abilities"]:
        took = latencies(port, place, options.moves)
        print(f"moves: median {1000 * statistics.median(took):.1f} ms, 95% within {1000 * took[int(0.95 * len(took))]:.1f} ms")
    for name, found in paints(port):
        print(f"first paint of {name}: median {statistics.median(found):.0f} ms, slowest {found[-1]:.0f} ms")


if __name__ == "__main__":
    main()
