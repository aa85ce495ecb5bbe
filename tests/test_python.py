"""The package as Python sees it: what it names, what it says while it works, pictures to and from files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import calotype
from calotype.engine.display import Display
from calotype.errors import UserError
from tests.small import small

RESTORER = "denoise"


def test_the_package_shows_its_names_and_each_of_them_is_there() -> None:
    assert sorted(dir(calotype)) == sorted(calotype.__all__)
    assert {"train", "resume", "evaluate", "load", "restore", "save_grid"} <= set(dir(calotype))
    for name in dir(calotype):
        assert getattr(calotype, name) is not None


def test_the_readme_uses_names_that_are_there() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"calotype\.(\w+)[.(]", "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))))
    assert {"train", "save_grid", "restore"} <= used <= set(dir(calotype))


def test_training_and_judging_say_how_far_they_are(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small("gan")
    result = calotype.train(replace(config, train=replace(config.train, steps=2, device="cpu")), out="r")
    assert "2 steps" in capsys.readouterr().err
    calotype.evaluate("r", count=70, short=True)
    assert "drawing" in capsys.readouterr().err
    calotype.train(result.run.read_config()[0], out="s", display=Display())
    assert capsys.readouterr().err == ""


def test_images_become_files(tmp_path: Path) -> None:
    images = torch.linspace(-1, 1, 5 * 3 * 8 * 8).reshape(5, 3, 8, 8)
    assert calotype.save_grid(images, tmp_path / "grid") == tmp_path / "grid.png"
    assert Image.open(tmp_path / "grid.png").mode == "RGB"
    paths = calotype.save_images(images[:, :1], tmp_path / "each", start=7)
    assert [path.name for path in paths] == [f"{index:06d}.png" for index in range(7, 12)]
    assert np.array_equal(np.asarray(Image.open(paths[1])), calotype.pictures.to_uint8(images)[1, ..., 0])
    for wrong in ("grid.txt", "grid.pdf"):
        with pytest.raises(UserError, match="no suffix of a picture"):
            calotype.save_grid(images, tmp_path / wrong)
    with pytest.raises(UserError, match="no image"):
        calotype.save_grid(images[:0], tmp_path / "none.png")


def test_pictures_are_restored_in_memory_and_in_files_alike(runs: Path) -> None:
    config = small(RESTORER)
    folder = calotype.train(replace(config, train=replace(config.train, steps=2, device="cpu")), out="r", display=Display()).run.folder
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    Image.fromarray(pixels).save("in.png")
    model = calotype.load(folder)
    made = calotype.restore_pixels(model, pixels, sigma=25)
    (outcome,) = calotype.restore(model, "in.png", "out.png", sigma=25, display=Display())
    assert outcome.written == Path("out.png")
    assert np.array_equal(np.asarray(Image.open("out.png")), made)
    assert made.shape == pixels.shape
    assert made.dtype == np.uint8
    with pytest.raises(UserError, match=r"out\.png"):
        calotype.restore(str(folder), "in.png", "out.png", display=Display())
    for wrong in (pixels.astype(np.float32), pixels[..., 0], pixels[:0]):
        with pytest.raises(UserError, match="uint8"):
            calotype.restore_pixels(model, wrong)
    with pytest.raises(UserError, match="mask"):
        calotype.restore_pixels(model, pixels, mask=np.ones((3, 3), np.bool_))
