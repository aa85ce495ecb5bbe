from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from data_samples import encode, hostile_files
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "the-cache"
    monkeypatch.setenv("CALOTYPE_CACHE", str(folder))
    return folder


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of them all, with a loop of links, a dangling link and a pipe."""
    folder = tmp_path / "hostile"
    for name, data in hostile_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "deep" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "bad" / "dangling.png").symlink_to(folder / "nothing.png")
    os.mkfifo(folder / "pipe.png")
    return folder


Tree = Callable[[dict[str, Image.Image | bytes]], Path]


@pytest.fixture
def write_tree(tmp_path: Path) -> Tree:
    """Write files under a folder of their own: images as PNG."""

    def write(files: dict[str, Image.Image | bytes]) -> Path:
        folder = tmp_path / f"tree{len(list(tmp_path.glob('tree*')))}"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else encode(content, "PNG"))
        return folder

    return write
