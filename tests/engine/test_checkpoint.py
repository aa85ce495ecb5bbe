from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from calotype import files
from calotype.engine import checkpoint
from calotype.errors import CalotypeError, DamagedError


def state(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((4, 3, 2, 2), value).to(memory_format=torch.channels_last), "n": torch.tensor(3)}


def test_a_round_trip_keeps_every_bit_and_two_generations(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, state(step / 7), {"step": step})
    loaded = checkpoint.load_newest(tmp_path)
    assert loaded is not None
    assert loaded.facts == {"step": 3}
    assert torch.equal(loaded.tensors["w"], state(3 / 7)["w"])
    assert loaded.tensors["n"].dtype == torch.int64
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000002", "step-000000003"]


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path) is None


@pytest.mark.parametrize("harm", ["flip", "truncate", "manifest", "garbage manifest", "json"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_it_used(tmp_path: Path, harm: str) -> None:
    checkpoint.save(tmp_path, 1, state(1.0), {"step": 1})
    newest = checkpoint.save(tmp_path, 2, state(2.0), {"step": 2})
    weights = newest / "state.safetensors"
    content = bytearray(weights.read_bytes())
    match harm:
        case "flip":
            content[-5] ^= 1  # one bit of one weight
            weights.write_bytes(content)
        case "truncate":
            weights.write_bytes(content[: len(content) // 2])
        case "manifest":
            (newest / "manifest.json").unlink()
        case "garbage manifest":
            (newest / "manifest.json").write_text("[")
        case "json":
            (newest / "state.json").write_text("{}")
    loaded = checkpoint.load_newest(tmp_path)
    assert loaded is not None
    assert loaded.facts["step"] == 1
    assert len(loaded.damaged) == 1
    assert "step-000000002" in loaded.damaged[0]
    # the next checkpoint removes the damaged one and keeps the good one
    checkpoint.save(tmp_path, 2, state(2.0), {"step": 2})
    again = checkpoint.load_newest(tmp_path)
    assert again is not None
    assert (again.facts["step"], again.damaged) == (2, ())


def test_all_damaged_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, state(1.0), {"step": 1})
    (path / "manifest.json").unlink()
    with pytest.raises(DamagedError, match=r"every checkpoint .* is damaged"):
        checkpoint.load_newest(tmp_path)


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, state(1.0), {"step": 1})
    monkeypatch.setattr(files, "SPARE", 1 << 60)
    with pytest.raises(CalotypeError, match="no space left"):
        checkpoint.save(tmp_path, 2, state(2.0), {"step": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]


def test_a_disk_that_fills_up_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, state(1.0), {"step": 1})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CalotypeError, match="no space left"):
        checkpoint.save(tmp_path, 2, state(2.0), {"step": 2})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]


def test_atomic_files_keep_usual_permissions_and_replace_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode

    def broken(stream: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write_atomic(path, broken)
    assert files.read_json(path) == {"a": 1}


def test_a_later_checkpoint_of_an_abandoned_future_is_dropped(tmp_path: Path) -> None:
    for step in (1, 2, 9):
        checkpoint.save(tmp_path, step, state(1.0), {"step": step})
    checkpoint.save(tmp_path, 3, state(3.0), {"step": 3})  # the run went back to step 2 and took another way
    loaded = checkpoint.load_newest(tmp_path)
    assert loaded is not None
    assert loaded.facts == {"step": 3}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000002", "step-000000003"]


def two(folder: Path) -> Path:
    """Two generations; returns the newest."""
    checkpoint.save(folder, 1, state(1.0), {"step": 1, "seconds": 0.25, "settings": {"threads": 1}})
    return checkpoint.save(folder, 2, state(2.0), {"step": 2, "seconds": 0.5, "settings": {"threads": 1}})


def found(folder: Path) -> int:
    """The step of the newest whole checkpoint."""
    loaded = checkpoint.load_newest(folder)
    assert loaded is not None
    assert torch.equal(loaded.tensors["w"], state(float(loaded.step))["w"])
    assert loaded.facts["step"] == loaded.step
    return loaded.step


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "state.safetensors"])
def test_every_flipped_bit_sends_back_to_the_generation_before(tmp_path: Path, name: str) -> None:
    path = two(tmp_path) / name
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert found(tmp_path) == 1, (bit, bytes(flipped))
    path.write_bytes(whole)
    assert found(tmp_path) == 2


def digest(path: Path, **other: object) -> dict[str, Any]:
    """The manifest that a checkpoint should have."""
    return {name: files.sha256(path / name) for name in checkpoint.FILES} | other


