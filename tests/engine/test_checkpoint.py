from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from calotype import files
from calotype.engine import checkpoint
from calotype.errors import CalotypeError, UserError


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
    with pytest.raises(UserError, match=r"every checkpoint .* is damaged"):
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
