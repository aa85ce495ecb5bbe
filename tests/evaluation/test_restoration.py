"""Reports on models that make images from images: planted restorers are seen for what they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor

import calotype
from calotype import pictures
from calotype.cli.main import main
from calotype.degrade import parse
from calotype.diagnose.checks import answers
from calotype.diagnose.restored import MODEL, RestorationEvidence, RestorationScores
from calotype.diagnose.verdict import conclude
from calotype.engine.display import Display
from calotype.engine.model_card import model_card
from calotype.engine.run import Run
from calotype.errors import UserError
from calotype.evaluation import restoration, restored, result
from calotype.evaluation.eval_images import EvalImage, of_source, within
from calotype.evaluation.evaluate import evaluate
from calotype.evaluation.restored import Judge
from calotype.evaluation.run_info import RunInfo
from calotype.evaluation.schema import schema
from calotype.metrics.quality import convention_for
from calotype.report import compare
from calotype.report.page import html
from calotype.report.text import text
from calotype.tasks.sample import Generator
from calotype.tasks.tiles import mirrored
from calotype.types import Condition, ImageSpec, Model, Noise, SamplingOptions, Source
from tests.report.test_page import Page
from tests.small import small

SIZE = 48


def scenes(count: int = 12, channels: int = 3, size: int = SIZE) -> list[EvalImage]:
    """Pictures with edges and smooth shades, all different."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size
    found = []
    for index in range(count):
        planes = []
        for _ in range(channels):
            a, b, c = rng.uniform(-1, 1, 3)
            planes.append(0.4 * np.sin(9 * a * x + 7 * b * y) + 0.3 * np.sign(x - y * b + 0.3 * c) + 0.1 * np.sin(60 * x * a))
        truth = torch.from_numpy(np.stack(planes)[None]).float().clamp(-1, 1)
        found.append(EvalImage(f"scene {index}", torch.from_numpy(pictures.to_uint8(truth)).permute(0, 3, 1, 2) / 127.5 - 1))
    return found


