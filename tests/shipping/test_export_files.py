"""An exported file makes what the model makes, says what it is, and runs where there is no PyTorch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

import calotype
from calotype import cli
from calotype.diffusion.path import PATHS
from calotype.engine import calibrating
from calotype.engine.calibrating import BeliefCalibration, CalibrationFacts
from calotype.engine.run import Run
from calotype.errors import CalotypeError, UserError
from calotype.metrics.confidence import softmax
from calotype.models import build
from calotype.networks.lab import rgb_of
from calotype.networks.restorer import interpolated
from calotype.shipping import export as exporting
from calotype.shipping import onnx_file
from calotype.shipping.export import export, judged, parity
from calotype.shipping.graph import Graph, Input, graph_of
from calotype.shipping.onnx_file import Session, quantized
from calotype.tasks.sample import Generator, load
from calotype.types import Condition, Noise
from tests.small import condition_for, small, spec_of

DOC = Path(__file__).parents[2] / "docs" / "export.md"


def made(name: str, folder: Path, **model: Any) -> Path:
    """The model of a small recipe in a folder, moved away from its start, which for many networks is a constant image."""
    config, spec = small(name, **model), spec_of(name)
    torch.manual_seed(0)
    network = build(config.model, spec)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder.mkdir()
    Run(folder).export(network, config, spec, 3)
    return folder


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, exporting.Exported]:
    """A conditional GAN, and what exporting it gave."""
    place = tmp_path_factory.mktemp("export")
    folder = made("hinge", place / "digits", latent=8)
    return folder, export(folder, place / "digits.onnx", license="cc-by-4.0", display=calotype.Display())


def test_the_file_draws_what_the_model_draws(gan: tuple[Path, exporting.Exported]) -> None:
    folder, told = gan
    session = onnxruntime.InferenceSession(told.file.read_bytes(), providers=["CPUExecutionProvider"])
    noise = Noise(5, seed=3).normal(8).numpy()
    drawn = session.run(None, {"noise": noise, "label": np.full(5, 7)})[0]
    want = load(folder, "cpu").sample(5, seed=3, label=7).numpy()
    assert np.abs(drawn - want).max() < 1e-5
    assert np.abs(want[0] - want[1]).max() > 0.05  # images that differ, and so could disagree
    assert told.difference < 1e-5
    assert told.compared == 32


def test_the_file_says_what_it_is(gan: tuple[Path, exporting.Exported]) -> None:
    folder, told = gan
    session = onnxruntime.InferenceSession(told.file.read_bytes(), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["calotype.weights"] == load(folder, "cpu").weights
    assert (facts["license"], facts["calotype.recipe"], facts["calotype.range"]) == ("cc-by-4.0", "hinge", "-1 to 1")
    assert json.loads(facts["calotype.classes"]) == list("0123456789")
    assert [one["name"] for one in json.loads(facts["calotype.inputs"])] == [one.name for one in session.get_inputs()]
    assert b"site-packages" not in told.file.read_bytes()  # nothing of the machine that made it
    assert str(Path(calotype.__file__).parent).encode() not in told.file.read_bytes()


def test_the_example_of_the_docs_runs_without_torch(gan: tuple[Path, exporting.Exported], tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    assert len(code[1].splitlines()) <= 20
    script = tmp_path / "draw.py"
    last = 'import sys\nassert not [name for name in sys.modules if name.split(".")[0] in ("torch", "calotype")]\n'
    script.write_text(code[1] + last, encoding="utf-8")
    (tmp_path / "digits.onnx").write_bytes(gan[1].file.read_bytes())
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "digits.png") as image:
        assert image.size == (8 * 28, 28)
        assert np.asarray(image).std() > 1


def test_fewer_bits_are_smaller_and_their_difference_is_told(
    gan: tuple[Path, exporting.Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "WORST", 255.0)  # random weights are no model that somebody would keep
    sizes, means = {}, {}
    for precision in ("float16", "int8"):
        told = export(gan[0], tmp_path / precision, precision=precision, display=calotype.Display())  # type: ignore[arg-type]
        assert told.rounding is not None
        assert told.rounding.features.startswith("digits")
        sizes[precision], means[precision] = told.size / gan[1].size, told.rounding.mean
    assert 0 < 4 * means["float16"] < means["int8"]  # 11 bits and 7
    assert sizes["int8"] < 0.5 < sizes["float16"] < 0.65


def test_whole_numbers_are_within_half_a_step_of_the_weights() -> None:
    numbers = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    numbers[:, 2] = 0
    whole, scale = quantized(numbers, 1)
    back = whole.astype(np.float32) * scale[None, :, None]
    assert whole.min() == -127 or whole.max() == 127
    assert (np.abs(back - numbers) <= scale[None, :, None] / 2 + 1e-7).all()
    assert (back[:, 2] == 0).all()


def test_a_whole_sampler_is_one_file_with_its_network_in_it_once(tmp_path: Path) -> None:
    folder = made("flow-matching", tmp_path / "flow")
    told = export(folder, tmp_path / "flow.onnx", steps=2, display=calotype.Display())
    drawn = Session(told.file.read_bytes())([Noise(3, seed=1).normal(1, 28, 28), torch.full((3,), 4)])
    want = load(folder, "cpu").sample(3, seed=1, label=4, steps=2).numpy()
    assert np.abs(drawn - want).max() < 1e-5
    assert np.abs(load(folder, "cpu").sample(3, seed=1, label=4, steps=3).numpy() - want).max() > 1e-4  # the steps are in the file
    weights = next(folder.rglob("model.safetensors")).stat().st_size
    assert told.size < 1.5 * weights + 300_000


def test_a_sampler_that_is_guided_in_some_of_its_steps_alone_is_exported(tmp_path: Path) -> None:
    told = export(made("dit", tmp_path / "dit"), tmp_path / "dit.onnx", steps=2, solver="euler", guidance=2, display=calotype.Display())
    assert told.difference < 1e-5  # the network is called with once and with twice as many rows


def test_a_restorer_takes_images_of_any_size_that_its_file_names(tmp_path: Path) -> None:
    told = export(made("deblur", tmp_path / "deblur"), tmp_path / "deblur.onnx", display=calotype.Display())
    assert [one["shape"] for one in told.inputs] == [["batch", told.inputs[0]["shape"][1], "height", "width"]]
    spec, side = spec_of("deblur"), told.inputs[0].get("multiple", 1)
    model = load(tmp_path / "deblur", "cpu").model
    source = condition_for(spec, 2, (6 * side, 10 * side))
    with torch.no_grad():
        want = model.sample(Noise(2), source).numpy()
    assert source.source is not None
    assert np.abs(Session(told.file.read_bytes())([source.source]) - want).max() < 1e-5


def test_a_translator_is_the_same_at_sides_that_it_pads(tmp_path: Path) -> None:
    folder = made("pix2pix", tmp_path / "pix2pix")
    told = export(folder, tmp_path / "pix2pix.onnx", display=calotype.Display())
    side = told.inputs[0]["multiple"]
    source = torch.rand(2, told.inputs[0]["shape"][1], 5 * side, 9 * side) * 2 - 1
    with torch.no_grad():
        want = load(folder, "cpu").model.sample(Noise(2), Condition(source=source)).numpy()
    assert np.abs(Session(told.file.read_bytes())([source]) - want).max() < 1e-5


class _Scales(nn.Module):
    """The shares of image and noise along a path."""

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return torch.stack(PATHS["vp-cosine"].scales(given[0]))


def test_the_share_of_the_image_is_exported_where_it_is_almost_none() -> None:
    places = torch.linspace(-12, 12, 49)  # runtimes take the sigmoid of 2 * -9 for zero, by whose root samplers divide
    graph = Graph(_Scales(), (Input("place", "normal", ()),), "images")
    found, want = Session(onnx_file.packed(onnx_file.onnx_of(graph)[0], {}))([places]), _Scales()(places).numpy()
    assert (want > 0).all()
    assert np.abs(found / want - 1).max() < 1e-5


class _Colors(nn.Module):
    """Colors by lightness and two axes."""

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return rgb_of(given[0] * 50)


def test_colors_are_exported() -> None:
    graph = Graph(_Colors(), (Input("lab", "normal", (3, 8, 8)),), "images")
    assert parity(graph, Session(onnx_file.packed(onnx_file.onnx_of(graph)[0], {})))[0] < 1e-5


class _Larger(nn.Module):
    """Images three times larger."""

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return interpolated(given[0], 3)


def test_images_are_enlarged_by_a_convolution_that_is_the_interpolation() -> None:
    graph = Graph(_Larger(), (Input("image", "image", (2, "height", "width")),), "images")
    model = onnx_file.onnx_of(graph)[0]
    assert parity(graph, Session(onnx_file.packed(model, {})))[0] < 1e-5
    assert "Resize" not in [node.op_type for node in model.graph]  # of which onnxruntime's is slow


class _Padded(nn.Module):
    """Pads a kernel of more numbers than a converter folds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(256, 128, 3, 3) / 30)

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(given[0], nn.functional.pad(self.weight, (1, 0, 1, 0)), stride=2, padding=1)


