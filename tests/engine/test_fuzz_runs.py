"""Whatever the files of a run hold: the newest whole checkpoint is found, a log tells what is whole of it, or one line says why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from calotype.data import load
from calotype.diagnose import likelihood, restoration, training
from calotype.engine.checkpoint import FILES, load_newest
from calotype.engine.distributed import World
from calotype.engine.run import Run
from calotype.engine.train import train
from calotype.engine.trainer import Trainer, TrainState
from calotype.errors import DamagedError
from calotype.evaluation import cost, evidence
from calotype.files import sha256, write_json
from tests.fuzz import attempt, mutations
from tests.small import tiny_gan

Records = Sequence[dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_gan(8), out=tmp_path_factory.mktemp("whole") / "run").run.folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Run:
    shutil.copytree(whole, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.mark.parametrize("fits", [False, True], ids=["as it is", "with a manifest that fits"])
@pytest.mark.parametrize("name", ["manifest.json", *FILES])
def test_a_damaged_checkpoint_never_stops_a_run(run: Run, fuzz: int, name: str, fits: bool) -> None:
    config, facts = run.read_config()
    settings = {key: value for key, value in facts["resolved"].items() if key != "steps"}
    trainer = Trainer(config, load("mnist5k"), TrainState(8, settings=settings), torch.device("cpu"), World())
    newest = run.checkpoints / "step-000000008"
    whole = (newest / name).read_bytes()
    manifest = (newest / "manifest.json").read_bytes()
    for data in mutations(whole, fuzz, seed=8 + fits):
        (newest / "manifest.json").write_bytes(manifest)
        (newest / name).write_bytes(data)
        if fits:
            write_json(newest / "manifest.json", {file: sha256(newest / file) for file in FILES})
        attempt(lambda: restore(trainer, run))
        assert trainer.progress.step in ((6, 8) if fits else (8,) if data == whole else (6,))


def restore(trainer: Trainer, run: Run) -> None:
    saved = load_newest(run.checkpoints, trainer.check)
    assert saved is not None
    trainer.restore(saved)


def consumers() -> list[Callable[[Records], object]]:
    """Everything that looks at the records of a log."""
    judges = (
        training.vanishing_gradient,
        training.overfitting_discriminator,
        training.divergence,
        restoration.growth,
        likelihood.widens,
        evidence.curves,
        lambda records: cost.training(records, None),
        lambda records: cost.training(records, 4),
        lambda records: training.Watcher(records).see({"step": 999, "d_auc": 0.5}),
    )
    return [*judges, *(lambda records, judge=judge: judge([r for r in records if "event" not in r]) for judge in judges)]


@pytest.mark.parametrize("trouble", [False, True])
def test_a_damaged_log_tells_what_is_whole_of_it(tmp_path: Path, fuzz: int, trouble: bool) -> None:
    log = Run(tmp_path).log()
    for step in range(2, 82, 2):
        terms = {"d_accuracy": 0.995, "generator/gradient_norm": 10.0 / step**3 if trouble else 1.0, "d_auc": 0.5 + step / 200}
        more = {"d_sign": 0.1, "psnr_train": 30.0 + step, "psnr_holdout": 30.0, "bits_train": 1.0, "bits_holdout": 1 + 0.01 * step}
        log.write({"step": step, "images": 8 * step, "seconds": 0.1 * step, "holdout_images": 64, **terms, **more})
    log.write({"event": "score", "step": 82, "FD": 3.0, "bias": 0.1, "n": 80, "features": "r", "best": True})
    log.write({"event": "rollback", "step": 84, "to": 82, "lr_scale": 0.5})
    log.write({"event": "verdict", "step": 84, "name": "vanishing-gradient", "status": "WARN", "says": "it is stuck"})
    whole, records = log.path.read_bytes(), log.read()
    for judge in consumers():
        judge(records)
    for data in mutations(whole, 5 * fuzz, seed=12 + trouble):
        log.path.write_bytes(data)

        def use() -> None:
            found = log.read()
            for judge in consumers():
                judge(found)
            log.rewind(40)
            assert [r for r in found if r["step"] <= 40 or r.get("event") == "rollback"] == log.read()

        attempt(use)


def test_a_damaged_configuration_is_a_configuration_or_one_line(run: Run, fuzz: int) -> None:
    path = run.folder / "config.json"
    whole = path.read_bytes()
    for data in mutations(whole, 10 * fuzz, seed=14):
        path.write_bytes(data)
        attempt(run.read_config, DamagedError)
