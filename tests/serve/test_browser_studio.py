"""The Studio in a real browser, on a phone and on a desktop: every tool once, by mouse, touch or keys."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright", reason="no playwright: pip install 'calotype[test]'")

from PIL import Image
from playwright.sync_api import expect

from calotype.provenance.embed import origin_of
from tests.serve.browsing import BOTH, DESKTOP, HOSTILE, NEEDED, PHONE, Stage, Visit, audited, pressed
from tests.serve.served import tampered

pytestmark = NEEDED
RECIPES = ("hinge", "flow-matching", "denoise", "upscale", "colorize", "pix2pix", "resnet")
RUNS = ()


@BOTH
def test_samples_are_made_looked_at_and_kept(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    window = visit(view)
    page = window.tool(stage.models["flow-matching"], "sample")
    cells = page.locator(".grid .cell img")
    expect(cells).to_have_count(16)
    if view == PHONE:
        page.get_by_text("How it draws").click()
    page.get_by_label("Images").fill("3")
    page.get_by_label("Seed", exact=True).fill("5")
    page.get_by_label("Label").select_option("7")
    page.get_by_label("Steps").fill("2")
    page.get_by_label("Solver").select_option("euler")
    with page.expect_request("**/sample") as asked:
        page.get_by_role("button", name="Make samples").click()
    assert asked.value.post_data_json == {"n": 3, "seed": 5, "index": 0, "label": "7", "options": {"steps": 2, "solver": "euler"}}
    expect(cells).to_have_count(3)
    page.get_by_label("Steps").fill("100000")
    pressed(page, "Control+Enter")
    expect(page.locator(".field[data-name=steps] .wrong")).not_to_be_empty()
    expect(page.get_by_role("alert")).to_have_count(0)
    window.forgive("400")
    page.get_by_label("Steps").fill("2")
    page.locator(".grid .cell").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("1 of 3")).to_be_visible()
    pressed(page, "ArrowRight")
    expect(dialog.get_by_text("2 of 3")).to_be_visible()
    assert audited(page) == []
    dialog.get_by_role("button", name="Keep in gallery").click()
    expect(dialog.get_by_role("button", name="Kept")).to_be_visible()
    with page.expect_download() as file:
        dialog.get_by_role("button", name="Download").click()
    with Image.open(file.value.path()) as saved:
        origin = origin_of(saved)
    assert origin is not None
    assert (origin.marker.seed, origin.marker.index, origin.marker.label) == (5, 1, "7")
    pressed(page, "Escape")
    expect(dialog).to_have_count(0)


@BOTH
def test_latents_are_explored_by_pad_keys_and_sliders(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    page = visit(view).tool(stage.models["hinge"], "explore")
    image, pad = page.locator(".big img"), page.locator(".pad")
    expect(image).to_be_visible()
    before = image.get_attribute("src")
    bodies: list[Any] = []
    page.on("request", lambda request: bodies.append(request.post_data_json) if request.url.endswith("/explore") else None)
    pad.focus()
    pressed(page, "Shift+ArrowRight", 8)  # more moves than answers: only the newest wish counts
    pressed(page, "ArrowUp")
    expect(page.locator(".slider output").first).to_have_text("3")
    expect(image).not_to_have_attribute("src", before or "")
    for _ in range(100):  # the newest wish is asked for when the answer before it is there
        if bodies and len(bodies[-1]["moves"]) == 2:
            break
        page.wait_for_timeout(100)
    assert len(bodies[-1]["moves"]) == 2
    page.wait_for_load_state("networkidle")
    assert len(bodies) <= 9
    pressed(page, "Home")
    expect(image).to_have_attribute("src", before or "")
    area = pad.bounding_box()
    page.mouse.click(area["x"] + area["width"] * 0.25, area["y"] + area["height"] * 0.5)
    expect(page.locator(".slider output").first).to_have_text(re.compile("-1.5"))
    page.locator(".slider input").nth(1).fill("1.2")
    page.get_by_label("Across").select_option(index=2)
    page.get_by_role("button", name="Another start").click()
    page.get_by_role("button", name="Reset").click()
    assert audited(page) == []


@BOTH
def test_a_way_between_two_images_is_walked(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    page = visit(view).tool(stage.models["hinge"], "interpolate")
    frames, scrub = page.locator(".film img"), page.get_by_label("Frame", exact=True)
    expect(frames).to_have_count(12)
    page.get_by_label("Frames").fill("5")
    page.get_by_role("button", name="Walk between them").click()
    expect(frames).to_have_count(5)
    first = page.locator(".big img").get_attribute("src")
    scrub.focus()
    pressed(page, "ArrowRight")
    expect(page.locator(".big img")).not_to_have_attribute("src", first or "")
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("group", name="To").get_by_role("button", name="Another").click()
    assert audited(page) == []


@BOTH
def test_a_picture_is_completed_where_it_was_painted(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    page = visit(view).tool(stage.models["flow-matching"], "complete")
    page.get_by_role("button", name="Complete").click()
    expect(page.get_by_role("alert")).to_have_text("Choose an image first.")
    page.get_by_role("button", name="Take a sample").click()
    canvas = page.locator("canvas")
    expect(canvas).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Complete").click()
    expect(page.get_by_role("alert")).to_contain_text("Paint over")
    area = canvas.bounding_box()
    if view == PHONE:
        page.touchscreen.tap(area["x"] + 40, area["y"] + 40)
    page.mouse.move(area["x"] + 30, area["y"] + 30)
    page.mouse.down()
    page.mouse.move(area["x"] + 90, area["y"] + 30, steps=3)
    page.mouse.up()
    canvas.focus()
    pressed(page, "ArrowDown", 4)
    pressed(page, "Space")
    page.get_by_role("button", name="left half").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_label("Completions").fill("2")
    page.get_by_text("How it draws").click()
    page.get_by_label("Steps").fill("2")
    with page.expect_request("**/complete") as asked:
        page.get_by_role("button", name="Complete").click()
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(asked.value.post_data_json["mask"]))).convert("L"))
    assert set(np.unique(mask)) == {0, 255}
    assert mask.shape == (28, 28)
    assert 9 < (mask == 255).sum() < mask.size / 2
    expect(page.locator(".results .cell")).to_have_count(2)
    assert audited(page) == []


@BOTH
def test_pictures_are_made_better(stage: Stage, visit: Callable[[str], Visit], photo: Path, view: str) -> None:
    tools = {"denoise": "restore", "upscale": "upscale", "colorize": "colorize", "pix2pix": "translate"}
    for recipe, tool in tools.items():
        page = visit(view).tool(stage.models[recipe], tool)
        if view == PHONE:
            page.locator("input[type=file]").set_input_files(photo)
        else:
            dropped(page, photo)
        expect(page.locator(".well-shown img")).to_be_visible()
        pressed(page, "Control+Enter")
        slider = page.get_by_role("slider", name="Divider")
        expect(slider).to_have_value("50")
        slider.focus()
        pressed(page, "ArrowLeft", 10)
        expect(slider).to_have_value("40")
        assert slider.get_attribute("aria-valuetext").startswith("40% before")
    page.get_by_role("button", name="Go on from the result").click()
    assert audited(page) == []


def test_a_photograph_is_shown_that_was_dropped(stage: Stage, visit: Callable[[str], Visit], photo: Path, tmp_path: Path) -> None:
    # base64 of a JPEG begins with a slash, as an address does
    Image.open(photo).convert("RGB").save(tmp_path / "photo.jpg")
    page = visit(DESKTOP).tool(stage.models["denoise"], "restore")
    page.locator("input[type=file]").set_input_files(tmp_path / "photo.jpg")
    shown = page.locator(".well-shown img")
    expect(shown).to_be_visible()
    page.wait_for_function("image => image.complete", arg=shown.element_handle())
    assert shown.evaluate("image => image.naturalWidth") == 28


def dropped(page: Any, file: Path) -> None:
    """A file pulled onto the field for images."""
    data = page.evaluate_handle(
        """bytes => { const all = new DataTransfer();
        all.items.add(new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" })); return all; }""",
        list(file.read_bytes()),
    )
    page.locator(".well").dispatch_event("drop", {"dataTransfer": data})


def test_a_prior_shows_where_it_is_unsure(stage: Stage, visit: Callable[[str], Visit]) -> None:
    page = visit(DESKTOP).tool(stage.models["flow-matching"], "restore")
    page.get_by_role("button", name="Take a sample").click()
    expect(page.locator(".well-shown img")).to_be_visible()
    page.get_by_label("Degrade").fill("noise:10")
    page.get_by_text("How it works").click()
    page.get_by_label("Steps").fill("2")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_alt_text("Map of uncertainty")).to_be_visible()


