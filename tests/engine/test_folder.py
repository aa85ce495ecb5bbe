"""The folder of a run: who may begin in it, who may go on, and what of it is read back."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from calotype.config import Config
from calotype.engine import checkpoint
from calotype.engine import run as under_test
from calotype.engine import train as engine
from calotype.engine.run import Run
from calotype.engine.train import resume, train
from calotype.errors import CalotypeError, DamagedError, UserError
from calotype.files import sha256, write_json
from tests.engine.test_resume import Said
from tests.small import final_state, same, tiny_gan


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps with the generations of steps 6 and 8."""
    return train(tiny_gan(8), out=tmp_path_factory.mktemp("whole") / "run").run.folder


@pytest.fixture
def cut(whole: Path, tmp_path: Path) -> Path:
    """The same run, killed at step 6, with the generations of steps 4 and 6."""
    folder = tmp_path / "cut"
    config = tiny_gan(8)
    kept: list[Path] = []
    save = checkpoint.save

    def saving(to: Path, step: int, *rest: Any) -> Path:
        if step == 8:
            kept.extend(sorted(to.iterdir()))
            raise KeyboardInterrupt
        return save(to, step, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", saving)
        with pytest.raises(KeyboardInterrupt):
            train(config, out=folder)
    assert [p.name for p in kept] == ["step-000000004", "step-000000006"]
    return folder


def sealed(newest: Path) -> None:
    """Give a checkpoint a manifest that fits what it holds."""
    write_json(newest / "manifest.json", {name: sha256(newest / name) for name in checkpoint.FILES})


def state(**other: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda facts: {**facts, **other}


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda facts: {k: v for k, v in facts.items() if k != name}


@pytest.mark.parametrize(
    "change",
    [
        *(without(name) for name in ("steps", "step", "seen", "lr_scale", "seconds", "best", "since", "early", "settings")),
        state(extra=1),
        state(step="6"),
        state(step=True),
        state(step=6.5),
        state(step=-1),
        state(step=2**63),
        state(step=4),
        state(step=7, seen=56),
        state(steps=5),
        state(steps=0),
        state(steps=10**12),
        state(seen=-8),
        state(seen=47),
        state(seen=2**63 - 1),
        state(lr_scale=0.0),
        state(lr_scale="1"),
        state(retries=None),
        state(seconds=-1.0),
        state(best="good"),
        state(since=-1),
        state(early=0),
        state(settings=None),
        state(settings={}),
        state(settings={"threads": 0, "seconds_per_step": 0.0, "bf16": False}),
        state(settings={"threads": 10**9, "seconds_per_step": 0.0, "bf16": False}),
        state(settings={"threads": 1, "seconds_per_step": -1.0, "bf16": False}),
        state(settings={"threads": 1, "seconds_per_step": 0.0, "bf16": "no"}),
        state(settings={"threads": 1, "seconds_per_step": 0.0, "bf16": False, "other": 1}),
        lambda facts: {},
    ],
)
def test_a_good_manifest_over_another_state_sends_back_to_the_generation_before(
    whole: Path, cut: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    newest = cut / "checkpoints/step-000000006"
    facts = json.loads((newest / "state.json").read_text())
    write_json(newest / "state.json", change(facts))
    sealed(newest)
    said = Said()
    assert resume(cut, display=said).complete
    assert said.lines[0].startswith("skipped a damaged checkpoint (step-000000006: state.json")
    assert same(final_state(cut), final_state(whole))


Tensors = dict[str, torch.Tensor]
WEIGHT = "model/generator.layers.0.weight"


def renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    return {new if name == old else name: t for name, t in tensors.items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda t, w: {k: v for k, v in t.items() if k != w},
        lambda t, w: {k: v for k, v in t.items() if not k.startswith("average/")},
        lambda t, w: {k: v for k, v in t.items() if not k.startswith("optimizer/")},
        lambda t, w: {},
        lambda t, w: {**t, "model/other": torch.zeros(3)},
        lambda t, w: {**t, "other": torch.zeros(3)},
        lambda t, w: {**t, "optimizer/generator/99/exp_avg": torch.zeros(3)},
        lambda t, w: {**t, "optimizer/generator/x/exp_avg": torch.zeros(3)},
        lambda t, w: {**t, "optimizer/nobody/0/exp_avg": torch.zeros(3)},
        lambda t, w: {**t, "optimizer/generator/0": torch.zeros(3)},
        lambda t, w: {**t, w: t[w].T.contiguous()},
        lambda t, w: {**t, w: t[w].double()},
        lambda t, w: {**t, w: t[w].flatten()},
        lambda t, w: {**t, w: torch.full_like(t[w], float("nan"))},
        lambda t, w: {**t, "optimizer/generator/0/exp_avg": torch.zeros(3)},
        lambda t, w: {**t, "optimizer/generator/0/step": torch.zeros(3)},
        lambda t, w: renamed(t, "optimizer/generator/0/exp_avg", "optimizer/generator/0/momentum_buffer"),
    ],
)
def test_a_good_manifest_over_other_tensors_sends_back_to_the_generation_before(
    whole: Path, cut: Path, change: Callable[[Tensors, str], Tensors]
) -> None:
    newest = cut / "checkpoints/step-000000006"
    tensors = load_file(newest / "state.safetensors")
    weight = next(name for name, t in tensors.items() if name.startswith("model/generator") and t.dim() == 2 and t.shape[0] != t.shape[1])
    save_file(change(tensors, weight), newest / "state.safetensors")
    sealed(newest)
    said = Said()
    assert resume(cut, display=said).complete
    assert said.lines[0].startswith("skipped a damaged checkpoint (step-000000006: it")
    assert same(final_state(cut), final_state(whole))


def test_a_checkpoint_under_the_name_of_another_step_is_damaged(whole: Path, cut: Path) -> None:
    shutil.copytree(cut / "checkpoints/step-000000004", cut / "checkpoints/step-000000007")
    said = Said()
    assert resume(cut, display=said).complete
    assert said.lines[0] == "skipped a damaged checkpoint (step-000000007: state.json speaks of step 4 of 8)"
    assert same(final_state(cut), final_state(whole))


def test_where_no_checkpoint_fits_one_line_says_so(cut: Path) -> None:
    for path in (cut / "checkpoints").iterdir():
        save_file({}, path / "state.safetensors")
        sealed(path)
    with pytest.raises(
        DamagedError, match=r"every checkpoint in .* is damaged \(step-000000006: it does not fit the model: average/"
    ) as caught:
        resume(cut)
    assert "\n" not in str(caught.value)
    shutil.rmtree(cut / "checkpoints")
    assert resume(cut).complete


def test_samples_and_log_may_be_gone(whole: Path, cut: Path) -> None:
    shutil.rmtree(cut / "samples")
    (cut / "log.jsonl").unlink()
    (cut / "model/.model.safetensors.0123456789abcdef.tmp").write_text("half of it")
    assert resume(cut).complete
    assert same(final_state(cut), final_state(whole))
    assert not list(cut.rglob("*.tmp"))
    assert [step for step, _ in Run(cut).grids()] == [8]


def test_grids_are_found_by_their_steps_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for name in ("step-000000020.png", "step-1000000003.png", "step-last.png", "step-000000001.jpg", "step-7.png", "cat.png"):
        (tmp_path / "samples" / name).touch()
    assert [step for step, _ in Run(tmp_path).grids()] == [20, 1_000_000_003]


@pytest.mark.parametrize("left", [[".lock"], [".lock", ".config.json.0123456789abcdef.tmp"], []])
def test_a_folder_in_which_a_training_died_before_it_began_is_free(runs: Path, left: list[str]) -> None:
    (runs / "a").mkdir()
    for name in left:
        (runs / "a" / name).write_text("{")
    assert train(tiny_gan(2), out=runs / "a").complete
    assert sorted(p.name for p in (runs / "a").iterdir() if p.name.startswith(".")) == [".lock"]


def test_a_run_that_never_saved_anything_is_offered_to_be_continued(runs: Path) -> None:
    train(tiny_gan(2), out=runs / "a")
    for name in ("checkpoints", "model", "samples"):
        shutil.rmtree(runs / "a" / name)
    with pytest.raises(UserError, match="holds a run: choose another `out`, or continue that run with `resume="):
        train(tiny_gan(2), out=runs / "a")
    (runs / "a/config.json").write_text("{}")
    with pytest.raises(UserError, match="is not empty"):
        train(tiny_gan(2), out=runs / "a")
    assert resume_fails(runs / "a").startswith(f"{runs / 'a/config.json'} is damaged")


def resume_fails(folder: Path) -> str:
    with pytest.raises(DamagedError) as caught:
        resume(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: b"\xff", "is damaged (it is not UTF-8 text): restore it from a copy"),
        (lambda f: b"[" * 100_000, "is damaged (it is nested too deeply): restore it from a copy"),
        (lambda f: b"[1]", "is damaged (it is not a JSON object): restore it from a copy"),
        (lambda f: json.dumps(f)[:-20].encode(), "is not valid JSON"),
        (lambda f: {}, "is damaged ('config' is missing): restore it from a copy"),
        (lambda f: {**f, "config": None}, "restore it from a copy"),
        (lambda f: {**f, "config": {**f["config"], "train": {**f["config"]["train"], "batch": "8"}}}, "train.batch"),
        (lambda f: {**f, "config": {**f["config"], "other": 1}}, "unknown setting other"),
        (lambda f: {**f, "data": None}, "restore it from a copy"),
        (lambda f: {**f, "data": {"fingerprint": 7}}, "data.fingerprint"),
        (lambda f: {**f, "resolved": {}}, "steps"),
        (lambda f: {**f, "resolved": {**f["resolved"], "steps": -1}}, "steps"),
        (lambda f: {**f, "resolved": {**f["resolved"], "steps": 2**63 - 1}}, "steps"),
        (lambda f: {**f, "resolved": {**f["resolved"], "threads": "1"}}, "threads"),
        (lambda f: {**f, "resolved": [1]}, "restore it from a copy"),
    ],
)
def test_a_damaged_configuration_is_one_line(cut: Path, change: Callable[[dict[str, Any]], Any], says: str) -> None:
    path = cut / "config.json"
    content = change(json.loads(path.read_text()))
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    line = resume_fails(cut)
    assert line.startswith(str(path))
    assert says in line