@pytest.mark.parametrize(
    "manifest",
    [
        lambda path: digest(path, **{"../../secret": "0" * 64}),
        lambda path: {"/etc/passwd": "0" * 64},
        lambda path: digest(path, **{"README.md": "0" * 64}),
        lambda path: {"state.json": digest(path)["state.json"]},
        lambda path: digest(path, **{"state.json": 7}),
        lambda path: digest(path, **{"state.json": [digest(path)["state.json"]]}),
        lambda path: digest(path, **{"state.json": digest(path)["state.json"].upper()}),
        lambda path: {},
    ],
)
def test_a_manifest_that_is_another_thing_is_damage(tmp_path: Path, manifest: Callable[[Path], object]) -> None:
    path = two(tmp_path)
    files.write_json(path / "manifest.json", manifest(path))
    assert found(tmp_path) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"state.json": ' + "[" * 900 + "]" * 900 + ', "state.safetensors": ""}',
        '{"state.json": ' + "9" * 5000 + "}",
        '{"state.json": NaN}',
        '{"state.json": "\\ud800"}',
        "[]",
        "null",
        "\x00",
        "",
    ],
)
def test_a_manifest_that_is_no_manifest_is_damage(tmp_path: Path, text: str) -> None:
    (two(tmp_path) / "manifest.json").write_text(text)
    assert found(tmp_path) == 1


def test_the_same_manifest_in_other_words_is_damage(tmp_path: Path) -> None:
    path = two(tmp_path) / "manifest.json"
    for other in (json.dumps(json.loads(path.read_text())), path.read_text() + "\n", path.read_text().replace("  ", "\t", 1)):
        path.write_text(other)
        assert found(tmp_path) == 1


@pytest.mark.parametrize(("name", "content"), [("state.json", b"[1]"), ("state.json", b"\xff"), ("state.safetensors", b"\x80" * 40)])
def test_a_good_manifest_over_bad_content_is_damage(tmp_path: Path, name: str, content: bytes) -> None:
    path = two(tmp_path)
    (path / name).write_bytes(content)
    files.write_json(path / "manifest.json", digest(path))
    assert found(tmp_path) == 1


def test_what_a_caller_cannot_use_counts_as_damage(tmp_path: Path) -> None:
    two(tmp_path)

    def check(saved: checkpoint.Checkpoint) -> None:
        if saved.step == 2:
            raise DamagedError("it is of another model")

    loaded = checkpoint.load_newest(tmp_path, check)
    assert loaded is not None
    assert (loaded.step, loaded.damaged) == (1, ("step-000000002: it is of another model",))


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "state.safetensors"])
def test_a_file_that_is_gone_or_is_a_folder_is_damage(tmp_path: Path, name: str) -> None:
    path = two(tmp_path) / name
    path.unlink()
    assert found(tmp_path) == 1
    path.mkdir()
    assert found(tmp_path) == 1


def test_what_lies_beside_the_checkpoints_is_no_checkpoint(tmp_path: Path) -> None:
    two(tmp_path)
    for name in ("step-000000009.bak", "step-foo", "step-9", "step-00000000\u0663"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000000003").write_text("a file")
    assert found(tmp_path) == 2
    checkpoint.save(tmp_path, 3, state(3.0), {"step": 3})
    assert found(tmp_path) == 3


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (999_999_999, 1_000_000_000):
        checkpoint.save(tmp_path, step, state(float(step)), {"step": step})
        assert found(tmp_path) == step


def test_a_damaged_generation_is_none_of_the_two(tmp_path: Path) -> None:
    (two(tmp_path) / "manifest.json").unlink()
    checkpoint.save(tmp_path, 3, state(3.0), {"step": 3})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000001", "step-000000003"]


class Killed(BaseException):
    """The process is dead: nothing that it tries afterwards happens."""


class Disk:
    """Counts what is done to files. After ``at`` operations nothing happens any more, or the next one fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, fails: bool) -> None:
        self.count, self.at, self.fails = 0, at, fails
        for module, name in ((os, "replace"), (os, "fsync"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"), (shutil, "rmtree")):
            monkeypatch.setattr(module, name, self.guarded(getattr(module, name)))
        monkeypatch.setattr(files, "open", self.guarded(open), raising=False)

    def guarded(self, does: Callable[..., Any]) -> Callable[..., Any]:
        def do(*words: Any, **options: Any) -> Any:
            self.count += 1
            if self.count > self.at and not self.fails:
                raise Killed
            if self.count == self.at + 1:
                raise OSError(errno.EIO, "Input/output error")
            return does(*words, **options)

        return do


def usual(folder: Path) -> set[int]:
    two(folder)
    return {2, 3}


def back_to_the_only_one(folder: Path) -> set[int]:
    checkpoint.save(folder, 3, state(3.0), {"step": 3})
    return {3}


def over_a_damaged_one(folder: Path) -> set[int]:
    two(folder)
    (checkpoint.save(folder, 3, state(3.0), {"step": 3}) / "manifest.json").unlink()
    return {2, 3}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("before", [usual, back_to_the_only_one, over_a_damaged_one])
def test_at_every_instant_of_saving_there_is_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: Callable[[Path], set[int]], fails: bool
) -> None:
    """The process is killed, or an operation fails, at each thing that saving does to files; then it is done again."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # which takes long
    for at in range(200):
        folder = tmp_path / str(at)
        allowed = before(folder)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, at, fails)
            with suppress(Killed, OSError):
                checkpoint.save(folder, 3, state(3.0), {"step": 3})
        assert found(folder) in allowed, at
        checkpoint.save(folder, 3, state(3.0), {"step": 3})
        assert found(folder) == 3
        names = sorted(p.name for p in folder.iterdir())
        assert names[-1] == "step-000000003"
        assert names[:-1] in ([], ["step-000000001"], ["step-000000002"])
        if disk.count <= at:
            break
    assert 15 < at < 199