@BOTH
def test_a_picture_is_named_and_traced(stage: Stage, visit: Callable[[str], Visit], view: str) -> None:
    page = visit(view).tool(stage.models["resnet"], "classify")
    page.get_by_role("button", name="Take a sample").click()
    expect(page.locator(".bars li")).to_have_count(10)
    assert audited(page) == []
    page.get_by_role("tab", name="Classify").focus()
    pressed(page, "ArrowRight")
    expect(page.get_by_role("tab", name="Trace")).to_be_focused()
    page.locator(".thumb").first.click()
    expect(page.get_by_role("heading", name="This image says how it was made")).to_be_visible()
    expect(page.get_by_text("the same, bit for bit")).to_be_visible()
    assert audited(page) == []


@pytest.mark.parametrize("tool", ["sample", "interpolate"])
def test_a_late_answer_leaves_the_stage_to_the_next_tool(stage: Stage, visit: Callable[[str], Visit], tool: str) -> None:
    window = visit(DESKTOP)
    waiting: list[Any] = []
    window.page.route(f"**/{tool}", lambda route: waiting.append(route))
    with window.page.expect_request(f"**/{tool}"):
        page = window.tool(stage.models["hinge"], tool)
    page.get_by_role("tab", name="Trace").click()
    expect(page.locator("#stage h2")).to_have_text("Trace")
    page.wait_for_function("() => !document.querySelector('#stage[aria-busy]')")
    image = page.evaluate("() => document.createElement('canvas').toDataURL().split(',')[1]")
    waiting[0].fulfill(json={"images": [{"image": image, "seed": 1, "index": 0}] * 3})
    page.wait_for_timeout(300)
    expect(page.locator("#stage h2")).to_have_text("Trace")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.unroute_all()


