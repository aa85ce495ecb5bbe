from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from calotype.errors import DamagedError
from calotype.serve.gallery import Gallery
from calotype.serve.refusal import ConflictError, Refusal, UnknownError
from calotype.serve.routes_jobs import _require_files
from calotype.serve.settings import Settings
from calotype.serve.shelf import look_at
from calotype.serve.state import State
from tests.serve.on_a_socket import SOON, service, tiny_run, until

HOSTILE = ["..", "%2e%2e%2f%2e%2e", "../../etc/passwd", "%00", "0" * 15, "0" * 16, "G" * 16, "0" * 16 + "%0a", "C:%5Cx"]

Service = tuple[httpx.Client, State]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("gallery")
    run = tiny_run(folder / "runs" / "gan-digits-0001")
    other = folder / "runs" / "gan-digits-0002"
    shutil.copytree(run.folder, other)
    settings = Settings(models=(run.folder,), runs=folder / "runs", state=folder / "state", gallery_items=5)
    with service(settings) as found:
        yield found


def model_of(served: Service) -> str:
    id: str = served[0].get("/v1/models").json()["models"][0]["id"]
    return id


def test_what_is_kept_is_made_again_to_the_last_bit(served: Service) -> None:
    client, _ = served
    model = model_of(served)
    answer = client.post(f"/v1/models/{model}/sample", json={"n": 3, "seed": 7, "index": 2, "keep": True}).json()["images"]
    ids = [image["gallery"] for image in answer]
    assert len(set(ids)) == 3
    items = client.get("/v1/gallery").json()["items"]
    assert [item["id"] for item in items] == ids[::-1]
    for place, image in enumerate(answer):
        file = client.get(f"/v1/gallery/{image['gallery']}/image")
        assert file.headers["content-type"] == "image/png"
        assert file.content == base64.b64decode(image["image"])
        item = client.get(f"/v1/gallery/{image['gallery']}").json()["item"]
        assert (item["seed"], item["number"], item["recipe"]) == (7, 2 + place, "gan")
        assert item["provenance"]["source"] == "trainedAlgorithmicMedia"
        assert item["request"]["body"] == {"n": 1, "seed": 7, "index": 2 + place, "label": None, "options": {}}
        again = client.post(f"/v1/gallery/{image['gallery']}/again", json={}).json()
        assert again["same"] is True
        assert base64.b64decode(again["images"][0]["image"]) == file.content
        assert client.delete(f"/v1/gallery/{image['gallery']}").status_code == 204
        assert client.get(f"/v1/gallery/{image['gallery']}/image").status_code == 404
    assert client.get("/v1/gallery").json()["usage"]["pictures"] == 0


def test_a_picture_is_kept_from_its_request_alone(served: Service) -> None:
    client, _ = served
    made_by = {"ability": "sample", "model": model_of(served), "body": {"n": 4, "seed": 3}, "index": 2}
    kept = client.post("/v1/gallery", json={"from": made_by})
    assert kept.status_code == 201
    item = kept.json()["item"]
    assert item["request"]["body"]["index"] == 2
    file = client.get(f"/v1/gallery/{item['id']}/image", params={"download": True})
    assert "attachment" in file.headers["content-disposition"]
    for change, status in (({"index": 4}, 400), ({"model": "nonesuch"}, 404), ({"ability": "pickle"}, 404), ({"body": {"n": "4"}}, 422)):
        assert client.post("/v1/gallery", json={"from": made_by | change}).status_code == status
    assert client.post("/v1/gallery", json={"from": made_by, "image": "AAAA"}).status_code == 422
    client.delete(f"/v1/gallery/{item['id']}")


def test_a_full_gallery_keeps_nothing_more_and_loses_nothing(served: Service) -> None:
    client, state = served
    model = model_of(served)
    kept = client.post(f"/v1/models/{model}/sample", json={"n": 4, "keep": True})
    assert kept.status_code == 200
    full = client.post(f"/v1/models/{model}/sample", json={"n": 2, "seed": 5, "keep": True})
    assert full.status_code == 409
    assert "delete some" in full.json()["error"]["message"]
    items = client.get("/v1/gallery").json()["items"]
    assert len(items) == 4
    assert len(list(state.gallery.folder.glob("*.png"))) == 4
    older = client.get("/v1/gallery", params={"before": items[1]["id"], "count": 1}).json()["items"]
    assert [item["id"] for item in older] == [items[2]["id"]]
    for item in items:
        client.delete(f"/v1/gallery/{item['id']}")


@pytest.mark.parametrize("id", HOSTILE)
def test_an_id_that_is_none_leads_nowhere(served: Service, id: str) -> None:
    client, _ = served
    answers = [client.get(f"/v1/gallery/{id}"), client.get(f"/v1/gallery/{id}/image"), client.post(f"/v1/gallery/{id}/again", json={})]
    answers += [client.delete(f"/v1/gallery/{id}"), client.get("/v1/gallery", params={"before": id}), client.get(f"/v1/jobs/{id}")]
    answers += [client.get(f"/v1/jobs/{id}/page"), client.delete(f"/v1/jobs/{id}"), client.get(f"/v1/jobs/{id}/events")]
    assert {answer.status_code for answer in answers} <= {404, 405, 422}
    assert all("error" in answer.json() for answer in answers)


