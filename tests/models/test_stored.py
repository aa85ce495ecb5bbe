"""Models in files: what comes back is what was written, and nothing that files claim costs anything before it is proved."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from calotype.engine.run import Run
from calotype.errors import DamagedError, UserError
from calotype.metrics.features_kinds import of_run
from calotype.models import build, stored
from calotype.recipes import RECIPES
from calotype.tasks.sample import load
from tests.fuzz import attempt
from tests.small import small, spec_of


def write(folder: Path, recipe: str, **settings: Any) -> Path:
    """An exported model of random weights."""
    torch.manual_seed(0)
    config, spec = small(recipe, **settings), spec_of(recipe)
    Run(folder).export(build(config.model, spec), config, spec, 1, folder / "model")
    return folder / "model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, "dcgan")


def change(folder: Path, path: str, value: object) -> None:
    """Another value at a dotted place of ``config.json``."""
    facts = json.loads((folder / "config.json").read_text())
    *places, leaf = path.split(".")
    place = facts
    for name in places:
        place = place[name]
    place[leaf] = value
    (folder / "config.json").write_text(json.dumps(facts))


def reweigh(folder: Path, changed: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file({name: t.contiguous() for name, t in changed(load_file(file)).items()}, file)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_was_exported_comes_back(recipe: str, tmp_path: Path) -> None:
    folder = write(tmp_path, recipe)
    whole = build(small(recipe).model, spec_of(recipe))
    model = stored.find(folder).model()
    weights, state = load_file(folder / "model.safetensors"), model.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], t) and t.dtype == weights[name].dtype for name, t in state.items())
    assert not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
    trainable = {name for name, p in whole.named_parameters() if p.requires_grad}
    assert {name for name, p in model.named_parameters() if p.requires_grad} == trainable
    left = dict(model.named_buffers())
    for name, t in whole.named_buffers():  # those that are not saved are computed
        if name not in weights and not name.startswith(whole.training_only):
            assert torch.equal(left[name], t)


def test_weights_of_less_precision_are_taken(folder: Path) -> None:
    before = load(folder).sample(2)
    reweigh(folder, lambda state: {name: t.half() if t.is_floating_point() else t for name, t in state.items()})
    after = load(folder).sample(2)
    assert after.dtype == torch.float32
    assert 0 < (after - before).abs().max() < 0.05


@pytest.mark.parametrize(
    ("path", "value", "tells"),
    [
        ("spec.size", 8192, "spec.size: give a whole number from 1 to 4,096, not 8192"),
        ("spec.size", 4000, "the dcgan network takes images of 8 to 256 pixels, not 4000"),
        ("spec.channels", 2, "two channels are the coordinates of points, in images of one pixel"),
        ("spec.channels", 4, "spec.channels: "),
        ("spec.classes", ["c"] * 300_000, "spec.classes: give at most 65,536 values"),
        ("spec.classes", [7], "spec.classes.0: "),
        ("spec.source", {"channels": 1, "conditioning": ["x"]}, "spec.source.conditioning.0: "),
        ("spec", None, "spec: "),
        ("spec.depth", 3, "unknown setting spec.depth"),
        ("model.generator.width", 10**30, "config.json is damaged .it holds a number of 31 digits"),
        ("model.generator.width", 65_536, "layers.*not torch.float32"),
        ("model.latent", 65_536, "layers.*not torch.float32"),
        ("model.kind", "magic", "model: input tag 'magic' is none of"),
        ("model", [], "model: "),
        ("recipe", "x\x1b[31m" * 10**5, ""),
    ],
)
def test_a_configuration_that_claims_more_than_the_weights_hold_costs_nothing(folder: Path, path: str, value: object, tells: str) -> None:
    change(folder, path, value)
    for open_model in (load, of_run):
        attempt(lambda open_model=open_model: open_model(folder), UserError)  # type: ignore[misc]
    if tells:
        with pytest.raises(DamagedError, match=tells):
            load(folder)
    else:
        assert len(load(folder).recipe) <= 100
        assert "\x1b" not in load(folder).recipe


@pytest.mark.parametrize(
    ("recipe", "path", "value", "tells"),
    [
        ("gan", "model.generator.depth", 1000, "larger model than|missing"),
        ("flow-matching", "model.multipliers", [1] * 8, "multipliers and depth describe the same levels"),
        ("realnvp", "model.depth", 1000, "larger model than"),
        ("glow", "model.blocks", 1000, "larger model than"),
        ("pixelcnn", "model.depth", 1000, "larger model than"),
        ("hvae", "model.latent_blocks", 1000, "larger model than"),
        ("vqvae", "model.prior_depth", 1000, "larger model than"),
        ("classifier", "spec.size", 4096, "larger model than|missing"),
        ("denoise", "model.depth", 10**9, "model.depth: give a whole number from 1 to 1,000"),
        ("cyclegan", "model.blocks", 1000, "larger model than"),
    ],
)
def test_no_number_builds_for_ever(recipe: str, path: str, value: object, tells: str, tmp_path: Path) -> None:
    folder = write(tmp_path, recipe)
    load(folder)
    change(folder, path, value)
    attempt(lambda: load(folder), UserError)
    with pytest.raises(DamagedError, match=tells):
        load(folder)
    assert torch.is_grad_enabled()


def test_state_of_the_training_is_neither_built_nor_taken(tmp_path: Path) -> None:
    folder = write(tmp_path, "cyclegan")
    change(folder, "model.pool", 65_536)  # 300 MB of earlier pictures
    attempt(lambda: load(folder))
    reweigh(folder, lambda state: {**state, "pools.a.images": torch.zeros(50, 1, 24, 24, dtype=torch.uint8)})
    with pytest.raises(DamagedError, match=r"pools\.a\.images is no part of it"):
        load(folder)


LAYER = "generator.layers.0.weight"


@pytest.mark.parametrize(
    ("changed", "tells"),
    [
        (lambda state: {k: v for k, v in state.items() if k != LAYER}, f"{LAYER} is missing"),
        (lambda state: {**state, "extra\x1b": torch.zeros(1)}, "extra\ufffd is no part of it"),
        (lambda state: {**state, LAYER: state[LAYER][1:]}, rf"{LAYER} is F32 \[99, .*not torch.float32 \[100,"),
        (lambda state: {**state, LAYER: state[LAYER].to(torch.float8_e4m3fn)}, f"{LAYER} is F8_E4M3"),
        (lambda state: {**state, LAYER: state[LAYER].to(torch.int8)}, f"{LAYER} is I8"),
        (lambda state: {**state, LAYER: state[LAYER].bool()}, f"{LAYER} is BOOL"),
        (lambda state: {**state, LAYER: state[LAYER].to(torch.complex64)}, f"{LAYER} is C64"),
        (lambda state: {**state, LAYER: state[LAYER].double() * 1e300}, "not finite"),
        (lambda state: {**state, LAYER: state[LAYER] * torch.nan}, "not finite"),
        (lambda state: {**state, "generator.layers.1.num_batches_tracked": torch.zeros(())}, "num_batches_tracked is F32"),
        (lambda state: {}, "is missing"),
    ],
)
def test_weights_of_another_model_are_refused(folder: Path, changed: Callable[[dict[str, Tensor]], dict[str, Tensor]], tells: str) -> None:
    reweigh(folder, changed)
    with pytest.raises(DamagedError, match=tells) as caught:
        load(folder)
    assert "damaged or from another version" in str(caught.value)
    assert "\n" not in str(caught.value)


def header(folder: Path) -> dict[str, Any]:
    raw = (folder / "model.safetensors").read_bytes()
    return json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])


def test_headers_that_lie_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole, claimed = file.read_bytes(), header(folder)
    body = whole[8 + struct.unpack("<Q", whole[:8])[0] :]
    claimed[LAYER]["data_offsets"] = [0, claimed[LAYER]["data_offsets"][1]]
    overlapping = json.dumps(claimed).encode()
    for raw in (
        b"",
        whole[:7],
        whole[:1000],
        whole[:-1],
        whole + b"\0",
        struct.pack("<Q", 2**63) + whole[8:],
        struct.pack("<Q", 2**25) + bytes(2**25),
        struct.pack("<Q", len(overlapping)) + overlapping + body,
        struct.pack("<Q", 2) + b"[]" + body,
    ):
        file.write_bytes(raw)
        attempt(lambda: load(folder), UserError)
        with pytest.raises(DamagedError, match="damaged or from another version"):
            load(folder)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("x")
    (tmp_path / "model" / "config.json").mkdir(parents=True)
    (tmp_path / "model" / "model.safetensors").mkdir()
    for path in (tmp_path, str(tmp_path), tmp_path / "loop", tmp_path / "file", tmp_path / "nowhere", "", "x" * 5000, "a\0b", "\udc80"):
        for open_model in (load, of_run):
            attempt(lambda open_model=open_model, path=path: open_model(path), UserError)  # type: ignore[misc]
            with pytest.raises(UserError, match=r"holds no trained model|cannot be read|does not exist"):
                open_model(path)  # type: ignore[arg-type]
    for strange in (b"bytes", 3, None):
        with pytest.raises(UserError, match="is no path"):
            load(strange)  # type: ignore[arg-type]


def test_a_folder_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        load(folder)


@pytest.mark.parametrize(
    ("recipe", "how"), [("denoise", "gray"), ("denoise", "downsample:2"), ("denoise", "jpeg:30"), ("colorize", "noise:0-55")]
)
def test_a_model_that_takes_something_else_than_its_degradation_gives_is_refused(recipe: str, how: str, tmp_path: Path) -> None:
    folder = write(tmp_path, recipe)
    stored.find(folder)
    change(folder, "spec.source.degradation", how)
    with pytest.raises(DamagedError, match=f"{how} does not give what the model takes"):
        stored.find(folder)
    change(folder, "spec.source.degradation", "no such thing")
    with pytest.raises(DamagedError, match="no such thing"):
        stored.find(folder)