@pytest.mark.parametrize("content", [b"{", b"\xff", b"{}", b'{"spec": 7}', b'{"spec": {"size": 28, "channels": "1"}}'])
def test_a_damaged_configuration_of_a_model_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_bytes(content)
    (tmp_path / "model/model.safetensors").write_bytes(b"")
    with pytest.raises(DamagedError, match=r"is damaged"):
        Run(tmp_path).use()


def test_a_run_that_cannot_be_written_is_one_line(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(under_test, "obstacle", lambda path, folder: "it is read-only" if path.name == "samples" else None)
        with pytest.raises(UserError, match=r"cannot continue in .*samples: it is read-only; repair that, or copy the run"):
            resume(cut)
    opens = os.open

    def refused(path: Any, *rest: Any, **options: Any) -> int:
        if str(path).endswith(".lock"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opens(path, *rest, **options)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(UserError, match=r"cannot write into .*cut \(Read-only file system\)"):
        resume(cut)


def test_a_disk_that_fills_up_at_the_log_is_one_line_and_loses_nothing(whole: Path, cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from calotype.engine import log

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log, "open", full, raising=False)
        with pytest.raises(CalotypeError, match="no space left"):
            resume(cut)
    assert resume(cut).complete
    assert same(final_state(cut), final_state(whole))


def test_a_run_that_another_process_began_in_the_meantime_is_left_alone(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Run.create

    def late(out: Path | None, stem: str) -> Run:
        run = create(out, stem)
        monkeypatch.setattr(Run, "create", create)
        train(tiny_gan(2), out=out)
        return run

    monkeypatch.setattr(Run, "create", late)
    with pytest.raises(UserError, match="holds a run"):
        train(tiny_gan(4), out=runs / "a")
    asked = tiny_gan(2)
    assert Run.open(runs / "a").read_config()[0] == replace(asked, data=replace(asked.data, flip=False))


def _train(folder: str, seed: int) -> None:
    torch.set_num_threads(1)
    config = tiny_gan(200)
    try:
        train(replace(config, train=replace(config.train, seed=seed)), out=Path(folder))
    except UserError as error:
        os._exit(2 if "\n" not in str(error) else 3)
    os._exit(0)


@pytest.mark.skipif(os.name == "nt", reason="needs locks of files")
def test_of_two_processes_that_begin_in_one_folder_one_trains(runs: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "calotype.engine.train", "calotype.recipes", "tests.small"])
    both = [context.Process(target=_train, args=(str(runs / "run"), seed)) for seed in (1, 2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    codes = [process.exitcode for process in both]
    assert sorted(code if code is not None else -1 for code in codes) == [0, 2]
    assert Run.open(runs / "run").read_config()[0].train.seed == 1 + codes.index(0)
    assert len(final_state(runs / "run")) > 0


def test_only_a_lock_that_is_held_stops_a_training(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Run(cut).lock()
    with pytest.raises(UserError, match="another process is training"):
        resume(cut)
    os.close(handle)
    fcntl = pytest.importorskip("fcntl")

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert resume(cut).complete


def test_a_name_from_outside_never_leads_out_of_the_folder_of_runs(runs: Path) -> None:
    config: Config = replace(tiny_gan(2), recipe="gan")
    for stem in ("../../escaped", "a/b", ".hidden", "x" * 400, "", "\x1b[2K"):
        run = Run.create(None, stem)
        assert run.folder.parent == Path("runs")
        assert run.folder.is_dir()
        assert not run.folder.name.startswith(".")
    assert [p.name for p in runs.iterdir()] == ["runs"]
    assert engine.train(config).run.folder.name == "gan-mnist5k-0001"
