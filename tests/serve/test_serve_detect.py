"""A detector behind the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from calotype import detect
from calotype.serve.app import create_app
from calotype.serve.settings import Settings
from tests.detect.test_detectors import FAST, checked_pattern, scenes, write
from tests.serve.served import text


def test_a_detector_answers_as_on_the_command_line(tmp_path: Path) -> None:
    count = 100
    write(tmp_path / "real", scenes(count, 0))
    write(tmp_path / "checked", checked_pattern(scenes(count, 1)))
    place = detect.train(str(tmp_path / "real"), str(tmp_path / "checked"), degradations=(), **FAST).save(tmp_path / "detector")
    pictures = sorted((tmp_path / "checked").iterdir())[:4]
    expected = [one.answer for one in detect.score(place, *pictures)]
    with TestClient(create_app(Settings(models=(place,), log="none")), base_url="http://localhost:8420") as client:
        model = client.get("/v1/models").json()["models"][0]
        assert (model["abilities"], model["family"]) == (["detect"], "detector")
        found = [client.post(f"/v1/models/{model['id']}/detect", json={"image": text(one.read_bytes())}).json() for one in pictures]
        assert [one["answer"] for one in found] == expected
        assert "file" not in found[0]
        assert {"probability", "reason", "trust", "doubt"} <= found[0].keys()
        assert client.post(f"/v1/models/{model['id']}/sample", json={}).status_code == 400
        small = tmp_path / "small.png"
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(small)
        assert client.post(f"/v1/models/{model['id']}/detect", json={"image": text(small.read_bytes())}).json()["answer"] == "CANNOT TELL"