def test_weights_that_are_padded_are_padded_once() -> None:
    graph = Graph(_Padded().eval(), (Input("image", "image", (128, 8, 8)),), "images")
    model = onnx_file.onnx_of(graph)[0]
    assert parity(graph, Session(onnx_file.packed(model, {})))[0] < 1e-5
    assert "Pad" not in [node.op_type for node in model.graph]
    assert onnx_file.lessen(model, "int8") == 1


class _Cut(_Padded):
    """Cuts a kernel, by padding less than nothing."""

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(given[0], nn.functional.pad(self.weight, (-1, 0, -1, 0)))


def test_weights_that_are_cut_are_left_to_the_graph() -> None:
    graph = Graph(_Cut().eval(), (Input("image", "image", (128, 8, 8)),), "images")
    assert parity(graph, Session(onnx_file.packed(onnx_file.onnx_of(graph)[0], {})))[0] < 1e-5


def test_weights_are_not_padded_with_what_is_computed() -> None:
    """Nor are images."""
    info, sides = onnx.helper.make_tensor_value_info, np.array([1, 1], np.int64)
    given = [info("image", onnx.TensorProto.FLOAT, [3]), info("fill", onnx.TensorProto.FLOAT, [])]
    made = [info(name, onnx.TensorProto.FLOAT, [5]) for name in ("a", "b", "c")]
    pads = [("weight", "sides", "fill"), ("image", "sides", "fill"), ("weight", "sides")]
    nodes = [onnx.helper.make_node("Pad", inputs, [f"{one.name}.padded"]) for inputs, one in zip(pads, made, strict=True)]
    nodes += [onnx.helper.make_node("Neg", [f"{one.name}.padded"], [one.name]) for one in made]
    kept = [onnx.numpy_helper.from_array(np.ones(3, np.float32), "weight"), onnx.numpy_helper.from_array(sides, "sides")]
    model = onnx_ir.from_proto(onnx.helper.make_model(onnx.helper.make_graph(nodes, "pads", given, made, kept)))
    onnx_file._pad_weights(model)
    assert [node.outputs[0].name for node in model.graph if node.op_type == "Pad"] == ["a.padded", "b.padded"]


