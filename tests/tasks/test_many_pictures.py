"""A model applied to many files, and what happens when one of them fails."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from calotype import degrade
from calotype.engine.display import Display
from calotype.errors import UserError
from calotype.tasks import batch
from calotype.tasks import score as scoring
from calotype.tasks.batch import Outcome, each, read_mask, reason_of
from calotype.tasks.before_after import cell
from calotype.tasks.files import Picture
from calotype.tasks.inputs import open_inputs
from calotype.tasks.places import targets
from calotype.tasks.restore import Applied
from calotype.tasks.restoring import Job, restore_one
from calotype.tasks.score import middle
from calotype.types import Source
from tests.stand import stand

SHOWN = (Display(), "restoring")


def write(path: Path, *shape: int, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, np.uint8)
    Image.fromarray(pixels).save(path)


def outcomes(source: Path, out: str | Path, overwrite: bool = False, does: Callable[[Tensor], Tensor] = lambda x: x) -> list[Outcome]:
    with open_inputs(str(source), Path(out)) as inputs:
        applied = Applied(stand(Source(3, degradation="noise:25"), 3, does))
        places = targets(inputs, out, "replace" if overwrite else "refuse")
        return each(inputs, places, partial(restore_one, applied, Job(), None), *SHOWN, saves="give a smaller `tile`")


def test_a_failed_file_stops_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    for index, name in enumerate(("a.png", "b.jpg", "sub/a.png", "a.jpg", "d.gif", "d.png")):
        write(tmp_path / "in" / name, 20, 30, value=20 * index)
    whole = (tmp_path / "in/b.jpg").read_bytes()
    (tmp_path / "in/b.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in/notes.txt").write_text("no picture")
    (tmp_path / "in/empty.png").touch()
    made = {outcome.file: outcome for outcome in outcomes(tmp_path / "in", tmp_path / "out")}
    assert {name for name, outcome in made.items() if outcome.error} == {"b.jpg", "empty.png"}
    assert "cut off" in made["b.jpg"].error
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == ["a.jpg", "a.png", "d.gif.png", "d.png", "sub/a.png"]
    values = [int(np.asarray(Image.open(tmp_path / "out" / name)).mean().round()) for name in found]
    assert values == pytest.approx([60, 0, 80, 100, 40], abs=1)


def test_a_failure_in_the_middle_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / f"in/{index}.png", 20, 30, 3, value=100 * index)

    def fails(x: Tensor) -> Tensor:
        if abs(float(x.mean()) + 0.2157) < 0.01:
            raise RuntimeError("out of memory\nwith a long story")
        return x

    made = outcomes(tmp_path / "in", tmp_path / "out", does=fails)
    assert [outcome.error for outcome in made] == ["", "not enough memory: give a smaller `tile`", ""]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]


def test_what_takes_no_tiles_advises_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(pixels: object) -> Tensor:
        raise MemoryError

    write(tmp_path / "a.png", 20, 30, 3)
    monkeypatch.setattr(batch, "picture_tensor", full)
    with open_inputs(str(tmp_path / "a.png"), None) as inputs:
        (made,) = batch.degrade_files(degrade.parse("gray"), inputs, {}, 0, None, Display())
    assert made.error == "not enough memory"


def test_a_mistake_of_ours_leaves_its_trace_and_no_name_reaches_the_terminal_raw(tmp_path: Path) -> None:
    write(tmp_path / "in/0.png", 20, 30)

    def fails(x: Tensor) -> Tensor:
        raise KeyError("a\x1b[31m")

    (made,) = outcomes(tmp_path / "in", tmp_path / "out", does=fails)
    said = re.fullmatch(r"an error of calotype itself \(KeyError: .*\): please report it with what stands in (.*)", made.error)
    assert said
    trace = Path(said[1])
    assert "in fails" in trace.read_text()
    trace.unlink()
    assert "\x1b" not in reason_of(OSError(17, "File exists", "a\x1b[31m"))
    assert "\x1b" not in reason_of(ValueError("a\x1b[31m"))


def test_pictures_are_never_overwritten_and_results_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", 20, 30)
    outcomes(tmp_path / "in", tmp_path / "out")
    with pytest.raises(UserError, match="exists: give another OUT, `overwrite` to replace it, or"):
        outcomes(tmp_path / "in", tmp_path / "out")
    outcomes(tmp_path / "in", tmp_path / "out", overwrite=True)
    for out in (tmp_path / "in", tmp_path / "in/a.png"):
        with pytest.raises(UserError, match="never overwritten"):
            outcomes(tmp_path / "in/a.png", out, overwrite=True)
    os.link(tmp_path / "in/a.png", tmp_path / "same.png")
    with pytest.raises(UserError, match="never overwritten"):
        outcomes(tmp_path / "in/a.png", tmp_path / "same.png", overwrite=True)
    with pytest.raises(UserError, match="must be a folder"):
        outcomes(tmp_path / "in", tmp_path / "out/a.png", overwrite=True)
    with pytest.raises(UserError, match=r"cannot write \.xyz"):
        outcomes(tmp_path / "in/a.png", tmp_path / "b.xyz")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file, not a folder"):
        outcomes(tmp_path / "in", tmp_path / "file/out")


def test_results_inside_the_folder_are_not_taken_for_pictures(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 20, 30)
    assert [outcome.file for outcome in outcomes(tmp_path, tmp_path / "out")] == ["a.png"]
    assert [outcome.file for outcome in outcomes(tmp_path, tmp_path / "out", overwrite=True)] == ["a.png"]


def test_one_file_goes_where_it_is_said(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", 20, 30, 3)
    (tmp_path / "folder").mkdir()
    for out, name in (("b.png", "b.png"), ("c", "c.jpg"), ("folder", "folder/a.jpg"), ("new/", "new/a.jpg"), ("d.x/", "d.x/a.jpg")):
        made = outcomes(tmp_path / "a.jpg", f"{tmp_path}/{out}")
        assert made[0].written == tmp_path / name
        assert made[0].written.is_file()
    with pytest.raises(UserError, match="OUT is empty"):
        outcomes(tmp_path / "a.jpg", "")
    with pytest.raises(UserError, match="IN is empty"), open_inputs(""):
        pass
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    with pytest.raises(UserError, match=r"broken\.png cannot be used"):
        outcomes(tmp_path / "broken.png", tmp_path / "d.png")


def test_held_out_pictures_of_a_data_set() -> None:
    with open_inputs("photos") as inputs:
        assert inputs.names
        assert all(name.startswith("test/") for name in inputs.names)
    with open_inputs("mnist5k", count=3) as inputs:
        assert inputs.names == ("000000.png", "000001.png", "000002.png")
        assert isinstance(inputs.picture("000002.png"), Picture)


def test_masks_are_read(tmp_path: Path) -> None:
    pixels = np.zeros((9, 8), np.uint8)
    pixels[2:4, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert np.argwhere(read_mask(tmp_path / "m.png")).tolist() == [[2, 3], [3, 3]]
    for name, tells in (("none.png", "cannot be read"), ("text.png", "cannot be used")):
        if name == "text.png":
            (tmp_path / name).write_text("text")
        with pytest.raises(UserError, match=tells):
            read_mask(tmp_path / name)


def test_transparency_is_enlarged_with_the_picture(tmp_path: Path) -> None:
    pixels = np.full((30, 20, 4), 100, np.uint8)
    pixels[:, 10:, 3] = 0
    pixels[:, :10, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with open_inputs(str(tmp_path / "a.png")) as inputs:
        doubled = stand(Source(3, 2, degradation="downsample:2"), 3, lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        each(inputs, {"a.png": tmp_path / "b.png"}, partial(restore_one, Applied(doubled), Job(), None), *SHOWN)
    alpha = np.asarray(Image.open(tmp_path / "b.png"))[..., 3]
    assert alpha.shape == (60, 40)
    assert (alpha[:, :17] == 255).all()
    assert (alpha[:, 23:] == 0).all()


def test_large_pictures_are_scored_by_their_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "LARGEST", 100 * 100)
    pixels = np.arange(300 * 200, dtype=np.uint16).reshape(300, 200, 1)
    part = pixels[middle((300, 200))]
    assert part.shape == (96, 48, 1)
    assert part[0, 0, 0] == pixels[102, 76, 0]
    assert pixels[:100, :100][middle((100, 100))].shape == (100, 100, 1)
    assert pixels[middle((300, 200), 2)].shape == (48, 48, 1)  # of a result that is twice as large
    (tmp_path / "in").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 200), np.uint8)).save(tmp_path / "in/a.png")
    write(tmp_path / "in/b.png", 90, 80)
    applied = Applied(stand(Source(1, degradation="noise:25"), 1, lambda x: x))
    with open_inputs(str(tmp_path / "in")) as inputs:
        work = (partial(restore_one, applied, Job(degrade.parse("noise:25"), scored=True), None), *SHOWN)
        alone = each(inputs, {}, *work)
        written = each(inputs, targets(inputs, tmp_path / "out"), *work)
    assert [outcome.size for outcome in alone] == [(96, 48), (90, 80)]
    assert [outcome.size for outcome in written] == [(300, 200), (90, 80)]
    for outcome, other in zip(alone, written, strict=True):
        assert outcome.scored is not None
        assert other.scored is not None
        assert outcome.scored.as_json() == other.scored.as_json()
    assert Image.open(tmp_path / "out/a.png").size == (200, 300)
    for outcome in (alone, written):
        assert ["scored by its middle, 48x96 pixels" in " ".join(one.notes) for one in outcome] == [True, False]


def test_the_middle_of_a_picture_is_shown() -> None:
    pixels = np.add.outer(np.arange(1000), np.arange(700)).astype(np.uint16)[..., None] << 4
    shown = np.asarray(cell(pixels, (1000, 700)))
    np.testing.assert_array_equal(shown[..., 0], pixels[260:740, 110:590, 0] >> 8)
    small = np.asarray(cell(pixels[::2, ::2], (1000, 700)))  # of a source that is half as large, the same place
    np.testing.assert_array_equal(small[::2, ::2, 0], pixels[260:740:2, 110:590:2, 0] >> 8)


def test_pixels_per_inch_grow_with_the_picture(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(tmp_path / "a.png", dpi=(100, 50))
    doubled = stand(Source(3, 2, degradation="downsample:2"), 3, lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    for generator, scale in ((doubled, 2), (stand(Source(3, degradation="noise:25"), 3, lambda x: x), 1)):
        with open_inputs(str(tmp_path / "a.png")) as inputs:
            each(inputs, {"a.png": tmp_path / "b.png"}, partial(restore_one, Applied(generator), Job(), None), *SHOWN)
        assert Image.open(tmp_path / "b.png").info["dpi"] == pytest.approx((100 * scale, 50 * scale), abs=0.1)
