"""What is printed of progress where nobody sits at a terminal."""

from __future__ import annotations

import io

import pytest

from calotype.engine import display
from calotype.engine.display import Terminal, progress


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(display, "time", clock)
    return clock


def test_another_work_is_shown_at_once_and_the_same_one_every_ten_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    for seconds, what, done in ((0, "reading", 1), (1, "reading", 2), (10.5, "reading", 3), (11, "drawing", 1), (12, "drawing", 2)):
        clock.now = 100 + seconds
        terminal.show(what, done, 10)
    assert [line.split()[:2] for line in stream.getvalue().splitlines()] == [["reading", "1/10"], ["reading", "3/10"], ["drawing", "1/10"]]


def test_work_of_unknown_length_has_no_count_and_costs_no_estimate(clock: Clock) -> None:
    stream = io.StringIO()
    said = progress(Terminal(stream).show, "reading")
    assert said is not None
    clock.now += 50  # of finding out how much there is
    said(2, 10)
    clock.now += 1
    said(0, 10)
    clock.now += 50
    said(0, 10)
    clock.now += 10
    said(5, 10)
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "reading ...",
        "reading 2/10  ...",
        "reading 0/10  ...",
        "reading 5/10  0:10 left",
    ]
    assert progress(None, "reading") is None


def test_the_time_of_a_work_that_is_done_again_begins_anew(clock: Clock) -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.show("reading", 0, 10)
    clock.now += 100
    terminal.show("reading", 10, 10)
    terminal.show("reading", 0, 10)
    clock.now += 20
    terminal.show("reading", 5, 10)
    assert stream.getvalue().splitlines()[-1].rstrip() == "reading 5/10  0:20 left"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_names_are_shown_as_they_are_and_never_as_markup() -> None:
    screen = Screen()
    terminal = Terminal(screen)
    terminal.show("reading photos[red]", 1, 2, note="a[link=foo]b")
    terminal.close()
    assert "reading photos[red]" in screen.getvalue()
    assert "a[link=foo]b" in screen.getvalue()