def test_what_fails_after_converting_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "_pad_weights", lambda model: np.pad(np.ones(3), -1))
    with pytest.raises(CalotypeError, match=r"cannot be written as ONNX \(ValueError"):
        onnx_file.onnx_of(Graph(_Colors(), (Input("lab", "normal", (3, 8, 8)),), "images"))


def test_a_classifier_gives_logits_in_pytorchs_own_format_too(tmp_path: Path) -> None:
    told = export(made("resnet", tmp_path / "resnet"), tmp_path / "resnet.pt2", format="torch-export", display=calotype.Display())
    assert (told.output, told.opset) == ("logits", None)
    image = torch.rand(4, 1, 28, 28) * 2 - 1
    model: Any = load(tmp_path / "resnet", "cpu").model
    with torch.no_grad():
        made_, want = torch.export.load(told.file).module()(image), model.logits_of(model.features(image))
    assert torch.allclose(made_, want, atol=1e-5)


def test_a_classifiers_file_gives_the_probabilities_of_classify(tmp_path: Path) -> None:
    folder = made("resnet", tmp_path / "resnet")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / f"{number}.png")
    image = torch.from_numpy(pixels[:, None].astype(np.float32) / 127.5 - 1)
    made_ = {}
    for mirrored in (False, True):
        facts = CalibrationFacts(temperature=1.7, distance=None, false_alarms=0.05, images=10, fit="crop", mirrored=mirrored)
        calibrating.write(folder / "model", BeliefCalibration(facts, None))
        told = export(folder, tmp_path / f"{mirrored}.onnx", display=calotype.Display())
        session = onnxruntime.InferenceSession(told.file.read_bytes(), providers=["CPUExecutionProvider"])
        temperature = float(session.get_modelmeta().custom_metadata_map["calotype.temperature"])
        made_[mirrored] = softmax(session.run(None, {"image": image.numpy()})[0], temperature)
        for number, row in enumerate(made_[mirrored]):
            found = calotype.classify(folder, tmp_path / f"{number}.png", top=10, device="cpu", display=calotype.Display())[0]
            want = dict(found.classes)
            assert np.allclose([want[name] for name in "0123456789"], row, atol=1e-5)
    assert np.abs(made_[True] - made_[False]).max() > 1e-3


