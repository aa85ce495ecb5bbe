"""One service for all tests, of small models with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from calotype.serve.app import create_app
from calotype.serve.settings import Settings
from tests.serve.browsing import photo, stage, visit, windows  # noqa: F401 - fixtures of the tests in a browser
from tests.serve.served import put_model

RECIPES = ("hinge", "vae", "flow-matching", "pixelcnn", "denoise", "inpaint", "upscale", "colorize", "pix2pix", "resnet")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {name: put_model(root, name) for name in RECIPES}


@pytest.fixture(scope="session")
def settings(folders: dict[str, Path]) -> Settings:
    return Settings(models=tuple(folders.values()), max_body=1 << 20, max_pixels=1 << 18, max_images=32, max_seconds=30.0, log="none")


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://localhost:8420", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def ids(client: TestClient) -> dict[str, str]:
    return {one["recipe"]: one["id"] for one in client.get("/v1/models").json()["models"]}
