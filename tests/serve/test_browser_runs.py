"""Runs, their comparison, the gallery and the way in, in a real browser, on a phone and on a desktop."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright", reason="no playwright: pip install 'calotype[test]'")

from PIL import Image
from playwright.sync_api import expect

from calotype.provenance.embed import origin_of
from calotype.serve.settings import Settings
from tests.serve.browsing import BOTH, DESKTOP, HOSTILE, NEEDED, Stage, Visit, audited, pressed
from tests.serve.on_a_socket import service

pytestmark = NEEDED
RECIPES = ("hinge",)
RUNS = ("one", HOSTILE)
LONG = 60_000  # milliseconds in which a process has imported torch and taken a step, on a busy machine


@BOTH
def test_empty_pages_say_what_comes_there(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    window = visit(view)
    page = window.go("/gallery")
    expect(page.get_by_role("heading", name="Nothing kept yet")).to_be_visible()
    assert audited(page) == []
    page = window.go("/compare")
    expect(page.get_by_role("heading", name="Nothing to compare")).to_be_visible()
    assert page.locator("nav [aria-current=page]").inner_text() == "Runs"


@BOTH
def test_a_run_is_looked_at_through_time(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    window = visit(view)
    page = window.go("/runs")
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    assert audited(page) == []
    page.get_by_role("link", name="one", exact=True).click()
    chart = page.locator(".chart").first
    expect(chart.locator("path").first).to_have_attribute("d", re.compile(r"^M.*L"))
    chart.locator("svg").focus()
    pressed(page, "ArrowLeft", 2)
    expect(chart.locator("figcaption .quiet")).to_contain_text("step")
    grid, slider = page.locator(".scrub img"), page.get_by_label("Samples through time")
    newest = grid.get_attribute("src")
    slider.focus()
    pressed(page, "Home")
    expect(grid).not_to_have_attribute("src", newest or "")
    page.locator("iframe").scroll_into_view_if_needed()
    expect(page.frame_locator("iframe").get_by_role("heading", name="All that is known")).to_be_visible()
    window.forgive("sandboxed")  # a script in a report, which does not run
    assert audited(page) == []


@BOTH
def test_runs_are_compared(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    page = visit(view).go("/runs")
    for name in RUNS:
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Newest samples")).to_be_visible()
    expect(page.locator(".side-by-side img")).to_have_count(2)
    expect(page.locator(".chart").first.locator("path")).to_have_count(2)
    assert audited(page) == []


def test_a_training_is_started_watched_stopped_and_resumed(stage: Stage, visit: Callable[[str], Visit]) -> None:
    window = visit(DESKTOP)
    page = window.go("/runs#new")
    page.get_by_label("Recipe", exact=True).select_option("gan")
    expect(page.locator("#start")).to_contain_text("Goodfellow")
    page.get_by_label("Minutes", exact=True).fill("30")
    page.get_by_text(re.compile("other .* settings")).click()
    page.get_by_label("Find a setting").fill("generator.width")
    shown = page.locator(".field[data-name='model.generator.width'] input")
    shown.fill("-1")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator(".field[data-name='model.generator.width'] .wrong")).not_to_be_empty()
    window.forgive("40")
    shown.fill("8")
    page.get_by_label("log.every").fill("1")
    assert audited(page) == []
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/runs/*")
    path = page.locator(".chart path").first
    expect(path).to_have_attribute("d", re.compile("L"), timeout=LONG)
    expect(page.locator(".live")).to_have_text("live")
    before = path.get_attribute("d")
    expect(path).not_to_have_attribute("d", before or "", timeout=LONG)  # it grows as the training goes on
    page.get_by_role("button", name="Stop in order").click()
    resume = page.get_by_role("button", name="Resume")
    expect(resume).to_be_visible(timeout=LONG)
    assert page.locator(".run-head .status").inner_text().endswith("stopped")
    page.get_by_label("train on for").fill("0.001")
    resume.click()
    expect(page.locator(".run-head .status")).to_contain_text("training")
    expect(page.locator(".run-head .status")).to_contain_text(re.compile("finished|stopped"), timeout=LONG)


def test_advice_without_minutes_leaves_those_of_the_form(stage: Stage, visit: Callable[[str], Visit]) -> None:
    page = visit(DESKTOP).go("/runs#new")
    page.get_by_label("Images", exact=True).select_option("ring")
    page.get_by_label("Minutes", exact=True).fill("7")
    page.get_by_role("button", name="Use this advice").click(timeout=LONG)
    expect(page.get_by_label("Minutes", exact=True)).to_have_value("7")


def test_a_judgement_is_found_again_by_who_left_and_came_back(stage: Stage, visit: Callable[[str], Visit]) -> None:
    window = visit(DESKTOP)
    told: dict[str, Any] = {"report": False}

    def unjudged(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | told)

    address, jobs = f"/v1/runs/{stage.runs[0]}", window.context.request
    window.page.route(f"**{address}", unjudged)
    page = window.go(f"/runs/{stage.runs[0]}")
    report = page.get_by_role("region", name="Report")
    expect(page.get_by_role("region", name="Verdicts")).to_contain_text("Nobody has judged it yet")
    report.get_by_role("button", name="Judge this model").click()
    expect(report.get_by_role("button", name="Call off")).to_be_visible()
    window.go("/runs")
    window.go(f"/runs/{stage.runs[0]}")
    expect(report).to_contain_text("This model is being judged")
    expect(report.get_by_role("button", name="Judge this model")).to_be_hidden()
    assert jobs.post(f"{stage.address}/v1/jobs", data={"kind": "evaluate", "run": stage.runs[0], "request": {}}).status == 202
    assert [job["kind"] for job in jobs.get(f"{stage.address}/v1/jobs").json()["jobs"]].count("evaluate") == 1
    report.get_by_role("button", name="Call off").click()
    expect(report).to_contain_text("called off")
    expect(report.get_by_role("button", name="Judge this model")).to_be_visible()
    told |= {"can": {"stop": False, "resume": False, "judge": False}}
    page.reload()
    expect(report).to_contain_text("nothing to judge yet")
    asked = f"run={stage.runs[0]}&run={stage.runs[1]}"
    judgement = page.get_by_role("region", name="Judgement")
    window.go(f"/compare?{asked}")
    judgement.get_by_role("button", name="Compare by judgement").click()
    expect(judgement.get_by_role("button", name="Call off")).to_be_visible()
    window.go("/runs")
    window.go(f"/compare?{asked}")
    judgement.get_by_role("button", name="Call off").click()
    expect(judgement.get_by_role("button", name="Compare by judgement")).to_be_visible()
    page.unroute_all()
    page.goto("about:blank")


def test_events_come_back_after_they_were_lost(stage: Stage, visit: Callable[[str], Visit]) -> None:
    window = visit(DESKTOP)
    address, lost = f"/v1/runs/{stage.runs[0]}", []

    def training(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"state": "training"})

    def broken(route: Any) -> None:
        lost.append(route.request.url)
        if len(lost) == 1:
            route.abort()
        else:
            route.fulfill(content_type="text/event-stream", body='event: log\ndata: {"step": 9999, "generator/loss": 1}\n\n')

    window.page.route(f"**{address}", training)
    window.page.route(f"**{address}/events*", broken)
    page = window.go(f"/runs/{stage.runs[0]}")
    expect(page.locator(".live.lost")).to_be_visible()
    expect(page.locator(".chart svg").first).to_contain_text("7,500")  # the axis reaches to the step that came
    assert len(lost) >= 2
    assert all("after=4" in one for one in lost[:2])
    page.unroute_all()
    page.goto("about:blank")
    window.forgive("ERR_FAILED")
    window.forgive("sandboxed")


def test_what_has_the_focus_keeps_it_while_a_run_goes_on(stage: Stage, visit: Callable[[str], Visit]) -> None:
    window = visit(DESKTOP)
    address, told = f"/v1/runs/{stage.runs[0]}", []

    def training(route: Any) -> None:
        answer = route.fetch()
        told.append(said := answer.json() | {"state": "training", "step": 1, "steps": 10_000, "can": {"stop": True, "resume": False}})
        route.fulfill(response=answer, json=said)

    def events(route: Any) -> None:
        told.append(told[-1] | {"step": told[-1]["step"] + 1})
        route.fulfill(content_type="text/event-stream", body=f"event: state\ndata: {json.dumps({'run': told[-1]})}\n\n")

    window.page.route(f"**{address}", training)
    window.page.route(f"**{address}/events*", events)
    page = window.go(f"/runs/{stage.runs[0]}")
    stop = page.get_by_role("button", name="Stop in order")
    stop.focus()
    expect(page.locator(".run-head")).to_contain_text(re.compile("step [3-9] of 10,000"))
    expect(stop).to_be_focused()
    told.append(told[-1] | {"can": {"stop": False, "resume": True}})
    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    page.unroute_all()
    page.goto("about:blank")
    window.forgive("sandboxed")


def test_what_has_the_focus_keeps_it_in_the_list_of_runs(stage: Stage, visit: Callable[[str], Visit]) -> None:
    window = visit(DESKTOP)
    steps: list[int] = []

    def training(route: Any) -> None:
        answer = route.fetch()
        steps.append(len(steps) + 1)
        runs = [one | {"state": "training", "step": steps[-1], "steps": 9, "seconds_left": None} for one in answer.json()["runs"]]
        route.fulfill(response=answer, json={"runs": runs if len(steps) == 1 else [runs[0] | {"id": "0" * 12, "name": "newer"}, *runs]})

    window.page.route("**/v1/runs", training)
    page = window.go("/runs")
    page.get_by_label("Compare one", exact=True).check()
    link = page.get_by_role("link", name="one", exact=True)
    link.focus()
    expect(page.get_by_role("link", name="newer", exact=True)).to_be_visible()
    expect(link).to_be_focused()
    expect(page.get_by_label("Compare one", exact=True)).to_be_checked()
    page.unroute_all()
    page.goto("about:blank")


@BOTH
def test_what_was_kept_is_made_again_downloaded_and_deleted(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    body = {"n": 2, "seed": 3, "options": {}, "keep": True}
    made = stage.browser.new_context().request.post(f"{stage.address}/v1/models/{stage.models['hinge']}/sample", data=body)
    assert made.ok, made.text()
    page = visit(view).go("/gallery")
    cards = page.locator(".cards > li:not([hidden])")
    expect(cards).to_have_count(2)
    expect(page.locator("#count")).to_have_text("2 pictures")
    assert audited(page) == []
    cards.first.locator(".cell").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("What the file says of its making").click()
    expect(dialog).to_contain_text("trainedAlgorithmicMedia")
    pressed(page, "Escape")
    cards.first.get_by_role("button", name="Make again").click()
    expect(page.get_by_text("Made again: the same picture")).to_be_visible()
    with page.expect_download() as file:
        cards.first.get_by_role("button", name="Download").click()
    with Image.open(file.value.path()) as saved:
        assert origin_of(saved) is not None
    cards.first.get_by_role("button", name="Delete").focus()
    pressed(page, "Enter")
    expect(cards).to_have_count(1)
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    pressed(page, "Enter")
    expect(cards).to_have_count(2)
    expect(cards.first.get_by_role("button", name="Delete")).to_be_focused()
    cards.first.get_by_role("button", name="Delete").click()
    cards.first.get_by_role("button", name="Delete").click()
    page.goto("about:blank")  # who leaves meanwhile has deleted them all the same
    page = visit(view).go("/gallery")
    expect(page.get_by_role("heading", name="Nothing kept yet")).to_be_visible()


def test_the_focus_goes_on_to_the_next_picture_after_a_deletion(stage: Stage) -> None:
    body = {"n": 2, "seed": 3, "options": {}, "keep": True}
    stage.browser.new_context().request.post(f"{stage.address}/v1/models/{stage.models['hinge']}/sample", data=body)
    window = Visit(stage.browser, stage.address, DESKTOP)
    window.page.clock.install()
    page = window.go("/gallery")
    cards = page.locator(".cards > li:not([hidden])")
    for left in (1, 0):
        cards.first.get_by_role("button", name="Delete").focus()
        pressed(page, "Enter")
        expect(page.get_by_role("button", name="Undo")).to_be_focused()
        page.clock.fast_forward(9000)
        expect(cards).to_have_count(left)
        expect(cards.first.locator(".cell") if left else page.locator("#main")).to_be_focused()
    expect(page.get_by_role("heading", name="Nothing kept yet")).to_be_visible()
    window.require_clean()
    window.close()


def test_the_token_is_asked_for_once(stage: Stage, tmp_path: Path) -> None:
    token = "a token of more than sixteen characters".replace(" ", "-")
    with service(Settings(state=tmp_path, token=token, log="none")) as (client, _):
        window = Visit(stage.browser, str(client.base_url).rstrip("/"), DESKTOP)
        page = window.go("/gallery")
        page.get_by_label("Token").fill("not the token at all")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        assert audited(page) == []
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Nothing kept yet")).to_be_visible()
        assert token not in page.url
        expect(page.locator("nav [aria-current=page]")).to_have_text("Gallery")
        page.get_by_role("link", name="Studio", exact=True).click()
        expect(page.get_by_role("heading", name="No model yet")).to_be_visible()
        window.close()


def test_signing_in_leads_to_no_other_site(stage: Stage, tmp_path: Path) -> None:
    token = "a-token-of-more-than-sixteen-characters"
    with service(Settings(state=tmp_path, token=token, log="none")) as (client, _):
        address = str(client.base_url).rstrip("/")
        for to in (
            "/%09/evil.example",
            "//evil.example",
            "/%5Cevil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "//[",
            "/runs%3Fa=b%23new",
        ):
            window = Visit(stage.browser, address, DESKTOP)
            page = window.go(f"/sign-in?to={to}")
            page.get_by_label("Token").fill(token)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"{address}/runs?a=b#new" if "runs" in to else f"{address}/")
            window.require_clean()
            window.close()


def test_a_run_that_is_none_and_a_file_that_is_none(stage: Stage) -> None:
    window = Visit(stage.browser, stage.address, DESKTOP)
    page = window.go("/runs/000000000000")
    expect(page.get_by_role("heading", name="There is no such run")).to_be_visible()
    for path in ("/static/0/page.css", "/static/..%2f..%2fpages.py/x", "/static/..%2fpages.py", "/static"):
        assert page.request.get(stage.address + path).status == 404
    window.close()