def test_an_altered_marker_is_no_missing_one(stage: Stage, visit: Callable[[str], Visit], photo: Path, tmp_path: Path) -> None:
    page = visit(DESKTOP).tool(stage.models["resnet"], "trace")
    page.locator("input[type=file]").set_input_files(photo)
    expect(page.get_by_role("heading", name="This image says nothing of its making")).to_be_visible()
    place = f"{stage.address}/v1/models/{stage.models['hinge']}/sample"
    made = page.request.post(place, data={"n": 1, "seed": 3}).json()["images"][0]["image"]
    (tmp_path / "altered.png").write_bytes(base64.b64decode(tampered(made)))
    page.locator("input[type=file]").set_input_files(tmp_path / "altered.png")
    expect(page.get_by_role("heading", name="The marker of this image was altered")).to_be_visible()
    expect(page.locator(".answer .caution")).to_contain_text("checksum")


def test_what_is_no_picture_is_refused_in_words(stage: Stage, visit: Callable[[str], Visit], tmp_path: Path) -> None:
    page = visit(DESKTOP).tool(stage.models["resnet"], "classify")
    (tmp_path / "notes.txt").write_text("no picture")
    page.locator("input[type=file]").set_input_files(tmp_path / "notes.txt")
    expect(page.get_by_role("alert")).to_have_text("notes.txt is no PNG, JPEG or WebP.")


def test_only_what_a_model_can_do_is_offered_and_names_are_no_markup(stage: Stage, visit: Callable[[str], Visit]) -> None:
    page = visit(DESKTOP).tool(stage.models["resnet"], "classify")
    assert page.get_by_role("tab").all_inner_texts() == ["Classify", "Trace"]
    page.get_by_label("Model").select_option(HOSTILE)
    expect(page.get_by_role("tab", name="Explore")).to_be_visible()
    expect(page.get_by_role("tab", name="Classify")).to_have_count(0)
    page.locator(".grid button.cell").first.click()
    expect(page.get_by_role("dialog").get_by_text(HOSTILE)).to_be_visible()


def test_a_detector_says_its_reasons_and_its_doubts(stage: Stage) -> None:
    facts = {"id": "d0", "name": "judge", "recipe": "detector", "family": "detector", "size": None, "channels": None}
    judge = facts | {"classes": ["REAL", "GENERATED"], "abilities": ["detect"], "options": {}, "task_options": {}, "prior": False}
    said = {"answer": "CANNOT TELL", "probability": None, "unlike": 3.0, "reason": "it is unlike all it was tested on", "marker": ""}
    window = Visit(stage.browser, stage.address, DESKTOP)

    def models(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={"models": [*answer.json()["models"], judge]})

    window.page.route("**/v1/models", models)
    window.page.route(
        "**/detect", lambda route: route.fulfill(json=said | {"evidence": [], "trust": "It knows one generator.", "doubt": ""})
    )
    page = window.tool("d0", "detect")
    page.get_by_role("button", name="Take a sample").click()
    expect(page.get_by_role("heading", name="It cannot tell")).to_be_visible()
    expect(page.locator(".answer")).to_contain_text("unlike all it was tested on")
    expect(page.locator(".caution")).to_have_text("It knows one generator.")
    window.require_clean()
    window.close()
