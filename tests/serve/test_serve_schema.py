"""The whole API against requests that schemathesis makes of its schema: none ends in an error of the service."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from calotype.serve.app import create_app
from calotype.serve.settings import Settings

schemathesis = pytest.importorskip("schemathesis")

SHARE = 8  # of the option --fuzz: a test of every damaged file takes less time than one of every route


@pytest.fixture(scope="module")
def service(folders: dict[str, Path]) -> Iterator[TestClient]:
    """A service whose requests may not take long."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    models = tuple(folders[name] for name in ("hinge", "pixelcnn", "denoise", "resnet"))
    limits = Settings(models=models, max_pixels=1 << 14, max_images=8, max_steps=4, max_seconds=20.0, log="none")
    with TestClient(create_app(limits), base_url="http://localhost:8420", raise_server_exceptions=False) as client:
        yield client


def test_no_request_of_the_schema_ends_in_an_error_of_the_service(service: TestClient, fuzz: int) -> None:
    schema = schemathesis.openapi.from_dict(service.get("/openapi.json").json())
    known = [one["id"] for one in service.get("/v1/models").json()["models"]]
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 16
    seen: dict[int, int] = {}
    for operation in operations:
        if operation.method.upper() not in ("GET", "POST", "DELETE"):
            continue
        _try(service, operation, known, seen, max(1, fuzz // SHARE))
    assert not [status for status in seen if status >= 500], seen
    assert seen.get(200, 0) > 10, "some of them were answered"


def _try(service: TestClient, operation: Any, known: list[str], seen: dict[int, int], examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), which=st.sampled_from(known))
    def attempt(case: Any, which: str) -> None:
        path = operation.path
        for name, value in (case.path_parameters or {}).items():
            path = path.replace(f"{{{name}}}", which if name == "id" and "models" in path else str(value).replace("/", "%2f") or "x")
        body = case.body if isinstance(case.body, (dict, list, str, int, float, bool)) or case.body is None else None
        more = {} if operation.method.upper() != "POST" else {"json": body}
        answer = service.request(operation.method.upper(), _printable(path), **more)
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, (operation.method, path, body, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "field", "allowed"}

    attempt()


def _printable(path: str) -> str:
    from urllib.parse import quote

    return quote(path.encode("utf-8", "replace"), safe="/%")
