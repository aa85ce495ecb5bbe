"""Numbers for Prometheus, in its text format."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the times that requests are counted by, in seconds."""

SeriesLabels = tuple[tuple[str, str], ...]


class Counts:
    """What has happened since the start. All labels are the service's own words, so that nobody makes series without number."""

    def __init__(self) -> None:
        self.began = time.time()
        self.in_flight = 0
        self._requests: dict[SeriesLabels, int] = defaultdict(int)
        self._times: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests[("method", method), ("route", route), ("status", str(status))] += 1
        self._times[route][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds

    def text(self, gauges: Mapping[str, tuple[str, float]], totals: Mapping[str, tuple[str, float]]) -> str:
        """All numbers; ``gauges`` and ``totals`` are what others count: a help and a value for each name."""
        lines = list(self._lines())
        for kind, numbers in (("gauge", {**self._own(), **gauges}), ("counter", totals)):
            for name, (said, value) in numbers.items():
                lines += [f"# HELP calotype_{name} {said}", f"# TYPE calotype_{name} {kind}", f"calotype_{name} {value:.15g}"]
        return "\n".join(lines) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# HELP calotype_requests_total requests that were answered"
        yield "# TYPE calotype_requests_total counter"
        for labels, count in sorted(self._requests.items()):
            yield f"calotype_requests_total{{{_said(labels)}}} {count}"
        yield "# HELP calotype_request_seconds how long requests took"
        yield "# TYPE calotype_request_seconds histogram"
        for route, counts in sorted(self._times.items()):
            total = 0
            for end, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
                total += count
                yield f"calotype_request_seconds_bucket{{{_said((('route', route), ('le', end)))}}} {total}"
            yield f"calotype_request_seconds_sum{{{_said((('route', route),))}}} {self._seconds[route]:.9g}"
            yield f"calotype_request_seconds_count{{{_said((('route', route),))}}} {total}"

    def _own(self) -> dict[str, tuple[str, float]]:
        found = {"uptime_seconds": ("since the start", time.time() - self.began), "in_flight": ("requests being answered", self.in_flight)}
        if (memory := resident()) is not None:
            found["resident_bytes"] = "memory of the process", memory
        return found


def resident() -> float | None:
    """Bytes of memory that this process holds; None where the system does not tell."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        return float(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    return None


def _said(labels: SeriesLabels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
