"""Moving pictures have the frames that they were given, begin anew, and say what made them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from calotype import pictures
from calotype.errors import UserError
from calotype.provenance.embed import origin_of
from calotype.provenance.marker import Marker
from calotype.report.animation import MILLISECONDS, save_animation

MARKER = Marker("decoding", seed=3, recipe="hinge")


def frames(channels: int) -> list[Image.Image]:
    return [pictures.to_picture(np.full((20, 30, channels), 40 * k, np.uint8)) for k in range(5)]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_holds_its_frames_and_its_marker(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"walk{suffix}"
    save_animation(frames(channels), path, MARKER)
    with Image.open(path) as found:
        assert found.n_frames == 5
        assert found.info["loop"] == 0
        means = [np.asarray(frame.convert("L")).mean() for frame in ImageSequence.Iterator(found)]
        assert means == pytest.approx([0, 40, 80, 120, 160], abs=3)
        assert found.info["duration"] == MILLISECONDS
        found.seek(0)
        origin = origin_of(found)
    assert origin is not None
    assert origin.marker == MARKER


def test_without_a_marker_nothing_is_said(tmp_path: Path) -> None:
    save_animation(frames(1), tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as found:
        assert origin_of(found) is None


def test_a_name_that_is_no_animations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.gif, \.webp, \.mp4"):
        save_animation(frames(1), tmp_path / "a.avi")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(find_spec("imageio_ffmpeg") is not None, reason="the package is installed")
def test_mp4_asks_for_its_package_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"imageio-ffmpeg \(pip install imageio-ffmpeg\)"):
        save_animation(frames(3), tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())
