"""Every route of models, on small models with random weights."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from calotype.provenance.embed import origin_of
from calotype.serve.performing import made
from calotype.serve.requests import parsed
from calotype.serve.settings import Settings
from calotype.serve.shelf import ABILITIES, Shelf
from calotype.tasks.sample import load
from tests.serve.served import mask, opened, picture, pixels_of, tampered, text


def asked(client: TestClient, place: str, **body: Any) -> Any:
    """An answer that is one."""
    answer = client.post(f"/v1/{place}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: TestClient, place: str, **body: Any) -> tuple[int, str, str]:
    """Status, message and field of a refusal."""
    answer = client.post(f"/v1/{place}", json=body)
    error = answer.json()["error"]
    return answer.status_code, error["message"], error["field"]


def test_models_say_what_they_can_do(client: TestClient) -> None:
    models = {one["recipe"]: one for one in client.get("/v1/models").json()["models"]}
    assert {name: tuple(one["abilities"]) for name, one in models.items()} == {
        "hinge": ("sample", "explore", "interpolate"),
        "vae": ("sample", "explore", "interpolate"),
        "flow-matching": ("sample", "explore", "interpolate", "complete", "restore", "upscale"),
        "pixelcnn": ("sample", "complete"),
        "denoise": ("restore",),
        "inpaint": ("complete", "restore"),
        "upscale": ("upscale",),
        "colorize": ("colorize",),
        "pix2pix": ("translate",),
        "resnet": ("classify",),
    }
    assert len({one["id"] for one in models.values()}) == len(models)
    flow = models["flow-matching"]
    assert (flow["size"], flow["channels"], flow["classes"]) == (28, 1, list("0123456789"))
    steps = flow["options"]["properties"]["steps"]
    assert steps["default"] == 8
    assert steps["description"]
    assert flow["task_options"]["restore"]["properties"]["degrade"]["default"] == "noise:25"
    assert "sigma" in models["denoise"]["task_options"]["restore"]["properties"]
    assert set(ABILITIES) >= {ability for one in models.values() for ability in one["abilities"]}


@pytest.mark.parametrize("recipe", ["hinge", "flow-matching", "pixelcnn"])
def test_samples_are_those_of_their_seed_and_say_how_they_were_made(client: TestClient, ids: dict[str, str], recipe: str) -> None:
    place = f"models/{ids[recipe]}/sample"
    several = asked(client, place, n=3, seed=5, label="3")["images"]
    one = asked(client, place, seed=5, index=1, label=3)["images"]
    assert [(image["seed"], image["index"], image["label"]) for image in several] == [(5, 0, "3"), (5, 1, "3"), (5, 2, "3")]
    assert one[0]["image"] == several[1]["image"], "to the last bit of the file"
    assert asked(client, place, seed=6, index=1, label=3)["images"][0]["image"] != one[0]["image"]
    image = opened(one[0]["image"])
    origin = origin_of(image)
    assert origin is not None
    assert (origin.marker.making, origin.marker.seed, origin.marker.index, origin.marker.label) == ("sample", 5, 1, "3")
    assert origin.source_type == "trainedAlgorithmicMedia"


def test_a_single_image_comes_as_a_file_where_that_is_asked_for(client: TestClient, ids: dict[str, str]) -> None:
    place, wanted = f"/v1/models/{ids['hinge']}/sample", {"accept": "image/png"}
    answer = client.post(place, json={"seed": 5, "index": 1, "label": 3}, headers=wanted)
    assert answer.headers["content-type"] == "image/png"
    assert text(answer.content) == asked(client, place[4:], seed=5, index=1, label=3)["images"][0]["image"]
    assert client.post(place, json={"n": 2}, headers=wanted).headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"label": "cat"}, 400, ""),
        ({"label": 10}, 400, ""),
        ({"label": True}, 422, "label"),
        ({"n": 0}, 422, "n"),
        ({"n": 33}, 400, "n"),
        ({"n": "2"}, 422, "n"),
        ({"seed": -1}, 422, "seed"),
        ({"seed": 2**63}, 422, "seed"),
        ({"seed": 1.5}, 422, "seed"),
        ({"options": {"steps": 3}}, 400, ""),
        ({"options": {"truncation": -1}}, 400, "truncation"),
        ({"options": {"truncation": [1]}}, 422, "options.truncation"),
        ({"options": {str(n): 1 for n in range(40)}}, 422, "options"),
        ({"more": 1}, 422, "more"),
    ],
)
def test_what_a_model_does_not_take_is_said_in_one_line(
    client: TestClient, ids: dict[str, str], body: dict[str, Any], status: int, field: str
) -> None:
    assert refused(client, f"models/{ids['hinge']}/sample", **body)[::2] == (status, field)


def test_steps_and_abilities_have_limits(client: TestClient, ids: dict[str, str]) -> None:
    status, said, field = refused(client, f"models/{ids['flow-matching']}/sample", options={"steps": 10_000})
    assert (status, field) == (400, "options.steps")
    assert "250" in said
    assert refused(client, f"models/{ids['resnet']}/sample")[0] == 400
    assert refused(client, "models/000000000000/sample")[0] == 404


def test_moves_change_an_image_and_lead_back(client: TestClient, ids: dict[str, str]) -> None:
    place = f"models/{ids['hinge']}"
    known = client.get(f"/v1/{place}/directions").json()["directions"]
    assert {one["kind"] for one in known} >= {"found", "principal"}
    assert all(one["range"] == [-3, 3] for one in known)
    assert {"sefa-1", "pca-1"} <= {one["id"] for one in known}
    base = asked(client, f"{place}/explore", seed=1, label="3")["images"][0]
    sample = asked(client, f"{place}/sample", seed=1, label="3")["images"][0]
    near = np.abs(pixels_of(base["image"]).astype(int) - pixels_of(sample["image"]))
    assert near.max() <= 1, "the same image, but for rounding"
    moved = asked(client, f"{place}/explore", seed=1, label="3", moves={"sefa-1": 2.0, "pca-1": -1})["images"][0]
    assert moved["image"] != base["image"]
    assert asked(client, f"{place}/explore", seed=1, label="3", moves={"sefa-1": 0.0})["images"][0]["image"] != ""
    marker = origin_of(opened(moved["image"]))
    assert marker is not None
    assert (marker.marker.making, dict(marker.marker.options)) == ("decoding", {"sefa-1": 2.0, "pca-1": -1.0})
    assert refused(client, f"{place}/explore", moves={"up": 1})[0] == 400
    assert refused(client, f"{place}/explore", moves={"sefa-1": 60})[0] == 400
    assert refused(client, f"{place}/explore", moves={"sefa-1": "1"})[0] == 422
    assert client.get(f"/v1/models/{ids['pixelcnn']}/directions").status_code == 400


def test_without_a_class_the_model_chooses_the_same_one(client: TestClient, ids: dict[str, str]) -> None:
    place = f"models/{ids['hinge']}"
    sample, explored = (asked(client, f"{place}/{ability}", seed=11)["images"][0] for ability in ("sample", "explore"))
    assert explored["label"] in list("0123456789")
    assert np.abs(pixels_of(sample["image"]).astype(int) - pixels_of(explored["image"])).max() <= 1


def test_a_way_leads_from_one_image_to_another(client: TestClient, ids: dict[str, str]) -> None:
    place = f"models/{ids['vae']}"
    way = asked(client, f"{place}/interpolate", **{"from": {"seed": 1, "label": "3"}, "to": {"seed": 2, "label": "7"}, "frames": 5})[
        "images"
    ]
    ends = [asked(client, f"{place}/explore", seed=seed, label=label)["images"][0] for seed, label in ((1, "3"), (2, "7"))]
    assert len(way) == 5
    assert [one["share"] for one in way] == [0, 0.25, 0.5, 0.75, 1]
    assert [one["label"] for one in way] == ["3", "3", "3", "7", "7"]
    for end, own in zip((way[0], way[-1]), ends, strict=True):
        assert np.abs(pixels_of(end["image"]).astype(int) - pixels_of(own["image"])).max() <= 1
    assert refused(client, f"{place}/interpolate", **{"from": {}, "to": {}, "frames": 1})[0] == 422
    assert refused(client, f"{place}/interpolate", **{"from": {}})[0] == 422


def test_a_prior_completes_what_is_missing_and_says_where_it_is_unsure(client: TestClient, ids: dict[str, str]) -> None:
    given = picture()
    body = {"image": text(given), "mask": mask(28, 14), "n": 2, "seed": 3, "options": {"steps": 3, "samples": 2}}
    made = asked(client, f"models/{ids['flow-matching']}/complete", **body)
    assert len(made["images"]) == 2
    kept = pixels_of(text(given))[:14].astype(int)
    for one in made["images"]:
        assert np.abs(pixels_of(one["image"])[:14] - kept).max() <= 1, "what is known stays"
    uncertain = pixels_of(made["uncertainty"])
    assert uncertain[:14].max() <= 2
    assert uncertain[14:].max() == 255
    assert made == asked(client, f"models/{ids['flow-matching']}/complete", **body)


def test_an_autoregressive_model_paints_the_lower_rows(client: TestClient, ids: dict[str, str]) -> None:
    place, given = f"models/{ids['pixelcnn']}/complete", picture()
    made = asked(client, place, image=text(given), mask=mask(28, 20), n=2, seed=1)
    assert all(np.array_equal(pixels_of(one["image"])[:20], pixels_of(text(given))[:20]) for one in made["images"])
    assert made["images"][0]["image"] != made["images"][1]["image"]
    upper = np.flipud(pixels_of(mask(28, 14)))
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(upper).save(stream, "PNG")
    assert refused(client, place, image=text(given), mask=text(stream.getvalue()))[::2] == (400, "mask")
    for top in (0, 28):
        assert refused(client, place, image=text(given), mask=mask(28, top))[::2] == (400, "mask")


def test_a_model_that_fills_in_is_told_where(client: TestClient, ids: dict[str, str]) -> None:
    given, place = picture((30, 24), channels=3), f"models/{ids['inpaint']}/complete"
    assert refused(client, place, image=text(given), mask=mask(28, 14))[::2] == (400, "mask"), "of another size"
    square = picture((30, 30), channels=3)
    made = asked(client, place, image=text(square), mask=mask(30, 15), n=1)["images"][0]
    assert opened(made["image"]).size == (30, 30)
    marker = origin_of(opened(made["image"]))
    assert marker is not None
    assert marker.marker.making == "inpainting"


@pytest.mark.parametrize(
    ("recipe", "ability", "channels", "size", "making"),
    [
        ("denoise", "restore", 3, (40, 30), "restoration"),
        ("upscale", "upscale", 3, (20, 16), "enlargement"),
        ("colorize", "colorize", 1, (40, 32), "restoration"),
        ("pix2pix", "translate", 1, (24, 24), "translation"),
    ],
)
def test_pictures_through_models_that_were_trained_for_it(
    client: TestClient, ids: dict[str, str], recipe: str, ability: str, channels: int, size: tuple[int, int], making: str
) -> None:
    for form in ("PNG", "JPEG", "WEBP"):
        made = asked(client, f"models/{ids[recipe]}/{ability}", image=text(picture(size, form, channels)), seed=1)
        assert made["uncertainty"] is None
        image = opened(made["images"][0]["image"])
        scale = image.width // size[0]
        assert image.size == (scale * size[0], scale * size[1])
        assert scale == (1 if ability != "upscale" else scale) or scale > 1
        origin = origin_of(image)
        assert origin is not None
        assert (origin.marker.making, origin.marker.weights) == (making, load_weights(client, ids[recipe]))


def load_weights(client: TestClient, id: str) -> str:
    return next(one["sha256"] for one in client.get("/v1/models").json()["models"] if one["id"] == id)


def test_what_was_said_of_a_picture_before_is_kept(client: TestClient, ids: dict[str, str]) -> None:
    drawn = asked(client, f"models/{ids['hinge']}/sample", seed=1)["images"][0]["image"]
    restored = asked(client, f"models/{ids['denoise']}/restore", image=drawn, options={"sigma": 10})["images"][0]["image"]
    origin = origin_of(opened(restored))
    assert origin is not None
    assert [one.making for one in origin.earlier] == ["sample"]
    assert origin.source_type == "trainedAlgorithmicMedia", "what was drawn once is never said more weakly"


def test_a_prior_restores_what_it_is_told_of(client: TestClient, ids: dict[str, str]) -> None:
    place, few = f"models/{ids['flow-matching']}", {"steps": 2, "samples": 2}
    made = asked(client, f"{place}/restore", image=text(picture()), options={**few, "degrade": "blur:1.6+noise:2"})
    assert opened(made["uncertainty"]).size == (28, 28)
    larger = asked(client, f"{place}/upscale", image=text(picture((14, 14))), options=few)
    assert opened(larger["images"][0]["image"]).size == (28, 28)
    for options, field in (({"degrade": "downsample:2"}, "options.degrade"), ({"samples": 100}, "samples"), ({"path": "x"}, "path")):
        assert refused(client, f"{place}/restore", image=text(picture()), options=options)[::2] == (400, field)
    assert refused(client, f"{place}/restore", image=text(picture()), options={"degrade": "+".join(["noise:1"] * 9)})[0] == 400
    assert refused(client, f"{place}/restore", image=text(picture()), options={"degrade": "/etc/passwd"})[0] == 400


def test_a_classifier_names_images(client: TestClient, ids: dict[str, str]) -> None:
    found = asked(client, f"models/{ids['resnet']}/classify", image=text(picture((50, 40), "JPEG", 3)), top=4)
    assert len(found["classes"]) == 4
    assert sum(one["probability"] for one in found["classes"]) <= 1 + 1e-6
    assert found["calibrated"] is False


def test_a_trace_tells_what_made_an_image_and_draws_it_anew(client: TestClient, ids: dict[str, str]) -> None:
    drawn = asked(client, f"models/{ids['hinge']}/sample", seed=9, index=4, label="2")["images"][0]["image"]
    found = asked(client, "trace", image=drawn)
    assert (found["remade"], found["model"], found["marker"]["seed"]) == ("the same", ids["hinge"], 9)
    assert "cannot" not in str(found)
    other = asked(client, "trace", image=text(picture()))
    assert other["error"].startswith("carries no marker")
    assert (found["kind"], other["kind"]) == (None, "unmarked")
    told = asked(client, "trace", image=tampered(drawn))
    assert told["kind"] == "altered"
    assert "marker" not in told
    assert other["file"] == "image"


def test_images_as_other_services_make_them(client: TestClient, ids: dict[str, str]) -> None:
    body = {"prompt": "7", "n": 2, "size": "28x28", "response_format": "b64_json", "seed": 4}
    made = asked(client, "images/generations", **body)
    assert set(made) == {"created", "data"}
    same = asked(client, f"models/{ids['hinge']}/sample", n=2, seed=4, label="7")["images"]
    assert [one["b64_json"] for one in made["data"]] == [one["image"] for one in same]
    drawn = [asked(client, "images/generations", model="vae")["data"][0]["b64_json"] for _ in range(2)]
    assert drawn[0] != drawn[1], "without a seed another image each time"
    assert refused(client, "images/generations", size="512x512")[::2] == (400, "size")
    assert refused(client, "images/generations", prompt="a cat")[0] == 400
    assert refused(client, "images/generations", model="resnet")[::2] == (404, "model")


def test_the_same_without_http(client: TestClient, ids: dict[str, str], folders: dict[str, Path], settings: Settings) -> None:
    shelf = Shelf(tuple(folders.values()), "cpu")
    shelf.fill()
    body = {"n": 3, "seed": 5, "label": "3"}
    assert made(shelf[ids["hinge"]], "sample", parsed("sample", body), settings).as_json() == asked(
        client, f"models/{ids['hinge']}/sample", **body
    )
    found = made(shelf[ids["resnet"]], "classify", parsed("classify", {"image": text(picture())}), settings)
    assert found.as_json() == asked(client, f"models/{ids['resnet']}/classify", image=text(picture()))


def test_recipes_have_their_settings_but_no_places(client: TestClient) -> None:
    recipes = {one["name"]: one for one in client.get("/v1/recipes").json()["recipes"]}
    settings = recipes["hinge"]["settings"]["properties"]
    assert settings["train.batch"]["minimum"] == 1
    assert settings["train.batch"]["group"] == "train"
    assert settings["model.generator.width"]["description"]
    assert not {"data.source", "data.partner", "train.start", "train.device"} & settings.keys()
    assert recipes["flow-matching"]["default"] is True


def test_health_and_metrics(client: TestClient, ids: dict[str, str]) -> None:
    assert client.get("/health").json() == {"status": "ready"}
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    numbers = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
    assert numbers['calotype_requests_total{method="GET",route="/health",status="200"}'] >= 1
    assert numbers["calotype_models"] == 10
    assert numbers["calotype_images_drawn_total"] > 0
    assert ids["hinge"] not in answer.text, "labels are routes, not what was asked for"
    client.get("/no/such/place/at/all")
    assert "no/such" not in client.get("/metrics").text


def test_two_models_that_are_alike_have_two_ids(folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "hinge"
    shutil.copytree(folders["hinge"], copy)
    shelf = Shelf((folders["hinge"], copy, folders["hinge"]), "cpu")
    shelf.fill()
    assert len({one.id for one in shelf.models}) == 2
    assert load(copy, "cpu").weights == shelf.models[0].facts["sha256"]
    assert base64.b16decode(shelf.models[0].id.upper())