class Planted(Model):
    """Does what it is told to do with its source."""

    from_source = True

    def __init__(self, spec: ImageSpec, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.spec, self.does = spec, does

    def sample(self, noise: Noise, condition: Condition | None = None, options: SamplingOptions | None = None) -> Tensor:
        assert condition is not None
        assert condition.source is not None
        return self.does(condition.source[:, : self.spec.channels])


def measured(
    does: Callable[[Tensor], Tensor], how: str = "noise:25", shown: list[EvalImage] | None = None
) -> tuple[RestorationScores, Judge]:
    degrade = parse(how)
    shown = shown or scenes()
    channels = shown[0].truth.shape[1]
    spec = ImageSpec(SIZE, channels, (), Source(degrade.channels(channels), degrade.scale, degrade.conditioning, how))
    judge = Judge(Generator(Planted(spec, does), "planted", torch.device("cpu")), degrade, convention_for(degrade, channels), seed=0)
    return judge.measure(shown), judge


def statuses(found: RestorationScores) -> dict[str, str]:
    return {v.name: v.status for v in conclude(answers(RestorationEvidence(found)))}


def truth_of(source: Tensor) -> Tensor:
    """The truth, which goes on beyond its borders as far as the source does."""
    truth = torch.cat([p.truth for p in scenes()])[: len(source)]
    side = source.shape[3]
    return mirrored(lambda a, b, c, d: truth[:, :, a:b, c:d], SIZE, SIZE, (side - SIZE) // 2)(0, side, 0, side)


def smooth(image: Tensor) -> Tensor:
    kernel = torch.ones(image.shape[1], 1, 5, 5) / 25
    return torch.nn.functional.conv2d(torch.nn.functional.pad(image, (2, 2, 2, 2), mode="reflect"), kernel, groups=image.shape[1])


def test_a_perfect_restorer_passes() -> None:
    found, _ = measured(truth_of)
    assert set(statuses(found).values()) == {"PASS"}
    assert found.psnr[MODEL] == pytest.approx(80.0)
    assert found.psnr["input"] == pytest.approx(20.2, abs=0.5)  # 20 log10(255 / 25)


def test_a_restorer_that_returns_its_input_does_no_harm_and_no_good() -> None:
    found, _ = measured(lambda source: source)
    said = statuses(found)
    assert said["worse-than-classical"] == "FAIL"
    assert said["harm"] == "PASS"
    assert found.psnr[MODEL] == pytest.approx(found.psnr["input"])


def test_a_blurrer_is_seen() -> None:
    found, _ = measured(lambda source: smooth(smooth(truth_of(source))))
    assert statuses(found)["blur"] == "FAIL"


def test_a_restorer_that_adds_noise_does_harm() -> None:
    found, _ = measured(lambda source: source + 0.3 * torch.randn(source.shape, generator=torch.Generator().manual_seed(1)))
    said = statuses(found)
    assert (said["harm"], said["worse-than-classical"]) == ("FAIL", "FAIL")


def test_a_shift_of_color_is_seen() -> None:
    found, _ = measured(lambda source: truth_of(source) + torch.tensor([12.0, 0, -12]).view(1, 3, 1, 1) / 127.5)
    assert statuses(found)["color-drift"] == "FAIL"


def test_only_holes_are_scored_where_pixels_are_missing() -> None:
    def fills(source: Tensor) -> Tensor:
        return torch.where(torch.arange(source.shape[3]) < source.shape[3] // 2, truth_of(source), torch.tensor(128 / 127.5 - 1))

    found, judge = measured(fills, "mask:half")
    degraded, truth = judge.degraded(scenes(), 0)
    holes = judge.holes(degraded)
    assert holes is not None
    error = ((fills(degraded.image) - truth).square() * holes).sum((1, 2, 3)) / (3 * holes.sum((1, 2, 3)))
    assert found.psnr[MODEL] == pytest.approx((10 * torch.log10(4 / error)).clamp(max=80).numpy(), abs=0.05)
    assert "missing pixels only" in judge.convention.text


def test_the_damage_of_an_image_does_not_depend_on_its_neighbors() -> None:
    whole, _ = measured(lambda source: source)
    few, _ = measured(lambda source: source, shown=scenes()[:3])
    assert whole.psnr["input"][:3] == pytest.approx(few.psnr["input"])


def report(name: str, does: Callable[[Tensor], Tensor] = truth_of) -> result.Report:
    found, judge = measured(does)
    verdicts = tuple(conclude(answers(RestorationEvidence(found))))
    levels = (
        result.PsnrAtSigma(5.0, {"told": 38.0, "not told": 37.5, "input": 34.0}),
        result.PsnrAtSigma(25.0, {"told": 31.0, "not told": 30.0}),
    )
    part = restoration.of(found, "noise:25", judge.convention.text, levels)
    scores = restoration._scores(found, judge.convention.text)
    shown = result.ReportImages(crops=restoration.crops(found))
    return result.Report(
        name, scores=scores, verdicts=verdicts, restoration=part, pictures=shown, cost=RunInfo().cost(judge.generator, 1.5)
    )


def test_the_page_and_the_json_hold_it_all() -> None:
    made = report("den", lambda source: smooth(truth_of(source)))
    tree = json.loads(json.dumps(result.to_json(made), allow_nan=False))
    jsonschema.validate(tree, schema(), jsonschema.Draft202012Validator)
    part = tree["restoration"]
    assert part["methods"][0]["name"] == MODEL
    assert part["methods"][0]["gain"] is None
    assert len(part["psnr"][MODEL]) == len(part["images"]) == 12
    page = Page(html(made))
    assert {"before-after", "methods", "levels", "verdicts"} <= {s.get("id") for s in page.all("section")}
    assert len(page.all("img")) == 12  # worst, median, best: before, after, truth, error
    assert "in 8 bit, range 255" in page.text
    assert "not told" in page.text
    assert f"{part['methods'][0]['psnr']['value']:.2f}" in page.text
    assert "dB closer to the truth than" in page.text
    assert "this model +" in text(made)


def test_gains_are_paired() -> None:
    found, judge = measured(lambda source: smooth(truth_of(source)))
    part = restoration.of(found, "noise:25", judge.convention.text)
    assert part.best is not None
    assert part.best.gain is not None
    gap = found.psnr[MODEL] - found.psnr[part.best.name]
    assert part.best.gain.value == pytest.approx(gap.mean())
    assert part.best.gain.interval is not None
    assert part.best.gain.interval[1] - gap.mean() == pytest.approx(2.201 * gap.std(ddof=1) / 12**0.5, rel=1e-3)


def test_restorers_are_compared_image_by_image() -> None:
    good, bad = report("good"), report("bad", lambda source: smooth(truth_of(source)))
    assert compare.told([bad, good])[0].startswith("good is better than bad")
    assert Page(compare.compare_html([bad, good])).text.count("good") > 1
    part = bad.restoration
    assert part is not None
    with pytest.raises(UserError, match="trained for the same damage"):
        compare.told([good, replace(bad, restoration=replace(part, degradation="blur:2"))])
    with pytest.raises(UserError, match="different images"):
        compare.told([good, replace(bad, restoration=replace(part, images=("other",)))])
    with pytest.raises(UserError, match="one kind at a time"):
        compare.told([good, result.Report("gan")])


def test_pictures_of_a_source_keep_their_sizes(tmp_path: Path) -> None:
    for name, shape in (("a", (40, 61)), ("b", (52, 50)), ("tiny", (9, 9))):
        pictures.save(pictures.to_picture(np.zeros((*shape, 3), np.uint8)), tmp_path / f"{name}.png")
    found = of_source(str(tmp_path), 1, 10, 0, scale=3)
    assert [(p.name, tuple(p.truth.shape)) for p in found] == [("a.png", (1, 1, 39, 60)), ("b.png", (1, 1, 51, 48))]
    with pytest.raises(UserError, match="no picture of"):
        of_source(str(tmp_path), 1, 10, 0, scale=8)


def test_gray_pictures_are_judged_as_gray_by_a_model_of_color(tmp_path: Path, denoiser: Path) -> None:
    for name, shape in (("gray", (40, 40, 1)), ("color", (48, 40, 3))):
        pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        pictures.save(pictures.to_picture(pixels), tmp_path / f"{name}.png")
    found = evaluate(denoiser, data=str(tmp_path), short=True).restoration
    assert found is not None
    assert found.images == ("color.png", "gray.png")
    assert [p.truth.shape[1] for p in of_source(str(tmp_path), None, 10, 0, 1)] == [3, 1]


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "den"
    calotype.train(small("denoise", 4), out=folder)
    return folder


def test_a_run_is_judged_by_what_it_held_out(denoiser: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(denoiser, short=True, count=16)
    jsonschema.validate(result.to_json(found), schema(), jsonschema.Draft202012Validator)
    assert found.restoration is not None
    assert len(found.restoration.images) == 16
    assert found.data is not None
    assert [level.sigma for level in found.restoration.levels] == [5, 25, 50]
    assert {"worse-than-classical", "harm", "overfitting", "noise-level"} <= {v.name for v in found.verdicts}
    assert result.to_json(evaluate(denoiser, short=True, count=16))["scores"] == result.to_json(found)["scores"]
    assert main(["evaluate", str(denoiser), "--features", "random"]) == 2
    assert "leave out --features" in capsys.readouterr().err


def test_what_makes_no_sense_is_refused_in_one_line(denoiser: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calotype.train(small("gan", 2), out=tmp_path / "gan", display=Display())
    for words, said in (
        (["sample", str(denoiser)], "calotype restore"),
        (["evaluate", str(shutil.copytree(denoiser / "model", tmp_path / "alone"))], "name pictures to restore with --data"),
        (["compare", str(denoiser), str(tmp_path / "gan")], "judged by different scores"),
        (["evaluate", str(denoiser), "--holdout", "photos"], "leave out --holdout"),
        (["evaluate", str(denoiser), "--count", "0"], "--count: give a whole number from 1 "),
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1


def test_the_card_of_a_restorer_says_what_it_mends(denoiser: Path) -> None:
    run = Run.open(denoiser)
    assert run.use() == "restore"
    said = (run.model / "README.md").read_text()
    assert "calotype restore ." in said
    assert "noise:0-55,shared" in said
    assert "sample" not in said
    model = calotype.load(denoiser).model
    larger = replace(model.spec, source=replace(model.spec.source, scale=3, degradation="downsample:3", conditioning=()))  # type: ignore[type-var]
    config, model.spec = run.read_config()[0], larger
    assert "3 times larger" in model_card(config, larger, model, 4)


def test_held_out_scores_choose_the_best_weights(tmp_path: Path) -> None:
    config = small("denoise", 6)
    calotype.train(replace(config, log=replace(config.log, evaluate=2)), out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = [line for line in lines if line.get("event") == "score"]
    assert [line["step"] for line in scores] == [2, 4, 6]
    assert [line["best"] for line in scores] == [
        s["PSNR"] > max([q["PSNR"] for q in scores[:i]], default=-1e9) for i, s in enumerate(scores)
    ]
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()
    unpaired = small("cyclegan", 2)
    with pytest.raises(UserError, match="no truth"):
        calotype.train(replace(unpaired, log=replace(unpaired.log, evaluate=1)), out=tmp_path / "cyc")


@pytest.mark.parametrize(("name", "ways"), [("cyclegan", 2), ("pix2pix", 1)])
def test_a_translator_is_judged_too(name: str, ways: int, tmp_path: Path) -> None:
    calotype.train(small(name, 2), out=tmp_path / "run")
    found = evaluate(tmp_path / "run", short=True)
    jsonschema.validate(result.to_json(found), schema(), jsonschema.Draft202012Validator)
    assert {"identity-collapse", "color-inversion", "collapsed-translation", "paired-error"} <= {v.name for v in found.verdicts}
    assert len({crop.title for crop in found.pictures.crops}) == ways
    assert "back again" in Page(html(found)).text or ways == 1
    assert sum(s.name.startswith("PSNR") for s in found.scores) == ways
    assert Run.open(tmp_path / "run").use() == "translate"


def test_gray_and_large_pictures_are_restored_by_the_model_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    grays = scenes(3, channels=1)
    _, judge = measured(lambda source: source, "noise:25")
    degraded, _ = judge.degraded(grays, 0)
    assert torch.allclose(judge.restored(degraded), degraded.image.clamp(-1, 1), atol=1e-6)
    _, judge = measured(lambda source: -source, "noise:25")
    degraded, _ = judge.degraded(scenes(2), 0)
    whole = judge.restored(degraded)
    monkeypatch.setattr(restored, "WHOLE", 100)
    assert torch.allclose(judge.restored(degraded), whole, atol=1e-6)


def test_other_pictures_of_the_same_names_are_no_match() -> None:
    part = report("bad").restoration
    assert part is not None
    inputs = tuple(value + 0.1 for value in part.psnr["input"])
    with pytest.raises(UserError, match="different images"):
        compare.told([report("good"), replace(report("bad"), restoration=replace(part, psnr={**part.psnr, "input": inputs}))])


def test_no_more_pictures_than_asked_for_and_the_liveliest_piece_of_each() -> None:
    shown = scenes(8, size=100)
    assert len(within(shown, 0.035)) == 3
    assert len(within(shown, 0.001)) == 1
    image = np.zeros((400, 300, 3), np.uint8)
    image[230:250, 200:220] = np.random.default_rng(0).integers(0, 256, (20, 20, 3))
    top, left = restoration._busiest(image)
    assert top <= 230
    assert top + restoration.CROP >= 250
    assert left <= 200
    assert left + restoration.CROP >= 220


def test_a_colorizer_has_to_beat_the_mean_color_of_each_gray_level(tmp_path: Path) -> None:
    calotype.train(small("colorize", 3), out=tmp_path / "col")
    for words in ({}, {"data": "photos"}):
        part = evaluate(tmp_path / "col", short=True, count=4, **words).restoration  # type: ignore[arg-type]
        assert part is not None
        assert {"palette mean", "input"} <= set(part.psnr)
        assert part.psnr["palette mean"] != part.psnr["input"]


def test_pictures_that_it_was_trained_on_are_told(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for index, scene in enumerate(scenes(10)):
        pictures.save(pictures.to_picture(pictures.to_uint8(scene.truth)[0]), tmp_path / "own" / f"{index}.png")
    config = small("denoise", 2)
    calotype.train(replace(config, data=replace(config.data, source=str(tmp_path / "own"))), out=tmp_path / "run")
    shutil.copytree(tmp_path / "own", tmp_path / "other")
    for name, alarms in (("own", True), ("other", False)):
        notes = " ".join(evaluate(tmp_path / "run", data=str(tmp_path / name), short=True).notes)
        assert ("was trained on" in notes) == alarms


def test_pictures_of_the_smaller_side_are_not_taken_twice(tmp_path: Path) -> None:
    every = iter(scenes(63, size=16))
    for name, count in (("trainA", 12), ("trainB", 12), ("testA", 9), ("testB", 30)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(count):
            image = pictures.to_uint8(next(every).truth)[0]
            pictures.save(pictures.to_picture(image), tmp_path / "own" / name / f"{index}.png")
    config = small("cyclegan", 2)
    data = replace(config.data, source=str(tmp_path / "own"), patch=None, size=16)
    calotype.train(replace(config, data=data), out=tmp_path / "run")
    found = evaluate(tmp_path / "run", short=True)
    assert all("(9 of each)" in v.evidence for v in found.verdicts if v.name == "collapsed-translation")
    tensors = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert b"pools." not in tensors  # no pictures of others in what is handed on
    assert calotype.load(tmp_path / "run").model.pools is not None