def test_sides_that_are_compared_are_multiples_of_no_more_than_they_have_to_be() -> None:
    graph = Graph(nn.Identity(), (Input("source", "image", (3, "height", "width")),), "images")
    for multiple in (1, 2, 4, 8, 16):
        sides = {side for _, _, size in exporting._plan(graph, multiple) for side in size}
        assert len(sides) == 2
        assert all(side >= 32 and side % multiple == 0 and side // multiple % 2 == 1 for side in sides)


def test_a_folder_that_there_is_gets_the_file(
    gan: tuple[Path, exporting.Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    for out, name in ((".", "digits.onnx"), ("files", "files/digits.onnx"), ("files", "files/digits-2.onnx"), ("other", "other.onnx")):
        path = exporting._place(out, gan[0], "onnx")
        assert path == Path(name)
        path.touch()


@pytest.mark.parametrize("name", ["pixelcnn", "vqvae", "tarflow"])
def test_what_is_drawn_part_after_part_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(made(name, tmp_path / name)), "--out", str(tmp_path / "x.onnx")]) == 2
    error = capsys.readouterr().err
    assert f"a {name} model draws the parts of an image one after another" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


def test_a_file_that_differs_is_not_written(
    gan: tuple[Path, exporting.Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "TOLERANCE", 1e-12)
    assert cli.main(["export", str(gan[0]), "--out", str(tmp_path / "x.onnx")]) == 1
    assert re.search(r"nothing is exported: over 32 images the file differs from PyTorch by up to \d\.\de-\d\d", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_parity_sees_one_pixel_and_another_shape() -> None:
    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    graph = Graph(Doubled(), (Input("noise", "normal", (4,)),), "images")
    assert parity(graph, lambda given: 2 * given[0].numpy()) == (0, 32)

    def off(given: Any) -> Any:
        made_ = 2 * given[0].numpy()
        made_[-1, -1] += 0.001
        return made_

    assert parity(graph, off)[0] == pytest.approx(0.001, rel=1e-3)
    assert parity(graph, lambda given: given[0].numpy()[:, :2])[0] == float("inf")
    assert parity(graph, lambda given: given[0].numpy() * np.nan)[0] == float("inf")


def test_rounding_that_changes_much_is_refused_and_some_is_said() -> None:
    small_ = exporting.Rounding(0.1, 3, 256, 0.5, 2.0, "digits")
    assert judged(small_, "int8", "images") == ()
    assert "2.5 levels of 255" in judged(replace(small_, mean=2.5), "int8", "images")[0]
    assert "further apart" in judged(replace(small_, distance=3.0), "int8", "images")[0]
    with pytest.raises(CalotypeError, match="nothing is exported: with int8 weights the results differ by 20 levels"):
        judged(replace(small_, mean=20.0), "int8", "images")
    with pytest.raises(CalotypeError, match="of probability"):
        judged(replace(small_, mean=0.2), "float16", "logits")


def test_bad_input_is_one_line(gan: tuple[Path, exporting.Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = gan[0]
    with pytest.raises(UserError, match="is of ONNX files"):
        export(folder, tmp_path / "x.pt2", format="torch-export", precision="int8")
    with pytest.raises(UserError, match=r"a file of the format onnx is called \.onnx"):
        export(folder, tmp_path / "x.pt2")
    with pytest.raises(UserError, match="cannot write"):
        export(folder, tmp_path / "no" / "x.onnx")
    with pytest.raises(UserError, match="no sampling option 'steps'"):
        export(folder, tmp_path / "x.onnx", steps=4)
    with pytest.raises(UserError, match="without orthogonal regularization"):
        export(folder, tmp_path / "x.onnx", truncation=0.5)
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UserError, match="needs onnxscript: pip install onnx onnxscript onnxruntime"):
        export(folder, tmp_path / "x.onnx")


def test_the_inputs_are_the_numbers_by_which_samples_are_drawn() -> None:
    config, spec = small("ddpm"), spec_of("ddpm")
    graph = graph_of(Generator(build(config.model, spec), "ddpm", torch.device("cpu")), {"steps": 3, "solver": "ddpm"})
    assert len({one.name for one in graph.inputs}) == len(graph.inputs) > 2  # noise to start from, and more in every step
    model: Any = graph.module
    given = graph.example(2, 5)
    with torch.no_grad():
        want = model.model.sample(Noise(2, 5), Condition(given[-1]), model.options)
    assert torch.equal(model(*given), want)
