"""The documents of the page and the files that they load, without a browser."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from calotype.serve.pages import KINDS, Site

PAGES = ("/", "/runs", "/runs/0123456789ab", "/compare", "/gallery", "/sign-in")
STATIC = Path(str(files("calotype.serve") / "static"))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_no_script_and_no_style_of_its_own(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", answer.text)
    assert not re.search(r"(?:src|href)=\"(?!/|#)", answer.text)
    loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
    assert len(loaded) >= 4
    for one in loaded:
        file = client.get(one)
        assert file.status_code == 200, one
        assert "immutable" in file.headers["cache-control"]


def test_names_in_addresses_are_no_markup(client: TestClient) -> None:
    answer = client.get('/runs/"><script>alert(1)</script>')
    assert "<script>alert" not in answer.text


def test_a_file_has_one_address_until_any_of_them_changes(client: TestClient) -> None:
    digest = Site().digest
    assert client.get(f"/static/{digest}/page.css").headers["content-type"] == "text/css; charset=utf-8"
    for path in (f"/static/{digest}/pages.py", "/static/000000000000/page.css", f"/static/{digest}/..%2fpages.py", f"/static/{digest}/"):
        assert client.get(path).status_code == 404, path


def test_modules_import_files_that_are_there_and_nothing_comes_from_elsewhere() -> None:
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r'from "([^"]+)"', text):
            assert name.startswith("./"), (path.name, name)
            assert (STATIC / name).is_file(), (path.name, name)
        assert set(re.findall(r"https?://[^\"'\s]+", text)) <= {"http://www.w3.org/2000/svg"}, path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), path.name


def test_all_of_it_is_in_the_package() -> None:
    wanted = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]["calotype"]
    for folder in ("static", "templates"):
        for path in (STATIC.parent / folder).iterdir():
            assert any(fnmatch(f"serve/{folder}/{path.name}", pattern) for pattern in wanted), path
            assert folder == "templates" or path.suffix in KINDS, path