def test_jobs_give_the_same_as_requests_and_a_page_that_is_only_seen(served: Service) -> None:
    client, state = served
    model = model_of(served)
    body = {"n": 20, "seed": 11}
    drawn = client.post("/v1/jobs", json={"kind": "sample", "model": model, "request": body})
    assert drawn.status_code == 202
    runs = [run["id"] for run in client.get("/v1/runs").json()["runs"]]
    judged = client.post("/v1/jobs", json={"kind": "compare", "request": {"runs": runs, "count": 70, "short": True}}).json()["job"]
    id = drawn.json()["job"]["id"]
    assert client.get(f"/v1/jobs/{id}/page").status_code == 404
    seen = [line for line in client.get(f"/v1/jobs/{id}/events").iter_lines() if line.startswith("event: ")]
    assert seen[-1] == "event: end"
    job = client.get(f"/v1/jobs/{id}").json()
    assert job["state"] == "done"
    assert job["progress"]["done"] == 20
    directly = client.post(f"/v1/models/{model}/sample", json=body).json()
    assert job["result"]["images"] == directly["images"]
    compared = until(lambda: (now := client.get(f"/v1/jobs/{judged['id']}").json())["ended"] and now, 2 * SOON)
    assert compared["state"] == "done", compared["error"]
    page = client.get(f"/v1/jobs/{judged['id']}/page")
    assert "Calotype comparison" in page.text
    assert page.headers["content-security-policy"].startswith("sandbox")
    assert str(state.place) not in client.get("/v1/jobs").text


@pytest.mark.parametrize(
    ("job", "status"),
    [
        ({"kind": "nonesuch"}, 422),
        ({"kind": "sample"}, 400),
        ({"kind": "sample", "model": "x", "run": "y"}, 400),
        ({"kind": "sample", "model": "nonesuch"}, 404),
        ({"kind": "check", "request": {"source": "/etc"}}, 404),
        ({"kind": "check", "model": "x", "request": {"source": "photos"}}, 400),
        ({"kind": "compare", "request": {"runs": ["a", "b"]}}, 404),
        ({"kind": "compare", "request": {"runs": ["a"]}}, 422),
        ({"kind": "evaluate", "run": "0" * 12, "request": {"count": 1}}, 422),
    ],
)
def test_a_job_that_cannot_be_is_refused_before_it_waits(served: Service, job: dict[str, Any], status: int) -> None:
    answer = served[0].post("/v1/jobs", json=job)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_picture_whose_model_is_not_served_any_more_says_so(served: Service, tmp_path: Path) -> None:
    client, state = served
    held = state.shelf[model_of(served)]
    file = base64.b64decode(client.post(f"/v1/models/{held.id}/sample", json={}).json()["images"][0]["image"])
    gone = replace(held, facts=held.facts | {"sha256": "f" * 64}, name="gone\x1b")
    id = state.gallery.keep(gone, "sample", {"n": 1, "seed": 0, "index": 0}, [file])[0]
    answer = client.post(f"/v1/gallery/{id}/again", json={})
    assert answer.status_code == 409
    assert "ffffffffffff" in answer.json()["error"]["message"]
    client.delete(f"/v1/gallery/{id}")


def test_what_a_kill_left_half_done_is_swept(served: Service, tmp_path: Path) -> None:
    held = look_at(served[1].shelf[model_of(served)].path)
    file = base64.b64decode(served[0].post(f"/v1/models/{model_of(served)}/sample", json={}).json()["images"][0]["image"])
    gallery = Gallery(tmp_path)
    id = gallery.keep(held, "sample", {"seed": 0}, [file])[0]
    (tmp_path / "0123456789abcdef.png").write_bytes(file)
    (tmp_path / ".x.tmp").write_bytes(b"half")
    gallery.close()
    gallery = Gallery(tmp_path, most_bytes=len(file) + 100)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [f"{id}.png"]
    with pytest.raises(ConflictError, match="full"):
        gallery.keep(held, "sample", {"seed": 0}, [file])
    gallery.delete(id)
    assert not list(tmp_path.glob("*.png"))
    with pytest.raises(UnknownError):
        gallery.image(id)
    gallery.close()
    (tmp_path / "gallery.sqlite3").write_bytes(b"none")
    with pytest.raises(DamagedError):
        Gallery(tmp_path)


def test_lists_leave_the_images_of_requests_on_the_disk(served: Service, tmp_path: Path) -> None:
    held = look_at(served[1].shelf[model_of(served)].path)
    file = base64.b64decode(served[0].post(f"/v1/models/{model_of(served)}/sample", json={}).json()["images"][0]["image"])
    gallery = Gallery(tmp_path)
    id = gallery.keep(held, "restore", {"image": "A" * 1000, "seed": 1}, [file])[0]
    assert gallery.newest(1)[0].request["body"] == {"image": None, "seed": 1}
    assert gallery.get(id).request["body"] == {"image": "A" * 1000, "seed": 1}
    gallery._db.execute("ALTER TABLE pictures DROP COLUMN brief")  # as an earlier version kept them
    gallery.close()
    gallery = Gallery(tmp_path)
    assert gallery.newest(1)[0].request["body"] == {"image": None, "seed": 1}
    gallery.close()


def test_an_upload_that_is_no_picture_is_refused_before_it_waits() -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    _require_files({"image": picture, "mask": picture, "seed": 0})
    with pytest.raises(Refusal) as caught:
        _require_files({"image": picture, "mask": "QUJD"})
    assert (caught.value.status, caught.value.field) == (415, "mask")
