"""What a report says of images that were drawn in pairs: planted models whose pairs belong together, or do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from calotype import degrade
from calotype.data import Split, load
from calotype.engine.train import train
from calotype.evaluation.evaluate import evaluate
from calotype.evaluation.pairs import UNKNOWN, OfPairs, pairs_of
from calotype.tasks.model_inputs import to_tensor
from calotype.types import ImageSpec, Noise, Source
from tests.small import small

COUNT = 200


@dataclass
class Planted:
    """A model that draws real digits, each with the drawing of the one ``shift`` places further on."""

    split: Split
    shift: int = 0
    degradation: str = "edges"

    def sample_pairs(self, noise: Noise, condition: Any = None, options: Any = None) -> tuple[Tensor, Tensor]:
        rows = (noise.uniform() * len(self.split.train)).long().numpy()
        first, other = (to_tensor(np.asarray(self.split.train.pixels[(rows + by) % len(self.split.train)])) for by in (0, self.shift))
        return first, degrade.parse(self.degradation)(other, Noise(len(rows))).image


@pytest.fixture(scope="module")
def digits() -> Split:
    return load("mnist5k")


def told(model: Any, split: Split, source: Source | None = None, **changes: Any) -> OfPairs:
    spec = ImageSpec(28, 1, source=source or Source(1, degradation=getattr(model, "degradation", ""), paired=False))
    generator = SimpleNamespace(model=model, spec=spec, device=torch.device("cpu"))
    known = {"generator": generator, "train": split.train, "holdout": split.holdout, "count": COUNT}
    return pairs_of(SimpleNamespace(**(known | changes)), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("degradation", ["edges", "invert"])
def test_pairs_that_belong_together_score_like_real_ones(digits: Split, degradation: str) -> None:
    found = told(Planted(digits, degradation=degradation), digits)
    pixels, kinds = found.scores
    assert (pixels.name, pixels.value, pixels.baseline, pixels.n) == ("pixel agreement", 1.0, 1.0, COUNT)
    assert kinds.name == "class agreement"
    assert kinds.baseline is not None
    assert 0.8 < kinds.baseline <= 1
    assert kinds.value == pytest.approx(kinds.baseline, abs=0.08)


def test_pairs_of_strangers_score_what_the_note_says_of_chance(digits: Split) -> None:
    found = told(Planted(digits, shift=1), digits)
    pixels, kinds = found.scores
    assert pixels.value < 0.9
    assert f"{100 * pixels.value:.0f}"[0] in found.notes[0]
    assert kinds.value < 0.3
    chance = float(found.notes[0].split("%")[0].split()[-1])
    assert chance == pytest.approx(100 * pixels.value, abs=3)


def test_without_a_known_map_labels_or_pairs_less_is_scored(digits: Split) -> None:
    model = Planted(digits)
    assert told(model, digits, Source(1, paired=False)) == OfPairs(notes=(UNKNOWN,))
    bare = replace(digits.train, labels=None, classes=())
    assert [score.name for score in told(model, digits, train=bare).scores] == ["pixel agreement"]
    assert [score.baseline for score in told(model, digits, train=None, holdout=None).scores] == [None]
    assert told(object(), digits) == OfPairs()
    assert told(model, digits, generator=None) == OfPairs()


def test_the_report_of_a_run_has_them(tmp_path: Path) -> None:
    run = train(small("cogan", 2), out=tmp_path / "run").run
    report = evaluate(run.folder, short=True, device="cpu", count=100)
    names = [score.name for score in report.scores]
    assert names[-2:] == ["pixel agreement", "class agreement"]
    assert any("different pairs" in note for note in report.notes)
